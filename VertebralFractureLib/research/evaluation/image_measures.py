"""What no header says of an image: its noise, measured in the canal, and whether its vessels hold contrast medium."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sampling import sample_hu_near

_NOISE_HALF_MM = 3.0
_AHEAD_MM, _ASIDE_MM = (20.0, 85.0), 45.0
_BODY_AHEAD_MM, _BODY_ASIDE_MM = 40.0, 25.0
"""In front of and beside the canal: what lies within is the vertebral body, whose marrow can be as even as blood."""
_STEP_MM = 10.0
_SAMPLING_MM = 1.5
_SMOOTHED, _WINDOW = 3, 7
_MOST_DEVIATION_HU = 25.0
_QUANTILE = 0.75
_BLOOD_HU = (0.0, 450.0)


def canal_noise_hu(ct: CTVolume, centerline: Centerline) -> float | None:
    """Median over the centerline's points of the standard deviation in HU within 6 x 6 mm of their slice.

    None where fewer than three points have their surroundings inside the volume.
    """
    reach = [max(1, round(_NOISE_HALF_MM / step)) for step in ct.spacing_mm[:2]]
    deviations = []
    for i, j, k in np.rint(ct.ras_to_ijk_points(centerline.points_ras)).astype(int):
        if 0 <= k < ct.hu.shape[0] and i >= reach[0] and j >= reach[1]:
            patch = ct.hu[k, j - reach[1] : j + reach[1] + 1, i - reach[0] : i + reach[0] + 1]
            if patch.shape == (2 * reach[1] + 1, 2 * reach[0] + 1):
                deviations.append(float(np.std(patch.astype(np.float64))))
    return float(np.median(deviations)) if len(deviations) >= 3 else None


def vessel_hu(ct: CTVolume, centerline: Centerline) -> float | None:
    """HU of the densest even tissue before the spine: blood, where it is enhanced, else about that of muscle.

    In planes 10 mm apart, before the vertebral bodies (to 85 mm from the canal) and beside them (to 45 mm), the highest
    mean over 10.5 x 10.5 mm in which the content, averaged over 4.5 mm, is even (standard deviation at most 25); of all
    planes the upper quartile, since few hold a vessel whole. None where fewer than three planes have such a place.
    """
    stops = np.arange(0.0, centerline.length_mm, _STEP_MM)
    aside = np.arange(-_ASIDE_MM, _ASIDE_MM + 0.1, _SAMPLING_MM)
    ahead = np.arange(*_AHEAD_MM, _SAMPLING_MM)
    offsets = np.stack([*np.meshgrid(aside, ahead, indexing="ij"), np.zeros((len(aside), len(ahead)))], axis=-1)
    is_bone = (np.abs(offsets[..., 0]) < _BODY_ASIDE_MM) & (offsets[..., 1] < _BODY_AHEAD_MM)
    planes = (sample_hu_near(ct, place + offsets) for place in centerline.positions_ras(stops))
    found = [_densest_even(np.where(is_bone, np.nan, plane)) for plane in planes]
    known = [value for value in found if value is not None]
    return float(np.quantile(known, _QUANTILE)) if len(known) >= 3 else None


def _densest_even(plane: FloatArray) -> float | None:
    values = _window_mean(plane, _SMOOTHED)
    mean = _window_mean(values, _WINDOW)
    deviation = np.sqrt(np.maximum(_window_mean(values**2, _WINDOW) - mean**2, 0.0))
    even = (deviation <= _MOST_DEVIATION_HU) & (mean >= _BLOOD_HU[0]) & (mean <= _BLOOD_HU[1])
    return float(mean[even].max()) if even.any() else None


def _window_mean(values: FloatArray, size: int) -> FloatArray:
    """Mean over every square of ``size`` pixels that lies inside; NaN where one of them is."""
    return np.asarray(sliding_window_view(values, (size, size)).mean(axis=(-2, -1)))
