"""Keep the rows of a frame in place beside a dragged point, although the way past it became longer or shorter.

Away from the dragged point a curve through the same control points is the same curve, so rows that keep their distance
from its nearer end are the same planes. Between them ``s`` runs a little faster or slower than arc length.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr.frame import ReformatFrame, stations, straightened_rows
from VertebralFractureLib.thresholds import REFORMATTING
from VertebralFractureLib.types import FloatArray


def aligned_frame(settled: Centerline, moved: Centerline) -> ReformatFrame | None:
    """The frame along ``moved`` with rows tied to ``settled``'s; None where that cannot be.

    Raises:
        NoSpineFound: as ``reformat_frame`` does.
    """
    tuned = REFORMATTING
    if len(settled.points_ras) != len(moved.points_ras):
        return None
    differs = np.flatnonzero(np.any(settled.points_ras != moved.points_ras, axis=1))
    if len(differs) == 0:
        s = stations(moved.length_mm)
        return straightened_rows(moved, s, s)
    before, now = settled.point_arc_lengths_mm, moved.point_arc_lengths_mm
    low = max(0.0, float(before[differs[0]]) - tuned.alignment_reach_mm)
    high = float(before[differs[-1]]) + tuned.alignment_reach_mm
    if high >= settled.length_mm:
        s = stations(moved.length_mm)
        return straightened_rows(moved, s, s)
    longer = float(now[-1] - before[-1])
    share = (high - low) / (high + longer - low)
    if not tuned.least_alignment <= share <= tuned.most_alignment:
        return None
    s = stations(settled.length_mm)
    return straightened_rows(moved, _arc_length_at(s, low, high, longer), s)


def _arc_length_at(s_mm: FloatArray, low: float, high: float, longer: float) -> FloatArray:
    """Arc length of each row: ``s`` below ``low``, ``s + longer`` above ``high``, a smooth step between."""
    x = np.clip((s_mm - low) / (high - low), 0.0, 1.0)
    return np.asarray(s_mm + longer * x**3 * (10.0 - 15.0 * x + 6.0 * x**2))
