"""What a hand did to a centerline: which point it moved, placed or took away, from the points before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal.centerline import order_points
from VertebralFractureLib.result.report import Point

_SAME_PLACE_MM = 1e-4


@dataclass(frozen=True)
class CurveStep:
    """One step of the hand.

    Attributes:
        points_ras: the curve afterwards, caudal to cranial, RAS mm rounded to six decimals as a report holds them.
        anchors_ras: those of its points that a hand placed earlier, without ``dragged_ras``.
        dragged_ras: the one point that was moved or placed; None where points were taken away, or several moved.
    """

    points_ras: tuple[Point, ...]
    anchors_ras: tuple[Point, ...]
    dragged_ras: Point | None


def curve_step(before: Sequence[Point], anchors: Sequence[Point], after: Sequence[Point]) -> CurveStep | None:
    """The step from the curve ``before``, with the ``anchors`` that were placed on it, to ``after``; None for none.

    Raises:
        ValueError: when fewer than two points are left.
    """
    placed = _missing(after, before)
    gone = _missing(before, after)
    if not placed and not gone:
        return None
    points = tuple(_rounded(point) for point in order_points(np.array(after, dtype=np.float64).reshape(-1, 3)))
    if len(points) < 2:
        raise ValueError("A centerline needs at least two points; place another one along the canal first.")
    kept = tuple(anchor for anchor in anchors if anchor not in gone)
    if len(placed) == 1 and len(gone) <= 1:
        return CurveStep(points, kept, _rounded(placed[0]))
    return CurveStep(points, kept, None)


def _missing(points: Sequence[Point], others: Sequence[Point]) -> list[Point]:
    """Those of ``points`` that are not among ``others``."""
    return [point for point in points if all(math.dist(point, other) > _SAME_PLACE_MM for other in others)]


def _rounded(point: Sequence[float]) -> Point:
    r, a, s = (round(float(value), 6) for value in point)
    return r, a, s
