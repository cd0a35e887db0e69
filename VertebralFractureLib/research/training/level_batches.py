"""Batches for the level network: random stretches of columns, so that every landmark is at times missing.

A stretch is cut out of the volume as a short scan is, with the bodies that it cuts; slice thickness, field of view,
scale, shift, rotation, side, density, kernel and noise vary, and at times all soft tissue is taken away, because few
patients teach and a network that knows their organs knows nothing. All stretches of a batch have as many cells, which
spares the network any padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.changed_acquisition import thicken_slices
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.body_network import BodyModel
from VertebralFractureLib.vertebrae.level_column import BEYOND, count_steps, lay_column
from VertebralFractureLib.vertebrae.level_input import (
    COARSE_A,
    COARSE_R,
    FINE_MM,
    LEVEL_CLASSES,
    REGIONS,
    ROWS_PER_CELL,
    STEP_MM,
    build_fine_volume,
    compute_relative_spacing,
    list_coarse_indices,
    list_fine_rows,
    normalize_channels,
    region_of_level,
    sample_column,
)
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFractureLib.vertebrae.localization import compute_body_maps, localize_bodies
from VertebralFractureLib.vertebrae.models import BODY_WEIGHTS
from VertebralFractureLib.weights import load_weights

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Picture ``(n, 3, cells * 6, 28, 32)``, relative spacing ``(n, cells)``, class and region of every cell ``(n, cells)``
or ``UNKNOWN``."""

UNKNOWN = -1
_SHORTEST, _LONGEST = 3, 18
_MATCH_MM = 10.0
_THICK_MM = (3.0, 5.0)
"""Copies of every real scan with slices of this thickness, where its own are thinner."""
_SEEN_SHARE = 0.6
"""A cell of which less is inside the field of view teaches no region."""


@dataclass(frozen=True)
class NamedColumn:
    """Endplates ``(n, 2)`` of bodies one level apart, caudal to cranial, their classes and their regions."""

    extents_mm: FloatArray
    classes: NDArray[np.int64]
    regions: NDArray[np.int64]


