"""Sample planes of a CT: every row of a spine volume is one plane through the scan, read straight from its voxels.

Within a plane the voxel index is linear in r and a, so a row needs no table of coordinates; the eight neighbours are
gathered from the scan's own integers, so nothing of the scan is copied or turned into floating point, whatever its
storage order. A row's result does not depend on which other rows are sampled with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_SAMPLES_PER_CHUNK = 100_000
"""About what the second-level cache holds of the working arrays; larger chunks are slower."""
_MOST_THREADS = 4


@dataclass(frozen=True)
class FlatVoxels:
    """The voxels as one line of memory, without a copy for any transposed, flipped or cropped view.

    Attributes:
        line: the span of memory, ascending.
        first: position of voxel (0, 0, 0) on the line.
        steps: distance of neighbours along (i, j, k) on the line; 0 along an axis with a single voxel.
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


def thread_count(threads: int | None) -> int:
    """``threads``, or as many as this process may use, at most four: more only wait for memory."""
    if threads is not None:
        return max(1, threads)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, allowed)


def sample_planes(
    voxels: FlatVoxels,
    planes: FloatArray,
    r_mm: FloatArray,
    a_mm: FloatArray,
    hu: NDArray[np.float32],
    inside: NDArray[np.bool_],
    *,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Fill ``hu`` and ``inside`` ``[plane, a, r]`` by trilinear interpolation.

    Args:
        planes: ``(n, 3, 3)``; for each plane the voxel index (i, j, k) of r = a = 0, and its change per mm of r and a.
        inside: becomes True where the point lies in a voxel of the scan; elsewhere ``hu`` is left as it is.
    """
    rows = max(1, _SAMPLES_PER_CHUNK // (len(r_mm) * len(a_mm)))
    chunks = [slice(start, min(start + rows, len(planes))) for start in range(0, len(planes), rows)]

    def sample(lot: Sequence[slice]) -> None:
        work = _Workspace(rows * len(r_mm) * len(a_mm), voxels)
        for chunk in lot:
            _sample_chunk(voxels, planes[chunk], r_mm, a_mm, hu[chunk], inside[chunk], work)

    count = thread_count(threads)
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


class _Workspace:
    """Arrays of one thread, reused for every chunk."""

    def __init__(self, samples: int, voxels: FlatVoxels) -> None:
        index_type = np.int32 if voxels.line.size < 2**31 else np.intp
        self.floats = np.empty((6, samples), dtype=np.float32)
        self.indices = np.empty((2, samples), dtype=index_type)
        self.positions = np.empty(samples, dtype=np.intp)
        self.values = np.empty((2, samples), dtype=voxels.line.dtype)


def _sample_chunk(
    voxels: FlatVoxels,
    planes: FloatArray,
    r_mm: FloatArray,
    a_mm: FloatArray,
    hu: NDArray[np.float32],
    inside: NDArray[np.bool_],
    work: _Workspace,
) -> None:
    shape = hu.shape
    count = hu.size
    fractions = [work.floats[axis, :count].reshape(shape) for axis in range(3)]
    whole, first, second = (work.floats[row, :count].reshape(shape) for row in (3, 4, 5))
    size = np.array(voxels.size)
    corners = planes[:, None, 0] + np.array([(r, a) for r in r_mm[[0, -1]] for a in a_mm[[0, -1]]]) @ planes[:, 1:]
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    if np.any(high < -0.5) or np.any(low > size - 0.5):
        inside[...] = False
        return
    cut = bool(np.any(low < 0.0) or np.any(high >= size - 1))
    within: NDArray[np.bool_] | None = np.ones(shape, dtype=np.bool_) if cut else None
    index, partial = (work.indices[row, :count].reshape(shape) for row in (0, 1))
    for axis in (2, 1, 0):
        along_a = (planes[:, 0, axis, None] + planes[:, 2, axis, None] * a_mm).astype(np.float32)
        along_r = (planes[:, 1, axis, None] * r_mm).astype(np.float32)
        position = fractions[axis]
        np.add(along_a[:, :, None], along_r[:, None, :], out=position)
        last = voxels.size[axis] - 1
        if within is not None:
            within &= (position >= -0.5) & (position <= last + 0.5)
            np.clip(position, 0.0, last, out=position)
        np.floor(position, out=whole)
        if within is not None:
            np.minimum(whole, max(last - 1, 0), out=whole)
        position -= whole
        partial[...] = whole
        partial *= voxels.steps[axis]
        if axis == 2:
            index[...] = partial
        else:
            index += partial
    positions = work.positions[:count].reshape(shape)
    # The gathers below only look forward on the line, so start at the neighbour that comes first in memory.
    np.add(index, voxels.first + sum(min(step, 0) for step in voxels.steps), out=positions)
    result = hu if within is None else np.empty(shape, dtype=np.float32)
    _trilinear(voxels, positions, fractions, result, (first, second), work.values[:, :count].reshape(2, *shape))
    if within is None:
        inside[...] = True
    else:
        hu[within] = result[within]
        inside[...] = within


def _trilinear(
    voxels: FlatVoxels,
    positions: NDArray[np.intp],
    fractions: Sequence[NDArray[np.float32]],
    result: NDArray[np.float32],
    spare: tuple[NDArray[np.float32], NDArray[np.float32]],
    values: NDArray[np.generic],
) -> None:
    ahead = [(max(step, 0), max(-step, 0)) for step in voxels.steps]

    def line(offset: int, out: NDArray[np.float32]) -> None:
        for value, shift in zip(values, ahead[0][::-1], strict=True):
            voxels.line[offset + shift :].take(positions, mode="clip", out=value)
        np.subtract(values[1], values[0], out=out, dtype=np.float32)
        out *= fractions[0]
        out += values[0]

    def plane(offset: int, out: NDArray[np.float32]) -> None:
        near, far = ahead[1][::-1]
        line(offset + near, out)
        line(offset + far, spare[1])
        _blend(out, spare[1], fractions[1])

    near, far = ahead[2][::-1]
    plane(near, result)
    plane(far, spare[0])
    _blend(result, spare[0], fractions[2])


def _blend(near: NDArray[np.float32], far: NDArray[np.float32], share: NDArray[np.float32]) -> None:
    """``near`` becomes the value at ``share`` of the way to ``far``, which is used up."""
    far -= near
    far *= share
    near += far
