"""The coarse picture that names the levels: the whole straight volume at 4 mm, wide enough for ribs, pelvis and organs.

A name comes from the neighbourhood (first rib, last rib, sacrum, lung base), not from the body's own detail, so the
coarse volume loses nothing that matters and keeps the network small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.spine.spine_volume import SpineVolume
from VertebralFractureLib.vertebrae.body_input import normalise_hu

STEP_MM = 4.0
COARSE_A, COARSE_R = 28, 32
LEVEL_CLASSES: tuple[str, ...] = (
    *[f"C{n}" for n in range(1, 8)],
    *[f"T{n}" for n in range(1, 13)],
    *[f"L{n}" for n in range(1, 6)],
    "S1",
)
"""The network's classes, cranial to caudal; supernumerary vertebrae are the assignment's business."""


def pooled(volume: NDArray[np.generic], factor: int) -> NDArray[np.float32]:
    """Block means ``[k, j, i]`` of a straight volume at 1 mm, clipped at 1500 HU so that metal does not flood a block.

    128 mm in r and 112 mm in a are used; the last rows along s are repeated to a whole block.
    """
    rows = -(-volume.shape[0] // factor)
    out = np.empty((rows, 112 // factor, 128 // factor), dtype=np.float32)
    for row in range(rows):
        part = np.asarray(volume[row * factor : (row + 1) * factor, :112, :128], dtype=np.float32).clip(None, 1500.0)
        out[row] = part.mean(axis=0).reshape(112 // factor, factor, 128 // factor, factor).mean(axis=(1, 3))
    return out


def level_input(spine: SpineVolume) -> NDArray[np.float32]:
    """``(2, rows, 28, 32)``: normalised HU and the share inside the field of view, rows 4 mm apart.

    Raises:
        ValueError: when the volume is not the standard grid at 1 mm.
    """
    if any(abs(step - 1.0) > 1e-6 for step in spine.spacing_mm) or min(spine.hu.shape[1:]) < 112:
        raise ValueError("Levels are named in a spine volume at 1 mm of 129 x 113 mm.")
    hu = normalise_hu(pooled(spine.hu, int(STEP_MM)))
    return np.stack([hu, pooled(spine.inside, int(STEP_MM))])
