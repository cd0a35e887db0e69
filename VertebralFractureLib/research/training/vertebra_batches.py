"""Batches for the body network: crops of straight volumes, bent and blurred as detected centerlines and scanners do.

One 3D resampling makes the seven slabs and the same map in the plane r = 0 moves the targets, so that picture and truth
stay together under every bend.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from VertebralFractureLib.cpr import OUTSIDE_HU
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.collapsed_cases import with_collapses
from VertebralFractureLib.research.training.vertebra_targets import BodyTargets, body_targets
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.vertebrae.body_input import ANTERIOR_FROM_MM, COLUMNS, SLAB_CENTERS_MM
from VertebralFractureLib.volume.hu_windows import VERTEBRA_NETWORKS
from VertebralFractureLib.volume.sampling import sample_tensor

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Input ``(n, 8, rows, 96)``, target and weight ``(n, 3, rows, 96)``."""

ROWS = 176
_MARGIN = 12
_SLAB_OFFSETS_MM = (-0.8, 0.8)


class BodyBatches:
    """Callable from a step's seed to a batch; half of every batch is real as long as there are real cases.

    Every real case also comes with collapses simulated on it, ``variants`` times: no real scan of the development set
    holds a collapsed vertebra, and a network that never saw one takes it for a disc.
    """

    def __init__(
        self, cases: Sequence[StraightCase], batch_size: int, real_share: float = 0.5, variants: int = 2
    ) -> None:
        seeds = range(variants)
        collapsed = [with_collapses(case, seed) for case in cases if not case.is_phantom for seed in seeds]
        self.cases = [*cases, *collapsed]
        self.targets = [body_targets(case) for case in self.cases]
        real = [i for i, case in enumerate(self.cases) if not case.is_phantom]
        phantom = [i for i, case in enumerate(self.cases) if case.is_phantom]
        if not real and not phantom:
            raise RefusedContent("There is no case to train on.")
        self.batch_size = batch_size
        self.pools = [real or phantom, phantom or real]
        self.real_share = real_share
        lengths = np.array([case.volume.hu.shape[0] for case in self.cases], dtype=np.float64)
        self.chances = [lengths[pool] / lengths[pool].sum() for pool in self.pools]

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        samples = []
        for _ in range(self.batch_size):
            kind = 0 if rng.random() < self.real_share else 1
            index = int(rng.choice(self.pools[kind], p=self.chances[kind]))
            samples.append(sample_crop(self.cases[index], self.targets[index], rng))
        pictures, targets, weights = zip(*samples, strict=True)
        return torch.stack(pictures), torch.stack(targets), torch.stack(weights)


