"""Find where every vertebra of the column begins and ends, as one global optimum over the profiles of the three maps.

The column is a semi-Markov chain, gap - body - gap - body, whose log-likelihood adds up over millimeters: a weak
endplate is accepted where the alternative, a body of 45 mm or two of 6 mm, is worse; no fixed spacing is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.thresholds import BODY_SEARCH
from VertebralFractureLib.types import BoolArray, FloatArray, IntArray


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
    inside: BoolArray


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


def search_spans(profiles: Profiles, *, unbroken: bool = False) -> list[Span]:
    """The most probable bodies, caudal to cranial.

    Two passes: the first with one height prior for all, the second with the heights of the neighborhood.

    Args:
        unbroken: a gap wider than a disc has its price, so that a faint body in it is found.
    """
    tuned = BODY_SEARCH
    rows = np.flatnonzero(profiles.inside)
    if len(rows) < 2 * tuned.minimum_height_mm:
        return []
    expected = np.full(len(profiles.s_mm), tuned.typical_height_mm)
    first = _best_chain(profiles, expected, tuned.log_sd, unbroken)
    if len(first) >= 3:
        expected = _local_heights(profiles.s_mm, first)
        first = _best_chain(profiles, expected, tuned.log_sd_local, unbroken)
    return first


def _local_heights(s: FloatArray, spans: list[Span]) -> FloatArray:
    """Median height of the whole bodies within 90 mm of every row."""
    whole = [span for span in spans if not span.cut] or spans
    center = np.array([0.5 * (span.s_inferior_mm + span.s_superior_mm) for span in whole])
    height = np.array([span.s_superior_mm - span.s_inferior_mm for span in whole])
    local = np.empty(len(s))
    for row, at in enumerate(s):
        near = np.abs(center - at) <= BODY_SEARCH.neighborhood_mm
        local[row] = np.median(height[near]) if near.any() else height[np.abs(center - at).argmin()]
    return local


def _best_chain(profiles: Profiles, expected: FloatArray, sd: float, unbroken: bool) -> list[Span]:
    """Viterbi; ``ends[j]`` is the best score of a column whose last body ends at row j."""
    tuned = BODY_SEARCH
    start_cost, gap_price = (tuned.broken_cost, tuned.gap_price) if unbroken else (tuned.start_cost, 0.0)
    rows = np.flatnonzero(profiles.inside)
    low, high = int(rows[0]), int(rows[-1])
    total = np.concatenate([[0.0], np.cumsum(_log_odds(profiles.body) * tuned.body_weight)])
    lower, upper = _log_odds(profiles.lower_edge), _log_odds(profiles.upper_edge)
    lower[low], upper[high] = max(lower[low], -tuned.cut_cost), max(upper[high], -tuned.cut_cost)
    count = len(profiles.s_mm)
    ends, opened = np.full(count, -np.inf), np.full(count, -np.inf)
    start_of, previous = np.full(count, -1), np.full(count, -1)
    best_so_far = (0.0, -1)
    for j in range(low, high + 1):
        near = np.arange(max(low, j - tuned.maximum_gap_mm), j)
        opened[j], previous[j] = best_so_far[0] - start_cost, best_so_far[1]
        if len(near):
            joined = ends[near] - gap_price * np.maximum(j - near - tuned.widest_disc_mm, 0.0)
            if joined.max() > opened[j]:
                opened[j], previous[j] = float(joined.max()), int(near[joined.argmax()])
        starts = np.arange(max(low, j - tuned.maximum_height_mm), j - 3)
        if len(starts) == 0:
            continue
        is_cut = (starts == low) | (j == high)
        prior = _height_prior((j - starts).astype(np.float64), 0.5 * (expected[j] + expected[starts]), sd, is_cut)
        score = opened[starts] + lower[starts] + upper[j] + total[j + 1] - total[starts] + prior
        best = int(score.argmax())
        ends[j], start_of[j] = score[best], starts[best]
        if ends[j] > best_so_far[0]:
            best_so_far = (float(ends[j]), j)
    return _trace_back(profiles, best_so_far[1], start_of, previous, (low, high))


def _height_prior(height: FloatArray, expected: FloatArray, sd: float, is_cut: BoolArray) -> FloatArray:
    """Log-normal around ``expected``, capped below, with a second, steeper wall where two bodies are taken for one."""
    tuned = BODY_SEARCH
    ratio = np.log(height / expected)
    prior = -0.5 * (ratio / sd) ** 2
    prior = np.where(ratio < 0.0, np.maximum(prior, -tuned.collapse_cap), prior)
    prior = prior - 0.5 * (np.maximum(height / expected - tuned.tall_from, 0.0) / tuned.tall_scale) ** 2
    prior = np.where(is_cut & (ratio < 0.0), 0.0, prior)
    return np.asarray(np.where((height < tuned.minimum_height_mm) & ~is_cut, -np.inf, prior))


def _trace_back(
    profiles: Profiles, last: int, start_of: IntArray, previous: IntArray, limits: tuple[int, int]
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
            if abs(row - limit) <= 2 and strength < BODY_SEARCH.cut_edge_below:
                cut = True
            else:
                evidence.append(strength)
        confidence = float(np.exp(np.mean(np.log(np.clip(evidence, BODY_SEARCH.probability_floor, 1.0)))))
        spans.append(Span(float(profiles.s_mm[i]), float(profiles.s_mm[j]), confidence, cut))
        j = int(previous[i])
    return spans[::-1]


def _log_odds(probability: FloatArray) -> FloatArray:
    p = np.clip(
        np.asarray(probability, dtype=np.float64), BODY_SEARCH.probability_floor, 1.0 - BODY_SEARCH.probability_floor
    )
    return np.asarray(np.log(p) - np.log1p(-p))
