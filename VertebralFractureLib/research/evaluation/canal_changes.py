"""The same scan as another hospital might have sent it: thicker, rotated, flipped, cut, shifted in HU, noisier.

Each change gives the changed volume and the matrix that takes its world back to the first one's, so that the two
centerlines can be compared point by point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume

_AIR_HU = -1024.0
_RANGE_HU = (-1024, 3071)
_KEEP_MM = 25.0


@dataclass(frozen=True)
class Cut:
    """Planes that were taken out: ``count`` of them from index ``at`` on along an axis of (i, j, k)."""

    axis: int
    at: int
    count: int


@dataclass(frozen=True)
class ChangedScan:
    """``to_first`` is a 4x4 matrix from the changed world's RAS mm to the first one's, beyond what was cut out."""

    ct: CTVolume
    to_first: FloatArray
    cut: Cut | None = None

    def points_to_first(self, points_ras: FloatArray) -> FloatArray:
        """Points ``(n, 3)`` of the changed scan, RAS mm, in the first scan's world."""
        ijk = self.ct.ras_to_ijk_points(points_ras)
        if self.cut is not None:
            ijk[:, self.cut.axis] += np.where(ijk[:, self.cut.axis] >= self.cut.at - 0.5, self.cut.count, 0)
        points = self.ct.ijk_to_ras_points(ijk)
        return np.asarray(points @ self.to_first[:3, :3].T + self.to_first[:3, 3])

    def indices_from_first(self, points_ras: FloatArray) -> FloatArray:
        """(i, j, k) in the changed scan of points ``(n, 3)`` of the first one, RAS mm; NaN where they were cut out."""
        back = np.linalg.inv(self.to_first)
        ijk = self.ct.ras_to_ijk_points(points_ras @ back[:3, :3].T + back[:3, 3])
        if self.cut is not None:
            along, first, beyond = ijk[:, self.cut.axis].copy(), self.cut.at, self.cut.at + self.cut.count
            ijk[:, self.cut.axis] = np.where(along < first, along, along - self.cut.count)
            ijk[(along >= first - 0.5) & (along < beyond - 0.5)] = np.nan
        return np.asarray(ijk)

    def taken_back(self, line: Centerline) -> Centerline:
        """A centerline of the changed scan in the first scan's world."""
        points = line.points_ras @ self.to_first[:3, :3].T + self.to_first[:3, 3]
        return Centerline(points, line.confidence)


Change = Callable[[CTVolume, Centerline, np.random.Generator], ChangedScan]


def rotated(axis: int, degrees: float) -> Change:
    """The patient rotated about a RAS axis through the volume's middle, and no header says so."""
    angle = np.radians(degrees)
    first, second = [other for other in range(3) if other != axis]
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = np.cos(angle)
    rotation[first, second], rotation[second, first] = -np.sin(angle), np.sin(angle)
    return lambda ct, _line, _rng: _in_another_world(ct, rotation)


def scaled(factor: float) -> Change:
    """Another size of patient: everything ``factor`` times as large, the voxels included."""
    return lambda ct, _line, _rng: _in_another_world(ct, factor * np.eye(3))


def mirrored(axis: int) -> Change:
    """The patient mirrored along a RAS axis: right and left, front and back, or head and feet."""
    mirror = np.eye(3)
    mirror[axis, axis] = -1.0
    return lambda ct, _line, _rng: _in_another_world(ct, mirror)


def _in_another_world(ct: CTVolume, linear: FloatArray) -> ChangedScan:
    middle = ct.ijk_to_ras_points(0.5 * (np.array(ct.hu.shape[::-1]) - 1.0)[None])[0]
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = middle - linear @ middle
    return ChangedScan(replace(ct, ijk_to_ras=matrix @ ct.ijk_to_ras), np.asarray(np.linalg.inv(matrix)))


def stored_otherwise(ct: CTVolume, _line: Centerline, _rng: np.random.Generator) -> ChangedScan:
    """The same voxels in another order, with a header that says so: nothing may change."""
    hu = np.ascontiguousarray(np.moveaxis(ct.hu, 2, 0)[:, ::-1, ::-1])
    matrix = ct.ijk_to_ras[:, [1, 2, 0, 3]].copy()
    for column, size in ((1, hu.shape[1]), (0, hu.shape[2])):
        matrix[:3, 3] += matrix[:3, column] * (size - 1)
        matrix[:3, column] *= -1.0
    return ChangedScan(replace(ct, hu=hu, ijk_to_ras=matrix), np.eye(4))


