"""``AxialStack``: any CT, oblique or not, as axial slices of the patient on one coarse grid that the network reads.

The volume is first averaged in blocks of its own voxels to about 2 mm and only then interpolated, so that thin or noisy
slices are averaged rather than skipped, and time follows the size of the body and not of the scan. Blocks and grid are
laid from the world's origin, so that neither a crop nor another order of storage moves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralFractureLib.thresholds import CANAL_STACK
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sampling import sample_tensor

OUTSIDE_HU = -1024.0
IN_PLANE_MM = 2.0
SLICE_MM = 4.0
_BLOCK_MM = 2.0
_CHUNK_POINTS = 250_000
"""Points of the stack that are worked on at a time; bounds the working memory."""
_STRAIGHT = 1e-3
"""Voxels of the scan's blocks by which the grid's axes may run off those of the array from one end to the other."""
POOLED_PIXELS = 16
"""Pixels of a slice that the network pools into one at its lowest level."""
_FROM_BOUNDARY = 0.29
"""Added before an index is rounded down; odd, because headers put the world's origin on voxels or between two."""
FROM_FACE_MM = 0.37
"""The least distance of a slice from the scan's outer faces; odd for the same reason."""


@dataclass(frozen=True)
class AxialStack:
    """Axial slices of the patient.

    Attributes:
        hu: ``[k, j, i]`` with i to the patient's right (+R), j anterior (+A), k cranial (+S); outside the
            scan's field of view the value is ``OUTSIDE_HU``.
        origin_ras: RAS mm of voxel (0, 0, 0).
        spacing_mm: along (R, A, S).
        extent_s_mm: RAS S of the scan's outer faces, caudal and cranial.
    """

    hu: NDArray[np.generic]
    origin_ras: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    extent_s_mm: tuple[float, float]

    @property
    def heights_mm(self) -> FloatArray:
        """RAS S of every slice."""
        return self.origin_ras[2] + self.spacing_mm[2] * np.arange(len(self.hu), dtype=np.float64)

    def as_volume(self) -> CTVolume:
        """The stack with its geometry as a matrix; the voxels are shared."""
        matrix = np.diag([*self.spacing_mm, 1.0])
        matrix[:3, 3] = self.origin_ras
        return CTVolume(self.hu, matrix)


@dataclass(frozen=True)
class AxialStacks:
    """The stacks of one CT on any grid; the voxels are averaged in blocks once, with the first of them."""

    ct: CTVolume

    def build(
        self,
        slice_mm: float = SLICE_MM,
        in_plane_mm: float = IN_PLANE_MM,
        *,
        around_ras: FloatArray | None = None,
        margin_mm: float = 0.0,
    ) -> AxialStack:
        """Resample the CT onto axial slices of the patient; the in-plane extent is cropped to what is denser than air.

        Voxels lie on whole multiples of the spacing from the world's origin, and the first of every slice on one of
        ``POOLED_PIXELS`` times as much, so that a network that pools sees the same patient on the same grid after a
        crop.

        Args:
            around_ras: points ``(n, 3)``; what lies farther than ``margin_mm`` from their box is left out.
        """
        blocks, ijk_to_ras = self._blocks
        low, high = compute_bounds_ras(self.ct.imaged.shape_kji, self.ct.imaged.ijk_to_ras)
        body_low, body_high = self._body_bounds
        extent_s = (float(low[2]), float(high[2]))
        low[:2] = np.maximum(low[:2], body_low[:2] - CANAL_STACK.body_margin_mm)
        high[:2] = np.minimum(high[:2], body_high[:2] + CANAL_STACK.body_margin_mm)
        step = np.array([in_plane_mm, in_plane_mm, slice_mm])
        first, stop = np.zeros(3, dtype=int), np.zeros(3, dtype=int)
        first[:2] = POOLED_PIXELS * np.floor(low[:2] / (POOLED_PIXELS * step[:2])).astype(int)
        stop[:2] = POOLED_PIXELS * np.ceil(high[:2] / (POOLED_PIXELS * step[:2])).astype(int)
        first[2] = np.ceil((low[2] + FROM_FACE_MM) / slice_mm)
        stop[2] = np.floor((high[2] - FROM_FACE_MM) / slice_mm) + 1
        counts, origin = np.maximum(stop - first, [POOLED_PIXELS, POOLED_PIXELS, 1]), first * step
        if around_ras is not None:
            begin, end = lay_crop(around_ras, margin_mm, origin, step, counts)
            counts, origin = end - begin, origin + begin * step
        hu = _interpolate(blocks, ijk_to_ras, origin, step, counts)
        r, a, s = (float(value) for value in origin)
        return AxialStack(hu, (r, a, s), (in_plane_mm, in_plane_mm, slice_mm), extent_s)

    @cached_property
    def _blocks(self) -> tuple[Float32Array, FloatArray]:
        return _block_means(self.ct.imaged)

    @cached_property
    def _body_bounds(self) -> tuple[FloatArray, FloatArray]:
        return _body_bounds_ras(*self._blocks)


