"""Copies of real scans in which bodies are dense or destroyed and keep their height, or are fractured, or both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.changed_acquisition import thicken_slices
from VertebralFractureLib.research.simulation.density_changes import DensityChange, change_density
from VertebralFractureLib.research.simulation.fracture_shapes import random_fracture_count, random_plan
from VertebralFractureLib.research.training.fracture_data import LabeledSpine, boxes_of, eligible, labeled, simulated

THICK_MM = 5.0
_APART = 4
"""Bodies of one copy whose density changes have three untouched ones between them, which they are compared with."""
_MIMIC_SHARE = 0.1


@dataclass(frozen=True)
class DensityCopy:
    """One copy of a scan.

    Attributes:
        kind: "scan", "density", "fractures" or "fractures, density".
        slice_mm: of the copy.
        spine: with the truth of its vertebrae, grade 0 where the density alone was changed.
        changes: by index among the vertebrae.
    """

    kind: str
    slice_mm: float
    spine: LabeledSpine
    changes: Mapping[int, DensityChange]


def density_copies(case: StraightCase, versions: int = 2, fracture_versions: int = 0) -> Iterator[DensityCopy]:
    """The case as it is, ``versions`` copies with changed density, and copies with fractures, without and with it.

    Of thin scans the first with fractures comes with slices of 5 mm too.
    """
    slice_mm = max(case.source_spacing_mm)
    volume = replace(case.volume, hu=np.asarray(case.volume.hu, dtype=np.float32))
    as_it_is = LabeledSpine(volume, labeled(case).vertebrae)
    yield DensityCopy("scan", slice_mm, as_it_is, {})
    able = eligible(case, *case.volume.frame.range_mm)
    if not able:
        return
    kinds = list(DensityChange)
    for version in range(versions):
        rng = np.random.default_rng([version, 17, *case.identifier.encode()])
        start = int(rng.integers(len(kinds)))
        chosen = able[version % _APART :: _APART]
        changes = {index: kinds[(start + order) % len(kinds)] for order, index in enumerate(chosen)}
        if changes:
            yield DensityCopy("density", slice_mm, _with(as_it_is, case, changes, rng, slice_mm), changes)
    for version in range(fracture_versions):
        rng = np.random.default_rng([version, 71, *case.identifier.encode()])
        plan, grades = random_plan(boxes_of(case), able, random_fracture_count(rng), _MIMIC_SHARE, rng)
        broken = simulated(case, plan, grades, volume, rng)
        yield from _thin_and_thick(DensityCopy("fractures", slice_mm, broken, {}), version == 0)
        fractured = [index for index, grade in grades.items() if grade > 0]
        changes = {index: kinds[int(rng.integers(len(kinds)))] for index in fractured}
        both = _with(broken, case, changes, rng, slice_mm)
        yield DensityCopy("fractures, density", slice_mm, both, changes)


def _thin_and_thick(copy: DensityCopy, also_thick: bool) -> Iterator[DensityCopy]:
    yield copy
    if also_thick and copy.slice_mm <= 3.3:
        thick = thicken_slices(copy.spine.volume, THICK_MM, 2.0)
        yield replace(copy, slice_mm=THICK_MM, spine=replace(copy.spine, volume=thick))


def _with(
    spine: LabeledSpine,
    case: StraightCase,
    changes: Mapping[int, DensityChange],
    rng: np.random.Generator,
    slice_mm: float,
) -> LabeledSpine:
    hu = spine.volume.hu
    for index, change in changes.items():
        vertebra = spine.vertebrae[index]
        box = replace(boxes_of(case)[index], s_inf=vertebra.low_mm, s_sup=vertebra.high_mm)
        hu = change_density(hu, spine.volume.origin_mm, box, change, rng, slice_mm)
    return replace(spine, volume=replace(spine.volume, hu=hu))