def thick_slices(slice_mm: float) -> Change:
    """Averaged over ``slice_mm`` along the axis nearest to head and feet; thicker slices than that stay as they are."""

    def change(ct: CTVolume, _line: Centerline, _rng: np.random.Generator) -> ChangedScan:
        column = int(np.abs(ct.ijk_to_ras[2, :3]).argmax())
        spacing = ct.spacing_mm[column]
        factor = slice_mm / spacing
        count = int(ct.hu.shape[2 - column] / factor)
        if factor <= 1.01 or count < 8:
            return ChangedScan(ct, np.eye(4))
        edges = np.arange(count + 1) * factor
        total = np.concatenate([[0.0], np.arange(1.0, ct.hu.shape[2 - column] + 1.0)])
        moved = np.moveaxis(ct.hu, 2 - column, 0).astype(np.float32)
        summed = np.concatenate([np.zeros((1, *moved.shape[1:]), np.float64), np.cumsum(moved, axis=0, dtype=float)])
        below = np.minimum(edges.astype(int), len(moved) - 1)
        share = (edges - total[below])[:, None, None]
        at = summed[below] * (1.0 - share) + summed[below + 1] * share
        hu = np.moveaxis(np.diff(at, axis=0) / factor, 0, 2 - column)
        matrix = ct.ijk_to_ras.copy()
        matrix[:3, 3] += matrix[:3, column] * (0.5 * (factor - 1.0))
        matrix[:3, column] *= factor
        return ChangedScan(replace(ct, hu=_voxels(hu), ijk_to_ras=matrix), np.eye(4))

    return change


def half_field_of_view(ct: CTVolume, line: Centerline, _rng: np.random.Generator) -> ChangedScan:
    """Half the width and half the depth, as central as the canal with ``_KEEP_MM`` of margin allows."""
    return _cropped(ct, line, 0.0)


def half_field_to_the_side(ct: CTVolume, line: Centerline, _rng: np.random.Generator) -> ChangedScan:
    """Half the width and half the depth, moved so far that the canal comes within ``_KEEP_MM`` of an edge."""
    return _cropped(ct, line, 1000.0)


def _cropped(ct: CTVolume, line: Centerline, shift_mm: float) -> ChangedScan:
    ijk = ct.ras_to_ijk_points(line.points_ras)
    along = int(np.abs(ct.ijk_to_ras[2, :3]).argmax())
    low, high = np.zeros(3, int), np.array(ct.hu.shape[::-1])
    for column in (other for other in range(3) if other != along):
        size, margin = int(high[column]), _KEEP_MM / ct.spacing_mm[column]
        half = max(size // 2, int(np.ptp(ijk[:, column]) + 2.0 * margin))
        start = 0.5 * (size - half) + shift_mm / ct.spacing_mm[column]
        start = min(start, float(ijk[:, column].min()) - margin)
        start = max(start, float(ijk[:, column].max()) + margin - half)
        low[column] = int(np.clip(start, 0, max(size - half, 0)))
        high[column] = min(low[column] + half, size)
    return _cut_to(ct, low, high)


def _cut_to(ct: CTVolume, low: NDArray[np.int_], high: NDArray[np.int_]) -> ChangedScan:
    """The voxels from ``low`` up to ``high`` in (i, j, k)."""
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ low
    hu = np.ascontiguousarray(ct.hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]])
    return ChangedScan(replace(ct, hu=hu, ijk_to_ras=matrix), np.eye(4))


def offset(hu: float) -> Change:
    """A wrong rescale intercept; nothing falls below the lowest value that a reader lets through."""
    return lambda ct, _line, _rng: ChangedScan(replace(ct, hu=_voxels(ct.hu + np.float32(hu))), np.eye(4))


def noise(hu: float) -> Change:
    """White noise in every voxel."""

    def change(ct: CTVolume, _line: Centerline, rng: np.random.Generator) -> ChangedScan:
        noisy = ct.hu + np.float32(hu) * rng.standard_normal(ct.hu.shape, dtype=np.float32)
        return ChangedScan(replace(ct, hu=_voxels(noisy)), np.eye(4))

    return change


def blanked(share: float) -> Change:
    """Every slice of a stretch in the middle, ``share`` of the scan long, lost: only the path can bridge it."""

    def change(ct: CTVolume, _line: Centerline, _rng: np.random.Generator) -> ChangedScan:
        column = int(np.abs(ct.ijk_to_ras[2, :3]).argmax())
        hu = ct.hu.copy()
        moved = np.moveaxis(hu, 2 - column, 0)
        first = int((0.5 - 0.5 * share) * len(moved))
        moved[first : first + max(1, int(share * len(moved)))] = int(_AIR_HU)
        return ChangedScan(replace(ct, hu=hu), np.eye(4))

    return change


def stretched(axis: int, factor: float) -> Change:
    """A header whose spacing along a RAS axis is wrong by ``factor``: what has to be noticed."""
    scale = np.eye(3)
    scale[axis, axis] = factor
    return lambda ct, _line, _rng: _in_another_world(ct, scale)


def _voxels(hu: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.asarray(np.rint(np.clip(np.asarray(hu, dtype=np.float32), *_RANGE_HU)), dtype=np.int16)


def reordered(ct: CTVolume, _line: Centerline, rng: np.random.Generator) -> ChangedScan:
    """Axes exchanged or flipped in one of the 47 ways, and the affine does not say so."""
    order = np.eye(3)
    while np.array_equal(order, np.eye(3)):
        order = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)[:, None]
    return _in_another_world(ct, order)


