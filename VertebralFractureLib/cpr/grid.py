"""``ReformatGrid``: the sampling of a straightened volume; ``ReformatBox``: its voxels along one centerline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr.frame import VIRTUAL_SAGITTAL, ReformatFrame, lay_frame
from VertebralFractureLib.types import FloatArray

LINEAR = "linear"
CUBIC = "cubic"
SMOOTH_THROUGH_SLICES = "smooth_through_slices"
INTERPOLATIONS = (LINEAR, CUBIC, SMOOTH_THROUGH_SLICES)


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
        ValueError: for an unknown interpolation, or an extent or spacing that is not positive.
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
        if min(self.spacing_mm) <= 0.0 or self.margin_mm < 0.0:
            raise ValueError("The spacing of a spine volume must be positive and its margin not negative.")
        if any(high < low for low, high in (self.right_mm, self.anterior_mm)):
            raise ValueError("The extent of a spine volume must run from the lower to the higher millimeter.")

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
    """For ``virtual_sagittal`` the anterior extent is widened by the canal's own anterior-posterior excursion."""
    anterior = grid.anterior_mm
    if frame.kind == VIRTUAL_SAGITTAL:
        path = (
            centerline.positions_ras(np.arange(0.0, centerline.length_mm, 2.0, dtype=np.float64))[:, 1]
            - frame.origin_ras[0, 1]
        )
        anterior = (anterior[0] + float(path.min()), anterior[1] + float(path.max()))
    first, last = frame.range_mm
    ranges = (grid.right_mm, anterior, (first - grid.margin_mm, last + grid.margin_mm))
    i, j, k = (round((high - low) / step) + 1 for (low, high), step in zip(ranges, grid.spacing_mm, strict=True))
    return ReformatBox((ranges[0][0], ranges[1][0], ranges[2][0]), grid.spacing_mm, (k, j, i))
