"""The one set of colors for grades and probabilities, shared by the overview, the scene and the panel.

Grades run from cool to warm and also differ in lightness, so that people with a color-vision deficiency and gray prints
keep them apart (after Okabe and Ito 2008, Color Universal Design); a color never stands without its word or number.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from VertebralFractureLib.result.report import is_suspected
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra

Color = tuple[float, float, float]


@dataclass(frozen=True)
class VertebraGroup:
    """Vertebrae that are shown alike: a key for node names, the words of the legend, and RGB from 0 to 1."""

    key: str
    name: str
    color: Color


GRADE_GROUPS: tuple[VertebraGroup, ...] = (
    VertebraGroup("grade_0", "Grade 0", (0.36, 0.70, 0.93)),
    VertebraGroup("grade_1", "Grade 1, mild", (0.96, 0.90, 0.36)),
    VertebraGroup("grade_2", "Grade 2, moderate", (0.95, 0.55, 0.13)),
    VertebraGroup("grade_3", "Grade 3, severe", (0.89, 0.18, 0.36)),
)
SUSPECTED = VertebraGroup("suspected", "Suspected, no grade from 1", (0.89, 0.45, 0.78))
"""What is suspected never looks like what is normal, whatever the heights say."""
UNGRADED = VertebraGroup("ungraded", "Scored, grade not measured", (0.93, 0.93, 0.93))
NOT_EVALUABLE_GROUP = VertebraGroup("not_evaluable", "Not evaluable", (0.55, 0.57, 0.60))
EXCLUDED = VertebraGroup("excluded", "Excluded by the reader", (0.38, 0.40, 0.43))
GROUPS: tuple[VertebraGroup, ...] = (*GRADE_GROUPS, SUSPECTED, UNGRADED, NOT_EVALUABLE_GROUP, EXCLUDED)

_PROBABILITY_COLORS = (GRADE_GROUPS[0].color, GRADE_GROUPS[1].color, GRADE_GROUPS[3].color)


def group_of(vertebra: Vertebra, threshold: float) -> VertebraGroup:
    """How a vertebra is shown; only a scored one is ever shown with a grade.

    Args:
        threshold: probability from which a fracture is suspected.
    """
    if vertebra.status == Status.EXCLUDED_BY_READER:
        return EXCLUDED
    if vertebra.status != Status.SCORED:
        return NOT_EVALUABLE_GROUP
    if not vertebra.grade and is_suspected(vertebra, threshold):
        return SUSPECTED
    return UNGRADED if vertebra.grade is None else GRADE_GROUPS[vertebra.grade]


def probability_color(probability: float, threshold: float = 0.5) -> Color:
    """RGB from 0 to 1 for a probability, linear from the color of grade 0 over that of grade 1 to that of grade 3.

    The middle color stands at ``threshold``, so that what is suspected has a warm one.
    """
    value = min(max(probability, 0.0), 1.0)
    stops = zip((0.0, min(max(threshold, 0.01), 0.99), 1.0), _PROBABILITY_COLORS, strict=True)
    for (low, start), (high, end) in pairwise(stops):
        if value <= high:
            fraction = (value - low) / (high - low)
            red, green, blue = (a + fraction * (b - a) for a, b in zip(start, end, strict=True))
            return red, green, blue
    return _PROBABILITY_COLORS[-1]
