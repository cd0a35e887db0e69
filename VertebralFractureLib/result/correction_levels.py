"""Names after the reader's: one named vertebra renames the column, two that do not fit leave room for a T13 or an L6.

The counting is that of ``vertebrae.relabel_levels``; here it meets places in the patient, and vertebrae that the reader
added or removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from VertebralFractureLib.result.correction import LevelAnchor
from VertebralFractureLib.result.report import ReportedVertebra
from VertebralFractureLib.result.vertebra_lookup import vertebra_at
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS
from VertebralFractureLib.vertebrae.relabeling import relabel_levels


def check_level(level: str) -> None:
    """Refuse what is no level.

    Raises:
        ValueError: with the levels that there are.
    """
    if level not in LEVEL_NUMBERS:
        raise ValueError(f"There is no level '{level}'; use C1 to C7, T1 to T13, L1 to L6 or S1.")


def relevel(vertebrae: Sequence[ReportedVertebra], anchors: Sequence[LevelAnchor]) -> list[ReportedVertebra]:
    """The vertebrae, caudal to cranial, with the names that follow from the reader's.

    Without an anchor that means a vertebra, nothing changes; nor where all anchors say what the model said.
    """
    found = ((vertebra_at(vertebrae, anchor.at_ras), anchor.level) for anchor in anchors)
    names = {index: level for index, level in found if index is not None}
    if all(vertebrae[index].level == level for index, level in names.items()):
        return [replace(v, level_probability=1.0) if i in names else v for i, v in enumerate(vertebrae)]
    return _named(vertebrae, names)


def recount(vertebrae: Sequence[ReportedVertebra]) -> list[ReportedVertebra]:
    """The names after vertebrae were added or removed: all are counted from the model's most certain one."""
    named = [(v.level_probability, index, v.level) for index, v in enumerate(vertebrae) if v.level is not None]
    if not named:
        return [replace(vertebra, label=f"V{index + 1}") for index, vertebra in enumerate(vertebrae)]
    sure, index, level = max(named)
    return [
        replace(v, level_probability=min(v.level_probability, sure)) for v in _named(vertebrae, {index: str(level)})
    ]


def _named(vertebrae: Sequence[ReportedVertebra], names: Mapping[int, str]) -> list[ReportedVertebra]:
    levels = relabel_levels([vertebra.extent_mm for vertebra in vertebrae], names)
    return [
        replace(vertebra, level=name.level, level_probability=name.probability, label=name.level or vertebra.label)
        for vertebra, name in zip(vertebrae, levels, strict=True)
    ]
