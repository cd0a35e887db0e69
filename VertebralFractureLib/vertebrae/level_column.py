"""A column of vertebrae cut into cells, one for each level from the lowest found body to the highest and a few beyond.

Cells follow the vertebrae, not the millimeter: the next cell is the next level whatever its size, so that counting from
a landmark is the same operation in a child and in a giant. A hole is given the cells of the levels that fit into it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.thresholds import LABELING
from VertebralFractureLib.types import FloatArray, IntArray

BEYOND = 2
"""Cells supposed beyond either end: the sacrum or the first ribs show there although no body was found."""


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
    """How many levels up each next vertebra is, from the arc lengths of their lower and upper endplates."""
    return [_levels_up(below, above) for below, above in itertools.pairwise(extents_mm)]


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


def _levels_up(below: tuple[float, float], above: tuple[float, float]) -> int:
    gap = above[0] - below[1]
    if gap < LABELING.hole_from_mm:
        return 1
    heights = (below[1] - below[0], above[1] - above[0])
    # The void over a sunken endplate belongs to the low body; only what the higher one's spacing cannot span is a hole.
    return max(1, round((gap + 0.5 * sum(heights)) / (max(heights) + LABELING.disc_mm)))
