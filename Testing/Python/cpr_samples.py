"""Centerlines and small CTs that the tests of the spine volume share."""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import ReformatGrid
from VertebralFractureLib.volume import CTVolume

SMALL_GRID = ReformatGrid(spacing_mm=(2.0, 2.0, 2.0), right_mm=(-40.0, 40.0), anterior_mm=(-40.0, 40.0), margin_mm=4.0)


def a_line(points):
    return Centerline(np.asarray(points, dtype=float), np.ones(len(points)))


def a_realistic_centerline(seed=0, length=400.0):
    rng = np.random.default_rng(seed)
    z = np.arange(0.0, length, 5.0)
    phase, scoliosis = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 15.0)
    kyphosis = rng.uniform(10.0, 30.0)
    r = scoliosis * np.sin(2 * np.pi * z / 300.0 + phase) + rng.uniform(-20, 20)
    a = -kyphosis * np.sin(np.pi * z / length) + rng.uniform(-20, 20)
    return a_line(np.stack([r, a, z], axis=1))


def a_smooth_field(points):
    """HU that are linear in every direction, so that linear interpolation is exact."""
    return 2.0 * points[..., 0] - 3.0 * points[..., 1] + 1.5 * points[..., 2]


def a_ct(matrix, shape):
    k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij")
    points = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    return CTVolume(a_smooth_field(points).astype(np.float32), matrix)


def an_axial_ct():
    matrix = np.diag([3.0, 3.0, 4.0, 1.0])
    matrix[:3, 3] = (-90.0, -90.0, -20.0)
    return a_ct(matrix, (112, 60, 60))


def a_noisy_ct():
    """int16 voxels without any smoothness: a row that is not where it should be shows at once."""
    ct = an_axial_ct()
    hu = np.random.default_rng(3).integers(-1000, 1000, ct.shape_kji, dtype=np.int16)
    return CTVolume(hu, ct.ijk_to_ras)


class BentSpine:
    """A column of blocks, straight in (r, a, s), bent by a map that is known in closed form: a circle in any direction.

    The blocks are ``height_mm`` high at every a, but for the wedge, which falls by ``wedge_deg`` towards anterior.
    """

    pitch_mm, height_mm, wedge_deg, wedge_at = 28.0, 20.0, 8.0, 112.0

    def __init__(self, radius_mm=220.0, towards=(0.0, 1.0), length_mm=224.0):
        self.radius, self.length = radius_mm, length_mm
        self.across = np.array([*towards, 0.0]) / np.linalg.norm(towards)
        self.axes = np.array([self.across, [-self.across[1], self.across[0], 0.0], [0.0, 0.0, 1.0]])

    def _circle(self, s):
        """Position, and axes right and anterior locked to the patient's sagittal plane, at arc length s."""
        angle = (np.asarray(s) - 0.5 * self.length) / self.radius
        up, side = np.sin(angle), np.cos(angle)
        position = self.radius * (up[..., None] * self.axes[2] + (1.0 - side)[..., None] * self.axes[0])
        tangent = side[..., None] * self.axes[2] + up[..., None] * self.axes[0]
        right = np.array([1.0, 0.0, 0.0]) - tangent[..., :1] * tangent
        right /= np.linalg.norm(right, axis=-1, keepdims=True)
        return position, right, np.cross(tangent, right)

    def centerline(self):
        return a_line(self._circle(np.arange(0.0, self.length + 0.1, 4.0))[0])

    def to_straight(self, points):
        """(r, a, s) of RAS points, in closed form."""
        beside = points - self.radius * self.axes[0]
        s = self.radius * np.arctan2(points @ self.axes[2], -(beside @ self.axes[0])) + 0.5 * self.length
        position, right, anterior = self._circle(s)
        offset = points - position
        return np.stack([(offset * right).sum(-1), (offset * anterior).sum(-1), s], axis=-1)

    def field(self, points):
        """HU at RAS points: 400 in a block and 60 between, with edges about as sharp as a scanner's."""
        r, a, s = np.moveaxis(self.to_straight(points), -1, 0)
        middle = self.pitch_mm * np.rint(s / self.pitch_mm)
        half = np.full_like(s, 0.5 * self.height_mm)
        wedged = middle == self.wedge_at
        half[wedged] -= 0.5 * np.tan(np.radians(self.wedge_deg)) * (a[wedged] - 4.0)
        within = np.minimum.reduce([half - np.abs(s - middle), 20.0 - np.abs(r), a - 4.0, 36.0 - a])
        return 60.0 + 340.0 / (1.0 + np.exp(-within / 0.35))

    def scan(self, spacing_mm=(0.8, 0.8, 1.0), slice_thickness_mm=1.0, axes=None):
        """A CT of it on a grid that is turned by ``axes`` (columns: directions of i, j, k), slices averaged."""
        axes = np.eye(3) if axes is None else np.asarray(axes, dtype=float)
        points, _, _ = self._circle(np.linspace(0.0, self.length, 50))
        reach = np.array([(x, y, z) for x in (-34, 34) for y in (-14, 46) for z in (-12, 12)], dtype=float)
        corners = ((points[:, None] + reach) @ axes).reshape(-1, 3)
        low, high = corners.min(axis=0), corners.max(axis=0)
        count = [int((top - bottom) / step) + 1 for top, bottom, step in zip(high, low, spacing_mm, strict=True)]
        matrix = np.eye(4)
        matrix[:3, :3] = axes * np.array(spacing_mm)
        matrix[:3, 3] = axes @ low
        hu = np.empty(count[::-1], dtype=np.float32)
        j, i = np.meshgrid(np.arange(count[1]), np.arange(count[0]), indexing="ij")
        within = (
            np.linspace(-0.5, 0.5, max(1, round(2 * slice_thickness_mm)) + 2)[1:-1] * slice_thickness_mm / spacing_mm[2]
        )
        for k in range(count[2]):
            index = [np.stack([i, j, np.full_like(i, k) + part], axis=-1) for part in within]
            hu[k] = np.mean([self.field(one @ matrix[:3, :3].T + matrix[:3, 3]) for one in index], axis=0)
        return CTVolume(hu.round().astype(np.int16), matrix)


def edges_along_s(spine, a_mm, level_hu=230.0):
    """Arc lengths where the column at r = 0, a = ``a_mm`` crosses ``level_hu``, ascending."""
    r, a, s = (spine.axis_mm(axis) for axis in "ras")
    line = spine.hu[:, np.argmin(np.abs(a - a_mm)), np.argmin(np.abs(r))]
    below = np.flatnonzero(np.diff(line > level_hu))
    return s[below] + (level_hu - line[below]) / (line[below + 1] - line[below]) * (s[below + 1] - s[below])
