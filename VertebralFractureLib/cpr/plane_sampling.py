"""Sample planes of a CT: every plane of a spine volume is one plane through the scan, read straight from its voxels.

Within a plane the voxel index is linear in r and a, so a plane needs no table of coordinates; neighbors are gathered
from the scan's own integers, so nothing of the scan is turned into floating point, and for linear interpolation nothing
is copied, whatever its storage order. A plane's result does not depend on which others are sampled with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray

Kernels = tuple[str, str, str]
LINEAR_KERNEL = "linear"
_SAMPLES_PER_CHUNK = 100_000
"""About what the second-level cache holds of the working arrays; larger chunks are slower."""
_MOST_THREADS = 4
_BORDER = 2


@dataclass(frozen=True)
class FlatVoxels:
    """The voxels as one line of memory, without a copy for any transposed, flipped or cropped view.

    Attributes:
        line: the span of memory, ascending.
        first: position of voxel (0, 0, 0) on the line.
        steps: distance of neighbors along (i, j, k) on the line; 0 along an axis with a single voxel.
        size: number of voxels along (i, j, k).
    """

    line: NDArray[np.generic]
    first: int
    steps: tuple[int, int, int]
    size: tuple[int, int, int]

    @staticmethod
    def of(array: NDArray[np.generic]) -> FlatVoxels:
        if any(stride % array.itemsize for stride in array.strides):
            array = np.ascontiguousarray(array)
        forward = array[tuple(slice(None, None, -1 if stride < 0 else None) for stride in array.strides)]
        steps = [stride // array.itemsize if n > 1 else 0 for stride, n in zip(array.strides, array.shape, strict=True)]
        backward = [-step * (n - 1) for step, n in zip(steps, array.shape, strict=True) if step < 0]
        span = 1 + sum(abs(step) * (n - 1) for step, n in zip(steps, array.shape, strict=True))
        line = np.lib.stride_tricks.as_strided(forward, (span,), (array.itemsize,), writeable=False)
        k, j, i = array.shape
        return FlatVoxels(line, sum(backward), (steps[2], steps[1], steps[0]), (i, j, k))


def _keys_weights(fraction: Float32Array, weights: Float32Array) -> None:
    """Cubic convolution at ``fraction`` of the way from the second to the third neighbor: passes through the voxels.

    Source: Keys, IEEE Trans. Acoust. Speech Signal Process. 29 (1981) 1153, with a = -1/2.
    """
    x = fraction
    weights[0] = ((-0.5 * x + 1.0) * x - 0.5) * x
    weights[1] = (1.5 * x - 2.5) * x * x + 1.0
    weights[2] = ((-1.5 * x + 2.0) * x + 0.5) * x
    weights[3] = (0.5 * x - 0.5) * x * x


def _step_exact_weights(fraction: Float32Array, weights: Float32Array) -> None:
    """Four weights as in ``_keys_weights``, for slices as thick as they lie apart: edges come out where they are.

    A slice that an edge crosses holds the mean f of its two sides. Half way between them lies, at all f, the true edge
    only if ``K(x + 1) + (x + 1/2) K(x) = 1/2`` for the kernel K and ``|x| <= 1/2`` (x in slices); linear interpolation
    and convolution miss that by up to 0.09 slices, back and forth with f: the staircase of an oblique endplate. Of the
    kernels that fulfill it this one has the weights of a cubic B-spline on the slices, ``K(0) = 2/3``.
    """
    offset = np.minimum(fraction, 1.0 - fraction)
    nearest = (1.0 - offset * offset) * np.float32(2.0 / 3.0)
    second, third = 0.5 - (0.5 - offset) * nearest, 0.5 - (0.5 + offset) * nearest
    before = fraction <= 0.5
    weights[0] = np.where(before, third, 0.0)
    weights[1] = np.where(before, nearest, second)
    weights[2] = np.where(before, second, nearest)
    weights[3] = np.where(before, 0.0, third)


KERNELS = {"keys": _keys_weights, "step_exact": _step_exact_weights}


def choose_thread_count(threads: int | None) -> int:
    """``threads``, or as many as this process may use, at most four: more only wait for memory."""
    if threads is not None:
        return max(1, threads)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, allowed)


def sample_planes(
    array: NDArray[np.generic],
    planes: FloatArray,
    r_mm: FloatArray,
    a_mm: FloatArray,
    hu: Float32Array,
    inside: BoolArray,
    *,
    kernels: Kernels = (LINEAR_KERNEL, LINEAR_KERNEL, LINEAR_KERNEL),
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Fill ``hu`` and ``inside`` ``[plane, a, r]`` from the voxels ``[k, j, i]``.

    Args:
        planes: ``(n, 3, 3)``; for each plane the voxel index (i, j, k) of r = a = 0, and its change per mm of r and a.
        inside: becomes True where the point lies in a voxel of the scan; elsewhere ``hu`` is left as it is.
        kernels: how neighbors are blended along (i, j, k): two of them, or four with the weights of ``KERNELS``.
    """
    rows = max(1, _SAMPLES_PER_CHUNK // (len(r_mm) * len(a_mm)))
    chunks = [slice(start, min(start + rows, len(planes))) for start in range(0, len(planes), rows)]

    def sample(lot: Sequence[slice]) -> None:
        source = _source(array, planes[lot[0].start : lot[-1].stop], r_mm, a_mm, kernels)
        work = _Workspace(rows * len(r_mm) * len(a_mm), source, kernels)
        for chunk in lot:
            _sample_chunk(source, planes[chunk], r_mm, a_mm, hu[chunk], inside[chunk], work)

    count = choose_thread_count(threads)
    lot_size = max(1, min(8, len(chunks) // (2 * count)))
    lots = [chunks[start : start + lot_size] for start in range(0, len(chunks), lot_size)]
    if count == 1 or len(lots) <= 1:
        for done, lot in enumerate(lots, 1):
            sample(lot)
            if progress is not None:
                progress(done / len(lots))
        return
    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(sample, lot) for lot in lots]
        try:
            for done, finished in enumerate(as_completed(waiting), 1):
                finished.result()
                if progress is not None:
                    progress(done / len(lots))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True)
class _Source:
    """What one lot of planes reads: the scan itself, or for cubic blending a crop of it that repeats its border.

    ``size`` is the scan's along (i, j, k); ``shift`` turns the scan's indices into those of ``voxels``.
    """

    voxels: FlatVoxels
    size: tuple[int, int, int]
    shift: tuple[int, int, int]


def _source(
    array: NDArray[np.generic], planes: FloatArray, r_mm: FloatArray, a_mm: FloatArray, kernels: Kernels
) -> _Source:
    k, j, i = array.shape
    size = (i, j, k)
    if all(kernel == LINEAR_KERNEL for kernel in kernels):
        return _Source(FlatVoxels.of(array), size, (0, 0, 0))
    corners = _corner_indices(planes, r_mm, a_mm)
    low = np.clip(np.floor(corners.min(axis=(0, 1))).astype(int) - 1, 0, np.array(size) - 1)
    high = np.clip(np.floor(corners.max(axis=(0, 1))).astype(int) + 3, low + 1, size)
    crop = array[tuple(slice(first, end) for first, end in zip(low[::-1], high[::-1], strict=True))]
    padded = np.pad(crop, _BORDER, mode="edge")
    shift_i, shift_j, shift_k = (_BORDER - low).tolist()
    return _Source(FlatVoxels.of(padded), size, (shift_i, shift_j, shift_k))


def _corner_indices(planes: FloatArray, r_mm: FloatArray, a_mm: FloatArray) -> FloatArray:
    """``(n, 4, 3)`` voxel indices of the corners of every plane."""
    corners = np.array([(r, a) for r in r_mm[[0, -1]] for a in a_mm[[0, -1]]])
    return np.asarray(planes[:, None, 0] + corners @ planes[:, 1:])


class _Workspace:
    """Arrays of one thread, reused for every chunk."""

    def __init__(self, samples: int, source: _Source, kernels: Kernels) -> None:
        line = source.voxels.line
        self.fractions = np.empty((3, samples), dtype=np.float32)
        self.spare = np.empty((4, samples), dtype=np.float32)
        self.weights_of = {axis: KERNELS[kernel] for axis, kernel in enumerate(kernels) if kernel != LINEAR_KERNEL}
        self.weights = {axis: np.empty((4, samples), dtype=np.float32) for axis in self.weights_of}
        self.indices = np.empty((2, samples), dtype=np.int32 if line.size < 2**31 else np.intp)
        self.positions = np.empty(samples, dtype=np.intp)
        self.values = np.empty((2, samples), dtype=line.dtype)


def _sample_chunk(
    source: _Source,
    planes: FloatArray,
    r_mm: FloatArray,
    a_mm: FloatArray,
    hu: Float32Array,
    inside: BoolArray,
    work: _Workspace,
) -> None:
    shape, count = hu.shape, hu.size
    voxels, size = source.voxels, np.array(source.size)
    corners = _corner_indices(planes, r_mm, a_mm)
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    if np.any(high < -0.5) or np.any(low > size - 0.5):
        inside[...] = False
        return
    cut = bool(np.any(low < 0.0) or np.any(high >= size - 1))
    within: BoolArray | None = np.ones(shape, dtype=np.bool_) if cut else None
    index, partial = (work.indices[row, :count].reshape(shape) for row in (0, 1))
    whole = work.spare[0, :count].reshape(shape)
    for axis in (2, 1, 0):
        along_a = (planes[:, 0, axis, None] + planes[:, 2, axis, None] * a_mm).astype(np.float32)
        along_r = (planes[:, 1, axis, None] * r_mm).astype(np.float32)
        position = work.fractions[axis, :count].reshape(shape)
        np.add(along_a[:, :, None], along_r[:, None, :], out=position)
        last = source.size[axis] - 1
        if within is not None:
            within &= (position >= -0.5) & (position <= last + 0.5)
            np.clip(position, 0.0, last, out=position)
        np.floor(position, out=whole)
        if within is not None:
            np.minimum(whole, max(last - 1, 0), out=whole)
        position -= whole
        partial[...] = whole
        partial += source.shift[axis]
        partial *= voxels.steps[axis]
        if axis == 2:
            index[...] = partial
        else:
            index += partial
    # The gathers only look forward on the line, so start at the neighbor that comes first in memory.
    first = voxels.first + sum(min(_taps(voxels, work, axis)) for axis in range(3))
    np.add(index, first, out=work.positions[:count].reshape(shape))
    result = hu.reshape(-1) if within is None and hu.flags.c_contiguous else np.empty(count, dtype=np.float32)
    for axis, weights in work.weights.items():
        work.weights_of[axis](work.fractions[axis, :count], weights[:, :count])
    _blend_along(2, 0, result, voxels, work)
    values = result.reshape(shape)
    if within is None:
        if not np.shares_memory(values, hu):
            hu[...] = values
        inside[...] = True
    else:
        hu[within] = values[within]
        inside[...] = within


def _taps(voxels: FlatVoxels, work: _Workspace, axis: int) -> list[int]:
    """Distances on the line from the voxel below the point to the ones that are blended along ``axis``."""
    step = voxels.steps[axis]
    return [-step, 0, step, 2 * step] if axis in work.weights else [0, step]


def _blend_along(axis: int, offset: int, out: Float32Array, voxels: FlatVoxels, work: _Workspace) -> None:
    """``out`` becomes the value at every position, blended along ``axis`` and the axes before it."""
    count = len(out)
    taps = _taps(voxels, work, axis)
    offsets = [offset + tap - min(taps) for tap in taps]
    positions = work.positions[:count]
    if axis in work.weights:
        other = work.spare[1 + axis, :count]
        for row, weight in enumerate(work.weights[axis][:, :count]):
            target = out if row == 0 else other
            if axis == 0:
                value = work.values[0, :count]
                voxels.line[offsets[row] :].take(positions, mode="clip", out=value)
                np.multiply(value, weight, out=target)
            else:
                _blend_along(axis - 1, offsets[row], target, voxels, work)
                target *= weight
            if row > 0:
                out += other
        return
    fraction = work.fractions[axis, :count]
    if axis == 0:
        near, far = work.values[:, :count]
        for value, start in ((near, offsets[0]), (far, offsets[1])):
            voxels.line[start:].take(positions, mode="clip", out=value)
        np.subtract(far, near, out=out, dtype=np.float32)
        out *= fraction
        out += near
        return
    other = work.spare[1 + axis, :count]
    _blend_along(axis - 1, offsets[0], out, voxels, work)
    _blend_along(axis - 1, offsets[1], other, voxels, work)
    other -= out
    other *= fraction
    out += other
