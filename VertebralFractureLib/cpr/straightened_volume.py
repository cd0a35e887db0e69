"""``StraightenedVolume``: the compact, straightened CT with its own geometry and the map both ways.

Straight space is RAS-like: ``(r, a, s)`` in mm, r to the patient's right, a anterior of the canal's center, s along the
centerline. ``ReformatFrame`` holds the curve of frames that ties it to the patient's RAS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cpr.frame import ReformatFrame
from VertebralFractureLib.types import FloatArray


@dataclass(frozen=True)
class StraightenedVolume:
    """A volume resampled along the spine.

    Attributes:
        hu: float32 ``[k, j, i]`` with i along +r, j along +a, k along +s; outside the field of view the value is
            ``OUTSIDE_HU`` and ``inside`` is False.
        inside: bool, same shape.
        origin_mm: straight coordinates (r, a, s) of voxel (0, 0, 0).
        spacing_mm: along (r, a, s).
        frame: the map between straight space and the patient's RAS.
    """

    hu: NDArray[np.float32]
    inside: NDArray[np.bool_]
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    frame: ReformatFrame

    @property
    def ijk_to_straight(self) -> FloatArray:
        """4x4 from ``(i, j, k, 1)`` to straight mm."""
        matrix = np.diag([*self.spacing_mm, 1.0])
        matrix[:3, 3] = self.origin_mm
        return matrix

    def straight_to_ijk_points(self, points_straight: FloatArray) -> FloatArray:
        """Map ``(..., 3)`` straight points (r, a, s) in mm to continuous voxel indices (i, j, k)."""
        return np.asarray((points_straight - np.array(self.origin_mm)) / np.array(self.spacing_mm))

    def axis_mm(self, axis: str) -> FloatArray:
        """Voxel-center coordinates along ``"r"``, ``"a"`` or ``"s"``."""
        index = "ras".index(axis)
        count = self.hu.shape[2 - index]
        return self.origin_mm[index] + self.spacing_mm[index] * np.arange(count, dtype=np.float64)


OUTSIDE_HU = -1024.0
