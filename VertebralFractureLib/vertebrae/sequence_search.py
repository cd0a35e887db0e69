"""One global optimum over the whole column: where every vertebra begins and ends, from the profiles of the three maps.

The column is a semi-Markov chain, gap - body - gap - body, whose log-likelihood adds up over millimeters: a weak
endplate is accepted where the alternative, a body of 45 mm or two of 6 mm, is worse; no fixed spacing is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.types import FloatArray

MINIMUM_HEIGHT_MM, MAXIMUM_HEIGHT_MM = 7, 45
MAXIMUM_GAP_MM = 18
_EPSILON = 1e-3
_START_COST = 4.0
"""What a new stretch of column must earn, so that speckle outside the spine makes no vertebra."""
_TYPICAL_HEIGHT_MM = 20.0
_LOG_SPREAD, _LOG_SPREAD_LOCAL = 0.45, 0.22
_COLLAPSE_CAP = 3.0
"""A body lower than its neighbors is what this program looks for: its prior falls no further than this."""
_TALL_FROM, _TALL_SCALE = 1.45, 0.12
_BODY_WEIGHT = 0.35
"""Neighboring rows see the same pixels, so their log-odds are not independent evidence."""
_CUT_COST = 2.0
_NEIGHBORHOOD_MM = 90.0


@dataclass(frozen=True)
class Profiles:
    """Along s, rows 1 mm apart: probabilities of body, upper and lower edge at mid depth, and the field of view.

    Attributes:
        s_mm: ``(n,)`` ascending.
        body, upper_edge, lower_edge: ``(n,)`` probabilities.
        inside: ``(n,)`` bool, one run of True.
    """

    s_mm: FloatArray
    body: FloatArray
    upper_edge: FloatArray
    lower_edge: FloatArray
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class Span:
    """One body along s at mid depth; ``cut`` means that the field of view ends before an endplate was seen."""

    s_inferior_mm: float
    s_superior_mm: float
    confidence: float
    cut: bool = False

    @property
    def middle_mm(self) -> float:
        return 0.5 * (self.s_inferior_mm + self.s_superior_mm)


def search_spans(profiles: Profiles) -> list[Span]:
    """The most probable bodies, caudal to cranial.

    Two passes: the first with one height prior for all, the second with the heights of the neighborhood.
    """
    rows = np.flatnonzero(profiles.inside)
    if len(rows) < 2 * MINIMUM_HEIGHT_MM:
        return []
    expected = np.full(len(profiles.s_mm), _TYPICAL_HEIGHT_MM)
    first = _best_chain(profiles, expected, _LOG_SPREAD)
    if len(first) >= 3:
        expected = _local_heights(profiles.s_mm, first)
        first = _best_chain(profiles, expected, _LOG_SPREAD_LOCAL)
    return first


def _local_heights(s: FloatArray, spans: list[Span]) -> FloatArray:
    """Median height of the whole bodies within 90 mm of every row."""
    whole = [span for span in spans if not span.cut] or spans
    center = np.array([0.5 * (span.s_inferior_mm + span.s_superior_mm) for span in whole])
    height = np.array([span.s_superior_mm - span.s_inferior_mm for span in whole])
    local = np.empty(len(s))
    for row, at in enumerate(s):
        near = np.abs(center - at) <= _NEIGHBORHOOD_MM
        local[row] = np.median(height[near]) if near.any() else height[np.abs(center - at).argmin()]
    return local


def _best_chain(profiles: Profiles, expected: FloatArray, spread: float) -> list[Span]:
    """Viterbi; ``ends[j]`` is the best score of a column whose last body ends at row j."""
    rows = np.flatnonzero(profiles.inside)
    low, high = int(rows[0]), int(rows[-1])
    total = np.concatenate([[0.0], np.cumsum(_log_odds(profiles.body) * _BODY_WEIGHT)])
    lower, upper = _log_odds(profiles.lower_edge), _log_odds(profiles.upper_edge)
    lower[low], upper[high] = max(lower[low], -_CUT_COST), max(upper[high], -_CUT_COST)
    count = len(profiles.s_mm)
    ends, opened = np.full(count, -np.inf), np.full(count, -np.inf)
    start_of, previous = np.full(count, -1), np.full(count, -1)
    best_so_far = (0.0, -1)
    for j in range(low, high + 1):
        near = np.arange(max(low, j - MAXIMUM_GAP_MM), j)
        opened[j], previous[j] = best_so_far[0] - _START_COST, best_so_far[1]
        if len(near) and ends[near].max() > opened[j]:
            opened[j], previous[j] = float(ends[near].max()), int(near[ends[near].argmax()])
        starts = np.arange(max(low, j - MAXIMUM_HEIGHT_MM), j - 3)
        if len(starts) == 0:
            continue
        is_cut = (starts == low) | (j == high)
        prior = _height_prior((j - starts).astype(np.float64), 0.5 * (expected[j] + expected[starts]), spread, is_cut)
        score = opened[starts] + lower[starts] + upper[j] + total[j + 1] - total[starts] + prior
        best = int(score.argmax())
        ends[j], start_of[j] = score[best], starts[best]
        if ends[j] > best_so_far[0]:
            best_so_far = (float(ends[j]), j)
    return _trace_back(profiles, best_so_far[1], start_of, previous, (low, high))


def _height_prior(height: FloatArray, expected: FloatArray, spread: float, is_cut: NDArray[np.bool_]) -> FloatArray:
    """Log-normal around ``expected``, capped below, with a second, steeper wall where two bodies are taken for one."""
    ratio = np.log(height / expected)
    prior = -0.5 * (ratio / spread) ** 2
    prior = np.where(ratio < 0.0, np.maximum(prior, -_COLLAPSE_CAP), prior)
    prior = prior - 0.5 * (np.maximum(height / expected - _TALL_FROM, 0.0) / _TALL_SCALE) ** 2
    prior = np.where(is_cut & (ratio < 0.0), 0.0, prior)
    return np.asarray(np.where((height < MINIMUM_HEIGHT_MM) & ~is_cut, -np.inf, prior))


def _trace_back(
    profiles: Profiles, last: int, start_of: NDArray[np.intp], previous: NDArray[np.intp], limits: tuple[int, int]
) -> list[Span]:
    spans: list[Span] = []
    j = last
    while j >= 0:
        i = int(start_of[j])
        inner = profiles.body[i + 1 : j]
        evidence = [float(inner.mean()) if len(inner) else 0.0]
        cut = False
        for row, edge, limit in ((i, profiles.lower_edge, limits[0]), (j, profiles.upper_edge, limits[1])):
            at = slice(max(row - 1, 0), row + 2)
            strength = float(edge[at].max())
            if abs(row - limit) <= 2 and strength < 0.5:
                cut = True
            else:
                evidence.append(strength)
        confidence = float(np.exp(np.mean(np.log(np.clip(evidence, _EPSILON, 1.0)))))
        spans.append(Span(float(profiles.s_mm[i]), float(profiles.s_mm[j]), confidence, cut))
        j = int(previous[i])
    return spans[::-1]


def _log_odds(probability: FloatArray) -> FloatArray:
    p = np.clip(np.asarray(probability, dtype=np.float64), _EPSILON, 1.0 - _EPSILON)
    return np.asarray(np.log(p) - np.log1p(-p))
