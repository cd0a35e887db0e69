"""What the scanner does to the drawn anatomy: slice thickness, kernel, noise, streaks, and the int16 range.

The drawing has several sub-slices per slice; averaging them over the slice profile gives the partial volume that makes
endplates vanish on thick slices, which is the effect a network must learn to live with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.raster import mix_along
from VertebralFractureLib.types import Float32Array as Field

_METAL_HU = 2600.0
_RANGE_HU = (-1024, 3071)


def sub_slices(spacing_mm: float) -> int:
    """How many sub-slices are drawn per slice: odd, so that one of them is the slice's middle."""
    return 1 if spacing_mm <= 1.3 else 3 if spacing_mm <= 4.2 else 5


def scan(drawn: Field, options: PhantomOptions, per_slice: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """The CT ``[k, j, i]`` from the drawn sub-slices ``[per_slice * k, j, i]``."""
    streaks = _metal_streaks(drawn, options, rng)
    hu = _average_slices(drawn, options, per_slice)
    sigma = (options.blur_mm / options.spacing_mm[1], options.blur_mm / options.spacing_mm[0])
    hu = _blur(_blur(hu, 1, sigma[0]), 2, sigma[1])
    if options.sharpening > 0.0:
        wide = 1.1
        soft = _blur(_blur(hu, 1, wide / options.spacing_mm[1]), 2, wide / options.spacing_mm[0])
        hu += np.float32(0.9 * options.sharpening) * (hu - soft)
    hu += _noise(hu.shape, options, rng)
    if streaks is not None:
        hu += streaks[per_slice // 2 :: per_slice][: len(hu)]
    np.clip(hu, *_RANGE_HU, out=hu)
    return np.asarray(np.round(hu), dtype=np.int16)


def _average_slices(drawn: Field, options: PhantomOptions, per_slice: int) -> Field:
    count = len(drawn) // per_slice
    step = options.spacing_mm[2] / per_slice
    reach = 0.5 * max(options.slice_thickness_mm, options.spacing_mm[2] / per_slice)
    half = int(np.ceil(reach / step - 0.5))
    offsets = np.arange(-half, half + 1)
    weights = np.clip((reach - (np.abs(offsets) - 0.5) * step) / step, 0.0, 1.0)
    weights /= weights.sum()
    middle = per_slice // 2 + per_slice * np.arange(count)
    result = np.zeros((count, *drawn.shape[1:]), dtype=np.float32)
    for offset, weight in zip(offsets, weights, strict=True):
        if weight > 0.0:
            result += np.float32(weight) * drawn[np.clip(middle + offset, 0, len(drawn) - 1)]
    return result


def _blur(values: Field, axis: int, sigma: float) -> Field:
    """Gaussian along one axis, edges repeated; sigma in voxels."""
    count = values.shape[axis]
    if sigma < 0.15:
        return values
    radius = int(np.ceil(3.0 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((count, count), dtype=np.float32)
    for offset, weight in zip(range(-radius, radius + 1), kernel, strict=True):
        np.add.at(matrix, (np.arange(count), np.clip(np.arange(count) + offset, 0, count - 1)), np.float32(weight))
    return mix_along(values, axis, matrix)


def _noise(shape: tuple[int, ...], options: PhantomOptions, rng: np.random.Generator) -> Field:
    """Noise whose texture follows the kernel, of standard deviation ``noise_hu``."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    correlation_mm = 0.75 * (1.0 - 0.75 * options.sharpening)
    noise = _blur(_blur(noise, 1, correlation_mm / options.spacing_mm[1]), 2, correlation_mm / options.spacing_mm[0])
    sample = noise[:: max(1, len(noise) // 8)]
    return np.asarray(noise * np.float32(options.noise_hu / max(float(sample.std()), 1e-6)), dtype=np.float32)


def _metal_streaks(drawn: Field, options: PhantomOptions, rng: np.random.Generator) -> Field | None:
    """Dark and bright rays through metal, slice by slice; None without metal."""
    metal = drawn > _METAL_HU
    rows = np.flatnonzero(metal.any(axis=(1, 2)))
    if not options.screw_levels or len(rows) == 0:
        return None
    streaks = np.zeros_like(drawn)
    j, i = np.indices(drawn.shape[1:], dtype=np.float32)
    angles = rng.uniform(0.0, np.pi, 14)
    strengths = rng.normal(0.0, 90.0, 14)
    for row in rows:
        where = np.argwhere(metal[row])
        for side in (where[where[:, 1] <= np.median(where[:, 1])], where[where[:, 1] > np.median(where[:, 1])]):
            if len(side) == 0:
                continue
            y, x = j - np.float32(side[:, 0].mean()), i - np.float32(side[:, 1].mean())
            fade = np.exp(-np.hypot(x, y) / 55.0)
            for angle, strength in zip(angles, strengths, strict=True):
                across = x * np.float32(np.sin(angle)) - y * np.float32(np.cos(angle))
                streaks[row] += np.float32(strength) * fade * np.exp(-((across / 2.2) ** 2))
    return streaks
