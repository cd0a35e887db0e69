"""A column of vertebrae cut into cells, one for each level from the lowest found body to the highest and a few beyond.

Cells follow the vertebrae, not the millimeter: the next cell is the next level whatever its size, so that counting from
a landmark is the same operation in a child and in a giant. A hole is given the cells of the levels that fit into it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.thresholds import ACCOUNTING, LABELING
from VertebralFractureLib.types import FloatArray, IntArray

BEYOND = 2
"""Cells supposed beyond either end: the sacrum or the first ribs show there although no body was found."""
_NEVER = 1e-12
"""Keeps the logarithm of what cannot be finite."""
MOST_STEPS = 4
"""Levels that one gap may span: three vertebrae in a row were missed at most."""


@dataclass(frozen=True)
class Column:
    """Cells of a column, caudal to cranial.

    Attributes:
        borders_mm: ``(n + 1,)`` arc lengths, ascending; cell i lies between borders i and i + 1.
        found: ``(m,)`` cell of each found body.
    """

    borders_mm: FloatArray
    found: IntArray

    @property
    def spacing_mm(self) -> FloatArray:
        """``(n,)`` length of every cell."""
        return np.asarray(np.diff(self.borders_mm))

    def rows_mm(self, count: int) -> FloatArray:
        """``(n, count)`` arc lengths of the middles of ``count`` equal slices of every cell."""
        fraction = (np.arange(count) + 0.5) / count
        return np.asarray(self.borders_mm[:-1, None] + fraction[None] * self.spacing_mm[:, None])


def count_steps(extents_mm: Sequence[tuple[float, float]]) -> list[int]:
    """The likeliest number of levels up that each next vertebra is (``weigh_steps``)."""
    return [int(step) + 1 for step in weigh_steps(extents_mm).argmax(axis=1)]


def weigh_steps(extents_mm: Sequence[tuple[float, float]]) -> FloatArray:
    """``(n - 1, MOST_STEPS)`` log-probabilities that each next vertebra is 1, 2, ... levels up.

    A number of levels is the likelier the nearer the distance of the two vertebrae comes to that many times what the
    others predict. Where a body was missed, or two were taken for one, no number is certain: the name of a body as tall
    as two may be that of either half.

    Args:
        extents_mm: arc lengths of lower and upper endplates, caudal to cranial.
    """
    if len(extents_mm) < 2:
        return np.zeros((0, MOST_STEPS))
    tuned = ACCOUNTING
    extents = np.array(extents_mm, dtype=np.float64)
    half = 0.5 * (extents[:, 1] - extents[:, 0]) * (compare_heights(extents_mm) > tuned.too_tall)
    distance, predicted = _measure_spacing(extents)
    steps = np.arange(1, MOST_STEPS + 1)
    chance = np.zeros((len(distance), MOST_STEPS))
    for below in (-0.5, 0.5):
        for above in (-0.5, 0.5):
            own = distance + below * half[:-1] + above * half[1:]
            off = np.log(np.maximum(own / predicted, 0.5))[:, None] - np.log(steps)
            weight = np.exp(-0.5 * (off / tuned.spacing_log_sd) ** 2 + (steps - 1) * np.log(tuned.missed)) + _NEVER
            chance += weight / weight.sum(axis=1, keepdims=True)
    return np.asarray(np.log(0.25 * chance))


def compare_spacing(extents_mm: Sequence[tuple[float, float]]) -> FloatArray:
    """``(n - 1,)`` distance of each vertebra from the next one, middle to middle, over what the others predict."""
    if len(extents_mm) < 2:
        return np.zeros(0)
    distance, predicted = _measure_spacing(np.array(extents_mm, dtype=np.float64))
    return distance / predicted


def compare_heights(extents_mm: Sequence[tuple[float, float]], whole: Sequence[bool] | None = None) -> FloatArray:
    """``(n,)`` height of each body at mid depth over the median of up to ``neighbors`` on either side.

    Args:
        whole: bodies that are not predict nothing; None: all are. NaN where fewer than two predict.
    """
    extents = np.array(extents_mm, dtype=np.float64).reshape(-1, 2)
    height = extents[:, 1] - extents[:, 0]
    known = np.where(True if whole is None else np.asarray(whole, dtype=np.bool_), height, np.nan)
    usual = np.full(len(height), np.nan)
    for i in range(len(height)):
        near = np.arange(max(i - ACCOUNTING.neighbors, 0), min(i + ACCOUNTING.neighbors + 1, len(height)))
        others = known[near[near != i]]
        others = others[np.isfinite(others)]
        if len(others) >= 2:
            usual[i] = np.median(others)
    return np.asarray(height / usual)


def _measure_spacing(extents: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distances ``(n - 1,)`` from middle to middle, and those that the other vertebrae predict, mm.

    The prediction is the median of the distances of up to ``neighbors`` vertebrae on either side, each divided by the
    levels that it spans, and of their median height with a disc; a body at an end that the field of view may cut counts
    as a whole one.
    """
    reach = ACCOUNTING.neighbors
    height = extents[:, 1] - extents[:, 0]
    for end, neighbor in ((0, 1), (-1, -2)):
        height[end] = max(height[end], LABELING.shortest_end * height[neighbor])
    distance = extents[1:, 0] - extents[:-1, 1] + 0.5 * (height[1:] + height[:-1])
    single = distance / np.maximum(np.rint(distance / (np.maximum(height[1:], height[:-1]) + LABELING.disc_mm)), 1.0)
    predicted = np.empty(len(distance))
    for i in range(len(distance)):
        near = np.arange(max(i - reach, 0), min(i + reach + 1, len(distance)))
        bodies = height[max(i - reach + 1, 0) : i + reach + 1]
        predicted[i] = np.median([*single[near[near != i]], np.median(bodies) + LABELING.disc_mm])
    return distance, predicted


def lay_column(extents_mm: Sequence[tuple[float, float]], steps: Sequence[int] | None = None) -> Column:
    """The cells for bodies with these lower and upper endplates, caudal to cranial.

    Args:
        steps: how many levels up each next body is; None: what ``count_steps`` says.

    Raises:
        ValueError: without a body.
    """
    tuned = LABELING
    if not extents_mm:
        raise ValueError("A column has at least one vertebra.")
    borders = [extents_mm[0][0] - 0.5 * tuned.disc_mm]
    found = [BEYOND]
    steps = count_steps(extents_mm) if steps is None else steps
    for (below, above), step in zip(itertools.pairwise(extents_mm), steps, strict=True):
        if step == 1:
            borders.append(0.5 * (below[1] + above[0]))
        else:
            borders += list(np.linspace(below[1] + 0.5 * tuned.disc_mm, above[0] - 0.5 * tuned.disc_mm, step))
        found.append(found[-1] + step)
    borders.append(extents_mm[-1][1] + 0.5 * tuned.disc_mm)
    inner = np.array(borders)
    spacing = np.diff(inner)
    if len(spacing) > 1:
        inner[0] = min(inner[0], inner[1] - tuned.shortest_end * spacing[1])
        inner[-1] = max(inner[-1], inner[-2] + tuned.shortest_end * spacing[-2])
        spacing = np.diff(inner)
    outward = np.arange(1, BEYOND + 1)
    whole = np.concatenate([inner[0] - outward[::-1] * spacing[0], inner, inner[-1] + outward * spacing[-1]])
    return Column(whole, np.array(found, dtype=np.intp))