def sample_crop(
    case: StraightCase, targets: BodyTargets, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One augmented crop of ``ROWS`` rows; rows beyond the volume are outside the field of view and weigh nothing."""
    count = case.volume.hu.shape[0]
    start = int(rng.integers(-30, max(count - ROWS + 30, -29)))
    low, high = max(start - _MARGIN, 0), min(start + ROWS + _MARGIN, count)
    r0, a0 = case.volume.origin_mm[0], case.volume.origin_mm[1]
    first_r, first_a = round(-22.0 - r0), round(ANTERIOR_FROM_MM - 8.0 - a0)
    columns = slice(first_a, min(first_a + COLUMNS + 16, case.volume.hu.shape[1]))
    block = case.volume.hu[low:high, columns, first_r : first_r + 45].astype(np.float32)
    inside = np.asarray(case.volume.inside[low:high, columns, first_r + 22], dtype=np.float32)
    block = _scanner(block, rng)
    bend = _Bend(rng, ROWS)
    s, a = bend.rows_and_columns(start - low)
    picture = _slabs(block, s, a - first_a - a0, bend.r_shift, 22.0, rng)
    present = _sample_plane(inside[None], np.stack([a - first_a - a0, s], axis=-1))
    moved = np.stack([a - ANTERIOR_FROM_MM, s], axis=-1)
    target = _sample_plane(targets.value[:, low:high], moved)
    weight = _sample_plane(targets.weight[:, low:high], moved)
    present, picture = _cut(present, picture, rng)
    weight = weight * (present > 0.5)
    return torch.cat([picture, present]), target, weight


class _Bend:
    """A smooth random change of the frame: shift, tilt, scale, and a slow wave along s."""

    def __init__(self, rng: np.random.Generator, rows: int) -> None:
        self.row = np.arange(rows, dtype=np.float64)
        phase = rng.uniform(0, 2 * np.pi, 2)
        length = rng.uniform(60.0, 160.0, 2)
        wave = np.sin(2 * np.pi * self.row[None] / length[:, None] + phase[:, None])
        self.a_shift = rng.normal(0, 2.0) + rng.uniform(0, 1.5) * wave[0]
        self.r_shift = rng.normal(0, 1.5) + rng.uniform(0, 1.5) * wave[1]
        self.tilt = rng.normal(0, 0.05)
        self.scale_s, self.scale_a = rng.uniform(0.88, 1.14, 2)

    def rows_and_columns(self, start: float) -> tuple[FloatArray, FloatArray]:
        """Row indices in the block and a in mm of every output pixel, ``(rows, 96)`` each."""
        a = ANTERIOR_FROM_MM + np.arange(COLUMNS, dtype=np.float64)
        middle = 0.5 * len(self.row)
        s = start + middle + (self.row[:, None] - middle) * self.scale_s + self.tilt * (a[None] - 25.0)
        return s, a[None] * self.scale_a + self.a_shift[:, None]


def _slabs(
    block: Float32Array, s: FloatArray, a: FloatArray, shift: FloatArray, zero: float, rng: np.random.Generator
) -> torch.Tensor:
    sign = -1.0 if rng.random() < 0.5 else 1.0
    r = zero + sign * np.add.outer(SLAB_CENTERS_MM, _SLAB_OFFSETS_MM).ravel()
    index = np.stack(np.broadcast_arrays((r[:, None] + shift[None])[:, :, None], a, s), axis=-1)
    # Zeros beyond the block stand for air.
    source = torch.from_numpy(block - OUTSIDE_HU)[None, None]
    values = sample_tensor(source, index[None], beyond="zeros")[0, 0] + OUTSIDE_HU
    slabs = values.view(len(SLAB_CENTERS_MM), len(_SLAB_OFFSETS_MM), *s.shape).mean(1).numpy()
    noise = rng.normal(0.0, 1.0, slabs.shape).astype(np.float32) * np.float32(rng.choice([0.0, 10.0, 30.0]))
    return torch.from_numpy(VERTEBRA_NETWORKS.normalize(slabs + noise))


def _sample_plane(maps: Float32Array, index: FloatArray) -> torch.Tensor:
    source = torch.from_numpy(np.ascontiguousarray(maps))[None]
    return sample_tensor(source, index[None], beyond="zeros")[0]


def _scanner(block: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Another density, and at times thicker slices: a running mean along s."""
    block = block * np.float32(rng.uniform(0.85, 1.15)) + np.float32(rng.normal(0.0, 25.0))
    if rng.random() < 0.3:
        half = int(rng.integers(1, 3))
        padded = np.concatenate([block[:1].repeat(half + 1, 0), block, block[-1:].repeat(half, 0)])
        total = np.cumsum(padded, axis=0, dtype=np.float64)
        width = 2 * half + 1
        block = ((total[width:] - total[:-width]) / width).astype(np.float32)
    return block


def _cut(present: torch.Tensor, picture: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """At times the field of view ends inside the crop, along a tilted line as oblique slices make it."""
    if rng.random() < 0.3:
        rows, columns = np.mgrid[0 : present.shape[1], 0 : present.shape[2]]
        line = rng.uniform(0.05, 0.3) * len(rows) + rng.normal(0.0, 0.2) * (columns - COLUMNS / 2)
        keep = torch.from_numpy((rows > line) if rng.random() < 0.5 else (rows < len(rows) - line))
        present = present * keep
        picture = torch.where(keep[None], picture, VERTEBRA_NETWORKS.normalize(torch.tensor(OUTSIDE_HU)))
    return present, picture
