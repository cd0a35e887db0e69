"""``Centerline``: the center of the spinal canal as an ordered curve in RAS mm, caudal to cranial.

Between the points the curve is a natural cubic spline over the chord-length parameter; arc length is measured on that
spline, so that every step of the pipeline means the same millimeter by ``s``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from VertebralFractureLib.types import FloatArray

_SAMPLES_PER_SEGMENT = 16


def solve_natural_spline(knots: FloatArray, values: FloatArray) -> FloatArray:
    """Second derivatives at the knots of the natural cubic spline through ``values`` ``(n, d)``.

    Source: the tridiagonal system of Burden and Faires, Numerical Analysis, section 3.5. SciPy gives the same to
    1e-12, but loading ``scipy.interpolate`` takes 0.35 s of every process, where this takes a millisecond.
    """
    count = len(knots)
    second = np.zeros_like(values)
    if count < 3:
        return second
    h = np.diff(knots)
    diagonal = 2.0 * (h[:-1] + h[1:])
    right = 6.0 * np.diff(np.diff(values, axis=0) / h[:, None], axis=0)
    # Eliminated by hand: the system is tridiagonal, and a dense solver would wait for threads that it does not need.
    for row in range(1, count - 2):
        factor = h[row] / diagonal[row - 1]
        diagonal[row] -= factor * h[row]
        right[row] -= factor * right[row - 1]
    second[-2] = right[-1] / diagonal[-1]
    for row in range(count - 4, -1, -1):
        second[row + 1] = (right[row] - h[row + 1] * second[row + 2]) / diagonal[row]
    return second


def order_points(points_ras: FloatArray, up_ras: FloatArray | None = None) -> FloatArray:
    """The points caudal to cranial, whatever their order was; of two at one height the later one stays.

    Args:
        up_ras: ``(3,)`` the way to the head; None: the file's S.
    """
    if len(points_ras) == 0:
        return points_ras
    latest_first = points_ras[::-1]
    heights = latest_first[:, 2] if up_ras is None else latest_first @ up_ras
    kept: list[int] = []
    for at in np.argsort(heights, kind="stable"):
        if not kept or heights[at] - heights[kept[-1]] >= 0.5:
            kept.append(int(at))
    return np.asarray(latest_first[kept])


@dataclass(frozen=True)
class Centerline:
    """The canal's centerline.

    Attributes:
        points_ras: ``(n, 3)`` RAS mm, caudal to cranial, n >= 2, no two neighbors equal.
        confidence: ``(n,)`` from 0 to 1.
        gaps_mm: stretches ``(from, to)`` of arc length without direct evidence, bridged by the path's smoothness.
        patient_axes: ``(3, 3)`` rows: the patient's right, front and head as directions of the file's RAS axes. They
            are the axes themselves where the patient lies as the file says.

    Raises:
        ValueError: when the points are fewer than two, not finite, or repeat.
    """

    points_ras: FloatArray
    confidence: FloatArray
    gaps_mm: tuple[tuple[float, float], ...] = field(default=())
    patient_axes: FloatArray = field(default_factory=lambda: np.eye(3))

    def __post_init__(self) -> None:
        points = np.ascontiguousarray(self.points_ras, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2 or not np.all(np.isfinite(points)):
            raise ValueError("A centerline needs at least two finite points (n, 3).")
        if np.any(np.linalg.norm(np.diff(points, axis=0), axis=1) < 1e-6):
            raise ValueError("A centerline must not repeat a point.")
        confidence = np.asarray(self.confidence, dtype=np.float64)
        if confidence.shape != (len(points),):
            raise ValueError("A centerline needs one confidence per point.")
        object.__setattr__(self, "points_ras", points)
        object.__setattr__(self, "confidence", confidence)

    @cached_property
    def _knots(self) -> FloatArray:
        chords = np.linalg.norm(np.diff(self.points_ras, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(chords)])

    @cached_property
    def _second(self) -> FloatArray:
        return solve_natural_spline(self._knots, self.points_ras)

    def _evaluate(self, parameter: FloatArray) -> FloatArray:
        knots, points, second = self._knots, self.points_ras, self._second
        index = np.clip(np.searchsorted(knots, parameter, side="right") - 1, 0, len(knots) - 2)
        h = (knots[index + 1] - knots[index])[:, None]
        right = (parameter - knots[index])[:, None] / h
        left = 1.0 - right
        bend = (left**3 - left) * second[index] + (right**3 - right) * second[index + 1]
        return np.asarray(left * points[index] + right * points[index + 1] + bend * h**2 / 6.0)

    @cached_property
    def _table(self) -> tuple[FloatArray, FloatArray]:
        fine = np.linspace(0.0, 1.0, _SAMPLES_PER_SEGMENT, endpoint=False)
        starts, widths = self._knots[:-1], np.diff(self._knots)
        parameter = np.append((starts[:, None] + widths[:, None] * fine).ravel(), self._knots[-1])
        steps = np.linalg.norm(np.diff(self._evaluate(parameter), axis=0), axis=1)
        return parameter, np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length_mm(self) -> float:
        return float(self._table[1][-1])

    @property
    def point_arc_lengths_mm(self) -> FloatArray:
        """Arc length at each control point, ``(n,)``; 0 at the most caudal one."""
        return np.asarray(np.interp(self._knots, *self._table))

    def positions_ras(self, arc_length_mm: FloatArray) -> FloatArray:
        """Points ``(m, 3)`` RAS mm at the arc lengths ``(m,)``; beyond the ends the curve goes on straight."""
        s = np.atleast_1d(np.asarray(arc_length_mm, dtype=np.float64))
        parameter, arc = self._table
        points = self._evaluate(np.interp(np.clip(s, 0.0, arc[-1]), arc, parameter))
        ends = self._evaluate(parameter[[0, 1, -2, -1]])
        first = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
        last = (ends[3] - ends[2]) / np.linalg.norm(ends[3] - ends[2])
        points = points + np.minimum(s, 0.0)[:, None] * first + np.maximum(s - arc[-1], 0.0)[:, None] * last
        return np.asarray(points)

    def in_patient(self) -> Centerline:
        """The same curve along the patient's own right, front and head, which are its axes then."""
        return Centerline(self.points_ras @ self.patient_axes.T, self.confidence, self.gaps_mm)

    def in_file(self, patient_axes: FloatArray) -> Centerline:
        """A curve along the patient's own axes as one along the axes of a file; undoes ``in_patient``."""
        return Centerline(self.points_ras @ patient_axes, self.confidence, self.gaps_mm, patient_axes)

    def confidence_at(self, arc_length_mm: FloatArray) -> FloatArray:
        """Confidence ``(m,)`` at the arc lengths ``(m,)``, linear between the points."""
        return np.asarray(np.interp(arc_length_mm, self.point_arc_lengths_mm, self.confidence))
