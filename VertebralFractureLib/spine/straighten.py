"""Resample a CT along the spine: one code path for both representations, for the whole volume and for a few rows of it.

A straight row is a plane through the CT, so only its origin and two directions are computed; see ``row_sampling``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cord.centerline import Centerline
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.spine.row_sampling import FlatVoxels, sample_planes
from VertebralFractureLib.spine.spine_frame import STRAIGHTENED, VIRTUAL_SAGITTAL, SpineFrame, spine_frame
from VertebralFractureLib.spine.spine_volume import OUTSIDE_HU, SpineVolume
from VertebralFractureLib.volume import CTVolume

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SpineGrid:
    """Extent and spacing of a spine volume in straight mm; ``margin_mm`` is added beyond both ends of the frame."""

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    right_mm: tuple[float, float] = (-64.0, 64.0)
    anterior_mm: tuple[float, float] = (-48.0, 64.0)
    margin_mm: float = 12.0


@dataclass(frozen=True)
class SpineBox:
    """The voxels of a grid along one centerline: straight mm of voxel (0, 0, 0), spacing, and number ``[k, j, i]``."""

    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape_kji: tuple[int, int, int]

    def axis_mm(self, axis: str) -> FloatArray:
        """Voxel-centre coordinates along ``"r"``, ``"a"`` or ``"s"``."""
        index = "ras".index(axis)
        count = self.shape_kji[2 - index]
        return self.origin_mm[index] + self.spacing_mm[index] * np.arange(count, dtype=np.float64)


def spine_box(centerline: Centerline, frame: SpineFrame, grid: SpineGrid) -> SpineBox:
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
    return SpineBox((ranges[0][0], ranges[1][0], ranges[2][0]), grid.spacing_mm, (k, j, i))


def straighten(
    ct: CTVolume,
    centerline: Centerline,
    kind: str = STRAIGHTENED,
    grid: SpineGrid | None = None,
    progress: StageProgress | None = None,
    *,
    threads: int | None = None,
) -> SpineVolume:
    """The CT in straight space; see ``SpineFrame`` for the two kinds.

    Args:
        threads: None takes what the machine has, at most four.

    Raises:
        NoSpineFound: when the grid does not meet the CT, or no frame can be laid along the centerline.
        Cancelled: from ``progress``.
    """
    frame = spine_frame(centerline, kind)
    box = spine_box(centerline, frame, grid or SpineGrid())
    hu, inside = sample_straight(ct, frame, box.origin_mm, box.spacing_mm, box.shape_kji, progress, threads=threads)
    refuse_empty(inside)
    return SpineVolume(hu, inside, box.origin_mm, box.spacing_mm, frame)


def sample_straight(
    ct: CTVolume,
    frame: SpineFrame,
    origin_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    shape_kji: tuple[int, int, int],
    progress: StageProgress | None = None,
    *,
    threads: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Sample a straight grid: HU ``[k, j, i]`` float32 and the mask of what lies inside the CT's field of view."""
    box = SpineBox(origin_mm, spacing_mm, shape_kji)
    hu = np.full(shape_kji, OUTSIDE_HU, dtype=np.float32)
    inside = np.zeros(shape_kji, dtype=np.bool_)
    planes = row_planes(ct, frame, box.axis_mm("s"))
    sample_planes(
        FlatVoxels.of(ct.hu),
        planes,
        box.axis_mm("r"),
        box.axis_mm("a"),
        hu,
        inside,
        threads=threads,
        progress=progress,
    )
    return hu, inside


def refuse_empty(inside: NDArray[np.bool_]) -> None:
    """Raise ``NoSpineFound`` when nothing of a spine volume lies in the CT's field of view."""
    if not inside.any():
        raise NoSpineFound("The centerline lies outside the volume; check that both belong to the same scan.")


def row_planes(ct: CTVolume, frame: SpineFrame, s_mm: FloatArray) -> FloatArray:
    """``(len(s_mm), 3, 3)``: for each row the voxel index of its origin, and its change per mm of r and of a."""
    zero = np.zeros_like(s_mm)
    corners = [
        ct.ras_to_ijk_points(frame.straight_to_ras(np.stack([zero + r, zero + a, s_mm], axis=1)))
        for r, a in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    ]
    return np.stack([corners[0], corners[1] - corners[0], corners[2] - corners[0]], axis=1)
