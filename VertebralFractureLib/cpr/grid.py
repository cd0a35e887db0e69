"""``ReformatGrid``: the sampling of a straightened volume; ``ReformatBox``: its voxels along one centerline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr.frame import VIRTUAL_SAGITTAL, ReformatFrame, lay_frame
from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.types import FloatArray

LINEAR = "linear"
CUBIC = "cubic"
SMOOTH_THROUGH_SLICES = "smooth_through_slices"
INTERPOLATIONS = (LINEAR, CUBIC, SMOOTH_THROUGH_SLICES)

SPACING_LIMITS_MM = (0.05, 20.0)
EXTENT_LIMIT_MM = 400.0
"""On each side of the canal, and beyond its ends: a field of view of 700 mm is the widest that scanners reconstruct."""
ROTATION_LIMIT_DEG = 360.0
OFFSET_LIMIT_MM = 100.0
"""From the canal to the front of the largest vertebral body are some 60 mm."""
VOXEL_LIMIT = 400_000_000
"""Of one straightened volume: they take 2 GB (float32 and whether each lies in the scan)."""
_TOO_MANY_VOXELS = (
    f"The spine volume would have more than {VOXEL_LIMIT // 1_000_000} million voxels; "
    "choose a coarser spacing or a smaller extent."
)


@dataclass(frozen=True)
class ReformatGrid:
    """How a spine volume is laid and sampled; lengths in mm of straightened coordinates.

    Attributes:
        spacing_mm: along (r, a, s). Where it is clearly coarser than the scan's, the scan is low-pass filtered.
        right_mm, anterior_mm: extent across the canal.
        margin_mm: added beyond both ends of the frame.
        interpolation: ``LINEAR`` is what the networks know; ``CUBIC`` is sharper; ``SMOOTH_THROUGH_SLICES`` blends
            slices that lie 2 mm and more apart so that partial volume makes no staircase of an oblique endplate; it
            takes some contrast off the discs.
        rotation_deg: turns the frames about the canal; positive brings the right axis towards anterior.
        arc_length_offset_mm: how far in front of the canal s is arc length. 0: along the canal; about 25: along the
            centers of the vertebral bodies.

    Raises:
        ValueError: for an unknown interpolation, and a number that is not finite or beyond the limits below.
    """

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    right_mm: tuple[float, float] = (-64.0, 64.0)
    anterior_mm: tuple[float, float] = (-48.0, 64.0)
    margin_mm: float = 12.0
    interpolation: str = LINEAR
    rotation_deg: float = 0.0
    arc_length_offset_mm: float = 0.0

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"Unknown interpolation '{self.interpolation}'; use one of {', '.join(INTERPOLATIONS)}.")
        extents = (*self.right_mm, *self.anterior_mm, self.margin_mm)
        if not all(math.isfinite(value) for value in (*self.spacing_mm, *extents, *self._angle_and_offset)):
            raise ValueError("Spacing, extent, margin, rotation and offset of a spine volume must be finite numbers.")
        if min(self.spacing_mm) <= 0.0 or self.margin_mm < 0.0:
            raise ValueError("The spacing of a spine volume must be positive and its margin not negative.")
        if any(high < low for low, high in (self.right_mm, self.anterior_mm)):
            raise ValueError("The extent of a spine volume must run from the lower to the higher millimeter.")
        least, most = SPACING_LIMITS_MM
        if min(self.spacing_mm) < least or max(self.spacing_mm) > most:
            raise ValueError(f"The spacing of a spine volume must lie between {least:g} and {most:g} mm.")
        if max(abs(value) for value in extents) > EXTENT_LIMIT_MM:
            raise ValueError(f"Extent and margin of a spine volume cannot be more than {EXTENT_LIMIT_MM:g} mm.")
        if abs(self.rotation_deg) > ROTATION_LIMIT_DEG or abs(self.arc_length_offset_mm) > OFFSET_LIMIT_MM:
            raise ValueError(
                f"A spine volume is rotated by {ROTATION_LIMIT_DEG:g} degrees at most, and its arc length offset is "
                f"{OFFSET_LIMIT_MM:g} mm at most."
            )
        across = [(high - low) / step + 1 for (low, high), step in zip(self._across, self.spacing_mm, strict=False)]
        if across[0] * across[1] > VOXEL_LIMIT:
            raise ValueError(_TOO_MANY_VOXELS)

    @property
    def _angle_and_offset(self) -> tuple[float, float]:
        return self.rotation_deg, self.arc_length_offset_mm

    @property
    def _across(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return self.right_mm, self.anterior_mm

    def frame(self, centerline: Centerline, kind: str) -> ReformatFrame:
        """The frames along ``centerline`` as this grid wants them; raises as ``lay_frame`` does."""
        frame = lay_frame(centerline, kind, self.arc_length_offset_mm)
        return frame.rotated(self.rotation_deg)


@dataclass(frozen=True)
class ReformatBox:
    """The voxels of a grid along one centerline.

    Attributes:
        origin_mm: straightened coordinates (r, a, s) of voxel (0, 0, 0).
        spacing_mm: along (r, a, s).
        shape_kji: number of voxels.
    """

    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape_kji: tuple[int, int, int]

    def axis_mm(self, axis: str) -> FloatArray:
        """Voxel-center coordinates along ``"r"``, ``"a"`` or ``"s"``."""
        index = "ras".index(axis)
        count = self.shape_kji[2 - index]
        return self.origin_mm[index] + self.spacing_mm[index] * np.arange(count, dtype=np.float64)


def lay_box(centerline: Centerline, frame: ReformatFrame, grid: ReformatGrid) -> ReformatBox:
    """The voxels of ``grid`` along a frame.

    For ``virtual_sagittal`` the anterior extent is widened by the canal's own anterior-posterior excursion.

    Raises:
        OptionRefused: when they are more than ``VOXEL_LIMIT``.
    """
    anterior = grid.anterior_mm
    if frame.kind == VIRTUAL_SAGITTAL:
        points = centerline.positions_ras(np.arange(0.0, centerline.length_mm, 2.0, dtype=np.float64))
        path = (points - frame.origin_ras[0]) @ centerline.patient_axes[1]
        anterior = (anterior[0] + float(path.min()), anterior[1] + float(path.max()))
    first, last = frame.range_mm
    ranges = (grid.right_mm, anterior, (first - grid.margin_mm, last + grid.margin_mm))
    i, j, k = (round((high - low) / step) + 1 for (low, high), step in zip(ranges, grid.spacing_mm, strict=True))
    if i * j * k > VOXEL_LIMIT:
        raise OptionRefused(_TOO_MANY_VOXELS)
    return ReformatBox((ranges[0][0], ranges[1][0], ranges[2][0]), grid.spacing_mm, (k, j, i))
