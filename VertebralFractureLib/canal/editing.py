"""Repair a centerline by dragging one point: it becomes a control point, and the network finds the way around it.

The new path replaces the old curve from the dragged point outward until both agree for a while. One drag so repairs a
whole wrong stretch, and what the reader chose elsewhere stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline, order_points
from VertebralFractureLib.canal.control_point_path import (
    CanalEvidence,
    bend_through,
    find_path_through,
    fit_centerline_through,
)
from VertebralFractureLib.thresholds import CANAL_CURVE, CANAL_EDITING
from VertebralFractureLib.types import BoolArray, FloatArray

_STEP_MM = 1.0


@dataclass(frozen=True)
class RepairedCenterline:
    """The new curve, ``(n, 3)`` RAS mm caudal to cranial, and the control points that it runs through."""

    points_ras: FloatArray
    anchors_ras: FloatArray


def draw_centerline(evidence: CanalEvidence, points_ras: FloatArray) -> RepairedCenterline:
    """A centerline from a handful of points in any order: the network finds the rest, or a spline joins them.

    Raises:
        ValueError: when there is neither a canal at the points nor a second point to join.
    """
    control_points = order_points(np.asarray(points_ras, dtype=np.float64).reshape(-1, 3))
    line = find_path_through(evidence, control_points) if len(control_points) else None
    if line is None:
        raise ValueError("No spinal canal was found there; place at least two points along the canal.")
    return RepairedCenterline(_with_control_points(line.points_ras, control_points), control_points)


def repair_centerline(
    evidence: CanalEvidence, points_ras: FloatArray, dragged_ras: FloatArray, anchors_ras: FloatArray | None = None
) -> RepairedCenterline:
    """The curve after one of its points was dragged to ``dragged_ras`` ``(3,)``.

    Args:
        points_ras: the curve ``(n, 3)`` before the drag, in any order.
        anchors_ras: points ``(m, 3)`` that were dragged before; the curve goes on running through them.
    """
    old = order_points(np.asarray(points_ras, dtype=np.float64).reshape(-1, 3))
    dragged = np.asarray(dragged_ras, dtype=np.float64).reshape(3)
    earlier = np.zeros((0, 3)) if anchors_ras is None else np.asarray(anchors_ras, dtype=np.float64).reshape(-1, 3)
    control_points = order_points(np.concatenate([earlier, dragged[None]]))
    path = find_path_through(evidence, control_points)
    if path is None:
        path = _moved(old, dragged)
    if len(old) < 2:
        return RepairedCenterline(_with_control_points(path.points_ras, control_points), control_points)
    low, high = _stretch(old, path, float(dragged[2]))
    new = path.points_ras[(path.points_ras[:, 2] >= low) & (path.points_ras[:, 2] <= high)]
    apart = 0.5 * CANAL_CURVE.point_mm
    first, last = (float(new[0, 2]), float(new[-1, 2])) if len(new) else (dragged[2], dragged[2])
    below, above = old[old[:, 2] < first - apart], old[old[:, 2] > last + apart]
    return RepairedCenterline(_with_control_points(np.concatenate([below, new, above]), control_points), control_points)


def _stretch(old: FloatArray, path: Centerline, at_mm: float) -> tuple[float, float]:
    """RAS S from and to which ``path`` replaces the curve ``old``, around the height ``at_mm``."""
    line = Centerline(old, np.ones(len(old)))
    step = np.arange(0.0, 1.0, _STEP_MM / max(line.length_mm, path.length_mm), dtype=np.float64)
    before = line.positions_ras(step * line.length_mm)
    after = path.positions_ras(step * path.length_mm)
    low, high = float(after[:, 2].min()), float(after[:, 2].max())
    heights = np.arange(low, high + _STEP_MM, _STEP_MM)
    theirs = np.stack([np.interp(heights, after[:, 2], after[:, axis]) for axis in (0, 1)], axis=1)
    mine = np.stack([np.interp(heights, before[:, 2], before[:, axis]) for axis in (0, 1)], axis=1)
    agree = np.linalg.norm(theirs - mine, axis=1) <= CANAL_EDITING.agree_mm
    agree &= (heights >= before[:, 2].min()) & (heights <= before[:, 2].max())
    start = int(np.abs(heights - at_mm).argmin())
    upward = _first_run(agree[start:])
    downward = _first_run(agree[start::-1])
    return (
        low if downward is None else float(heights[start - downward]),
        high if upward is None else float(heights[start + upward]),
    )


def _first_run(agree: BoolArray) -> int | None:
    """Where the first agreement of ``agree_over_mm`` begins; None where there is none."""
    need = int(CANAL_EDITING.agree_over_mm / _STEP_MM)
    length = 0
    for index, same in enumerate(agree):
        length = length + 1 if same else 0
        if length == need:
            return index - need + 1
    return None


def _moved(old: FloatArray, dragged: FloatArray) -> Centerline:
    """Without any evidence: the old curve, bent through the dragged point."""
    line = fit_centerline_through(order_points(np.concatenate([old, dragged[None]])) if len(old) < 2 else old)
    if line is None:
        raise ValueError("A centerline needs at least two points; place another one along the canal.")
    return bend_through(line, dragged[None])


def _with_control_points(points: FloatArray, control_points: FloatArray) -> FloatArray:
    """The points with every control point among them; those that crowd an control point give way."""
    if len(control_points) == 0:
        return points
    distance = np.abs(points[:, None, 2] - control_points[None, :, 2]).min(axis=1)
    return order_points(np.concatenate([points[distance > 0.4 * CANAL_CURVE.point_mm], control_points]))
