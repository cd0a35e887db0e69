"""Whether a scan was taken with contrast medium, read from the vessels before the spine where no header says it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.canal.bony_canal import hu_near
from VertebralFractureLib.torch_arrays import to_tensor
from VertebralFractureLib.volume import CTVolume

_AHEAD_MM, _ASIDE_MM = (20.0, 85.0), 45.0
_BODY_AHEAD_MM, _BODY_ASIDE_MM = 40.0, 25.0
"""In front of and beside the canal: what lies within is the vertebral body, whose marrow can be as even as blood."""
_STEP_MM = 10.0
_SAMPLING_MM = 1.5
_SMOOTHED, _WINDOW = 3, 7
_MOST_DEVIATION_HU = 25.0
_QUANTILE = 0.75
_BLOOD_HU = (0.0, 450.0)


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
    planes = (hu_near(ct, place + offsets) for place in centerline.positions_ras(stops))
    found = [_densest_even(np.where(is_bone, np.nan, plane)) for plane in planes]
    known = [value for value in found if value is not None]
    return float(np.quantile(known, _QUANTILE)) if len(known) >= 3 else None


def _densest_even(plane: NDArray[np.float64]) -> float | None:
    values = torch.nn.functional.avg_pool2d(to_tensor(plane)[None, None], _SMOOTHED, 1)
    mean = torch.nn.functional.avg_pool2d(values, _WINDOW, 1)
    spread = (torch.nn.functional.avg_pool2d(values**2, _WINDOW, 1) - mean**2).clamp_min(0.0).sqrt()
    even = (spread <= _MOST_DEVIATION_HU) & (mean >= _BLOOD_HU[0]) & (mean <= _BLOOD_HU[1])
    return float(mean[even].max()) if bool(even.any()) else None
