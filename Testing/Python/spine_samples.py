"""Centerlines and small CTs that the tests of the spine volume share."""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.cord import Centerline
from VertebralFractureLib.spine import SpineGrid
from VertebralFractureLib.volume import CTVolume

SMALL_GRID = SpineGrid(spacing_mm=(2.0, 2.0, 2.0), right_mm=(-40.0, 40.0), anterior_mm=(-40.0, 40.0), margin_mm=4.0)


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
