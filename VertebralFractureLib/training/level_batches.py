"""Batches for the level network: random stretches of coarse straight volumes, so that every anchor is at times missing.

Volumes are kept at 2 mm in memory and resampled to 4 mm at a random scale, shift and tilt; only rows inside a named
vertebra carry a target.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralFractureLib.training.straight_cache import StraightCase
from VertebralFractureLib.vertebrae.body_input import normalise_hu
from VertebralFractureLib.vertebrae.level_input import COARSE_A, COARSE_R, LEVEL_CLASSES, STEP_MM, pooled

Batch = tuple[torch.Tensor, torch.Tensor]
"""Input ``(n, 2, rows, 28, 32)`` and class per row ``(n, rows)``, -1 where nothing is known."""

ROWS = 80
_FINE = 2
UNKNOWN = -1


class LevelBatches:
    """Callable from a step's seed to a batch; ``real_share`` of it are real scans as long as there are any."""

    def __init__(self, cases: Sequence[StraightCase], batch_size: int, real_share: float = 0.6) -> None:
        self.fine = [pooled(case.volume.hu, _FINE).astype(np.float16) for case in cases]
        self.inside = [pooled(case.volume.inside, _FINE).astype(np.float16) for case in cases]
        self.classes = [row_classes(case) for case in cases]
        usable = [i for i, classes in enumerate(self.classes) if (classes != UNKNOWN).any()]
        real = [i for i in usable if not cases[i].is_phantom]
        phantom = [i for i in usable if cases[i].is_phantom]
        if not usable:
            raise ValueError("There is no named vertebra to train on.")
        self.pools = [real or phantom, phantom or real]
        self.batch_size, self.real_share = batch_size, real_share

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        samples = [self._sample(rng) for _ in range(self.batch_size)]
        pictures, classes = zip(*samples, strict=True)
        return torch.stack(pictures), torch.stack(classes)

    def _sample(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        index = int(rng.choice(self.pools[0 if rng.random() < self.real_share else 1]))
        fine, inside, classes = self.fine[index], self.inside[index], self.classes[index]
        known = np.flatnonzero(classes != UNKNOWN)
        scale = rng.uniform(0.85, 1.15)
        length = float(rng.uniform(15.0, ROWS))
        centre = float(rng.choice(known)) / (STEP_MM / scale) + rng.normal(0.0, 5.0)
        rows = np.arange(ROWS, dtype=np.float64)
        s = (centre + rows - ROWS / 2) * (STEP_MM / _FINE) * scale
        low = rng.uniform(0.0, ROWS - length)
        visible = (rows >= low) & (rows < low + length) & (s > -0.5) & (s < len(fine) - 0.5)
        grid = _grid(s, fine.shape, scale, rng)
        sources = torch.from_numpy(np.stack([fine.astype(np.float32), inside.astype(np.float32)]))
        moved = torch.nn.functional.grid_sample(sources[None], grid[None], align_corners=True)[0].numpy()
        hu = moved[0] * rng.uniform(0.85, 1.15) + rng.normal(0.0, 25.0)
        hu = hu + rng.normal(0.0, 1.0, hu.shape) * rng.choice([0.0, 15.0, 40.0])
        hu = np.where((moved[1] > 0.5) & visible[:, None, None], hu, -1024.0)
        picture = np.stack([normalise_hu(hu.astype(np.float32)), moved[1] * visible[:, None, None]])
        at = np.clip(np.rint(s * _FINE).astype(int), 0, len(classes) - 1)
        target = np.where(visible, classes[at], UNKNOWN)
        return torch.from_numpy(picture.astype(np.float32)), torch.from_numpy(target)


def row_classes(case: StraightCase) -> NDArray[np.int64]:
    """Class index for every row at 1 mm, ``UNKNOWN`` outside the named vertebrae and for supernumerary ones."""
    s = case.volume.axis_mm("s")
    classes = np.full(len(s), UNKNOWN, dtype=np.int64)
    for vertebra in case.reference.vertebrae:
        if vertebra.box is not None and vertebra.level in LEVEL_CLASSES:
            rows = (s >= vertebra.box.s_inf) & (s <= vertebra.box.s_sup)
            classes[rows] = LEVEL_CLASSES.index(vertebra.level)
    return classes


def _grid(s: NDArray[np.float64], shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> torch.Tensor:
    """Where every coarse voxel ``(rows, 28, 32)`` is read in the 2 mm volume; mirrored in r half of the time."""
    step = STEP_MM / _FINE * scale
    a = (np.arange(COARSE_A) - 12.0) * step + 24.0 + rng.normal(0.0, 1.5)
    r = (np.arange(COARSE_R) - 15.5) * step * (-1.0 if rng.random() < 0.5 else 1.0) + 31.5 + rng.normal(0.0, 1.0)
    tilt = rng.normal(0.0, 0.05)
    grid = np.empty((len(s), COARSE_A, COARSE_R, 3), dtype=np.float32)
    grid[..., 0] = r[None, None, :] * (2.0 / (shape[2] - 1)) - 1.0
    grid[..., 1] = a[None, :, None] * (2.0 / (shape[1] - 1)) - 1.0
    grid[..., 2] = (s[:, None, None] + tilt * (a[None, :, None] - 35.0)) * (2.0 / (shape[0] - 1)) - 1.0
    return torch.from_numpy(grid)