class LevelBatches:
    """Callable from a step's seed to a batch; ``real_share`` of them are of real scans as long as there are any."""

    def __init__(self, cases: Sequence[StraightCase], batch_size: int, real_share: float = 0.6) -> None:
        columns = [named_column(case) for case in cases]
        usable = [i for i, column in enumerate(columns) if (column.classes != UNKNOWN).any()]
        if not usable:
            raise RefusedContent("There is no named vertebra to train on.")
        self.columns = {i: columns[i] for i in usable}
        self.fine = {i: [build_fine_volume(volume).half() for volume in _copies(cases[i])] for i in usable}
        axes = {i: cases[i].volume.axis_mm("s") for i in usable}
        self.view_mm = {i: (float(s[0]), float(s[-1])) for i, s in axes.items()}
        real = [i for i in usable if not cases[i].is_phantom]
        phantom = [i for i in usable if cases[i].is_phantom]
        self.pools = [real or phantom, phantom or real]
        self.batch_size, self.real_share = batch_size, real_share

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        pool = self.pools[0 if rng.random() < self.real_share else 1]
        longest = max(len(self.columns[i].classes) for i in pool)
        wanted = int(rng.integers(min(_SHORTEST, longest), min(_LONGEST, longest) + 1))
        able = [i for i in pool if len(self.columns[i].classes) >= wanted]
        samples = [self._sample(int(rng.choice(able)), wanted, rng) for _ in range(self.batch_size)]
        pictures, spacings, classes, regions = zip(*samples, strict=True)
        return torch.stack(pictures), torch.stack(spacings), torch.stack(classes), torch.stack(regions)

    def _sample(
        self, index: int, count: int, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        whole = self.columns[index]
        named = whole.classes != UNKNOWN
        first = int(rng.choice([i for i in range(len(named) - count + 1) if named[i : i + count].any()]))
        part = slice(first, first + count)
        extents = whole.extents_mm[part] + rng.normal(0.0, 1.0, (count, 2))
        low, high = self._window(index, part, rng)
        extents = np.clip(extents, low, high)
        column = lay_column([(float(a), float(b)) for a, b in extents], [1] * (count - 1))
        scale = rng.uniform(0.85, 1.15)
        a, r = _coarse_indices(scale, rng)
        s_from = self.view_mm[index][0]
        rows = list_fine_rows(column, s_from)
        fine = self.fine[index][int(rng.integers(len(self.fine[index])))]
        values = sample_column(fine, rows, a, r, rng.normal(0.0, 0.07))
        seen = (rows * FINE_MM + s_from > low) & (rows * FINE_MM + s_from < high)
        values[2] *= torch.from_numpy(seen.astype(np.float32))[:, None, None]
        _narrow(values, rng)
        _change_hu(values, rng)
        cells = len(column.spacing_mm)
        classes, regions = np.full(cells, UNKNOWN), np.full(cells, UNKNOWN)
        classes[column.found] = whole.classes[part]
        for cell in range(cells):
            at = first + cell - BEYOND
            if 0 <= at < len(named):
                regions[cell] = whole.regions[at]
        regions[seen.reshape(cells, ROWS_PER_CELL).mean(axis=1) < _SEEN_SHARE] = UNKNOWN
        spacing = torch.from_numpy(compute_relative_spacing(column.spacing_mm / scale))
        return normalize_channels(values), spacing, torch.from_numpy(classes), torch.from_numpy(regions)

    def _window(self, index: int, part: slice, rng: np.random.Generator) -> tuple[float, float]:
        """Where the field of view ends: beside the stretch or within its outermost bodies, or as the scan ends."""
        extents = self.columns[index].extents_mm
        low, high = self.view_mm[index]
        if part.start > 0 or rng.random() < 0.4:
            lowest = extents[part.start]
            low = max(low, lowest[0] + rng.uniform(-1.6, 0.5) * (lowest[1] - lowest[0]))
        if part.stop < len(extents) or rng.random() < 0.4:
            highest = extents[part.stop - 1]
            high = min(high, highest[1] + rng.uniform(-0.5, 1.6) * (highest[1] - highest[0]))
        return low, high


def _copies(case: StraightCase) -> list[StraightenedVolume]:
    own = max(case.source_spacing_mm)
    thick = [] if case.is_phantom else [mm for mm in _THICK_MM if own < 0.8 * mm]
    return [case.volume, *(thicken_slices(case.volume, mm, 0.5 * mm) for mm in thick)]


def _coarse_indices(scale: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The columns' indices, scaled about the middle, shifted, and left and right exchanged every second time."""
    a, r = list_coarse_indices()
    wide, deep = scale * rng.normal(1.0, 0.05, 2)
    a = (a - a.mean()) * deep + a.mean() + rng.normal(0.0, 1.5)
    r = ((r - r.mean()) * wide + rng.normal(0.0, 1.0)) * (-1.0 if rng.random() < 0.5 else 1.0) + r.mean()
    return a, r


def _narrow(values: torch.Tensor, rng: np.random.Generator) -> None:
    """Cut the field of view at the sides, in front or at one side, as scans of the spine alone are."""
    r = (np.arange(COARSE_R) + 0.5) * STEP_MM - 0.5 * COARSE_R * STEP_MM
    a = (np.arange(COARSE_A) + 0.5) * STEP_MM
    if rng.random() < 0.25:
        values[2] *= torch.from_numpy((np.abs(r) < rng.uniform(28.0, 64.0)).astype(np.float32))
    if rng.random() < 0.15:
        values[2] *= torch.from_numpy((a < rng.uniform(70.0, 112.0)).astype(np.float32))[:, None]
    if rng.random() < 0.1:
        values[2] *= torch.from_numpy((r < rng.uniform(15.0, 60.0)).astype(np.float32))


def _change_hu(values: torch.Tensor, rng: np.random.Generator) -> None:
    """Another scanner, kernel and patient: scale, offset, sharpness, noise; at times bone alone, or no brightest HU."""
    if rng.random() < 0.25:
        smooth = torch.nn.functional.avg_pool3d(values[None, :2], (1, 3, 3), 1, (0, 1, 1), count_include_pad=False)[0]
        values[:2] += float(rng.uniform(-0.8, 0.6)) * (values[:2] - smooth)
    scale = rng.uniform(0.85, 1.15) if rng.random() < 0.6 else rng.uniform(0.7, 1.35)
    values[:2] = values[:2] * scale + rng.normal(0.0, 25.0 if rng.random() < 0.6 else 80.0)
    shape = values[:2].shape
    values[:2] += torch.from_numpy(rng.normal(0.0, rng.choice([0.0, 10.0, 30.0, 60.0]), shape).astype(np.float32))
    if rng.random() < 0.25:
        values[:2] = values[:2].clamp_min(float(rng.uniform(-120.0, 110.0)))


def named_column(case: StraightCase) -> NamedColumn:
    """The bodies of a case and what they are called.

    A phantom knows all of its bodies. In a real scan they are those that the network finds, as in use: named after the
    reader's that lie there, and counted on where the reader did not go on.
    """
    known = [(v.box.s_inf, v.box.s_sup, _class(v.level), _region(v.level)) for v in case.reference.vertebrae if v.box]
    known.sort()
    if case.is_phantom or not known:
        return _regular(known)
    maps = compute_body_maps(case.volume, BodyModel.from_weights(load_weights(BODY_WEIGHTS)))
    found = [(b.span.s_inferior_mm, b.span.s_superior_mm) for b in localize_bodies(case.volume, maps)]
    names: list[int | None] = [None] * len(found)
    for low, high, number, _ in known:
        distance = [abs(0.5 * (low + high) - 0.5 * (a + b)) for a, b in found]
        if distance and min(distance) <= _MATCH_MM:
            names[int(np.argmin(distance))] = number
    at = [i for i, name in enumerate(names) if name is not None and name != UNKNOWN]
    if len(at) < min(2, len(known)):
        return _regular(known)
    for i in range(len(found)):
        if names[i] is None:
            nearest = min(at, key=lambda j: abs(j - i))
            number = int(names[nearest] or 0) + nearest - i
            names[i] = number if 0 <= number < len(LEVEL_CLASSES) else UNKNOWN
    numbers = [UNKNOWN if n is None else n for n in names]
    regions = [UNKNOWN if n == UNKNOWN else _region(LEVEL_CLASSES[n]) for n in numbers]
    return _regular([(low, high, n, region) for (low, high), n, region in zip(found, numbers, regions, strict=True)])


def _class(level: str | None) -> int:
    return LEVEL_CLASSES.index(level) if level in LEVEL_CLASSES else UNKNOWN


def _region(level: str | None) -> int:
    return REGIONS.index(region_of_level(level)) if level in LEVEL_NUMBERS else UNKNOWN


def _regular(bodies: Sequence[tuple[float, float, int, int]]) -> NamedColumn:
    """The longest run of bodies that lie one level apart."""
    steps = count_steps([(low, high) for low, high, _, _ in bodies])
    starts = [0, *[i + 1 for i, step in enumerate(steps) if step != 1], len(bodies)]
    start, stop = max(itertools.pairwise(starts), key=lambda run: run[1] - run[0])
    run = bodies[start:stop]
    return NamedColumn(
        np.array([(low, high) for low, high, _, _ in run], dtype=np.float64).reshape(-1, 2),
        np.array([number for _, _, number, _ in run], dtype=np.int64),
        np.array([region for _, _, _, region in run], dtype=np.int64),
    )
