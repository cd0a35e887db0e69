"""The input of the level network: six coarse slices of every cell of a column, wide enough for ribs and organs.

A name comes from the neighborhood (first rib, last rib, sacrum, lung base), not from the body's own detail, so 4 mm are
enough, if besides the mean the brightest spot is kept: a thin last rib is lost in a mean of 6 mm. Imports torch inside
its functions only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.torch_arrays import to_tensor
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.vertebrae.level_column import Column
from VertebralFractureLib.volume.hu_windows import VERTEBRA_NETWORKS
from VertebralFractureLib.volume.sampling import sample_tensor

if TYPE_CHECKING:
    import torch


ROWS_PER_CELL = 6
STEP_MM = 4.0
COARSE_A, COARSE_R = 28, 32
CHANNELS = 3
"""Mean HU, brightest HU, and the fraction inside the field of view."""
FINE_MM = 2
TYPICAL_SPACING_MM = 25.0
LEVEL_CLASSES: tuple[str, ...] = (
    *[f"C{n}" for n in range(1, 8)],
    *[f"T{n}" for n in range(1, 13)],
    *[f"L{n}" for n in range(1, 6)],
    "S1",
)
"""The network's classes, cranial to caudal; supernumerary vertebrae are the assignment's business."""
REGIONS: tuple[str, ...] = ("neck", "ribs", "lumbar", "sacrum")
"""What a vertebra looks like by itself. A T13 bears ribs and an L6 does not, which no class above could say."""


def region_of_level(level: str) -> str:
    """The region of any level, supernumerary ones included."""
    return {"C": "neck", "T": "ribs", "L": "lumbar", "S": "sacrum"}[level[0]]


def build_fine_volume(spine: StraightenedVolume) -> torch.Tensor:
    """``(3, rows, 56, 64)`` at 2 mm: mean and brightest HU of the 6 mm around every point, and the fraction inside.

    128 mm in r and 112 mm in a are used; the last rows along s are repeated to a whole block.

    Raises:
        ValueError: when the volume is not the standard grid at 1 mm.
    """
    import torch

    if any(abs(step - 1.0) > 1e-6 for step in spine.spacing_mm) or min(spine.hu.shape[1:]) < 112:
        raise ValueError("Levels are labeled in a spine volume at 1 mm of 129 x 113 mm.")
    hu = to_tensor(_pooled(spine.hu))[None, None]
    mean = torch.nn.functional.avg_pool3d(hu, 3, stride=1, padding=1, count_include_pad=False)
    bright = torch.nn.functional.max_pool3d(hu, 3, stride=1, padding=1)
    return torch.cat([mean[0], bright[0], to_tensor(_pooled(spine.inside))[None]])


def _pooled(volume: NDArray[np.generic]) -> Float32Array:
    """Block means of 2 mm, clipped at 1500 HU so that metal does not flood a block."""
    rows = -(-volume.shape[0] // FINE_MM)
    out = np.empty((rows, 112 // FINE_MM, 128 // FINE_MM), dtype=np.float32)
    for row in range(rows):
        part = np.asarray(volume[row * FINE_MM : (row + 1) * FINE_MM, :112, :128], dtype=np.float32).clip(None, 1500.0)
        out[row] = part.mean(axis=0).reshape(112 // FINE_MM, FINE_MM, 128 // FINE_MM, FINE_MM).mean(axis=(1, 3))
    return out


def list_coarse_indices() -> tuple[FloatArray, FloatArray]:
    """Indices (a, r) into the fine volume of the coarse picture's columns: 4 mm apart, all of the volume."""
    step = STEP_MM / FINE_MM
    a, r = (np.arange(count, dtype=np.float64) for count in (COARSE_A, COARSE_R))
    return (a + 0.5) * step - 0.5, (r + 0.5) * step - 0.5


def list_fine_rows(column: Column, s_from_mm: float) -> FloatArray:
    """Indices ``(cells * 6,)`` into the fine volume's rows, for a spine volume that begins at ``s_from_mm``."""
    return np.asarray((column.rows_mm(ROWS_PER_CELL).ravel() - s_from_mm - 0.5 * (FINE_MM - 1)) / FINE_MM)


def sample_column(
    fine: torch.Tensor, rows: FloatArray, a: FloatArray, r: FloatArray, tilt: float = 0.0
) -> torch.Tensor:
    """``(3, len(rows), len(a), len(r))`` of the fine volume at these indices; air and outside beyond its ends.

    ``tilt`` is the slope of the slices, rows over a.
    """
    s = rows[:, None] + tilt * (a[None] - a.mean())
    # Only the rows that are asked for become float32: training asks for a few of a whole spine.
    first = int(np.clip(np.floor(s.min()) - 1, 0, fine.shape[1] - 1))
    last = int(np.clip(np.ceil(s.max()) + 2, first + 1, fine.shape[1]))
    index = np.stack(np.broadcast_arrays(r[None, None, :], a[None, :, None], s[:, :, None] - first), axis=-1)
    values = sample_tensor(fine[None, :, first:last].float(), index[None])[0]
    within = to_tensor(((s > -0.5) & (s < fine.shape[1] - 0.5)).astype(np.float32))[:, :, None]
    values[2] *= within
    return values


def normalize_channels(values: torch.Tensor) -> torch.Tensor:
    """Normalize the HU of the first two channels; all that is outside becomes air."""
    import torch

    hu = torch.where(values[2:] > 0.5, values[:2], torch.tensor(VERTEBRA_NETWORKS.low))
    return torch.cat([VERTEBRA_NETWORKS.normalize(hu), values[2:]])


def compute_relative_spacing(spacing_mm: FloatArray) -> Float32Array:
    """Logarithm of the cells' lengths over a typical one."""
    return np.asarray(np.log(spacing_mm / TYPICAL_SPACING_MM), dtype=np.float32)


def draw_fine_column(fine: torch.Tensor, s_from_mm: float, column: Column) -> torch.Tensor:
    """The picture of the column that the networks see, ``(3, cells * 6, 28, 32)``.

    Args:
        fine: of ``build_fine_volume``; ``s_from_mm`` is where its spine volume begins.
    """
    rows = list_fine_rows(column, s_from_mm)
    return normalize_channels(sample_column(fine, rows, *list_coarse_indices()))
