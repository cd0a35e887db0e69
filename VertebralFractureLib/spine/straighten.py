"""Resample a CT along the spine: one code path for both representations, linear interpolation, on the CPU.

Only the part of the CT that the grid touches is turned into floating point, so that memory follows the spine's size
and not the scan's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cord.centerline import Centerline
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.spine.spine_frame import STRAIGHTENED, VIRTUAL_SAGITTAL, SpineFrame, spine_frame
from VertebralFractureLib.spine.spine_volume import OUTSIDE_HU, SpineVolume
from VertebralFractureLib.volume import CTVolume

_ROWS_PER_CHUNK = 32


@dataclass(frozen=True)
class SpineGrid:
    """Extent and spacing of a spine volume in straight mm; ``margin_mm`` is added beyond both ends of the frame."""

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    right_mm: tuple[float, float] = (-64.0, 64.0)
    anterior_mm: tuple[float, float] = (-48.0, 64.0)
    margin_mm: float = 12.0


def straighten(
    ct: CTVolume,
    centerline: Centerline,
    kind: str = STRAIGHTENED,
    grid: SpineGrid | None = None,
    progress: StageProgress | None = None,
) -> SpineVolume:
    """The CT in straight space; see ``SpineFrame`` for the two kinds.

    For ``virtual_sagittal`` the anterior extent is widened by the canal's own anterior-posterior excursion.

    Raises:
        NoSpineFound: when the grid does not meet the CT, or no frame can be laid along the centerline.
        Cancelled: from ``progress``.
    """
    frame = spine_frame(centerline, kind)
    grid = grid or SpineGrid()
    anterior = grid.anterior_mm
    if kind == VIRTUAL_SAGITTAL:
        path = (
            centerline.positions_ras(np.arange(0.0, centerline.length_mm, 2.0, dtype=np.float64))[:, 1]
            - frame.origin_ras[0, 1]
        )
        anterior = (anterior[0] + float(path.min()), anterior[1] + float(path.max()))
    first, last = frame.range_mm
    ranges = (grid.right_mm, anterior, (first - grid.margin_mm, last + grid.margin_mm))
    counts = [round((high - low) / step) + 1 for (low, high), step in zip(ranges, grid.spacing_mm, strict=True)]
    origin = (ranges[0][0], ranges[1][0], ranges[2][0])
    hu, inside = sample_straight(ct, frame, origin, grid.spacing_mm, (counts[2], counts[1], counts[0]), progress)
    if not inside.any():
        raise NoSpineFound("The centerline lies outside the volume; check that both belong to the same scan.")
    return SpineVolume(hu, inside, origin, grid.spacing_mm, frame)


def sample_straight(
    ct: CTVolume,
    frame: SpineFrame,
    origin_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    shape_kji: tuple[int, int, int],
    progress: StageProgress | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Sample a straight grid: HU ``[k, j, i]`` float32 and the mask of what lies inside the CT's field of view."""
    import torch

    r = origin_mm[0] + spacing_mm[0] * np.arange(shape_kji[2], dtype=np.float64)
    a = origin_mm[1] + spacing_mm[1] * np.arange(shape_kji[1], dtype=np.float64)
    s = origin_mm[2] + spacing_mm[2] * np.arange(shape_kji[0], dtype=np.float64)
    affine = _affine_rows(ct, frame, s)
    hu = np.full(shape_kji, OUTSIDE_HU, dtype=np.float32)
    inside = np.zeros(shape_kji, dtype=np.bool_)
    size = np.array(ct.shape_kji[::-1], dtype=np.float32)
    for start in range(0, shape_kji[0], _ROWS_PER_CHUNK):
        rows = affine[start : start + _ROWS_PER_CHUNK]
        plane = rows[:, 0, None, None] + rows[:, 1, None, None] * r[None, None, :, None]
        index = (plane + rows[:, 2, None, None] * a[None, :, None, None]).astype(np.float32)
        within = np.all((index >= -0.5) & (index <= size - 0.5), axis=-1)
        if within.any():
            touched = index[within]
            low = np.maximum(np.floor(touched.min(0)).astype(int) - 1, 0)
            high = np.minimum(np.ceil(touched.max(0)).astype(int) + 2, size.astype(int))
            block = ct.hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
            source = torch.from_numpy(np.ascontiguousarray(block, dtype=np.float32))[None, None]
            extent = np.maximum(high - low - 1, 1).astype(np.float32)
            where = torch.from_numpy((index - low.astype(np.float32)) * (2.0 / extent) - 1.0)[None]
            values = torch.nn.functional.grid_sample(
                source, where, mode="bilinear", padding_mode="border", align_corners=True
            )[0, 0].numpy()
            hu[start : start + len(rows)][within] = values[within]
            inside[start : start + len(rows)] = within
        if progress is not None:
            progress(min(1.0, (start + len(rows)) / shape_kji[0]))
    return hu, inside


def _affine_rows(ct: CTVolume, frame: SpineFrame, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(len(s), 3, 3)``: for each row the voxel index of its origin, and its change per mm of r and of a."""
    zero = np.zeros_like(s)
    corners = [
        ct.ras_to_ijk_points(frame.straight_to_ras(np.stack([zero + r, zero + a, s], axis=1)))
        for r, a in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    ]
    return np.stack([corners[0], corners[1] - corners[0], corners[2] - corners[0]], axis=1)
