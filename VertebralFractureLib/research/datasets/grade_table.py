"""Genant grades from a CSV: one row per vertebra, or one row per scan with a column per level as VerSe has it.

Long form: columns ``scan``, ``level``, ``grade`` and perhaps ``shape``; the level ``*`` stands for every level of the
scan that has no row of its own. Wide form: a column ``verse_ID`` (or ``scan``), then ``T7_fx-g`` and the like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from VertebralFractureLib.checked_json import show_value
from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.research.datasets.table_file import read_rows
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS

EVERY_LEVEL = "*"
_WIDE_GRADE = "_fx-g"
_UNKNOWN = ("", "nan", "none")
_SHAPES = {"w": "wedge", "wedge": "wedge", "b": "biconcave", "biconcave": "biconcave", "c": "crush", "crush": "crush"}


@dataclass(frozen=True)
class ScanGrades:
    """Grades and shapes of one scan by level; what is not there is unknown."""

    grades: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, str] = field(default_factory=dict)

    def grade(self, level: str | None) -> int | None:
        return self.grades.get(level or "", self.grades.get(EVERY_LEVEL))

    def shape(self, level: str | None) -> str | None:
        return self.shapes.get(level or "") if self.grade(level) else None


def read_grades(path: Path) -> dict[str, ScanGrades]:
    """The table, by ``scan_key`` of its scans.

    Raises:
        OSError: when the file cannot be read.
        RefusedContent: when it is no table.
        UnreadableVolume: when it has neither form, or holds a level or a grade that there is not.
    """
    rows = read_rows(path)
    columns = set(rows[0]) if rows else set()
    grades: dict[str, dict[str, int]] = {}
    shapes: dict[str, dict[str, str]] = {}
    name = next((column for column in ("scan", "verse_ID") if column in columns), None)
    wide = [column for column in columns if column.endswith(_WIDE_GRADE)]
    if name is None or not (wide or {"level", "grade"} <= columns):
        raise UnreadableVolume(
            f"The table '{path.name}' needs the columns scan, level and grade, or verse_ID with columns like T7_fx-g."
        )
    for row in rows:
        key = scan_key(row[name])
        cells = {column.removesuffix(_WIDE_GRADE): row[column] for column in wide} or {row["level"]: row["grade"]}
        for level, text in cells.items():
            grade = _grade(text, path)
            if level not in LEVEL_NUMBERS and level != EVERY_LEVEL:
                raise UnreadableVolume(
                    f"The table '{path.name}' names a level {show_value(level)}; levels are C1 to S1 or *."
                )
            if grade is not None:
                grades.setdefault(key, {})[level] = grade
            shape = _SHAPES.get((row.get("shape") or row.get(f"{level}_fx-s") or "").strip().lower())
            if shape is not None:
                shapes.setdefault(key, {})[level] = shape
    return {key: ScanGrades(known, shapes.get(key, {})) for key, known in grades.items()}


def scan_key(name: str) -> str:
    """What a scan and its row are matched by: ``sub-verse004``, ``verse004`` and ``4`` are the same."""
    text = re.sub(r"\.0$", "", str(name).strip().lower().removeprefix("sub-").removeprefix("verse"))
    return text.lstrip("0") or "0" if text.isascii() and text.isdigit() else text


def _grade(text: str | None, path: Path) -> int | None:
    text = (text or "").strip().lower()
    if text in _UNKNOWN:
        return None
    try:
        grade = float(text)
    except ValueError:
        grade = -1.0
    if grade not in (0.0, 1.0, 2.0, 3.0):
        raise UnreadableVolume(
            f"The table '{path.name}' holds the grade {show_value(text)}; Genant grades are 0, 1, 2 and 3."
        )
    return int(grade)
