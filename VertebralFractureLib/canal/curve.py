"""Fit the path's points by the ``Centerline`` (smooth, with confidence and gaps) and the ``SliceBoxes`` along it.

Smoothing is a Whittaker smoother over equidistant slices whose weights fall with the distance of a point from the
curve, so that one slice with metal or noise bends nothing; a running median does the same for the walls of the boxes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from VertebralFractureLib.canal.axial_stack import FROM_FACE_MM, AxialStack
from VertebralFractureLib.canal.candidates import CanalCandidates
from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.path import CanalPath
from VertebralFractureLib.thresholds import CANAL_CURVE
from VertebralFractureLib.types import BoolArray, FloatArray


def fit_centerline(stack: AxialStack, candidates: CanalCandidates, path: CanalPath) -> Centerline | None:
    """The smooth centerline along ``path`` with a point every ``point_mm``; ``None`` when it is only a point long."""
    rows = np.arange(path.rows[0], path.rows[-1] + 1)
    if len(rows) < 3:
        return None
    used = path.rows - rows[0]
    positions = np.zeros((len(rows), 2))
    positions[used] = candidates.position_mm[path.rows, path.choices]
    probability = np.zeros(len(rows))
    probability[used] = candidates.probability[path.rows, path.choices]
    sd = np.full(len(rows), np.inf)
    sd[used] = candidates.sd_mm[path.rows, path.choices]
    slice_mm = stack.spacing_mm[2]
    smooth, residual = smooth_robustly(positions, probability, CANAL_CURVE.stiffness_mm / slice_mm)
    residual[probability == 0.0] = np.inf
    points = np.column_stack([smooth, candidates.heights_mm[rows]])
    confidence = compute_confidence(probability, residual, sd)
    low, high = stack.extent_s_mm
    # The outermost slices lie so far from the faces at most.
    reach_mm = slice_mm + FROM_FACE_MM
    lead = _stretch_to(low, points[0], points[1], reach_mm)
    tail = _stretch_to(high, points[-1], points[-2], reach_mm)
    points = np.vstack([lead, points, tail])
    confidence = np.pad(confidence, (len(lead), len(tail)), mode="edge")
    missing = np.pad(probability == 0.0, (len(lead), len(tail)))
    dense = Centerline(points, confidence)
    count = max(2, math.ceil(dense.length_mm / CANAL_CURVE.point_mm) + 1)
    at = np.linspace(0.0, dense.length_mm, count)
    gaps = _gaps(missing, dense.point_arc_lengths_mm)
    return Centerline(dense.positions_ras(at), dense.confidence_at(at), gaps)


def smooth_robustly(positions: FloatArray, weights: FloatArray, stiffness: float) -> tuple[FloatArray, FloatArray]:
    """Smooth ``positions`` ``(n, 2)`` by ``weights`` ``(n,)`` (0 = missing); also the distance of each from the curve.

    Minimizes sum w |x - y|^2 + stiffness^4 sum |second difference|^2 (Whittaker 1923; Eilers 2003), with the weights
    multiplied by 1 / (1 + (distance / 4 mm)^2)^2 and iterated.
    """
    count = len(positions)
    second = np.diff(np.eye(count), n=2, axis=0)
    penalty = stiffness**4 * second.T @ second
    robust = np.ones(count)
    smooth = positions
    residual = np.zeros(count)
    for _ in range(CANAL_CURVE.robust_steps):
        w = weights * robust + 1e-9
        smooth = np.linalg.solve(np.diag(w) + penalty, w[:, None] * positions)
        residual = np.linalg.norm(smooth - positions, axis=1)
        robust = 1.0 / (1.0 + (residual / CANAL_CURVE.outlier_mm) ** 2) ** 2
    return smooth, residual


def compute_confidence(probability: FloatArray, residual_mm: FloatArray, sd_mm: FloatArray) -> FloatArray:
    """Confidence per slice, 0 to 1: the network's probability, lowered where it is vague or off the smooth curve."""
    tuned = CANAL_CURVE
    agreement = np.exp(-0.5 * (residual_mm / tuned.off_curve_sd_mm) ** 2)
    vague = np.maximum(sd_mm - tuned.vague_from_mm, 0.0)
    agreement = agreement * np.exp(-0.5 * (vague / tuned.vague_sd_mm) ** 2)
    return np.asarray(np.clip(probability * agreement, 0.0, 1.0))


def _stretch_to(face_mm: float, end: FloatArray, next_to_it: FloatArray, reach_mm: float) -> FloatArray:
    """``(1, 3)``, the curve gone on straight to the scan's face where that is within reach, else ``(0, 3)``."""
    if not CANAL_CURVE.least_stretch_mm < abs(face_mm - end[2]) <= reach_mm:
        return np.zeros((0, 3))
    slope = (end - next_to_it) / (end[2] - next_to_it[2])
    return np.asarray((end + (face_mm - end[2]) * slope)[None])


def _gaps(missing: BoolArray, arcs: FloatArray) -> tuple[tuple[float, float], ...]:
    """Arc lengths between the last position before and the first one after two or more slices without evidence."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(int), [0]])))
    runs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((float(arcs[first - 1]), float(arcs[last])) for first, last in runs if last - first >= 2)


CONFIG_KEY = "confidence"


def calibrate_canal_confidence(raw: FloatArray, config: Mapping[str, Any]) -> FloatArray:
    """Map the network's own probability ``(n,)`` to the probability that the true center lies within 3 mm.

    How often the network is right at a value was counted on changed scans (``research/release/calibrate_canal.py``),
    which stores a monotone map in the weights; without one the raw value is given.
    """
    mapping = config.get(CONFIG_KEY)
    if mapping is None:
        return raw
    return np.asarray(np.interp(raw, mapping["raw"], mapping["calibrated"]))


@dataclass(frozen=True)
class SliceBoxes:
    """On every axial slice of the spine, the box of the canal and of the vertebra in front of it.

    Boxes in axial planes of the patient, RAS mm, ``(lowest R, highest R, lowest A, highest A)`` per slice.

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


def fit_slice_boxes(candidates: CanalCandidates, path: CanalPath, centerline: Centerline) -> SliceBoxes:
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
