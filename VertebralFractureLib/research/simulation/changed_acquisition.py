"""The same spine as another scanner would show it: thicker slices, other HU, more noise, a narrower field of view.

All of it acts on the straightened volume, where slices are taken to be normal to the canal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.types import Float32Array

_LOWEST_HU, _HIGHEST_HU = -1024.0, 3071.0


def thicken_slices(spine: StraightenedVolume, slice_mm: float, phase_mm: float = 0.0) -> StraightenedVolume:
    """A spine volume at 1 mm along s, its rows as ``thicken_rows`` leaves them."""
    return replace(spine, hu=thicken_rows(spine.hu, slice_mm, phase_mm))


def thicken_rows(hu: NDArray[Any], slice_mm: float, phase_mm: float = 0.0) -> Float32Array:
    """Average rows over slices of ``slice_mm``, ``slice_mm`` apart, and interpolate linearly between them.

    Args:
        hu: ``[k, j, i]``, rows 1 mm apart.
        phase_mm: where the first slice begins, from 0 to ``slice_mm``.
    """
    rows = hu.shape[0]
    starts = np.arange(phase_mm - slice_mm, rows, slice_mm)
    share = np.clip(
        np.minimum(np.arange(rows) + 1.0, starts[:, None] + slice_mm) - np.maximum(np.arange(rows), starts[:, None]),
        0.0,
        1.0,
    )
    held = share.sum(axis=1) > 0.0
    share = share[held] / share[held].sum(axis=1, keepdims=True)
    middles = starts[held] + 0.5 * slice_mm
    where = np.interp(np.arange(rows) + 0.5, middles, np.arange(len(middles)))
    low = np.minimum(where.astype(int), max(len(middles) - 2, 0))
    high = np.minimum(low + 1, len(middles) - 1)
    upper = np.clip(where - low, 0.0, 1.0)
    mix = (1.0 - upper)[:, None] * share[low] + upper[:, None] * share[high]
    flat = np.asarray(hu, dtype=np.float32).reshape(rows, -1)
    return np.asarray((mix.astype(np.float32) @ flat).reshape(hu.shape))


def change_hu(
    spine: StraightenedVolume, scale: float = 1.0, offset: float = 0.0, noise_sd: float = 0.0, seed: int = 0
) -> StraightenedVolume:
    """Water keeps to 0 HU times ``scale`` plus ``offset``; air stays at -1024, the noise is white at 1 mm."""
    hu = np.asarray(spine.hu, dtype=np.float32)
    changed = hu * np.float32(scale) + np.float32(offset)
    if noise_sd > 0.0:
        changed += np.random.default_rng(seed).normal(0.0, noise_sd, hu.shape).astype(np.float32)
    return replace(spine, hu=np.clip(changed, _LOWEST_HU, _HIGHEST_HU))


def narrow_view(spine: StraightenedVolume, lateral_mm: float, front_mm: float) -> StraightenedVolume:
    """Leave only what lies within ``lateral_mm`` to either side and ``front_mm`` in front of the canal."""
    r, a = spine.axis_mm("r"), spine.axis_mm("a")
    seen = (np.abs(r)[None, :] <= lateral_mm) & (a <= front_mm)[:, None]
    hu = np.where(seen[None], np.asarray(spine.hu, dtype=np.float32), np.float32(_LOWEST_HU))
    return replace(spine, hu=hu, inside=np.asarray(spine.inside) & seen[None])


def _change_together(spine: StraightenedVolume, seed: int) -> StraightenedVolume:
    """Thick slices, other HU and noise at once, at random."""
    rng = np.random.default_rng([5, seed])
    slice_mm = float(rng.choice([3.0, 4.0, 5.0]))
    thick = thicken_slices(spine, slice_mm, float(rng.uniform(0.0, 3.0)))
    scale, offset = float(rng.choice([0.85, 1.0, 1.2])), float(rng.choice([-50.0, 0.0, 50.0, 100.0]))
    return change_hu(thick, scale, offset, float(rng.choice([0.0, 20.0, 40.0])), seed)


def _changed(
    scale: float = 1.0, offset: float = 0.0, noise_sd: float = 0.0, slice_mm: float | None = None, phase_mm: float = 0.0
) -> Callable[[StraightenedVolume, int], StraightenedVolume]:
    def change(spine: StraightenedVolume, seed: int) -> StraightenedVolume:
        thick = spine if slice_mm is None else thicken_slices(spine, slice_mm, phase_mm)
        return change_hu(thick, scale, offset, noise_sd, seed)

    return change


CHANGES: Mapping[str, Callable[[StraightenedVolume, int], StraightenedVolume]] = {
    "as it is": _changed(),
    "3 mm slices": _changed(slice_mm=3.0, phase_mm=1.0),
    "5 mm slices": _changed(slice_mm=5.0, phase_mm=2.0),
    "HU - 50": _changed(offset=-50.0),
    "HU + 50": _changed(offset=50.0),
    "HU + 100": _changed(offset=100.0),
    "HU + 150": _changed(offset=150.0),
    "HU x 0.8": _changed(scale=0.8),
    "HU x 1.25": _changed(scale=1.25),
    "noise 40 HU": _changed(noise_sd=40.0),
    "narrow view": lambda spine, _: narrow_view(spine, lateral_mm=40.0, front_mm=60.0),
    "together": _change_together,
}
"""Changes that leave every level what it is, by name; each takes the spine and a seed."""
