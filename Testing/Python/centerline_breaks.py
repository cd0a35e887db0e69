"""Ways to break a centerline, a reader who repairs it by dragging, and how far it then runs from the true canal."""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal import Centerline, repair_centerline
from VertebralFractureLib.canal.centerline import order_points

GOOD_ENOUGH_MM = 4.0
"""A reader who sees no point farther aside than this stops."""


def canal_at(truth, height):
    """Where a reader would drop the point: in the canal, though not to the tenth of a millimeter."""
    r, a = (np.interp(height, truth[:, 2], truth[:, axis]) for axis in (0, 1))
    return np.array([r + 0.4, a - 0.4, height])


def deviation_mm(points, truth):
    """How far aside of each true point the curve runs at its height; past the ends, how far away they are."""
    line = Centerline(points, np.ones(len(points)))
    fine = line.positions_ras(np.arange(0.0, line.length_mm, 0.5))
    aside = [truth[:, axis] - np.interp(truth[:, 2], fine[:, 2], fine[:, axis]) for axis in (0, 1)]
    beyond = truth[:, 2] - np.clip(truth[:, 2], fine[:, 2].min(), fine[:, 2].max())
    return np.linalg.norm([*aside, beyond], axis=0)


def error_mm(points, truth):
    """Mean and 95th percentile of the deviation."""
    deviation = deviation_mm(points, truth)
    return float(deviation.mean()), float(np.percentile(deviation, 95))


def shifted(points, axis):
    moved, middle = points.copy(), points[:, 2].mean()
    moved[np.abs(points[:, 2] - middle) <= 40.0, axis] += 15.0
    return moved


def zigzag(points):
    moved = points.copy()
    moved[::2, 0] += 10.0
    moved[1::2, 0] -= 10.0
    return moved


def with_swapped_ends(points):
    moved = points.copy()
    moved[[0, -1]] = moved[[-1, 0]]
    return moved


BREAKS = {
    "shifted to the side": lambda points: shifted(points, 0),
    "shifted to the front": lambda points: shifted(points, 1),
    "cut in half": lambda points: points[: len(points) // 2],
    "reversed and cut": lambda points: points[len(points) // 2 :][::-1],
    "swapped ends": with_swapped_ends,
    "zig-zag": zigzag,
}


def repaired_by_dragging(evidence, curve, truth, drags=3):
    """The curve after a reader dragged it where it was worst, and how often that was."""
    anchors = None
    for done in range(drags):
        deviation = deviation_mm(order_points(curve), truth)
        if deviation.max() < GOOD_ENOUGH_MM:
            return order_points(curve), done
        worst = truth[deviation.argmax()]
        repaired = repair_centerline(evidence, curve, canal_at(truth, worst[2]), anchors)
        curve, anchors = repaired.points_ras, repaired.anchors_ras
    return order_points(curve), drags
