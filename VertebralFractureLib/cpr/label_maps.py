"""Label maps to straight space and back, voxel by voxel from the nearest neighbor: no label is made up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sampling import sample_nearest

_NEIGHBORHOOD = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])


def labels_to_straight(labels: NDArray[np.integer], ct: CTVolume, spine: StraightenedVolume) -> NDArray[np.integer]:
    """``labels`` ``[k, j, i]`` of the CT's grid on the spine volume's; 0 where that is outside.

    Raises:
        ValueError: when the labels are not on the CT's grid.
    """
    if labels.shape != ct.hu.shape:
        raise ValueError(f"The label map {labels.shape} is not on the grid of the CT {ct.hu.shape}.")
    sections = spine.frame.reformat_planes(spine.axis_mm("s"))
    r_mm, a_mm = spine.axis_mm("r")[None, :, None], spine.axis_mm("a")[:, None, None]
    result = np.zeros(spine.hu.shape, dtype=labels.dtype)
    for k in np.flatnonzero(spine.inside.any(axis=(1, 2))):
        points = sections.origin_ras[k] + r_mm * sections.right_ras[k] + a_mm * sections.anterior_ras[k]
        values, within = sample_nearest(labels, ct.ras_to_ijk_points(points))
        result[k] = np.where(within & spine.inside[k], values, 0)
    return result


def labels_to_patient(labels: NDArray[np.integer], spine: StraightenedVolume, ct: CTVolume) -> NDArray[np.integer]:
    """``labels`` ``[k, j, i]`` of the spine volume's grid on the CT's; 0 where no straight voxel lies.

    Raises:
        ValueError: when the labels are not on the spine volume's grid.
    """
    if labels.shape != spine.hu.shape:
        raise ValueError(f"The label map {labels.shape} is not on the grid of the spine volume {spine.hu.shape}.")
    result = np.zeros(ct.hu.shape, dtype=labels.dtype)
    candidates = _voxels_near(np.argwhere((labels != 0) & spine.inside)[:, ::-1], spine, ct)
    straight = spine.frame.ras_to_straight(ct.ijk_to_ras_points(candidates.astype(np.float64)))
    index = np.rint((straight - np.array(spine.origin_mm)) / np.array(spine.spacing_mm)).astype(np.intp)
    within = np.all((index >= 0) & (index < np.array(labels.shape[::-1])), axis=1)
    index, candidates = index[within], candidates[within]
    values = labels[index[:, 2], index[:, 1], index[:, 0]]
    values[~spine.inside[index[:, 2], index[:, 1], index[:, 0]]] = 0
    result[candidates[:, 2], candidates[:, 1], candidates[:, 0]] = values
    return result


def _voxels_near(ijk_straight: NDArray[np.intp], spine: StraightenedVolume, ct: CTVolume) -> NDArray[np.intp]:
    """``(n, 3)`` voxels (i, j, k) of the CT that a labeled straight voxel may cover, each once."""
    touched = np.zeros(ct.hu.shape, dtype=np.bool_)
    size = np.array(ct.hu.shape[::-1])
    straight = np.array(spine.origin_mm) + ijk_straight * np.array(spine.spacing_mm)
    # Wide enough for straight voxels of any size: the corners and the middle, and the neighbors of where they land.
    for corner in _NEIGHBORHOOD * 0.5 * np.array(spine.spacing_mm):
        index = np.rint(ct.ras_to_ijk_points(spine.frame.straight_to_ras(straight + corner))).astype(np.intp)
        i, j, k = index[np.all((index >= 0) & (index < size), axis=1)].T
        touched[k, j, i] = True
    return np.argwhere(_dilated(touched))[:, ::-1]


def _dilated(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    for axis in range(3):
        grown = mask.copy()
        ahead, behind = np.moveaxis(grown, axis, 0), np.moveaxis(mask, axis, 0)
        ahead[1:] |= behind[:-1]
        ahead[:-1] |= behind[1:]
        mask = grown
    return mask
