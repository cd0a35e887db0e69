"""Real cases in which vertebrae have collapsed: compression fractures simulated on them, with the truth that follows.

Unless asked otherwise, only a slab around the canal's plane is kept, which is all that finding and measuring look at; a
level network must not be shown such a case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.research.datasets import ReferenceVertebra
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.endplate_findings import add_endplate_findings
from VertebralFractureLib.research.simulation.fracture_shapes import (
    BICONCAVE,
    CRUSH,
    WEDGE,
    Deformation,
    random_fracture,
)
from VertebralFractureLib.research.simulation.noise_texture import blurred
from VertebralFractureLib.research.simulation.simulate_fracture import BLUR_SHARE, DEPTHS, simulate
from VertebralFractureLib.research.simulation.straight_grid import StraightGrid

SLAB_MM = 24
"""Half width in r of what is kept."""
_COLLAPSED_SHARE = 0.4
_GRADE_SHARES = {1: 0.15, 2: 0.35, 3: 0.5}
_SHAPE_SHARES = {WEDGE: 0.25, BICONCAVE: 0.25, CRUSH: 0.5}
"""Crushed bodies are half of them: flat over their whole depth, they are the ones that are taken for a disc."""


def with_collapses(case: StraightCase, seed: int) -> StraightCase:
    """The case with about four in ten of its complete vertebrae fractured, most of them severely."""
    rng = np.random.default_rng([seed, *case.identifier.encode()])
    able = [i for i, v in enumerate(_boxed(case)) if v.complete and v.level != "S1"]
    chosen = [i for i in able if rng.random() < _COLLAPSED_SHARE]
    grades = list(_GRADE_SHARES)
    shapes = list(_SHAPE_SHARES)
    plan = {
        index: (
            int(rng.choice(grades, p=list(_GRADE_SHARES.values()))),
            str(rng.choice(shapes, p=list(_SHAPE_SHARES.values()))),
        )
        for index in chosen
    }
    return with_fractures(case, plan, rng)


def with_fractures(
    case: StraightCase,
    plan: Mapping[int, tuple[int, str]],
    rng: np.random.Generator,
    *,
    with_full_width: bool = False,
) -> StraightCase:
    """The case with a fracture of (grade, shape) at every index of ``plan``, counted among the boxed vertebrae.

    The result's vertebrae carry landmarks, and no heights; ``grade`` and ``shape`` are those simulated.

    Args:
        with_full_width: keep the whole volume, which the level network needs, and not the slab alone.
    """
    volume = case.volume if with_full_width else _slab(case.volume)
    known = _boxed(case)
    boxes = [v.box for v in known if v.box is not None]
    deformations: dict[int, Deformation] = {
        index: replace(random_fracture(boxes[index], grade, shape, rng), bend_share=0.0)
        for index, (grade, shape) in plan.items()
    }
    result = simulate(
        np.asarray(volume.hu, dtype=np.float32),
        np.asarray(volume.inside),
        volume.origin_mm,
        boxes,
        list(deformations.values()),
        rng,
        max(case.source_spacing_mm),
    )
    moved = []
    for index, (vertebra, box) in enumerate(zip(known, boxes, strict=True)):
        low, high = result.middle_mm[index]
        at_a = box.a_post + np.array(DEPTHS) * (box.a_ant - box.a_post)
        lower, upper = result.endplates_mm[index]
        zero = np.zeros(len(DEPTHS))
        points = np.concatenate([np.stack([zero, at_a, upper], 1), np.stack([zero, at_a, lower], 1)])
        center = np.array([[0.0, 0.5 * (box.a_post + box.a_ant), 0.5 * (low + high)]])
        landmarks = [_triple(point) for point in volume.frame.straight_to_ras(points)]
        grade, shape = plan.get(index, (vertebra.grade, vertebra.shape))
        moved.append(
            replace(
                vertebra,
                box=replace(box, s_inf=low, s_sup=high),
                center_ras=_triple(volume.frame.straight_to_ras(center)[0]),
                heights_mm=(None, None, None),
                landmarks_ras=tuple(landmarks),
                grade=grade,
                shape=shape,
            )
        )
    hu = np.round(result.hu).clip(-1024, 3071).astype(np.int16)
    collapsed = replace(volume, hu=hu, inside=result.inside)  # type: ignore[arg-type]  # as the cache keeps it
    return replace(case, volume=collapsed, reference=replace(case.reference, vertebrae=tuple(moved)), body_labels=None)


def with_endplate_findings(case: StraightCase, seed: int) -> StraightCase:
    """The case with what makes endplates hard to see drawn over it (``endplate_findings``); its truth stays.

    What is drawn is as blurred along s as the scan's slices are thick. The volume is float32.
    """
    rng = np.random.default_rng([seed, 5, *case.identifier.encode()])
    before = np.array(case.volume.hu, dtype=np.float32)
    after = before.copy()
    grid = StraightGrid.of(after.shape, case.volume.origin_mm)
    add_endplate_findings(after, grid, [v.box for v in _boxed(case) if v.box is not None], rng)
    drawn = blurred(after - before, BLUR_SHARE * max(*case.source_spacing_mm, 1.0))
    return replace(case, volume=replace(case.volume, hu=np.where(case.volume.inside, before + drawn, before)))


def _boxed(case: StraightCase) -> list[ReferenceVertebra]:
    return [vertebra for vertebra in case.reference.vertebrae if vertebra.box is not None]


def _slab(volume: StraightenedVolume) -> StraightenedVolume:
    first = round(-SLAB_MM - volume.origin_mm[0])
    part = slice(first, first + 2 * SLAB_MM + 1)
    origin = (volume.origin_mm[0] + first * volume.spacing_mm[0], *volume.origin_mm[1:])
    return replace(volume, hu=volume.hu[:, :, part], inside=volume.inside[:, :, part], origin_mm=origin)


def _triple(point: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
