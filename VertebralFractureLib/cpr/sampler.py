"""``ReformatSampler``: reformat planes out of one scan, low-pass filtered where the output is coarser than it.

Where a straightened voxel is clearly larger than the scan's, samples are taken between the voxel centers as well and
averaged with a triangle as wide as the distance of two voxels, which keeps constants and suppresses what the coarser
grid cannot show.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from VertebralFractureLib.cpr.frame import ReformatFrame
from VertebralFractureLib.cpr.grid import CUBIC, SMOOTH_THROUGH_SLICES, ReformatBox, ReformatGrid
from VertebralFractureLib.cpr.plane_sampling import LINEAR_KERNEL, Kernels, sample_planes
from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU
from VertebralFractureLib.thresholds import REFORMATTING
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray
from VertebralFractureLib.volume import CTVolume

_PLANES_PER_BATCH = 8


class ReformatSampler:
    """One scan, sampled as one grid wants it; ``threads`` None takes what the machine has, at most four."""

    def __init__(self, ct: CTVolume, grid: ReformatGrid, threads: int | None = None) -> None:
        self._ct = ct = ct.imaged
        self._threads = threads
        self._finer = choose_oversampling(ct, grid.spacing_mm)
        self._kernels = _kernels(ct, grid.interpolation)

    def planes(self, frame: ReformatFrame, box: ReformatBox) -> FloatArray:
        """``(n, m, 3, 3)``: for each plane of the box the planes of the scan that it blends; see ``locate_planes``."""
        finer = self._finer[2]
        between = np.arange(1 - finer, finer) * (box.spacing_mm[2] / finer)
        s = box.axis_mm("s")[:, None] + between
        return locate_planes(self._ct, frame, s.ravel()).reshape(len(s), len(between), 3, 3)

    def sample(
        self, planes: FloatArray, box: ReformatBox, progress: Callable[[float], None] | None = None
    ) -> tuple[Float32Array, BoolArray]:
        """HU float32 and field of view ``[plane, a, r]`` of some of ``planes(frame, box)``."""
        r_mm, a_mm = box.axis_mm("r"), box.axis_mm("a")
        shape = (len(planes), len(a_mm), len(r_mm))
        hu, inside = np.full(shape, OUTSIDE_HU, dtype=np.float32), np.zeros(shape, dtype=np.bool_)
        if self._finer == (1, 1, 1):
            self._fill(planes[:, 0], r_mm, a_mm, hu, inside, progress)
            return hu, inside
        r_fine, a_fine = (_between(axis, n) for axis, n in ((r_mm, self._finer[0]), (a_mm, self._finer[1])))
        for start in range(0, len(planes), _PLANES_PER_BATCH):
            batch = planes[start : start + _PLANES_PER_BATCH]
            fine = np.zeros((batch.shape[0] * batch.shape[1], len(a_fine), len(r_fine)), dtype=np.float32)
            within = np.zeros(fine.shape, dtype=np.bool_)
            self._fill(batch.reshape(-1, 3, 3), r_fine, a_fine, fine, within, None)
            done = slice(start, start + len(batch))
            hu[done], inside[done] = self._averaged(fine, within, len(batch))
            if progress is not None:
                progress(min(1.0, (start + len(batch)) / len(planes)))
        return hu, inside

    def _fill(
        self,
        planes: FloatArray,
        r_mm: FloatArray,
        a_mm: FloatArray,
        hu: Float32Array,
        inside: BoolArray,
        progress: Callable[[float], None] | None,
    ) -> None:
        sample_planes(
            self._ct.hu, planes, r_mm, a_mm, hu, inside, kernels=self._kernels, threads=self._threads, progress=progress
        )

    def _averaged(self, fine: Float32Array, within: BoolArray, count: int) -> tuple[Float32Array, BoolArray]:
        """Mean of what lies inside, weighted; a voxel is inside when its center is."""
        n_r, n_a, n_s = self._finer
        weight = within.astype(np.float32)
        values = fine * weight
        for array_axis, n in ((2, n_r), (1, n_a)):
            values, weight = (_triangle(array, array_axis, n) for array in (values, weight))
        weights = _weights(n_s).astype(np.float32)
        values, weight = (
            np.tensordot(weights, array.reshape(count, len(weights), *array.shape[1:]), axes=([0], [1]))
            for array in (values, weight)
        )
        center = within.reshape(count, len(weights), *within.shape[1:])[:, n_s - 1, n_a - 1 :: n_a, n_r - 1 :: n_r]
        inside = center[:, : values.shape[1], : values.shape[2]]
        hu = np.where(inside, values / np.maximum(weight, 1e-6), np.float32(OUTSIDE_HU))
        return hu.astype(np.float32, copy=False), inside


def _kernels(ct: CTVolume, interpolation: str) -> Kernels:
    """How the scan's voxels are blended along (i, j, k)."""
    if interpolation != SMOOTH_THROUGH_SLICES:
        kernel = "keys" if interpolation == CUBIC else LINEAR_KERNEL
        return kernel, kernel, kernel
    i, j, k = (
        "step_exact"
        if step >= REFORMATTING.thick_slice_mm and voxel < REFORMATTING.overlapping * step
        else LINEAR_KERNEL
        for step, voxel in zip(ct.spacing_mm, ct.resolution_mm, strict=True)
    )
    return i, j, k


def choose_oversampling(ct: CTVolume, spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """Samples per voxel along (r, a, s), from the scan's resolution along the patient's R, A and S; 1 where enough."""
    per_mm = np.abs(np.linalg.inv(ct.ijk_to_ras)[:3, :3]).max(axis=0)
    ratios = np.array(spacing_mm) * per_mm
    r, a, s = (max(2, round(float(ratio))) if ratio >= REFORMATTING.clearly_coarser else 1 for ratio in ratios)
    return r, a, s


def locate_planes(ct: CTVolume, frame: ReformatFrame, s_mm: FloatArray) -> FloatArray:
    """``(len(s_mm), 3, 3)``: for each plane the voxel index of its origin, and its change per mm of r and of a."""
    planes = frame.reformat_planes(s_mm)
    to_index = np.linalg.inv(ct.ijk_to_ras)[:3, :3].T
    origin = ct.ras_to_ijk_points(planes.origin_ras)
    return np.stack([origin, planes.right_ras @ to_index, planes.anterior_ras @ to_index], axis=1)


def _between(axis_mm: FloatArray, n: int) -> FloatArray:
    """``n`` samples per voxel, and ``n - 1`` beyond each end."""
    if n == 1:
        return axis_mm
    step = (axis_mm[1] - axis_mm[0] if len(axis_mm) > 1 else 1.0) / n
    return np.asarray(axis_mm[0] + step * np.arange(1 - n, n * (len(axis_mm) - 1) + n))


def _weights(n: int) -> FloatArray:
    """``(2n - 1,)`` triangle that adds up to 1."""
    return np.asarray((n - np.abs(np.arange(1 - n, n))) / n**2)


def _triangle(values: Float32Array, axis: int, n: int) -> Float32Array:
    """Every ``n``-th weighted mean along one axis."""
    if n == 1:
        return values
    count = (values.shape[axis] - (2 * n - 1)) // n + 1
    moved = np.moveaxis(values, axis, -1)
    parts = [weight * moved[..., tap : tap + n * (count - 1) + 1 : n] for tap, weight in enumerate(_weights(n))]
    return np.moveaxis(np.sum(parts, axis=0, dtype=np.float32), -1, axis)
