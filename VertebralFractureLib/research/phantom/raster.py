"""``Raster``: the grid a phantom is drawn on, and the drawing of an implicit shape inside its bounding box only.

A shape's edge is spread over one voxel (its signed distance turned into the covered share of the voxel), so edges lie
where they should to a small part of a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.research.phantom.skeleton import PlacedVertebra
from VertebralFractureLib.types import Float32Array as Field
from VertebralFractureLib.types import FloatArray

Window = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Raster:
    """A float32 HU array ``[k, j, i]`` that is drawn on in place, and its IJK-to-RAS matrix."""

    hu: Field
    ijk_to_ras: FloatArray

    @property
    def edge_mm(self) -> float:
        """Width over which an edge is spread: the geometric mean of the spacing."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3])) ** (1.0 / 3.0))

    def cover(self, distance: Field) -> Field:
        """Share of a voxel that lies inside, from the signed distance of its center."""
        return np.asarray(np.clip(0.5 - distance / self.edge_mm, 0.0, 1.0), dtype=np.float32)

    def window(self, corners_ras: FloatArray) -> Window | None:
        """Slices [k, j, i] that hold the RAS points ``(n, 3)``; None where they miss the grid."""
        inverse = np.linalg.inv(self.ijk_to_ras)
        ijk = corners_ras @ inverse[:3, :3].T + inverse[:3, 3]
        low = np.maximum(np.floor(ijk.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(ijk.max(0)).astype(int) + 1, np.array(self.hu.shape[::-1]))
        if np.any(low >= high):
            return None
        return slice(low[2], high[2]), slice(low[1], high[1]), slice(low[0], high[0])

    def coordinates(self, window: Window, origin_ras: FloatArray, axes_ras: FloatArray) -> tuple[Field, Field, Field]:
        """Coordinates of the window's voxel centers along three RAS axes (rows), from an origin."""
        matrix = axes_ras @ self.ijk_to_ras[:3, :3]
        offset = axes_ras @ (self.ijk_to_ras[:3, 3] - origin_ras)
        k, j, i = (np.arange(part.start, part.stop, dtype=np.float32) for part in window)
        steps = matrix.astype(np.float32)
        result = [
            (i * steps[n, 0] + np.float32(offset[n]))[None, None, :]
            + (j * steps[n, 1])[None, :, None]
            + (k * steps[n, 2])[:, None, None]
            for n in range(3)
        ]
        return result[0], result[1], result[2]

    def local(
        self, vertebra: PlacedVertebra, low: tuple[float, float, float], high: tuple[float, float, float]
    ) -> tuple[Window, Field, Field, Field] | None:
        """The window of a local box of a vertebra and the local (r, a, s) of its voxels."""
        corners = np.array([[r, a, s] for r in (low[0], high[0]) for a in (low[1], high[1]) for s in (low[2], high[2])])
        window = self.window(vertebra.to_ras(corners))
        if window is None:
            return None
        return (window, *self.coordinates(window, vertebra.center_ras, vertebra.axes_ras))

    def paint(self, window: Window, cover: Field, hu: Field | float) -> None:
        """Blend a value in where ``cover`` is above 0."""
        part = self.hu[window]
        part += cover * (hu - part)


def mix_along(values: Field, axis: int, matrix: Field) -> Field:
    """Replace one axis of a 3D array by linear combinations of itself: ``matrix`` is (new, old)."""
    if axis == 2:
        return np.asarray(values @ matrix.T, dtype=np.float32)
    if axis == 1:
        return np.asarray(np.matmul(matrix, values), dtype=np.float32)
    flat = matrix @ values.reshape(len(values), -1)
    return np.asarray(flat.reshape(len(matrix), *values.shape[1:]), dtype=np.float32)


def stretch(values: Field, axis: int, positions: FloatArray, count: int) -> Field:
    """Linear interpolation along one axis, from samples at ``positions`` to the positions 0 ... count - 1."""
    where = np.interp(np.arange(count), positions, np.arange(len(positions)))
    low = np.minimum(where.astype(int), len(positions) - 2)
    matrix = np.zeros((count, len(positions)), dtype=np.float32)
    matrix[np.arange(count), low] = 1.0 - (where - low)
    matrix[np.arange(count), low + 1] = where - low
    return mix_along(values, axis, matrix)


def noise_texture(shape: tuple[int, ...], cells: tuple[float, float, float], rng: np.random.Generator) -> Field:
    """Smooth noise of standard deviation near 1 on a grid; ``cells`` is its correlation in voxels along each axis."""
    counts = [max(int(np.ceil(n / cell)) + 1, 2) for n, cell in zip(shape, cells, strict=True)]
    values = rng.standard_normal(counts, dtype=np.float32) * np.float32(1.8)
    for axis in (2, 1, 0):
        values = stretch(values, axis, np.linspace(-0.5, shape[axis] - 0.5, counts[axis]), shape[axis])
    return np.asarray(values, dtype=np.float32)


def shells(raster: Raster, distance: Field, thickness: Field | float) -> tuple[Field, Field]:
    """Cover of the whole shape, and of what lies deeper than its shell."""
    return raster.cover(distance), raster.cover(distance + thickness)


def capsule(x: Field, y: Field, z: Field, start: FloatArray, end: FloatArray, radius: float) -> Field:
    """Signed distance to a round rod from ``start`` to ``end``."""
    x0, y0, z0 = start.tolist()
    u, v, w = (end - start).tolist()
    x, y, z = x - x0, y - y0, z - z0
    t = np.clip((x * u + y * v + z * w) / max(u * u + v * v + w * w, 1e-9), 0.0, 1.0)
    dx, dy, dz = x - t * u, y - t * v, z - t * w
    return np.asarray(np.sqrt(dx * dx + dy * dy + dz * dz) - radius, dtype=np.float32)


def oval(x: Field, y: Field) -> Field:
    """Length of (x, y); much faster than ``np.hypot``, whose care about overflow nothing here needs."""
    return np.asarray(np.sqrt(x * x + y * y), dtype=np.float32)
