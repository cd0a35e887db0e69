"""The voxels of a straight volume by their coordinates, and the soft masks that findings are drawn with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.types import Float32Array, FloatArray


@dataclass(frozen=True)
class StraightGrid:
    """Coordinates in mm of a volume's voxels, each shaped to be broadcast over ``[k, j, i]``."""

    s: Float32Array
    a: Float32Array
    r: Float32Array

    @staticmethod
    def of(shape: tuple[int, ...], origin_mm: tuple[float, float, float]) -> StraightGrid:
        s, a, r = (np.arange(n, dtype=np.float32) + np.float32(o) for n, o in zip(shape, origin_mm[::-1], strict=True))
        return StraightGrid(s[:, None, None], a[None, :, None], r[None, None, :])

    def rows(self, low_mm: float, high_mm: float) -> slice:
        first, last = np.searchsorted(self.s[:, 0, 0], [low_mm, high_mm])
        return slice(int(first), int(last))


def within_body(grid: StraightGrid, rows: slice, box: BodyBox, cortex_mm: float) -> Float32Array:
    """1 inside the cortex of a body and 0 outside, over 2 mm."""
    ends = ramp(np.minimum(grid.s[rows] - box.s_inf - cortex_mm, box.s_sup - cortex_mm - grid.s[rows]), 2.0)
    depth = ramp(np.minimum(grid.a - box.a_post - cortex_mm, box.a_ant - cortex_mm - grid.a), 2.0)
    width = ramp(np.minimum(grid.r - box.r_left - cortex_mm, box.r_right - cortex_mm - grid.r), 2.0)
    return ends * depth * width


def relative_distance(grid: StraightGrid, rows: slice, place: FloatArray, size: FloatArray) -> Float32Array:
    """Distance of the voxels from ``place`` in units of ``size``, both along (s, a, r)."""
    axes = (grid.s[rows], grid.a, grid.r)
    s, a, r = ((axis - where) / np.float32(n) for axis, where, n in zip(axes, place, size, strict=True))
    return np.asarray(np.sqrt(s**2 + a**2 + r**2), dtype=np.float32)


def ramp(distance: Float32Array, width: float) -> Float32Array:
    """0 up to a distance of 0, 1 from ``width`` on."""
    return np.asarray(np.clip(distance / np.float32(width), 0.0, 1.0), dtype=np.float32)
