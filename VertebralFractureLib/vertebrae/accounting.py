"""Account for every vertebra between the lowest and the highest that were found: is there a hole, or a body too many?

Vertebrae follow each other at distances, and have heights, that their neighbors predict to a tenth. A search that lost
a body, took two for one or found only a part of one shows in these numbers, whatever it was that misled it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.thresholds import ACCOUNTING
from VertebralFractureLib.types import BoolArray
from VertebralFractureLib.vertebrae.level_column import compare_heights, compare_spacing, weigh_steps


@dataclass(frozen=True)
class ColumnAccount:
    """What does not add up in a column of ``n`` bodies.

    Attributes:
        hole_above: ``(n,)`` between this body and the next one up there is room for another.
        too_tall: ``(n,)`` two bodies may have been taken for this one.
        too_low: ``(n,)`` only a part of this body may have been found: it is low, yet its neighbors stand as far away
            as those of a whole one. A biconcave fracture is low in the middle only and is none of these.
    """

    hole_above: BoolArray
    too_tall: BoolArray
    too_low: BoolArray

    @property
    def beside_hole(self) -> BoolArray:
        """``(n,)`` a body that borders on a hole, below or above."""
        return np.asarray(self.hole_above | np.concatenate([[False], self.hole_above[:-1]])[: len(self.hole_above)])

    @property
    def trouble(self) -> int:
        """How many things do not add up."""
        return int(self.hole_above.sum() + self.too_tall.sum() + self.too_low.sum())


def account_for_bodies(
    extents_mm: Sequence[tuple[float, float]], whole: Sequence[bool], greatest_mm: Sequence[float | None]
) -> ColumnAccount:
    """Compare distances and heights of the bodies with what their neighbors predict.

    Args:
        extents_mm: arc lengths of their lower and upper endplates at mid depth, caudal to cranial.
        whole: whether each lies in the field of view entirely; heights of others predict nothing.
        greatest_mm: the greatest of the heights measured at each body's front, middle and back; None where not traced.
    """
    tuned, count = ACCOUNTING, len(extents_mm)
    nothing = np.zeros(count, dtype=np.bool_)
    if count < 3:
        return ColumnAccount(nothing, nothing, nothing)
    heights = [high - low for low, high in extents_mm]
    greatest = np.array([max(own, most or 0.0) / own for own, most in zip(heights, greatest_mm, strict=True)])
    relative = compare_heights(extents_mm, whole)
    hole_above = np.append(-np.expm1(weigh_steps(extents_mm)[:, 0]) >= tuned.missing_from, False)
    too_tall = relative > tuned.too_tall
    beside_tall = too_tall | np.append(too_tall[1:], False)
    spacing = compare_spacing(extents_mm)
    around = 0.5 * (np.append(spacing[:1], spacing) + np.append(spacing, spacing[-1:]))
    too_low = np.asarray(whole) & (relative * greatest < tuned.too_low) & (around >= tuned.not_collapsed)
    hole_above &= ~beside_tall
    return ColumnAccount(hole_above, np.asarray(too_tall), np.asarray(too_low))
