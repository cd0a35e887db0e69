"""Sample a volume at points; only this module turns voxel indices into values.

Points are continuous voxel indices in the order (i, j, k), as ``CTVolume.ras_to_ijk_points`` gives them; voxel centers
have whole numbers. Arrays are ``[k, j, i]``. NumPy serves thousands of points in double precision, PyTorch millions in
single precision. Only the planes of a reformation have a kernel of their own (``cpr.plane_sampling``): it reads int16
voxels in any storage order without a copy and needs no table of coordinates, which is eight times as fast.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.torch_arrays import to_tensor
from VertebralFractureLib.types import BoolArray, FloatArray

if TYPE_CHECKING:
    import torch

    from VertebralFractureLib.volume.ct_volume import CTVolume

Scalar = TypeVar("Scalar", bound=np.generic)


def sample_nearest(array: NDArray[Scalar], index: FloatArray) -> tuple[NDArray[Scalar], BoolArray]:
    """Read the voxels nearest to ``index`` ``(..., 3)``.

    Returns:
        Values ``(...)`` in the array's own type, and whether each point lies within a voxel of the array; where it does
        not, the value is that of voxel (0, 0, 0) and means nothing.
    """
    nearest = np.rint(index).astype(np.intp)
    within = np.all((nearest >= 0) & (nearest < np.array(array.shape[::-1])), axis=-1)
    i, j, k = np.moveaxis(np.where(within[..., None], nearest, 0), -1, 0)
    return array[k, j, i], within


def sample_hu_near(ct: CTVolume, points_ras: FloatArray) -> FloatArray:
    """HU of the voxels nearest to RAS points ``(..., 3)``; NaN outside the volume."""
    values, within = sample_nearest(ct.hu, ct.ras_to_ijk_points(points_ras))
    return np.where(within, values.astype(np.float64), np.nan)


def sample_hu_between(ct: CTVolume, points_ras: FloatArray) -> FloatArray:
    """HU at RAS points ``(..., 3)``, linear between voxels; NaN outside the volume.

    Where a point lies halfway between two slices, the nearest voxel would change with the last digit of the geometry.
    """
    index = ct.ras_to_ijk_points(points_ras)
    within = np.all((index >= -0.5) & (index <= np.array(ct.shape_kji[::-1]) - 0.5), axis=-1)
    return np.where(within, sample_linear(ct.hu, index), np.nan)


def sample_linear(array: NDArray[Any], index: FloatArray) -> FloatArray:
    """Interpolate linearly between the voxels around ``index`` ``(..., d)`` of an array of d axes.

    The last axis of ``index`` runs against the axes of the array, so that it is (i, j) or (i, j, k). Beyond the outer
    voxel centers the values of the border go on. An axis on which all indices are whole is not blended.
    """
    size = np.array(array.shape[::-1])
    inside = np.clip(index, 0.0, size - 1.0)
    lower = np.minimum(np.floor(inside), np.maximum(size - 2, 0)).astype(np.intp)
    fraction = inside - lower
    blended = [axis for axis in range(len(size)) if np.any(fraction[..., axis])]
    values = np.zeros(index.shape[:-1])
    for corner in product((0, 1), repeat=len(blended)):
        at, weight = lower.copy(), np.ones(index.shape[:-1])
        for axis, step in zip(blended, corner, strict=True):
            at[..., axis] += step
            weight *= fraction[..., axis] if step else 1.0 - fraction[..., axis]
        values += weight * array[tuple(np.moveaxis(at, -1, 0)[::-1])]
    return values


def sample_tensor(
    images: torch.Tensor, index: torch.Tensor | NDArray[np.floating], *, beyond: str = "border"
) -> torch.Tensor:
    """Interpolate linearly in single precision, all channels at once.

    Args:
        images: ``(n, channels, j, i)`` or ``(n, channels, k, j, i)``.
        index: ``(n, ..., d)`` with as many axes as ``images``; last axis (i, j) or (i, j, k). Given in double
            precision, it keeps that until it is scaled.
        beyond: ``"border"``: the values of the border go on; ``"zeros"``: they fade to 0 within a voxel.

    Returns:
        ``(n, channels, ...)``.
    """
    import torch

    size = np.array(images.shape[:1:-1], dtype=np.float64)
    scale = 2.0 / np.maximum(size - 1.0, 1.0)
    if isinstance(index, np.ndarray):
        grid = to_tensor((index * scale.astype(index.dtype) - 1.0).astype(np.float32))
    else:
        grid = index * torch.tensor(scale, dtype=index.dtype, device=index.device) - 1.0
    return torch.nn.functional.grid_sample(
        images, grid.to(images.dtype), mode="bilinear", padding_mode=beyond, align_corners=True
    )
