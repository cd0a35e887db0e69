"""Which landmarks a column was counted from, and what they leave of the probability of its levels.

The levels of one scan are right or wrong together: a column counted from a mistaken rib is off by one as a whole, and
however many of its vertebrae agree, they say it once. So each level keeps a doubt that belongs to the scan, and which
is smaller the more landmarks are seen that fit one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import pairwise

import numpy as np

from VertebralFractureLib.thresholds import LABELING
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel, LevelOpinion
from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES, REGIONS, region_of_level


class Landmark(Enum):
    """What levels can be counted from."""

    AXIS = "axis"
    FIRST_RIB = "first rib"
    LAST_RIB = "last rib"
    SACRUM = "sacrum"


_BORDERS = {
    ("ribs", "neck"): Landmark.FIRST_RIB,
    ("lumbar", "ribs"): Landmark.LAST_RIB,
    ("sacrum", "lumbar"): Landmark.SACRUM,
}
"""Region below and above."""


def find_landmarks(opinion: LevelOpinion, labels: Sequence[LevelLabel]) -> frozenset[Landmark]:
    """The landmarks that are seen where the labels say that they are.

    A border between regions counts where the vertebra on either side looks clearly more like its own region than like
    the other's; it may be a cell beyond the outermost body. The axis counts where it is recognized by itself.
    """
    tuned = LABELING
    names = _name_cells(opinion, labels)
    seen = set()
    for cell in range(len(names) - 1):
        below, above = names[cell], names[cell + 1]
        if below is None or above is None:
            continue
        pair = (region_of_level(below), region_of_level(above))
        if pair in _BORDERS:
            lower, upper = (REGIONS.index(region) for region in pair)
            odds = (
                opinion.regions[cell, lower] - opinion.regions[cell, upper],
                opinion.regions[cell + 1, upper] - opinion.regions[cell + 1, lower],
            )
            if min(odds) >= tuned.landmark_log_odds:
                seen.add(_BORDERS[pair])
    if any(
        label.level == "C2" and row[LEVEL_CLASSES.index("C2")] >= np.log(tuned.axis_probability)
        for label, row in zip(labels, opinion.levels, strict=True)
    ):
        seen.add(Landmark.AXIS)
    return frozenset(seen)


def _name_cells(opinion: LevelOpinion, labels: Sequence[LevelLabel]) -> list[str | None]:
    """The level of every cell that is a body, or lies in the field of view beside the outermost one."""
    names: list[str | None] = [None] * len(opinion.regions)
    for cell, label in zip(opinion.found, labels, strict=True):
        names[int(cell)] = label.level
    for end, upward in ((0, -1), (-1, 1)):
        cell = int(opinion.found[end]) + upward
        outermost = labels[end].level
        if outermost is not None and 0 <= cell < len(names) and opinion.seen[cell] >= LABELING.beyond_seen:
            names[cell] = _level_beside(outermost, upward)
    return names


def _level_beside(level: str, upward: int) -> str | None:
    """The next level up or down in a spine without variants."""
    stand_in = {"T13": "T12", "L6": "L5"}
    at = LEVEL_CLASSES.index(stand_in.get(level, level)) - upward
    return LEVEL_CLASSES[at] if 0 <= at < len(LEVEL_CLASSES) else None


def keep_doubt_of_scan(
    opinion: LevelOpinion, labels: Sequence[LevelLabel], landmarks: frozenset[Landmark]
) -> list[LevelLabel]:
    """Leave every probability the share that scans with these landmarks have been right as a whole.

    Two landmarks confirm each other only where the count between them is that of a spine without variants, and where
    no border of regions that the labels set among the bodies stays unrecognized: eleven ribs over six lumbar vertebrae
    count as twelve over five do.
    """
    tuned = LABELING
    at = [LEVEL_CLASSES.index(one.level) for one in labels if one.level in LEVEL_CLASSES]
    regular = len(at) == len(labels) and np.array_equal(-np.diff(at), np.diff(opinion.found))
    regions = [region_of_level(one.level) for one in labels if one.level is not None]
    borders = {_BORDERS[pair] for pair in pairwise(regions) if pair in _BORDERS}
    confirmed = len(landmarks) > 1 and regular and borders <= landmarks
    trust = tuned.trust_two_landmarks if confirmed else tuned.trust_one_landmark if landmarks else tuned.trust_none
    return [LevelLabel(label.level, trust * label.probability) for label in labels]
