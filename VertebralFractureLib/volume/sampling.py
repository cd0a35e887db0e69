"""Sample a volume at points; only this module turns voxel indices into values.

Points are continuous voxel indices in the order (i, j, k), as ``CTVolume.ras_to_ijk_points`` gives them; voxel centers
have whole numbers. Arrays are ``[k, j, i]``. NumPy serves thousands of points in double precision, PyTorch millions in
single precision. Only the planes of a reformation have a kernel of their own (``cpr.plane_sampling``): it reads int16
voxels in any storage order without a copy and needs no table of coordinates, which is eight times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    lowest: list[NDArray[np.intp]] = []
    blended: dict[int, tuple[FloatArray, FloatArray]] = {}
    for axis, size in enumerate(array.shape[::-1]):
        inside = np.clip(index[..., axis], 0.0, size - 1.0)
        lower = np.minimum(np.floor(inside), max(size - 2, 0))
        fraction = inside - lower
        if np.any(fraction):
            blended[axis] = (1.0 - fraction, fraction)
        lowest.append(lower.astype(np.intp))
    read = _reader_from(array, lowest)
    values = np.zeros(index.shape[:-1])
    for corner in product((0, 1), repeat=len(blended)):
        steps, weight = dict(zip(blended, corner, strict=True)), np.ones(())
        for axis, step in steps.items():
            weight = weight * blended[axis][step]
        values += weight * read(steps)
    return values


def _reader_from(array: NDArray[Any], lowest: list[NDArray[np.intp]]) -> Callable[[Mapping[int, int]], NDArray[Any]]:
    """What reads the voxels that lie the given steps along axes (0: i) beyond ``lowest``, indices (i, j, k)."""
    if not array.flags.c_contiguous:
        return lambda steps: array[tuple(at + steps.get(axis, 0) for axis, at in enumerate(lowest))[::-1]]
    # One index into the voxels in their order is read faster than one along each axis.
    flat = array.reshape(-1)
    strides = [int(np.prod(array.shape[array.ndim - axis :])) for axis in range(array.ndim)]
    first = sum((stride * at for stride, at in zip(strides[1:], lowest[1:], strict=True)), lowest[0])
    return lambda steps: np.asarray(flat[first + sum(strides[axis] * step for axis, step in steps.items())])


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
