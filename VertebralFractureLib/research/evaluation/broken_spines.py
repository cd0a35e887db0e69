"""Real scans in which one to a few vertebrae have broken, by one of two simulations that share no map.

Which vertebrae break, and how, follows from the scans' names alone, so that every version of the program is judged on
the same fractures; grades and shapes take turns over the scans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox, ReferenceVertebra
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.changed_acquisition import thicken_slices
from VertebralFractureLib.research.simulation.collapsed_cases import with_fractures
from VertebralFractureLib.research.simulation.fracture_shapes import BICONCAVE, CRUSH, WEDGE
from VertebralFractureLib.research.simulation.loss_maps import LossMap
from VertebralFractureLib.research.simulation.surface_fracture import with_surface_fractures
from VertebralFractureLib.research.training.fracture_data import eligible
from VertebralFractureLib.types import FloatArray, Word
from VertebralFractureLib.vertebrae.grading import classify_shape, grade_from_loss
from VertebralFractureLib.vertebrae.vertebra import HeightLosses

_EACH = tuple((grade, shape) for grade in (2, 3, 1) for shape in (WEDGE, BICONCAVE, CRUSH))
_MOST, _PER_FRACTURE = 3, 3
"""Of a spine at most so many break, and at most one in so many."""


class Simulation(Word):
    """The first moves columns around a rigid core, the second displaces surfaces and draws endplates anew."""

    FIRST = "first"
    SECOND = "second"


@dataclass(frozen=True)
class BrokenSpine:
    """A scan with fractures.

    Attributes:
        case: truth in ``case.reference``; heights are None where the scan's own were not read (first simulation).
        plan: (grade, shape) by index among the boxed vertebrae, as the losses are, whatever was asked for.
        losses: anterior, middle and posterior loss of height by the same index.
        families: what kind of map each fracture was made with.
    """

    case: StraightCase
    plan: Mapping[int, tuple[int, str]]
    losses: Mapping[int, tuple[float, float, float]]
    families: Mapping[int, str]

    @property
    def boxed(self) -> list[ReferenceVertebra]:
        return [v for v in self.case.reference.vertebrae if v.box is not None]


def plan_fractures(case: StraightCase, turn: int) -> dict[int, tuple[int, str]]:
    """Which of the case's intact vertebrae break: one in three of them, at most three, the shapes taking turns."""
    able = eligible(case, -np.inf, np.inf)
    rng = np.random.default_rng([17, *case.identifier.encode()])
    count = min(max(len(able) // _PER_FRACTURE, 1), _MOST, len(able))
    chosen = sorted(int(index) for index in rng.choice(able, count, replace=False)) if able else []
    return {index: _EACH[(turn + at) % len(_EACH)] for at, index in enumerate(chosen)}


def broken_spines(
    cases: Sequence[StraightCase],
    simulation: Simulation,
    slice_mm: float | None,
    measured: Sequence[LossMap] = (),
    only: Collection[str] | None = None,
) -> Iterator[BrokenSpine]:
    """Every real case with its fractures, in the order of the cases.

    Args:
        cases: all of them, whichever are wanted: the turns go over all.
        slice_mm: slices to average the broken spine over where its own are thinner; None: as scanned.
        measured: for the second simulation, see ``with_surface_fractures``.
        only: names of the cases to make; None: all.
    """
    turn = 0
    for case in cases:
        plan = plan_fractures(case, turn)
        turn += len(plan)
        if plan and (only is None or case.identifier in only):
            yield break_spine(case, plan, simulation, slice_mm, measured)


def break_spine(
    case: StraightCase,
    plan: Mapping[int, tuple[int, str]],
    simulation: Simulation,
    slice_mm: float | None = None,
    measured: Sequence[LossMap] = (),
) -> BrokenSpine:
    """One case with the fractures of ``plan``; see ``broken_spines``."""
    rng = np.random.default_rng([23, *case.identifier.encode()])
    if simulation == Simulation.SECOND:
        made = with_surface_fractures(case, plan, rng, measured)
        spine = BrokenSpine(made.case, plan, made.losses, made.families)
    else:
        spine = _by_the_first(case, plan, rng)
    if slice_mm is None or slice_mm <= max(case.source_spacing_mm) + 0.3:
        return spine
    phase = float(sum(case.identifier.encode()) % round(slice_mm))
    thick = thicken_slices(spine.case.volume, slice_mm, phase)
    spacing = (*case.source_spacing_mm[:2], slice_mm)
    return replace(spine, case=replace(spine.case, volume=thick, source_spacing_mm=spacing))


def _by_the_first(case: StraightCase, plan: Mapping[int, tuple[int, str]], rng: np.random.Generator) -> BrokenSpine:
    """The first simulation knows the mm that each height lost: what was read before, less these, is the truth.

    It draws a loss of the body and adds steps and concavities; grade and shape here are those of the heights.
    """
    made = with_fractures(case, plan, rng, with_full_width=True)
    before = [v for v in case.reference.vertebrae if v.box is not None]
    losses, told, vertebrae = {}, {}, []
    for index, (old, new) in enumerate(zip(before, made.reference.vertebrae, strict=True)):
        box = old.box
        assert box is not None
        known = old.heights_mm
        if index in plan:
            points = np.array(new.landmarks_ras)
            before_mm = _level_heights(made, box, made.volume.frame.ras_to_straight(points)[:3, 1])
            lost = before_mm - np.linalg.norm(points[:3] - points[3:], axis=1)
            sizes = [height or float(own) for height, own in zip(known, before_mm, strict=True)]
            losses[index] = _three(lost / np.array(sizes))
            known = tuple(None if h is None else h - float(mm) for h, mm in zip(known, lost, strict=True))  # type: ignore[assignment]
            grade = grade_from_loss(max(losses[index]))
            shape = classify_shape(HeightLosses(*losses[index])) if grade else None
            new = replace(new, grade=grade, shape=None if shape is None else str(shape))
            told[index] = (grade, str(shape))
        vertebrae.append(replace(new, heights_mm=known))
    changed = replace(made, reference=replace(made.reference, vertebrae=tuple(vertebrae)))
    return BrokenSpine(changed, plan, losses, dict.fromkeys(plan, "columns"))


def _level_heights(case: StraightCase, box: BodyBox, a_mm: FloatArray) -> FloatArray:
    """Distance in the patient between the planes at a box's two ends, at each a; the planes fan out in a bend."""
    zero = np.zeros(len(a_mm))
    ends = [np.stack([zero, a_mm, zero + s], axis=1) for s in (box.s_sup, box.s_inf)]
    upper, lower = (case.volume.frame.straight_to_ras(points) for points in ends)
    return np.asarray(np.linalg.norm(upper - lower, axis=1))


def _three(values: FloatArray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
