"""The map to straight space as a displacement grid, the form that other software applies to anything.

Across a section the map is linear, so four columns reproduce it exactly, also for a reader that blends cubically.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr.frame import ReformatFrame
from VertebralFractureLib.types import FloatArray

_HALF_WIDTH_MM = 120.0
_COLUMNS = 4
_MARGIN_MM = 40.0
"""Beyond the grid its border's displacement goes on; the margins keep that away from anything that is looked at."""


@dataclass(frozen=True)
class DisplacementGrid:
    """Displacements from straight (r, a, s) mm to RAS mm.

    Attributes:
        displacement_mm: ``[s, a, r, 3]``: what is added to a straight point to reach the patient.
        origin_mm, spacing_mm: straight mm of the first node and between nodes, along (r, a, s).
    """

    displacement_mm: FloatArray
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]

    @property
    def range_mm(self) -> tuple[float, float]:
        """From the first to the last row of the frame, without the margins, straight mm along s."""
        step, rows = self.spacing_mm[2], len(self.displacement_mm)
        extra = _margin_rows(step)
        return self.origin_mm[2] + extra * step, self.origin_mm[2] + (rows - 1 - extra) * step


def displacement_grid(frame: ReformatFrame) -> DisplacementGrid:
    """The grid of ``frame.straight_to_ras``, with a row for each of the frame's and beyond both ends."""
    step = float(frame.s_mm[1] - frame.s_mm[0])
    extra = _margin_rows(step)
    s = frame.range_mm[0] + step * np.arange(-extra, len(frame.s_mm) + extra)
    across = np.linspace(-_HALF_WIDTH_MM, _HALF_WIDTH_MM, _COLUMNS)
    grid_s, grid_a, grid_r = np.meshgrid(s, across, across, indexing="ij")
    points = np.stack([grid_r, grid_a, grid_s], axis=-1)
    mapped = frame.straight_to_ras(points.reshape(-1, 3)).reshape(points.shape)
    width = float(across[1] - across[0])
    return DisplacementGrid(mapped - points, (-_HALF_WIDTH_MM, -_HALF_WIDTH_MM, float(s[0])), (width, width, step))


def _margin_rows(step_mm: float) -> int:
    return int(np.ceil(_MARGIN_MM / step_mm))
