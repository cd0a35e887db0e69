"""``SliceBoxes``: on every axial slice of the found spine, the box of the canal and of the vertebra in front of it.

This is the region that the paper's pipeline figure shows. The network reads the walls slice by slice; a running median
along the spine keeps a single slice with metal or motion from moving a wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal.candidates import CanalCandidates
from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.path import CanalPath
from VertebralFractureLib.thresholds import CANAL_CURVE
from VertebralFractureLib.types import FloatArray


@dataclass(frozen=True)
class SliceBoxes:
    """Boxes in axial planes of the patient, RAS mm, ``(lowest R, highest R, lowest A, highest A)`` per slice.

    Attributes:
        heights_mm: ``(n,)`` RAS S of the slices with evidence, ascending.
        canal_ras, vertebra_ras: ``(n, 4)``. At a disc, the vertebra's box is that of the disc.
    """

    heights_mm: FloatArray
    canal_ras: FloatArray
    vertebra_ras: FloatArray

    @property
    def region_ras(self) -> FloatArray:
        """``(n, 4)`` the box around canal and vertebra together."""
        low = np.minimum(self.canal_ras, self.vertebra_ras)
        high = np.maximum(self.canal_ras, self.vertebra_ras)
        return np.stack([low[:, 0], high[:, 1], low[:, 2], high[:, 3]], axis=1)


def slice_boxes(candidates: CanalCandidates, path: CanalPath, centerline: Centerline) -> SliceBoxes:
    """The walls along ``path``, around the smooth curve."""
    walls = _running_median(candidates.walls_mm[path.rows, path.choices])
    heights = candidates.heights_mm[path.rows]
    fine = centerline.positions_ras(np.arange(0.0, centerline.length_mm, 0.5))
    order = np.argsort(fine[:, 2])
    r, a = (np.interp(heights, fine[order, 2], fine[order, axis]) for axis in (0, 1))
    boxes = walls + np.stack([r, r, a, a, r, r, a, a], axis=1)
    return SliceBoxes(heights, boxes[:, :4], boxes[:, 4:])


def _running_median(values: FloatArray) -> FloatArray:
    tuned = CANAL_CURVE
    padded = np.pad(values, ((tuned.box_median_slices, tuned.box_median_slices), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * tuned.box_median_slices + 1, axis=0)
    return np.asarray(np.median(windows, axis=-1))
