"""The sagittal picture that the body network sees: seven parasagittal slabs around a sagittal plane, and the mask.

Seven slabs instead of a full 3D block carry what tells a body from a disc at a twentieth of the cost; the network's
answer is about the plane in their middle alone, where heights are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU, StraightenedVolume
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.volume.hu_windows import VERTEBRA_NETWORKS
from VertebralFractureLib.volume.sampling import sample_linear, sample_nearest

SLAB_CENTERS_MM = (-12.0, -8.0, -4.0, 0.0, 4.0, 8.0, 12.0)
SLAB_OFFSETS_MM = (-1.0, 0.0, 1.0)
ANTERIOR_FROM_MM = -31.0
COLUMNS = 96
"""a from -31 to 64 mm in steps of 1 mm."""
CHANNELS = len(SLAB_CENTERS_MM) + 1
_ROW_MULTIPLE = 8


@dataclass(frozen=True)
class SagittalInput:
    """What the body network reads, and where its rows lie.

    Attributes:
        channels: float32 ``(8, rows, 96)``: normalized HU of the seven slabs, then the fraction in the field of view.
        s_from_mm: arc length of row 0; rows and columns are 1 mm apart, column 0 is at a = -31 mm.
        rows: number of rows that are not padding.
    """

    channels: Float32Array
    s_from_mm: float
    rows: int


def build_sagittal_input(spine: StraightenedVolume, plane: MidPlane | None = None) -> SagittalInput:
    """The input for a 1 mm straightened volume, around the canal's plane r = 0 or another one.

    Raises:
        ValueError: when the volume is not at 1 mm or does not hold the columns.
    """
    if any(abs(step - 1.0) > 1e-6 for step in spine.spacing_mm):
        raise ValueError(f"Vertebrae are found in a spine volume at 1 mm; this one has {spine.spacing_mm}.")
    first = round(ANTERIOR_FROM_MM - spine.origin_mm[1])
    if first < 0 or first + COLUMNS > spine.hu.shape[1]:
        raise ValueError("The spine volume does not reach from 31 mm behind the canal to 64 mm in front of it.")
    rows = spine.hu.shape[0]
    padded = -(-rows // _ROW_MULTIPLE) * _ROW_MULTIPLE
    hu = np.full((len(SLAB_CENTERS_MM), padded, COLUMNS), OUTSIDE_HU, dtype=np.float32)
    for index, center in enumerate(SLAB_CENTERS_MM):
        offsets = [center + offset for offset in SLAB_OFFSETS_MM]
        slab = _average_columns(spine, first, offsets) if plane is None else _average_planes(spine, plane, offsets)
        hu[index, :rows] = slab
    inside = np.zeros((1, padded, COLUMNS), dtype=np.float32)
    inside[0, :rows] = mark_inside_plane(spine, plane or MidPlane.of_canal())
    channels = np.concatenate([VERTEBRA_NETWORKS.normalize(hu), inside])
    return SagittalInput(channels, spine.origin_mm[2], rows)


def mark_inside_plane(spine: StraightenedVolume, plane: MidPlane) -> BoolArray:
    """Whether each point of the picture ``(rows, 96)`` lies in the field of view (nearest voxel)."""
    inside, within = sample_nearest(spine.inside, _picture_index(spine, plane, 0.0))
    return np.asarray(within & inside)


def _average_columns(spine: StraightenedVolume, first: int, offsets_mm: list[float]) -> Float32Array:
    """The mean over whole columns of voxels, which needs no interpolation."""
    at = [round(offset - spine.origin_mm[0]) for offset in offsets_mm]
    columns = slice(first, first + COLUMNS)
    return np.asarray(np.mean([spine.hu[:, columns, i].astype(np.float32) for i in at], axis=0))


def _picture_index(spine: StraightenedVolume, plane: MidPlane, lateral_mm: float) -> FloatArray:
    """Voxel indices ``(rows, 96, 3)`` of the picture's points, ``lateral_mm`` to the right of the plane."""
    s = spine.axis_mm("s")[:, None]
    a = ANTERIOR_FROM_MM + np.arange(COLUMNS, dtype=np.float64)[None]
    index = spine.straight_to_ijk_points(plane.straight(np.full((1, 1), lateral_mm), a, s))
    # The plane is parallel to s, so the picture's rows are the volume's, without rounding.
    index[..., 2] = np.arange(len(s))[:, None]
    return index


def _average_planes(spine: StraightenedVolume, plane: MidPlane, offsets_mm: list[float]) -> FloatArray:
    """The mean over a plane and its neighbors, linear in (a, r)."""
    return np.asarray(
        np.mean([sample_linear(spine.hu, _picture_index(spine, plane, offset)) for offset in offsets_mm], axis=0)
    )
