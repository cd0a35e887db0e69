"""Sample the inside of a body on a grid that grows with it, so that bodies can be compared point by point.

The grid follows the traced endplates and stays clear of cortex and endplates; its axes are fractions of the body's own
height, depth and width. What is dense or lucent in one body and not in its neighbors shows in the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import BONE_CHANGE
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.endplates import BodyShape
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.volume.sampling import sample_nearest

CELLS = 10
"""Cells of the grid along each axis."""
_POINTS = 3
"""Points along each axis whose mean is a cell."""


@dataclass(frozen=True)
class BoneMap:
    """HU inside one body.

    Attributes:
        hu: ``(10, 10, 10)`` along height (caudal to cranial), depth (posterior to anterior) and width (left to right);
            NaN where less than half of a cell lies in the field of view.
        cell_mm: size of a cell along (height, depth, width), at mid depth.
    """

    hu: FloatArray
    cell_mm: tuple[float, float, float]

    @property
    def cell_mm3(self) -> float:
        return float(np.prod(self.cell_mm))


def map_bone(spine: StraightenedVolume, body: LocalizedBody) -> BoneMap | None:
    """Sample a body on a 1 mm straightened volume; None where it was not traced or is too low to have an inside."""
    tuned, shape = BONE_CHANGE, body.shape
    if shape is None:
        return None
    inset_a = tuned.inset_mm
    depth = shape.a_anterior - shape.a_posterior
    at = (np.arange(CELLS * _POINTS) + 0.5) / (CELLS * _POINTS)
    a = shape.a_posterior + inset_a + at * (depth - 2.0 * inset_a)
    upper, lower = _endplates_at(shape, a)
    low, high = lower + tuned.inset_mm, upper - tuned.inset_mm
    if depth < 4.0 * tuned.inset_mm or float(np.median(high - low)) < tuned.least_inside_mm:
        return None
    half = tuned.half_width * depth
    s = low[None, :] + at[:, None] * np.maximum(high - low, 0.5)[None, :]
    r = half * (2.0 * at - 1.0)
    points = body.plane.straight(r[None, None, :], a[None, :, None] + 0.0 * r, s[:, :, None])
    index = spine.straight_to_ijk_points(points)
    inside, within = sample_nearest(spine.inside, index)
    hu = np.where(within & inside, sample_nearest(spine.hu, index)[0].astype(np.float64), np.nan)
    parts = hu.reshape(CELLS, _POINTS, CELLS, _POINTS, CELLS, _POINTS).transpose(0, 2, 4, 1, 3, 5)
    parts = parts.reshape(CELLS, CELLS, CELLS, -1)
    known = np.isfinite(parts).sum(axis=-1)
    mean = np.where(known >= 0.5 * parts.shape[-1], np.nansum(parts, axis=-1) / np.maximum(known, 1), np.nan)
    cell = (float(np.median(high - low)), depth - 2.0 * inset_a, 2.0 * half)
    return BoneMap(mean, (cell[0] / CELLS, cell[1] / CELLS, cell[2] / CELLS))


def _endplates_at(shape: BodyShape, a: FloatArray) -> tuple[FloatArray, FloatArray]:
    """s of the upper and lower endplate at depths ``a``: the parabola through each endplate's three landmarks."""
    upper, lower = (
        np.polyval(np.polyfit(part[:, 0], part[:, 1], 2), a) for part in (shape.landmarks[:3], shape.landmarks[3:])
    )
    return np.asarray(upper), np.asarray(lower)
