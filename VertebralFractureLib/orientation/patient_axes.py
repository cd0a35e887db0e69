"""Find from the anatomy which directions of a file are the patient's right, front and head.

A canal that was found tells the body's axis; the array around it is turned by quarter turns until the network sees the
vertebral bodies in front. Where no canal was found as the file lies, or it has no vertebrae beside it, the whole volume
is turned instead. Which end is the head is told later, of the straightened spine. Imports torch inside its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.errors import NotEvaluable, PositionUnclear
from VertebralFractureLib.orientation.rotations import (
    list_axis_rotations,
    measure_angle_deg,
    rotate_array,
    rotate_volume,
    rotation_from_directions,
)
from VertebralFractureLib.thresholds import ORIENTATION
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.volume import CTVolume

_UNCLEAR_FRONT = (
    "It is not clear from the voxels where the front of the patient is: vertebral bodies seem to lie on two sides of "
    "the spinal canal, or on none; check the orientation of the series, or use a scan that shows more of the vertebrae."
)

_FRONT_OF_FILE = np.array([0.0, 1.0, 0.0])

if TYPE_CHECKING:
    from VertebralFractureLib.canal.axial_stack import AxialStack, AxialStacks
    from VertebralFractureLib.orientation.network import OrientationModel


@dataclass(frozen=True)
class PlacedCenterline:
    """A canal's centerline with the patient's axes, and whether the anatomy showed the front (else the file's)."""

    centerline: Centerline
    is_front_seen: bool


def find_centerline_in_patient(
    ct: CTVolume,
    find: Callable[[CTVolume], Centerline],
    model: OrientationModel,
    stacks: AxialStacks | None = None,
) -> PlacedCenterline:
    """Find the canal and the patient's axes, however the patient lies; its later end counts as the head.

    Args:
        find: the search for the canal, which expects the body's axis along S.
        stacks: of the CT, where others are built of it too.

    Raises:
        PositionUnclear: when vertebral bodies seem to lie on two sides of the canal.
        NotEvaluable: what ``find`` raises for a patient who lies as the file says, and what it raises in the position
            that the anatomy shows.
    """
    try:
        centerline = find(ct)
    except NotEvaluable:
        axes = find_axes(ct, model, stacks)
        if axes is None or np.allclose(axes, np.eye(3)):
            raise
        return _find_rotated(ct, axes, find, model)
    way = _way_of(centerline)
    if _degrees(way, _nearest_axis(way)) <= ORIENTATION.largest_lean_deg:
        return check_front(ct, centerline, model, stacks)
    axes = find_axes_along(ct, centerline, model, stacks)
    return _find_rotated(ct, rotation_from_directions(_FRONT_OF_FILE if axes is None else axes[1], way), find, model)


def check_front(
    ct: CTVolume, centerline: Centerline, model: OrientationModel, stacks: AxialStacks | None = None
) -> PlacedCenterline:
    """The canal's centerline with the patient's axes, which are the file's where the patient lies as it says.

    Raises:
        PositionUnclear: when vertebral bodies seem to lie on two sides of the canal.
    """
    axes = find_axes_along(ct, centerline, model, stacks)
    if axes is None:
        return PlacedCenterline(centerline, is_front_seen=False)
    return PlacedCenterline(replace(centerline, patient_axes=axes), is_front_seen=True)


def find_axes_along(
    ct: CTVolume, centerline: Centerline, model: OrientationModel, stacks: AxialStacks | None = None
) -> FloatArray | None:
    """The patient's axes, rows along the file's RAS, given the canal; its later end counts as the head.

    Returns:
        None where no side of the canal shows vertebral bodies.

    Raises:
        PositionUnclear: when two sides do.
    """
    tuned = ORIENTATION
    enough = max(tuned.least_cells, tuned.cells_per_mm * centerline.length_mm)
    turns = list_turns_about(_nearest_axis(_way_of(centerline)))
    seen = _see_in_turns(ct, centerline, turns, model, stacks)
    if max(seen) < enough:
        # The front may lie between two quarter turns, where the network sees little.
        between = [_turn_about_head(degrees) @ turn for turn in turns for degrees in (30.0, 60.0)]
        turns, seen = [*turns, *between], [*seen, *_see_in_turns(ct, centerline, between, model)]
    return choose_turn(turns, seen)


def find_axes(ct: CTVolume, model: OrientationModel, stacks: AxialStacks | None = None) -> FloatArray | None:
    """The patient's axes where no canal was found as the file lies; which end is the head is not told.

    Returns:
        None where no position shows a spine.

    Raises:
        PositionUnclear: when two do.
    """
    # One of each two that differ in head and feet alone: the one whose head is nearer to the file's.
    turns = [rotation for rotation in list_axis_rotations() if rotation[2].sum() > 0.0]
    seen = _see_in_turns(ct, None, turns, model, stacks)
    if max(seen) < ORIENTATION.least_cells:
        between = [_turn_about_head(45.0) @ turn for turn in turns]
        turns, seen = [*turns, *between], [*seen, *_see_in_turns(ct, None, between, model)]
    return choose_turn(turns, seen)


def _find_rotated(
    ct: CTVolume, axes: FloatArray, find: Callable[[CTVolume], Centerline], model: OrientationModel
) -> PlacedCenterline:
    """Find the canal in a patient whose axes are about ``axes``; raises as ``find_centerline_in_patient``."""
    rotated = rotate_volume(ct, axes)
    placed = check_front(rotated, find(rotated), model)
    if not placed.is_front_seen:
        raise PositionUnclear(_UNCLEAR_FRONT)
    line = placed.centerline
    in_file = Centerline(line.points_ras @ axes, line.confidence, line.gaps_mm, line.patient_axes @ axes)
    return PlacedCenterline(in_file, is_front_seen=True)


def _see_in_turns(
    ct: CTVolume,
    centerline: Centerline | None,
    turns: Sequence[FloatArray],
    model: OrientationModel,
    stacks: AxialStacks | None = None,
) -> list[float]:
    """How many cells with a canal and vertebral bodies in front of it the network sees in each position."""
    from VertebralFractureLib.canal.axial_stack import AxialStacks
    from VertebralFractureLib.orientation.estimation import count_spine_cells
    from VertebralFractureLib.orientation.network import VOXEL_MM

    points = None
    if centerline is not None:
        points = centerline.positions_ras(np.arange(0.0, centerline.length_mm, VOXEL_MM))
    stacks, margin_mm = stacks or AxialStacks(ct), ORIENTATION.around_mm
    hu, near = crop_to_points(stacks.build(VOXEL_MM, VOXEL_MM, around_ras=points, margin_mm=margin_mm), points)
    cells = []
    for turn in turns:
        if np.allclose(turn, np.rint(turn)):
            kept = None if near is None else rotate_array(near, turn)
            cells.append(count_spine_cells(rotate_array(hu, turn), kept, model))
        else:
            along, turned = None if points is None else points @ turn.T, AxialStacks(rotate_volume(ct, turn))
            rotated = turned.build(VOXEL_MM, VOXEL_MM, around_ras=along, margin_mm=margin_mm)
            cells.append(count_spine_cells(*crop_to_points(rotated, along), model))
    return cells


def choose_turn(turns: Sequence[FloatArray], cells: Sequence[float]) -> FloatArray | None:
    """The rotation in which a spine is seen, between neighboring turns by what each of them shows; None: in no one.

    Raises:
        PositionUnclear: when turns far from each other show it.
    """
    tuned = ORIENTATION
    best = int(np.argmax(cells))
    if cells[best] < tuned.least_cells:
        return None
    beside = [measure_angle_deg(turn @ turns[best].T) < tuned.beside_deg for turn in turns]
    others = [count for count, is_beside in zip(cells, beside, strict=True) if not is_beside]
    if cells[best] < tuned.clearer * max(others, default=0.0):
        raise PositionUnclear(_UNCLEAR_FRONT)
    head = turns[best][2]
    same_head = [is_beside and turn[2] @ head > 0.99 for turn, is_beside in zip(turns, beside, strict=True)]
    fronts = [count * turn[1] for turn, count, use in zip(turns, cells, same_head, strict=True) if use]
    rotation = rotation_from_directions(np.sum(fronts, axis=0), head)
    nearest = min(list_turns_about(head), key=lambda turn: measure_angle_deg(rotation @ turn.T))
    # What any patient on a table may be rolled by is no rotation.
    return nearest if measure_angle_deg(rotation @ nearest.T) <= tuned.largest_twist_deg else rotation


def reverse_head(centerline: Centerline) -> Centerline:
    """The same canal with head and feet exchanged and the front where it was, so that right and left change too."""
    right, front, head = centerline.patient_axes
    length = centerline.length_mm
    return Centerline(
        centerline.points_ras[::-1],
        centerline.confidence[::-1],
        tuple((length - high, length - low) for low, high in reversed(centerline.gaps_mm)),
        np.stack([-right, front, -head]),
    )


def list_turns_about(head: FloatArray) -> list[FloatArray]:
    """The four quarter turns with this axis of the file as the head, those nearest to the file's own axes first."""
    return [rotation for rotation in list_axis_rotations() if rotation[2] @ head > 0.5]


def _turn_about_head(degrees: float) -> FloatArray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _way_of(centerline: Centerline) -> FloatArray:
    return np.asarray(centerline.points_ras[-1] - centerline.points_ras[0])


def _nearest_axis(way: FloatArray) -> FloatArray:
    """The axis of the file, with its sign, nearest to a direction."""
    axis = np.zeros(3)
    axis[np.abs(way).argmax()] = np.sign(way[np.abs(way).argmax()])
    return axis


def _degrees(one: FloatArray, other: FloatArray) -> float:
    cosine = (one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def crop_to_points(stack: AxialStack, points_ras: FloatArray | None) -> tuple[Float32Array, Float32Array | None]:
    """The part of the stack around points ``(n, 3)``, and where it is near to one: 1 or 0, both float32 ``[k, j, i]``.

    Without points, the whole stack, and None.
    """
    tuned = ORIENTATION
    if points_ras is None:
        return np.asarray(stack.hu, dtype=np.float32), None
    from VertebralFractureLib.canal.axial_stack import lay_crop

    origin, step = np.array(stack.origin_ras), np.array(stack.spacing_mm)
    index = (points_ras - origin) / step
    low, high = lay_crop(points_ras, tuned.around_mm, origin, step, np.array(stack.hu.shape[::-1]))
    hu = np.asarray(stack.hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]], dtype=np.float32)
    near = np.zeros(hu.shape, dtype=np.float32)
    reach = round(tuned.near_mm / stack.spacing_mm[0])
    ball = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3), axis=-1).reshape(-1, 3)
    ball = ball[(ball**2).sum(axis=1) <= reach**2]
    at = (np.rint(index - low).astype(int)[:, None] + ball[None]).reshape(-1, 3)
    i, j, k = at[np.all((at >= 0) & (at < np.array(hu.shape[::-1])), axis=1)].T
    near[k, j, i] = 1.0
    return hu, near
