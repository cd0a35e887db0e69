"""How far a detected centerline is from the reference: distance, coverage, and length beyond the spine.

Distances go from every millimeter of the reference curve to the nearest point of the predicted curve, so that a part of
the canal that was missed counts as an error and is not left out of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.research.datasets import ReferenceSpine
from VertebralFractureLib.types import FloatArray

COVERED_WITHIN_MM = 5.0
_STEP_MM = 1.0
_EDGE_MM = 10.0


@dataclass(frozen=True)
class CenterlineErrors:
    """All in mm but ``coverage`` (share of the reference within ``COVERED_WITHIN_MM``).

    ``mean_mm``, ``median_mm``, ``p95_mm`` and ``worst_mm`` are over the reference's certain stretches;
    ``beyond_mm`` is the predicted length farther than 10 mm from any part of the reference.
    """

    mean_mm: float
    median_mm: float
    p95_mm: float
    worst_mm: float
    coverage: float
    reference_mm: float
    beyond_mm: float


def centerline_errors(predicted: Centerline, reference: ReferenceSpine) -> CenterlineErrors:
    """Compare a centerline with the reference; both in RAS mm."""
    line = reference.centerline
    arc = np.arange(0.0, line.length_mm, _STEP_MM)
    known = ~np.any([(arc >= low) & (arc <= high) for low, high in reference.uncertain_mm] or [arc < 0.0], axis=0)
    truth = line.positions_ras(arc)
    found_arc = np.arange(0.0, predicted.length_mm, _STEP_MM)
    found = predicted.positions_ras(found_arc)
    distance = nearest_distance_mm(truth[known], found)
    beyond = float((nearest_distance_mm(found, truth) > _EDGE_MM).sum() * _STEP_MM)
    return CenterlineErrors(
        mean_mm=float(distance.mean()),
        median_mm=float(np.median(distance)),
        p95_mm=float(np.percentile(distance, 95)),
        worst_mm=float(distance.max()),
        coverage=float((distance <= COVERED_WITHIN_MM).mean()),
        reference_mm=float(known.sum() * _STEP_MM),
        beyond_mm=beyond,
    )


def nearest_distance_mm(points_ras: FloatArray, curve_ras: FloatArray) -> FloatArray:
    """Distance ``(n,)`` of each point to the nearest place on the polyline ``curve_ras`` ``(m, 3)``, m >= 2."""
    start, along = curve_ras[:-1], np.diff(curve_ras, axis=0)
    square = np.maximum((along**2).sum(axis=1), 1e-12)
    nearest = np.full(len(points_ras), np.inf)
    for row, point in enumerate(points_ras):
        offset = point - start
        share = np.clip((offset * along).sum(axis=1) / square, 0.0, 1.0)
        nearest[row] = np.sqrt((((offset - share[:, None] * along) ** 2).sum(axis=1)).min())
    return nearest