def tilted(least_degrees: float, most_degrees: float) -> Change:
    """The patient rotated about any axis by so many degrees, and no header says so."""

    def change(ct: CTVolume, _line: Centerline, rng: np.random.Generator) -> ChangedScan:
        axis = rng.standard_normal(3)
        x, y, z = axis / np.linalg.norm(axis)
        across = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        angle = np.radians(rng.uniform(least_degrees, most_degrees))
        # Rodrigues' formula.
        return _in_another_world(ct, np.eye(3) + np.sin(angle) * across + (1.0 - np.cos(angle)) * across @ across)

    return change


def other_hu(ct: CTVolume, _line: Centerline, rng: np.random.Generator) -> ChangedScan:
    """Another scale (0.8 to 1.25) and offset (-100 to 150 HU); in every third copy values end at -200 and 800 HU."""
    hu = ct.hu * np.float32(np.exp(rng.uniform(np.log(0.8), np.log(1.25)))) + np.float32(rng.uniform(-100.0, 150.0))
    return ChangedScan(replace(ct, hu=_voxels(np.clip(hu, -200, 800) if rng.random() < 1 / 3 else hu)), np.eye(4))


def crop_anywhere(ct: CTVolume, line: Centerline, rng: np.random.Generator) -> ChangedScan:
    """A stretch of 90 to 260 mm of the spine, 35 to 90 mm to every side of the canal."""
    column = int(np.abs(ct.ijk_to_ras[2, :3]).argmax())
    length = float(rng.uniform(90.0, 260.0))
    start = float(rng.uniform(0.0, max(line.length_mm - length, 0.0)))
    inside = line.positions_ras(np.arange(start, min(start + length, line.length_mm), 2.0))
    ijk = ct.ras_to_ijk_points(inside)
    low, high = np.zeros(3, int), np.array(ct.hu.shape[::-1])
    for axis in range(3):
        margin = np.zeros(2) if axis == column else rng.uniform(35.0, 90.0, 2) / ct.spacing_mm[axis]
        low[axis] = max(int(ijk[:, axis].min() - margin[0]), 0)
        high[axis] = min(int(ijk[:, axis].max() + margin[1]) + 1, high[axis])
    return _cut_to(ct, low, high)


def box_lost(ct: CTVolume, line: Centerline, rng: np.random.Generator) -> ChangedScan:
    """A box on the spine, 10 to 60 mm along and 30 to 120 mm across it, filled with air, zeros or soft tissue."""
    middle = line.positions_ras(np.array([rng.uniform(0.15, 0.85) * line.length_mm]))[0]
    middle = middle + np.array([rng.uniform(-20.0, 20.0), rng.uniform(0.0, 35.0), 0.0])
    half = 0.5 * np.array([rng.uniform(30.0, 120.0), rng.uniform(30.0, 120.0), rng.uniform(10.0, 60.0)])
    corners = ct.ras_to_ijk_points(np.array([middle - half, middle + half]))
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, None)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    hu = ct.hu.copy()
    hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]] = int(rng.choice([int(_AIR_HU), 0, 40]))
    return ChangedScan(replace(ct, hu=hu), np.eye(4))


ROBUSTNESS: Mapping[str, Change] = {
    "5 mm slices": thick_slices(5.0),
    "rotated 15° about right-left": rotated(0, 15.0),
    "rotated 15° about front-back": rotated(1, 15.0),
    "rotated 15° about head-feet": rotated(2, 15.0),
    "mirrored right-left": mirrored(0),
    "mirrored front-back": mirrored(1),
    "mirrored head-feet": mirrored(2),
    "stored in another order": stored_otherwise,
    "half the field of view": half_field_of_view,
    "half the field, off-center": half_field_to_the_side,
    "+200 HU": offset(200.0),
    "-200 HU": offset(-200.0),
    "noise of 60 HU": noise(60.0),
}
"""The changes under which a centerline must hold."""

HARDER: Mapping[str, Change] = {
    "noise of 250 HU": noise(250.0),
    "8 mm slices": thick_slices(8.0),
    "rotated 35° about right-left": rotated(0, 35.0),
    "lateral decubitus": rotated(2, 90.0),
    "a fifth lost": blanked(0.2),
}
"""Worse than any scan should be, with a header that does not say so: the errors that a confidence is calibrated on."""

EXTREMES: Mapping[str, Change] = {
    "size of a child of five (0.6)": scaled(0.6),
    "size of a very large adult (1.25)": scaled(1.25),
    "prone": rotated(2, 180.0),
    "lateral decubitus, one side": rotated(2, -90.0),
    "lateral decubitus, other side": rotated(2, 90.0),
    "feet first": rotated(1, 180.0),
}
"""Sizes and positions of patients; the header does not tell the position."""
