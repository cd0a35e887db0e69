"""Batches for the upright network: stretches of columns, half of them with the head end down.

Density, noise, scale, tilt, side and where the field of view ends vary, as for the level network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.orientation.estimation import reverse_column
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.training.level_batches import named_column
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.level_column import lay_column
from VertebralFractureLib.vertebrae.level_input import (
    ROWS_PER_CELL,
    build_fine_volume,
    compute_relative_spacing,
    list_coarse_indices,
    list_fine_rows,
    normalize_channels,
    sample_column,
)

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Picture ``(n, 3, cells * 6, 28, 32)``; relative spacing and whether it holds a body of each cell; up ``(n,)``."""

_SHORTEST, _LONGEST = 3, 8


@dataclass(frozen=True)
class _Column:
    fine: torch.Tensor
    s_from_mm: float
    extents_mm: FloatArray

    def reversed(self) -> _Column:
        fine, extents = reverse_column(self.fine, self.s_from_mm, self.extents_mm)
        return _Column(fine, self.s_from_mm, extents)


class UprightBatches:
    """Callable from a step's seed to a batch; ``real_share`` of them are of real scans as long as there are any."""

    def __init__(self, cases: Sequence[StraightCase], batch_size: int, real_share: float = 0.75) -> None:
        self.pools: tuple[list[_Column], list[_Column]] = ([], [])
        for case in cases:
            extents = named_column(case).extents_mm
            if len(extents) >= _SHORTEST:
                fine = build_fine_volume(case.volume)
                self.pools[case.is_phantom].append(_Column(fine, case.volume.origin_mm[2], extents))
        if not any(self.pools):
            raise RefusedContent("There is no column of vertebrae to train on.")
        self.batch_size, self.real_share = batch_size, real_share

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        pool = self.pools[0 if rng.random() < self.real_share else 1] or self.pools[0] or self.pools[1]
        longest = max(len(column.extents_mm) for column in pool)
        count = int(rng.integers(_SHORTEST, min(_LONGEST, longest) + 1))
        able = [column for column in pool if len(column.extents_mm) >= count]
        samples: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]] = []
        while len(samples) < self.batch_size:
            sample = _sample(able[int(rng.integers(len(able)))], count, rng)
            # A column with a hole has more cells; the next one has as many as the first.
            if not samples or sample[1].shape == samples[0][1].shape:
                samples.append(sample)
        pictures, spacings, found, up = zip(*samples, strict=True)
        return torch.stack(pictures), torch.stack(spacings), torch.stack(found), torch.tensor(up)


def _sample(
    whole: _Column, count: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    first = int(rng.integers(len(whole.extents_mm) - count + 1))
    part = _Column(
        whole.fine, whole.s_from_mm, whole.extents_mm[first : first + count] + rng.normal(0.0, 0.8, (count, 2))
    )
    is_up = bool(rng.random() < 0.5)
    part = part if is_up else part.reversed()
    column = lay_column([(float(low), float(high)) for low, high in part.extents_mm])
    scale = rng.uniform(0.85, 1.15)
    a, r = list_coarse_indices()
    a = (a - a.mean()) * scale + a.mean() + rng.normal(0.0, 1.5)
    r = ((r - r.mean()) * scale + rng.normal(0.0, 1.0)) * rng.choice([-1.0, 1.0]) + r.mean()
    values = sample_column(part.fine, list_fine_rows(column, part.s_from_mm), a, r, rng.normal(0.0, 0.05))
    low, high = int(column.found[0]) * ROWS_PER_CELL, (int(column.found[-1]) + 1) * ROWS_PER_CELL
    if rng.random() < 0.25:
        values[2, : max(low - int(rng.integers(0, 4)), 0)] = 0.0
    if rng.random() < 0.25:
        values[2, high + int(rng.integers(0, 4)) :] = 0.0
    values[:2] = values[:2] * rng.uniform(0.85, 1.15) + rng.normal(0.0, 40.0)
    if rng.random() < 0.3:
        thick = torch.nn.functional.avg_pool3d(values[None, :2], (3, 1, 1), 1, (1, 0, 0), count_include_pad=False)
        values[:2] = thick[0]
    values[:2] += torch.from_numpy(rng.normal(0.0, rng.choice([0.0, 10.0, 30.0]), values[:2].shape).astype(np.float32))
    found = torch.zeros(len(column.spacing_mm))
    found[torch.from_numpy(column.found)] = 1.0
    spacing = torch.from_numpy(compute_relative_spacing(column.spacing_mm / scale))
    return normalize_channels(values), spacing, found, float(is_up)
