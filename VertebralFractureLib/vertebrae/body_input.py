"""The sagittal picture that the body network sees: seven parasagittal slabs around a sagittal plane, and the mask.

Seven slabs instead of a full 3D block carry what tells a body from a disc at a twentieth of the cost; the network's
answer is about the plane in their middle alone, where heights are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.mid_plane import MidPlane

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
        channels: float32 ``(8, rows, 96)``: normalized HU of the seven slabs, then the share inside the field of view.
        s_from_mm: arc length of row 0; rows and columns are 1 mm apart, column 0 is at a = -31 mm.
        rows: number of rows that are not padding.
    """

    channels: NDArray[np.float32]
    s_from_mm: float
    rows: int


def normalize_hu(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU to about -1.2 (fat and air) to 3 (cortex, metal), the same in training and use."""
    return np.asarray(np.clip((hu - 100.0) / 300.0, -1.2, 3.0), dtype=np.float32)


def sagittal_input(spine: StraightenedVolume, plane: MidPlane | None = None) -> SagittalInput:
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
    channels = np.zeros((CHANNELS, padded, COLUMNS), dtype=np.float32)
    channels[:-1] = normalize_hu(np.float32(-1024.0))
    for index, center in enumerate(SLAB_CENTERS_MM):
        offsets = [center + offset for offset in SLAB_OFFSETS_MM]
        slab = _slab(spine, first, offsets) if plane is None else _turned_slab(spine, plane, offsets)
        channels[index, :rows] = normalize_hu(slab)
    channels[-1, :rows] = inside_plane(spine, plane or MidPlane.of_canal())
    return SagittalInput(channels, spine.origin_mm[2], rows)


def inside_plane(spine: StraightenedVolume, plane: MidPlane) -> NDArray[np.bool_]:
    """Whether each point of the picture ``(rows, 96)`` lies in the field of view (nearest voxel)."""
    j, i = _places(spine, plane, 0.0)
    j, i = np.rint(j).astype(np.intp), np.rint(i).astype(np.intp)
    count = spine.hu.shape
    within = (j >= 0) & (j < count[1]) & (i >= 0) & (i < count[2])
    k = np.arange(count[0])[:, None]
    return np.asarray(within & spine.inside[k, j.clip(0, count[1] - 1), i.clip(0, count[2] - 1)])


def _slab(spine: StraightenedVolume, first: int, offsets_mm: list[float]) -> NDArray[np.float32]:
    """The mean over whole columns of voxels, which needs no interpolation."""
    at = [round(offset - spine.origin_mm[0]) for offset in offsets_mm]
    columns = slice(first, first + COLUMNS)
    return np.asarray(np.mean([spine.hu[:, columns, i].astype(np.float32) for i in at], axis=0))


def _places(spine: StraightenedVolume, plane: MidPlane, beside_mm: float) -> tuple[FloatArray, FloatArray]:
    """Column and depth index (j, i), not rounded, of the picture's points ``(rows, 96)`` beside the plane."""
    s = spine.axis_mm("s")[:, None]
    a = ANTERIOR_FROM_MM + np.arange(COLUMNS, dtype=np.float64)[None]
    points = plane.straight(np.full((1, 1), beside_mm), a, s)
    return points[..., 1] - spine.origin_mm[1], points[..., 0] - spine.origin_mm[0]


def _turned_slab(spine: StraightenedVolume, plane: MidPlane, offsets_mm: list[float]) -> NDArray[np.float32]:
    """The mean over a plane's neighbors, linear in (a, r); the planes are parallel to s, so rows stay rows."""
    count = spine.hu.shape
    k = np.arange(count[0])[:, None]
    total = np.zeros((count[0], COLUMNS), dtype=np.float32)
    for offset in offsets_mm:
        j, i = _places(spine, plane, offset)
        j, i = j.clip(0.0, count[1] - 1.001), i.clip(0.0, count[2] - 1.001)
        j0, i0 = j.astype(np.intp), i.astype(np.intp)
        wj, wi = (j - j0).astype(np.float32), (i - i0).astype(np.float32)
        near = spine.hu[k, j0, i0] * (1.0 - wi) + spine.hu[k, j0, i0 + 1] * wi
        far = spine.hu[k, j0 + 1, i0] * (1.0 - wi) + spine.hu[k, j0 + 1, i0 + 1] * wi
        total += near * (1.0 - wj) + far * wj
    return np.asarray(total / len(offsets_mm), dtype=np.float32)
