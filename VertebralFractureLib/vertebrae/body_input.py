"""The sagittal picture that the body network sees: seven parasagittal slabs around the canal's plane, and the mask.

Seven slabs instead of a full 3D block carry what tells a body from a disc at a twentieth of the cost; the network's
answer is about the plane r = 0 alone, where heights are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.spine.spine_volume import SpineVolume

FloatArray = NDArray[np.float64]

SLAB_CENTRES_MM = (-12.0, -8.0, -4.0, 0.0, 4.0, 8.0, 12.0)
SLAB_OFFSETS_MM = (-1.0, 0.0, 1.0)
ANTERIOR_FROM_MM = -31.0
COLUMNS = 96
"""a from -31 to 64 mm in steps of 1 mm."""
CHANNELS = len(SLAB_CENTRES_MM) + 1
_ROW_MULTIPLE = 8


@dataclass(frozen=True)
class SagittalInput:
    """What the body network reads, and where its rows lie.

    Attributes:
        channels: float32 ``(8, rows, 96)``: normalised HU of the seven slabs, then the share inside the field of view.
        s_from_mm: arc length of row 0; rows and columns are 1 mm apart, column 0 is at a = -31 mm.
        rows: number of rows that are not padding.
    """

    channels: NDArray[np.float32]
    s_from_mm: float
    rows: int


def normalise_hu(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """HU to about -1.2 (fat and air) to 3 (cortex, metal), the same in training and use."""
    return np.asarray(np.clip((hu - 100.0) / 300.0, -1.2, 3.0), dtype=np.float32)


def sagittal_input(spine: SpineVolume) -> SagittalInput:
    """The input for a 1 mm straightened volume.

    Raises:
        ValueError: when the volume is not at 1 mm or does not hold the columns.
    """
    if any(abs(step - 1.0) > 1e-6 for step in spine.spacing_mm):
        raise ValueError(f"Vertebrae are found in a spine volume at 1 mm; this one has {spine.spacing_mm}.")
    first = round(ANTERIOR_FROM_MM - spine.origin_mm[1])
    if first < 0 or first + COLUMNS > spine.hu.shape[1]:
        raise ValueError("The spine volume does not reach from 31 mm behind the canal to 64 mm in front of it.")
    columns = slice(first, first + COLUMNS)
    rows = spine.hu.shape[0]
    padded = -(-rows // _ROW_MULTIPLE) * _ROW_MULTIPLE
    channels = np.zeros((CHANNELS, padded, COLUMNS), dtype=np.float32)
    channels[:-1] = normalise_hu(np.float32(-1024.0))
    for index, centre in enumerate(SLAB_CENTRES_MM):
        at = [round(centre + offset - spine.origin_mm[0]) for offset in SLAB_OFFSETS_MM]
        slab = np.mean([spine.hu[:, columns, i].astype(np.float32) for i in at], axis=0)
        channels[index, :rows] = normalise_hu(slab)
    middle = round(-spine.origin_mm[0])
    channels[-1, :rows] = spine.inside[:, columns, middle]
    return SagittalInput(channels, spine.origin_mm[2], rows)
