"""Label maps in straightened coordinates, voxel by voxel from the nearest neighbor: no label is made up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sampling import sample_nearest


def labels_to_straight(labels: NDArray[np.integer], ct: CTVolume, spine: StraightenedVolume) -> NDArray[np.integer]:
    """``labels`` ``[k, j, i]`` of the CT's grid on the spine volume's; 0 where that is outside.

    Raises:
        ValueError: when the labels are not on the CT's grid.
    """
    if labels.shape != ct.hu.shape:
        raise ValueError(f"The label map {labels.shape} is not on the grid of the CT {ct.hu.shape}.")
    planes = spine.frame.reformat_planes(spine.axis_mm("s"))
    r_mm, a_mm = spine.axis_mm("r")[None, :, None], spine.axis_mm("a")[:, None, None]
    result = np.zeros(spine.hu.shape, dtype=labels.dtype)
    for k in np.flatnonzero(spine.inside.any(axis=(1, 2))):
        points = planes.origin_ras[k] + r_mm * planes.right_ras[k] + a_mm * planes.anterior_ras[k]
        values, within = sample_nearest(labels, ct.ras_to_ijk_points(points))
        result[k] = np.where(within & spine.inside[k], values, 0)
    return result
