"""From the path's places to the ``Centerline``: robust smoothing, confidence per point, and the gaps.

Smoothing is a Whittaker smoother over equidistant slices whose weights fall with the distance of a place from the
curve, so that one slice with metal or noise bends nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.canal.axial_stack import AxialStack
from VertebralFractureLib.canal.candidates import CanalCandidates
from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.path import CanalPath
from VertebralFractureLib.thresholds import CANAL_CURVE
from VertebralFractureLib.types import FloatArray


def centerline_from_path(stack: AxialStack, candidates: CanalCandidates, path: CanalPath) -> Centerline | None:
    """The smooth centerline along ``path`` with a point every ``point_mm``; ``None`` when it is only a point long."""
    rows = np.arange(path.rows[0], path.rows[-1] + 1)
    if len(rows) < 3:
        return None
    used = path.rows - rows[0]
    places = np.zeros((len(rows), 2))
    places[used] = candidates.position_mm[path.rows, path.choices]
    probability = np.zeros(len(rows))
    probability[used] = candidates.probability[path.rows, path.choices]
    spread = np.full(len(rows), np.inf)
    spread[used] = candidates.spread_mm[path.rows, path.choices]
    slice_mm = stack.spacing_mm[2]
    smooth, residual = robust_smooth(places, probability, CANAL_CURVE.stiffness_mm / slice_mm)
    residual[probability == 0.0] = np.inf
    points = np.column_stack([smooth, candidates.heights_mm[rows]])
    confidence = slice_confidence(probability, residual, spread)
    low, high = stack.extent_s_mm
    lead = _stretch_to(low, points[0], points[1], slice_mm)
    tail = _stretch_to(high, points[-1], points[-2], slice_mm)
    points = np.vstack([lead, points, tail])
    confidence = np.pad(confidence, (len(lead), len(tail)), mode="edge")
    missing = np.pad(probability == 0.0, (len(lead), len(tail)))
    dense = Centerline(points, confidence)
    count = max(2, math.ceil(dense.length_mm / CANAL_CURVE.point_mm) + 1)
    at = np.linspace(0.0, dense.length_mm, count)
    gaps = _gaps(missing, dense.point_arc_lengths_mm)
    return Centerline(dense.positions_ras(at), dense.confidence_at(at), gaps)


def robust_smooth(places: FloatArray, weights: FloatArray, stiffness: float) -> tuple[FloatArray, FloatArray]:
    """Smooth ``places`` ``(n, 2)`` given ``weights`` ``(n,)`` (0 = missing); also the distance of each from the curve.

    Minimizes sum w |x - y|^2 + stiffness^4 sum |second difference|^2 (Whittaker 1923; Eilers 2003), with the weights
    multiplied by 1 / (1 + (distance / 4 mm)^2)^2 and iterated.
    """
    count = len(places)
    second = np.diff(np.eye(count), n=2, axis=0)
    penalty = stiffness**4 * second.T @ second
    robust = np.ones(count)
    smooth = places
    residual = np.zeros(count)
    for _ in range(CANAL_CURVE.robust_steps):
        w = weights * robust + 1e-9
        smooth = np.linalg.solve(np.diag(w) + penalty, w[:, None] * places)
        residual = np.linalg.norm(smooth - places, axis=1)
        robust = 1.0 / (1.0 + (residual / CANAL_CURVE.outlier_mm) ** 2) ** 2
    return smooth, residual


def slice_confidence(probability: FloatArray, residual_mm: FloatArray, spread_mm: FloatArray) -> FloatArray:
    """Confidence per slice, 0 to 1: the network's probability, lowered where it is vague or off the smooth curve."""
    tuned = CANAL_CURVE
    agreement = np.exp(-0.5 * (residual_mm / tuned.off_curve_sd_mm) ** 2)
    vague = np.maximum(spread_mm - tuned.vague_from_mm, 0.0)
    agreement = agreement * np.exp(-0.5 * (vague / tuned.vague_sd_mm) ** 2)
    return np.asarray(np.clip(probability * agreement, 0.0, 1.0))


def _stretch_to(face_mm: float, end: FloatArray, next_to_it: FloatArray, reach_mm: float) -> FloatArray:
    """``(1, 3)``, the curve gone on straight to the scan's face where that is at most a slice away, else ``(0, 3)``."""
    if not CANAL_CURVE.least_stretch_mm < abs(face_mm - end[2]) <= reach_mm:
        return np.zeros((0, 3))
    slope = (end - next_to_it) / (end[2] - next_to_it[2])
    return np.asarray((end + (face_mm - end[2]) * slope)[None])


def _gaps(missing: NDArray[np.bool_], arcs: FloatArray) -> tuple[tuple[float, float], ...]:
    """Arc lengths between the last place before and the first place after two or more slices without evidence."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(int), [0]])))
    runs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((float(arcs[first - 1]), float(arcs[last])) for first, last in runs if last - first >= 2)
