"""Limit the probability of levels in a column that shows neither end of the ribs nor the sacrum.

There the network goes by sizes and shapes, and is now and then sure of a column that is one level off. What such
answers are worth was counted on stretches cut out of held-out scans; no label claims more.
"""

from __future__ import annotations

from collections.abc import Sequence

from VertebralFractureLib.thresholds import LABELING
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel


def has_landmark(
    levels: Sequence[str | None], extents_mm: Sequence[tuple[float, float]], seen_mm: tuple[float, float]
) -> bool:
    """Whether a border of regions is seen with ``landmark_margin_mm`` beyond it: above T1, below T12, or below L5.

    Args:
        levels: of the vertebrae.
        extents_mm: arc lengths of their lower and upper endplates.
        seen_mm: lowest and highest arc length of the field of view.
    """
    low, high = seen_mm
    for level, (lower, upper) in zip(levels, extents_mm, strict=True):
        if level == "T1" and lower > low and upper + LABELING.landmark_margin_mm < high:
            return True
        if level in ("T12", "L5") and lower - LABELING.landmark_margin_mm > low and upper < high:
            return True
    return False


def limit_without_landmark(
    labels: Sequence[LevelLabel], extents_mm: Sequence[tuple[float, float]], seen_mm: tuple[float, float]
) -> list[LevelLabel]:
    """Bound the probabilities by ``ceiling_without_landmark`` where the labels themselves show no landmark."""
    if has_landmark([label.level for label in labels], extents_mm, seen_mm):
        return list(labels)
    return [LevelLabel(label.level, min(label.probability, LABELING.ceiling_without_landmark)) for label in labels]