def build_axial_stack(ct: CTVolume, slice_mm: float = SLICE_MM, in_plane_mm: float = IN_PLANE_MM) -> AxialStack:
    """One stack of ``ct``, as ``AxialStacks.build`` makes it."""
    return AxialStacks(ct).build(slice_mm, in_plane_mm)


def lay_crop(
    points_ras: FloatArray, margin_mm: float, origin: FloatArray, step: FloatArray, counts: NDArray[np.int_]
) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """First voxel and the one after the last, (i, j, k), of the box of points ``(n, 3)`` with a margin on a grid."""
    index, margin = (points_ras - origin) / step, margin_mm / step
    begin = np.clip(np.floor(index.min(axis=0) - margin).astype(int), 0, counts - 1)
    end = np.clip(np.ceil(index.max(axis=0) + margin).astype(int) + 1, begin + 1, counts)
    return begin, end


def _block_means(ct: CTVolume) -> tuple[Float32Array, FloatArray]:
    """Means over blocks of whole voxels and their IJK-to-RAS matrix; first and last blocks may hold fewer voxels."""
    spacing = np.array(ct.spacing_mm)
    factors = np.maximum(np.floor(_BLOCK_MM / spacing + 0.25).astype(int), 1)
    factors = np.minimum(factors, np.array(ct.shape_kji[::-1]))
    missing = _missing_before(ct, factors)
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, :3] = ct.ijk_to_ras[:3, :3] * factors
    matrix[:3, 3] += ct.ijk_to_ras[:3, :3] @ (0.5 * (factors - 1) - missing)
    sizes = np.array(ct.hu.shape) + missing[::-1]
    means = np.empty(-(-sizes // factors[::-1]), dtype=np.float32)
    (fi, fj, fk), (mi, mj, mk) = (tuple(int(value) for value in values) for values in (factors, missing))
    blocks = zip(ct.hu.shape, (fk, fj, fi), (mk, mj, mi), strict=True)
    held = [_count_held(size, factor, lack) for size, factor, lack in blocks]
    for block in range(len(means)):
        voxels = ct.hu[max(block * fk - mk, 0) : (block + 1) * fk - mk]
        plane = voxels[0].astype(np.float32)
        for other in voxels[1:]:
            plane += other
        plane = _add_blocks(_add_blocks(plane, fj, mj, means.shape[1]).T, fi, mi, means.shape[2]).T
        np.divide(plane, held[0][block] * held[1][:, None] * held[2][None], out=means[block])
    return means, matrix


def _add_blocks(plane: Float32Array, factor: int, missing: int, count: int) -> Float32Array:
    """Sums ``(count, n)`` over ``factor`` neighboring rows of ``(m, n)``; the first block lacks ``missing`` of them."""
    if factor == 1:
        return plane
    total = np.zeros((count, plane.shape[1]), dtype=np.float32, order="F" if plane.flags.f_contiguous else "C")
    for shift in range(factor):
        first = (shift - missing) % factor
        part = plane[first::factor]
        at = (first + missing) // factor
        total[at : at + len(part)] += part
    return total


def _count_held(size: int, factor: int, missing: int) -> Float32Array:
    """How many voxels each block along an axis of ``size`` voxels holds."""
    return np.bincount((np.arange(size) + missing) // factor).astype(np.float32)


def _missing_before(ct: CTVolume, factors: NDArray[np.int_]) -> NDArray[np.int_]:
    """How many voxels along i, j and k the first block lacks, where blocks begin at the voxel of the world's origin.

    They are counted along the positive direction of the world, so that a flipped axis has the same blocks.
    """
    sizes = np.array(ct.shape_kji[::-1])
    axes = ct.ijk_to_ras[:3, :3]
    flipped = axes[np.abs(axes).argmax(axis=0), np.arange(3)] < 0.0
    origin = np.linalg.inv(ct.ijk_to_ras)[:3, 3]
    begin = np.floor(np.where(flipped, sizes - 1.0 - origin, origin) + _FROM_BOUNDARY).astype(int)
    return np.asarray(-np.where(flipped, sizes - begin, begin) % factors)


def compute_bounds_ras(shape_kji: tuple[int, int, int], ijk_to_ras: FloatArray) -> tuple[FloatArray, FloatArray]:
    """RAS box around the outer faces of a grid."""
    k, j, i = shape_kji
    corners = np.array([[x, y, z] for x in (-0.5, i - 0.5) for y in (-0.5, j - 0.5) for z in (-0.5, k - 0.5)])
    ras = corners @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
    return ras.min(axis=0), ras.max(axis=0)


def _body_bounds_ras(blocks: Float32Array, ijk_to_ras: FloatArray) -> tuple[FloatArray, FloatArray]:
    dense = blocks > CANAL_STACK.body_from_hu
    if not dense.any():
        return compute_bounds_ras((1, 1, 1), ijk_to_ras)
    first, count = np.zeros(3), np.zeros(3)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != 2 - axis)
        filled = np.flatnonzero(dense.any(axis=others))
        first[axis], count[axis] = filled[0], filled[-1] - filled[0] + 1
    moved = ijk_to_ras.copy()
    moved[:3, 3] += ijk_to_ras[:3, :3] @ first
    return compute_bounds_ras((int(count[2]), int(count[1]), int(count[0])), moved)


def _interpolate(
    blocks: Float32Array, ijk_to_ras: FloatArray, origin: FloatArray, step: FloatArray, counts: NDArray[np.int_]
) -> Float32Array:
    """HU ``[k, j, i]`` on the grid, linear between the blocks; ``OUTSIDE_HU`` beyond their outer faces."""
    inverse = np.linalg.inv(ijk_to_ras)
    axes = inverse[:3, :3] * step
    start = inverse[:3, :3] @ origin + inverse[:3, 3]
    along = np.abs(axes).argmax(axis=0)
    aside = np.abs(axes)
    aside[along, np.arange(3)] = 0.0
    if len(set(along.tolist())) == 3 and float((aside @ counts).max()) < _STRAIGHT:
        return _interpolate_straight(blocks, axes[along, np.arange(3)], start[along], along, counts)
    size = np.array(blocks.shape[::-1], dtype=np.float64)
    source = to_tensor(blocks)[None, None]
    i = torch.arange(int(counts[0]), dtype=torch.float32)[None, None, :, None] * _row(axes[:, 0])
    j = torch.arange(int(counts[1]), dtype=torch.float32)[None, :, None, None] * _row(axes[:, 1])
    plane = i + j + _row(start)
    hu = np.full((int(counts[2]), int(counts[1]), int(counts[0])), OUTSIDE_HU, dtype=np.float32)
    limit = torch.tensor(size - 0.5, dtype=torch.float32)
    rows = max(1, _CHUNK_POINTS // int(counts[0] * counts[1]))
    for first in range(0, int(counts[2]), rows):
        k = torch.arange(first, min(first + rows, int(counts[2])), dtype=torch.float32)[:, None, None, None]
        index = plane + k * _row(axes[:, 2])
        inside = ((index >= -0.5) & (index <= limit)).all(dim=-1)
        values = sample_tensor(source, index[None])[0, 0]
        values[~inside] = OUTSIDE_HU
        hu[first : first + rows] = to_array(values)
    return hu


def _interpolate_straight(
    blocks: Float32Array, step: FloatArray, start: FloatArray, along: NDArray[np.int_], counts: NDArray[np.int_]
) -> Float32Array:
    """The same where the grid's axes lie along those of the array, one axis after the other.

    Args:
        along: for R, A and S the axis of the array, 0 for i, 1 for j and 2 for k.
        step, start: of the grid on that axis, in blocks.
    """
    values = to_tensor(blocks.transpose([2 - int(axis) for axis in along[::-1]]))
    for axis in range(3):
        size, way = values.shape[axis], 2 - axis
        index = start[way] + step[way] * np.arange(int(counts[way]))
        outside = (index < -0.5) | (index > size - 0.5)
        index = np.clip(index, 0.0, size - 1.0)
        lower = np.minimum(index.astype(np.int64), max(size - 2, 0))
        share = torch.tensor(index - lower, dtype=torch.float32).view(
            [-1 if axis == other else 1 for other in range(3)]
        )
        at = to_tensor(lower)
        below, above = (values.index_select(axis, one) for one in (at, (at + 1).clamp(max=size - 1)))
        values = below.add_(above.sub_(below).mul_(share))
        values.index_fill_(axis, to_tensor(np.flatnonzero(outside)), OUTSIDE_HU)
    return to_array(values)


def _row(values: FloatArray) -> torch.Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)
