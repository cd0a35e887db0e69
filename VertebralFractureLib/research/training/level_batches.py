"""Batches for the level network: random stretches of columns, so that every landmark is at times missing.

A stretch is cut out of the volume as a short scan is, with the bodies that it cuts; scale, shift, tilt, side, density
and noise vary. All stretches of a batch have as many cells, which spares the network any padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.level_column import count_steps, lay_column
from VertebralFractureLib.vertebrae.level_input import (
    FINE_MM,
    LEVEL_CLASSES,
    build_fine_volume,
    compute_relative_spacing,
    list_coarse_indices,
    list_fine_rows,
    normalize_channels,
    sample_column,
)
from VertebralFractureLib.vertebrae.localization import compute_body_maps, localize_bodies
from VertebralFractureLib.vertebrae.models import VertebraModels

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Picture ``(n, 3, cells * 6, 28, 32)``, relative spacing ``(n, cells)``, class of every cell ``(n, cells)`` or -1."""

UNKNOWN = -1
_SHORTEST, _LONGEST = 3, 20
_MATCH_MM = 10.0


@dataclass(frozen=True)
class NamedColumn:
    """Endplates ``(n, 2)`` of bodies one level apart, caudal to cranial, and their classes (or ``UNKNOWN``)."""

    extents_mm: FloatArray
    classes: NDArray[np.int64]


class LevelBatches:
    """Callable from a step's seed to a batch; ``real_share`` of them are of real scans as long as there are any."""

    def __init__(self, cases: Sequence[StraightCase], batch_size: int, real_share: float = 0.6) -> None:
        columns = [named_column(case) for case in cases]
        usable = [i for i, column in enumerate(columns) if (column.classes != UNKNOWN).any()]
        if not usable:
            raise ValueError("There is no named vertebra to train on.")
        self.columns = {i: columns[i] for i in usable}
        self.fine = {i: build_fine_volume(cases[i].volume).half() for i in usable}
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
        pictures, spacings, classes = zip(*samples, strict=True)
        return torch.stack(pictures), torch.stack(spacings), torch.stack(classes)

    def _sample(
        self, index: int, count: int, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        whole = self.columns[index]
        named = whole.classes != UNKNOWN
        first = int(rng.choice([i for i in range(len(named) - count + 1) if named[i : i + count].any()]))
        part = slice(first, first + count)
        extents = whole.extents_mm[part] + rng.normal(0.0, 0.7, (count, 2))
        low, high = self._window(index, part, rng)
        extents = np.clip(extents, low, high)
        column = lay_column([(float(a), float(b)) for a, b in extents], [1] * (count - 1))
        scale = rng.uniform(0.85, 1.15)
        a, r = list_coarse_indices()
        a = (a - a.mean()) * scale + a.mean() + rng.normal(0.0, 1.5)
        r = ((r - r.mean()) * scale + rng.normal(0.0, 1.0)) * (-1.0 if rng.random() < 0.5 else 1.0) + r.mean()
        s_from = self.view_mm[index][0]
        rows = list_fine_rows(column, s_from)
        values = sample_column(self.fine[index], rows, a, r, rng.normal(0.0, 0.05))
        seen = (rows * FINE_MM + s_from > low) & (rows * FINE_MM + s_from < high)
        values[2] *= torch.from_numpy(seen.astype(np.float32))[:, None, None]
        values[:2] = values[:2] * rng.uniform(0.85, 1.15) + rng.normal(0.0, 25.0)
        noise = torch.from_numpy(rng.normal(0.0, rng.choice([0.0, 10.0, 30.0]), values[:2].shape).astype(np.float32))
        values[:2] += noise
        classes = np.full(len(column.spacing_mm), UNKNOWN)
        classes[column.found] = whole.classes[part]
        spacing = torch.from_numpy(compute_relative_spacing(column.spacing_mm / scale))
        return normalize_channels(values), spacing, torch.from_numpy(classes)

    def _window(self, index: int, part: slice, rng: np.random.Generator) -> tuple[float, float]:
        """Where the field of view ends: beside the stretch or within its outermost bodies, or as the scan ends."""
        extents = self.columns[index].extents_mm
        low, high = self.view_mm[index]
        if part.start > 0 or rng.random() < 0.4:
            lowest = extents[part.start]
            low = max(low, lowest[0] + rng.uniform(-0.8, 0.5) * (lowest[1] - lowest[0]))
        if part.stop < len(extents) or rng.random() < 0.4:
            highest = extents[part.stop - 1]
            high = min(high, highest[1] + rng.uniform(-0.5, 0.8) * (highest[1] - highest[0]))
        return low, high


def named_column(case: StraightCase) -> NamedColumn:
    """The bodies of a case and what they are called.

    A phantom knows all of its bodies. In a real scan they are those that the network finds, as in use: named after the
    reader's that lie there, and counted on where the reader did not go on.
    """
    known = [(v.box.s_inf, v.box.s_sup, _class(v.level)) for v in case.reference.vertebrae if v.box is not None]
    known.sort()
    if case.is_phantom or not known:
        return _regular(known)
    maps = compute_body_maps(case.volume, VertebraModels.load().body)
    found = [(b.span.s_inferior_mm, b.span.s_superior_mm) for b in localize_bodies(case.volume, maps)]
    names: list[int | None] = [None] * len(found)
    for low, high, number in known:
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
    return _regular(
        [(low, high, int(n if n is not None else UNKNOWN)) for (low, high), n in zip(found, names, strict=True)]
    )


def _class(level: str | None) -> int:
    return LEVEL_CLASSES.index(level) if level in LEVEL_CLASSES else UNKNOWN


def _regular(bodies: Sequence[tuple[float, float, int]]) -> NamedColumn:
    """The longest run of bodies that lie one level apart."""
    steps = count_steps([(low, high) for low, high, _ in bodies])
    starts = [0, *[i + 1 for i, step in enumerate(steps) if step != 1], len(bodies)]
    start, stop = max(itertools.pairwise(starts), key=lambda run: run[1] - run[0])
    run = bodies[start:stop]
    return NamedColumn(
        np.array([(low, high) for low, high, _ in run], dtype=np.float64).reshape(-1, 2),
        np.array([number for _, _, number in run], dtype=np.int64),
    )
