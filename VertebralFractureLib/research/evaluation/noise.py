"""How noisy a scan is, measured where nothing but fluid and cord should be: in its spinal canal."""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.volume import CTVolume

_HALF_MM = 3.0


def canal_noise_hu(ct: CTVolume, centerline: Centerline) -> float | None:
    """Median over the centerline's points of the standard deviation in HU within 6 x 6 mm of their slice.

    None where fewer than three points have their surroundings inside the volume.
    """
    reach = [max(1, round(_HALF_MM / step)) for step in ct.spacing_mm[:2]]
    deviations = []
    for i, j, k in np.rint(ct.ras_to_ijk_points(centerline.points_ras)).astype(int):
        if 0 <= k < ct.hu.shape[0] and i >= reach[0] and j >= reach[1]:
            patch = ct.hu[k, j - reach[1] : j + reach[1] + 1, i - reach[0] : i + reach[0] + 1]
            if patch.shape == (2 * reach[1] + 1, 2 * reach[0] + 1):
                deviations.append(float(np.std(patch.astype(np.float64))))
    return float(np.median(deviations)) if len(deviations) >= 3 else None
