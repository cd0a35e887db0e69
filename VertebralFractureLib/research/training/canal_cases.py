"""``CanalCase``: one volume to train the canal network on, as an axial stack with what is known at every slice.

What lies beyond the annotated ends of a real canal is neither canal nor background: such slices are left out, except
far beyond, where no canal can be. The vertebra's walls come from the annotated body boxes, which are cut with the axial
plane; nobody annotated the canal's walls, so they are measured on the scan (``canal.bony_canal``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.canal.axial_stack import IN_PLANE_MM, AxialStack, build_axial_stack
from VertebralFractureLib.canal.bony_canal import measure_canal_walls
from VertebralFractureLib.cpr import lay_frame
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.research.datasets import ReferenceSpine, ReferenceVertebra
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume

STACK_MM = 2.0
"""Slices of the cached stacks; the network's own distance is reached by interpolation, at any phase."""
LABELED, NONE, UNKNOWN = 1, 0, -1
_BEYOND_MM = 45.0


@dataclass(frozen=True)
class CanalCase:
    """One volume to train on.

    Attributes:
        center_ras: R and A of the canal at every slice ``(n, 2)``.
        state: what is known at every slice ``(n,)``: ``LABELED``, ``NONE`` (no canal there) or ``UNKNOWN``.
        walls_mm: walls of canal and vertebra ``(n, 8)`` from the canal's center, in the order of ``BOX_SIDES``; NaN
            where they are not known.
    """

    name: str
    stack: AxialStack
    center_ras: FloatArray
    state: NDArray[np.int8]
    walls_mm: FloatArray


def make_canal_case(name: str, ct: CTVolume, reference: ReferenceSpine, forward_mm: float = 0.0) -> CanalCase:
    """Resample ``ct`` and read the canal's position and walls off the reference at every slice.

    Args:
        forward_mm: how far in front of the reference's centerline the center to learn lies.
    """
    stack = _whole_numbers(build_axial_stack(ct, slice_mm=STACK_MM))
    heights = stack.heights_mm
    center, arc = canal_at(reference.centerline, heights)
    center[:, 1] += forward_mm
    ends = reference.centerline.positions_ras(np.array([0.0, reference.centerline.length_mm]))[:, 2]
    state = np.full(len(heights), LABELED, dtype=np.int8)
    for low, high in reference.uncertain_mm:
        state[(arc >= low) & (arc <= high)] = UNKNOWN
    state[(heights < ends[0] - 2.0) | (heights > ends[1] + 2.0)] = UNKNOWN
    state[(heights < ends[0] - _BEYOND_MM) | (heights > ends[1] + _BEYOND_MM)] = NONE
    walls = np.column_stack([measure_canal_walls(ct, heights, center), vertebra_walls(reference, heights, center)])
    walls[state != LABELED] = np.nan
    return CanalCase(name, stack, center, state, walls)


def case_without_spine(name: str, ct: CTVolume) -> CanalCase:
    """A volume that holds no canal anywhere."""
    stack = _whole_numbers(build_axial_stack(ct, slice_mm=STACK_MM))
    count = len(stack.hu)
    return CanalCase(name, stack, np.zeros((count, 2)), np.full(count, NONE, np.int8), np.full((count, 8), np.nan))


def _whole_numbers(stack: AxialStack) -> AxialStack:
    """Halves the memory of a training set; CT noise is far above half a unit."""
    return replace(stack, hu=np.rint(stack.hu.astype(np.float32)).clip(-1024, 3071).astype(np.int16))


def save_case(case: CanalCase, path: Path) -> None:
    with atomic_write(path) as partial, partial.open("wb") as stream:
        np.savez(
            stream,
            hu=case.stack.hu,
            origin=np.array(case.stack.origin_ras),
            extent=np.array(case.stack.extent_s_mm),
            center=case.center_ras,
            state=case.state,
            walls=case.walls_mm,
        )


def load_case(name: str, path: Path) -> CanalCase:
    with np.load(path, allow_pickle=False) as content:
        r, a, s = (float(value) for value in content["origin"])
        low, high = (float(value) for value in content["extent"])
        stack = AxialStack(content["hu"], (r, a, s), (IN_PLANE_MM, IN_PLANE_MM, STACK_MM), (low, high))
        return CanalCase(name, stack, content["center"], content["state"], content["walls"])


def vertebra_walls(reference: ReferenceSpine, heights_mm: FloatArray, center_ras: FloatArray) -> FloatArray:
    """Walls of the vertebral column in the axial planes at ``heights_mm`` (RAS S), interpolated between the bodies.

    Args:
        center_ras: ``(n, 2)`` R and A of the canal at each height.

    Returns:
        ``(n, 4)`` lowest R, highest R, lowest A, highest A in mm from the canal's center; NaN where it is not known.
    """
    walls = np.full((len(heights_mm), 4), np.nan)
    boxed = [vertebra for vertebra in reference.vertebrae if vertebra.box is not None and vertebra.level != "S1"]
    if len(boxed) < 2:
        return walls
    try:
        frame = lay_frame(reference.centerline)
    except NoSpineFound:
        return walls
    table = np.array([_box_row(vertebra) for vertebra in boxed])
    table = table[np.argsort(table[:, 0])]
    s = np.arange(table[0, 1], table[-1, 2], 1.0)
    left, right, post, ant = (np.interp(s, table[:, 0], table[:, column]) for column in range(3, 7))
    zero, middle = np.zeros_like(s), 0.5 * (post + ant)
    for side, (r, a) in enumerate(((left, middle), (right, middle), (zero, post), (zero, ant))):
        curve = frame.straight_to_ras(np.stack([r, a, s], axis=1))
        rising = np.concatenate([[True], curve[1:, 2] > np.maximum.accumulate(curve[:, 2])[:-1] + 1e-6])
        curve, axis = curve[rising], side // 2
        at = np.interp(heights_mm, curve[:, 2], curve[:, axis], left=np.nan, right=np.nan)
        walls[:, side] = at - center_ras[:, axis]
    return walls


def _box_row(vertebra: ReferenceVertebra) -> tuple[float, ...]:
    box = vertebra.box
    assert box is not None
    return (0.5 * (box.s_inf + box.s_sup), box.s_inf, box.s_sup, box.r_left, box.r_right, box.a_post, box.a_ant)


def canal_at(centerline: Centerline, heights_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """R and A ``(n, 2)`` of the curve at each RAS S, and its arc length there ``(n,)``; its ends hold beyond them."""
    arc = np.arange(0.0, centerline.length_mm, 0.5)
    points = centerline.positions_ras(arc)
    rising = np.concatenate([[True], points[1:, 2] > np.maximum.accumulate(points[:, 2])[:-1] + 1e-6])
    arc, points = arc[rising], points[rising]
    center = np.stack([np.interp(heights_mm, points[:, 2], points[:, axis]) for axis in (0, 1)], axis=1)
    return center, np.asarray(np.interp(heights_mm, points[:, 2], arc))
