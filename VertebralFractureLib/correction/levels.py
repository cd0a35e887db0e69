"""Names after the reader's: every vertebra is counted from the nearest one that the reader named.

The count follows the patient's own column, with 11 to 13 thoracic and 4 to 6 lumbar vertebrae, and a hole that the
model saw between two vertebrae stays a hole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from VertebralFractureLib.correction.correction import LevelCorrection
from VertebralFractureLib.correction.places import vertebra_at
from VertebralFractureLib.report.spine_report import ReportedVertebra
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS

THORACIC_COUNTS, LUMBAR_COUNTS = (11, 12, 13), (4, 5, 6)
_HOLE_FROM_MM, _USUAL_DISC_MM = 14.0, 5.0


def column(thoracic: int = 12, lumbar: int = 5) -> tuple[str, ...]:
    """Levels cranial to caudal of a patient with so many thoracic and lumbar vertebrae.

    Raises:
        ValueError: for counts that people do not have.
    """
    if thoracic not in THORACIC_COUNTS or lumbar not in LUMBAR_COUNTS:
        raise ValueError(f"There are 11 to 13 thoracic and 4 to 6 lumbar vertebrae, not {thoracic} and {lumbar}.")
    groups = (("C", 7), ("T", thoracic), ("L", lumbar), ("S", 1))
    return tuple(f"{letter}{number}" for letter, count in groups for number in range(1, count + 1))


def counts_for(levels: LevelCorrection, level: str) -> LevelCorrection:
    """``levels`` with room for a T13 or L6 that is named.

    Raises:
        ValueError: when there is no such level.
    """
    if level not in LEVEL_NUMBERS:
        raise ValueError(f"There is no level '{level}'; use C1 to C7, T1 to T13, L1 to L6 or S1.")
    kind, number = level[0], int(level[1:])
    thoracic = max(levels.thoracic, number) if kind == "T" else levels.thoracic
    lumbar = max(levels.lumbar, number) if kind == "L" else levels.lumbar
    return replace(levels, thoracic=thoracic, lumbar=lumbar)


def relevel(vertebrae: Sequence[ReportedVertebra], levels: LevelCorrection) -> list[ReportedVertebra]:
    """The vertebrae, caudal to cranial, with the names that follow from the reader's anchors.

    A vertebra that the count carries beyond the column has no level. Without an anchor that still means a vertebra,
    nothing changes. The probability of a name that rests on the reader's is 1.
    """
    names = column(levels.thoracic, levels.lumbar)
    found = ((vertebra_at(vertebrae, anchor.at_ras), anchor.level) for anchor in levels.anchors)
    anchors = {index: names.index(level) for index, level in found if index is not None and level in names}
    return _counted(vertebrae, anchors, names, 1.0) if anchors else list(vertebrae)


def recount(vertebrae: Sequence[ReportedVertebra]) -> list[ReportedVertebra]:
    """The names after vertebrae were added or removed: all are counted from the model's most certain one."""
    names = _column_of(vertebrae)
    named = [index for index, vertebra in enumerate(vertebrae) if vertebra.level in names]
    if not named:
        return [replace(v, level=None, label=f"V{index + 1}") for index, v in enumerate(vertebrae)]
    surest = max(named, key=lambda index: vertebrae[index].level_probability)
    anchors = {surest: names.index(str(vertebrae[surest].level))}
    return _counted(vertebrae, anchors, names, vertebrae[surest].level_probability)


def _counted(
    vertebrae: Sequence[ReportedVertebra], anchors: Mapping[int, int], names: tuple[str, ...], probability: float
) -> list[ReportedVertebra]:
    """``anchors``: index of a vertebra to its place in ``names``. A name that stays keeps its own probability."""
    rungs = _rungs(vertebrae)
    counted = []
    for index, vertebra in enumerate(vertebrae):
        nearest = min(anchors, key=lambda anchor: (abs(anchor - index), anchor))
        place = anchors[nearest] - (rungs[index] - rungs[nearest])
        level = names[place] if 0 <= place < len(names) else None
        sure = probability if level else 0.0
        if level is not None and level == vertebra.level:
            sure = max(sure, vertebra.level_probability)
        counted.append(replace(vertebra, level=level, level_probability=sure, label=level or f"V{index + 1}"))
    return counted


def _column_of(vertebrae: Sequence[ReportedVertebra]) -> tuple[str, ...]:
    levels = {vertebra.level for vertebra in vertebrae}
    return column(13 if "T13" in levels else 12, 6 if "L6" in levels else 5)


def _rungs(vertebrae: Sequence[ReportedVertebra]) -> list[int]:
    """How many levels above the first vertebra each lies; across a wide gap the model's names say it, or the width."""
    names = _column_of(vertebrae)
    rungs = [0] if vertebrae else []
    for below, above in pairwise(vertebrae):
        gap = above.extent_mm[0] - below.extent_mm[1]
        step = 1
        if gap >= _HOLE_FROM_MM:
            heights = (above.extent_mm[1] - above.extent_mm[0]) + (below.extent_mm[1] - below.extent_mm[0])
            step = 1 + max(round((gap - _USUAL_DISC_MM) / (0.5 * heights + _USUAL_DISC_MM)), 0)
            if below.level in names and above.level in names:
                step = max(names.index(str(below.level)) - names.index(str(above.level)), 1)
        rungs.append(rungs[-1] + step)
    return rungs
