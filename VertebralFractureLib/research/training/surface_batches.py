"""Batches for the surface network: blocks around bodies with hints that err, as other scanners and frames show them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from VertebralFractureLib.research.simulation.incidental_findings import reacquired
from VertebralFractureLib.research.training.surface_windows import Window
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray
from VertebralFractureLib.vertebrae.surface_input import assemble_channels, block_axes_mm
from VertebralFractureLib.volume.sampling import sample_tensor

Batch = tuple[torch.Tensor, torch.Tensor]
"""Input ``(n, 2, *SHAPE)`` and signed distance in mm ``(n, 1, *SHAPE)``."""

_KINDS = {"fracture": 0.28, "drawn fracture": 0.28, "scan": 0.2, "phantom": 0.24}
_THICK_MM, _THICK_WEIGHT = 3.3, 0.4
"""A surface that was fitted to thicker slices is a millimeter worse: such scans are drawn less often."""
_OUTSIDE_HU = -1000.0


class SurfaceBatches:
    """Callable from a step's seed to a batch."""

    def __init__(self, windows: Sequence[Window], batch_size: int) -> None:
        self.batch_size = batch_size
        self.pools = {kind: [window for window in windows if window.kind == kind] for kind in _KINDS}
        self.pools = {kind: pool for kind, pool in self.pools.items() if pool}
        if not self.pools:
            raise ValueError("There is no window to train on.")
        shares = np.array([_KINDS[kind] for kind in self.pools])
        self.shares = shares / shares.sum()
        self.chances = {}
        for kind, pool in self.pools.items():
            weight = np.array([1.0 if kind == "phantom" or w.slice_mm <= _THICK_MM else _THICK_WEIGHT for w in pool])
            self.chances[kind] = weight / weight.sum()

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng([3, seed])
        pictures, targets = [], []
        for _ in range(self.batch_size):
            kind = str(rng.choice(list(self.pools), p=self.shares))
            window = self.pools[kind][int(rng.choice(len(self.pools[kind]), p=self.chances[kind]))]
            picture, target = sample_block(window, rng)
            pictures.append(picture)
            targets.append(target)
        return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(targets))


def sample_block(window: Window, rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
    """One block of a window: input ``(2, *SHAPE)`` and distance ``(1, *SHAPE)``, both moved and turned alike."""
    hu, distance = window.hu, window.distance_mm
    inside = hu > _OUTSIDE_HU
    if rng.random() < 0.35:
        _change_discs(hu, distance, inside, rng)
    hu, _ = reacquired(hu, inside, window.slice_mm, rng)
    size = rng.uniform(0.88, 1.15) * rng.uniform(0.95, 1.05, 3)
    low, high = (rng.normal(0.0, _hint_error_mm(rng)) for _ in range(2))
    height = max((window.height_mm + high - low) / size[0], 5.0)
    shift = np.array([0.5 * (low + high), rng.normal(0.0, 2.5), rng.normal(0.0, 1.5)])
    index = _placed(window, rng, size, shift)
    both = torch.from_numpy(np.stack([hu, distance]))[None]
    found = sample_tensor(both, index[None].astype(np.float32))[0].numpy()
    picture = assemble_channels(_faded(found[0], index, hu.shape), height)
    # A voxel is size times a millimeter wide, so a distance shrinks by it.
    return picture, found[1:] / np.float32(size.mean())


def _hint_error_mm(rng: np.random.Generator) -> float:
    """Standard deviation of an endplate's localization: mostly good, at times a disc or a band off."""
    return float(rng.choice([0.8, 2.5, 5.0], p=[0.55, 0.3, 0.15]))


def _placed(window: Window, rng: np.random.Generator, size: FloatArray, shift: FloatArray) -> FloatArray:
    """Window indices ``(*SHAPE, 3)`` (i, j, k) of the block's voxels."""
    s, a, r = (axis * n for axis, n in zip(block_axes_mm(), size, strict=True))
    mirrored = -1.0 if rng.random() < 0.5 else 1.0
    turn = window.turn_rad + rng.normal(0.0, np.radians(4.0))
    tilt, lean = rng.normal(0.0, np.radians(6.0)), rng.normal(0.0, np.radians(4.0))
    s, a, r = np.meshgrid(s + shift[0], a + shift[1], mirrored * (r + shift[2]), indexing="ij")
    s, a = s * np.cos(tilt) + a * np.sin(tilt), a * np.cos(tilt) - s * np.sin(tilt)
    s, r = s * np.cos(lean) + r * np.sin(lean), r * np.cos(lean) - s * np.sin(lean)
    r, a = r * np.cos(turn) + a * np.sin(turn), a * np.cos(turn) - r * np.sin(turn)
    return np.asarray(np.stack([r, a, s], axis=-1) + np.array(window.middle))


def _faded(hu: Float32Array, index: FloatArray, shape: tuple[int, ...]) -> Float32Array:
    """HU with what lies beyond the window as outside the field of view."""
    beyond = np.any((index < -0.5) | (index > np.array(shape[::-1]) - 0.5), axis=-1)
    return np.where(beyond, np.float32(-1024.0), hu)


def _change_discs(hu: Float32Array, distance: Float32Array, inside: BoolArray, rng: np.random.Generator) -> None:
    """A vacuum disc or a fused one, and a dense or a lucent band along an endplate, in place.

    They look like an edge where there is none, or hide one that is there.
    """
    k = np.arange(len(hu), dtype=np.float32)[:, None, None]
    own: BoolArray = np.less(distance, -1.0)
    if not own.any():
        return
    rows = np.flatnonzero(own.any(axis=(1, 2)))
    middle = 0.5 * (rows[0] + rows[-1])
    foot = np.asarray(own.any(axis=0))[None]
    side = 1.0 if rng.random() < 0.5 else -1.0
    beyond: BoolArray = np.logical_and((k - middle) * side > 0.0, foot)
    kind = rng.choice(["vacuum", "fused", "band"])
    blob = _blob(hu.shape, rng)
    if kind == "vacuum":
        gap = beyond & (distance > rng.uniform(0.5, 1.5)) & (distance < rng.uniform(2.5, 4.5)) & (blob > rng.normal())
        hu[gap & inside] = np.float32(rng.uniform(-600.0, -80.0))
    elif kind == "fused":
        bone = np.float32(np.median(hu[own]))
        gap = np.asarray(np.logical_and.reduce((beyond, distance > -1.0, distance < 5.0, inside)))
        share = np.float32(rng.uniform(0.5, 1.0))
        hu[gap] += share * (np.maximum(bone + 60.0 * blob[gap], hu[gap]) - hu[gap])
    else:
        depth, width = rng.uniform(1.0, 8.0), rng.uniform(1.0, 3.0)
        band = np.exp(-0.5 * ((distance + depth) / width) ** 2) * beyond * (distance < 0.0) * np.clip(1.0 + blob, 0, 2)
        hu += np.float32(rng.uniform(-150.0, 350.0)) * np.asarray(band, dtype=np.float32)


def _blob(shape: tuple[int, ...], rng: np.random.Generator) -> Float32Array:
    """A smooth random field of standard deviation about 1 over some 8 mm."""
    coarse = torch.from_numpy(rng.normal(0.0, 1.3, [n // 8 + 2 for n in shape]).astype(np.float32))
    grown = torch.nn.functional.interpolate(coarse[None, None], size=shape, mode="trilinear", align_corners=True)
    return np.asarray(grown[0, 0].numpy())
