"""Genant grades from a CSV: one row per vertebra, or one row per scan with a column per level as VerSe has it.

Long form: columns ``scan``, ``level``, ``grade`` and perhaps ``shape``; the level ``*`` stands for every level of the
scan that has no row of its own. Wide form: a column ``verse_ID`` (or ``scan``), then ``T7_fx-g`` and the like.

Rows are joined to scans by the rules of the set's names (BIDS, https://osf.io/4skx2/wiki): where a subject has several
images, ``split-<id>`` is the image's own number, by which VerSe's tables name it; ``dir-<direction>`` only says how it
was acquired; zeros in front of a number mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from VertebralFractureLib.checked_json import show_value
from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.research.datasets.table_file import read_rows
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS

EVERY_LEVEL = "*"
_WIDE_GRADE, _WIDE_SHAPE = "_fx-g", "_fx-s"
_UNKNOWN = ("", "nan", "none")
_SHAPES = {"w": "wedge", "wedge": "wedge", "b": "biconcave", "biconcave": "biconcave", "c": "crush", "crush": "crush"}
_ENDINGS = re.compile(r"(\.nii(\.gz)?|\.0|_ct)$")
_ENTITY = re.compile(r"(?P<key>[a-z]+)-(?P<value>[a-z0-9.]+)")
_THORACIC = re.compile(r"(TH|D)(?=\d)")
"""Other spellings of T1 to T12."""


@dataclass(frozen=True)
class ScanGrades:
    """Grades and shapes of one scan by level; what is not there is unknown."""

    grades: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, str] = field(default_factory=dict)

    def grade(self, level: str | None) -> int | None:
        return self.grades.get(level or "", self.grades.get(EVERY_LEVEL))

    def shape(self, level: str | None) -> str | None:
        return self.shapes.get(level or "") if self.grade(level) else None

    def unplaced(self, levels: Sequence[str | None]) -> dict[str, int]:
        """Grades of levels that are not among ``levels``."""
        return {level: grade for level, grade in self.grades.items() if level not in (*levels, EVERY_LEVEL)}


@dataclass(frozen=True)
class GradeJoin:
    """A table laid beside scans.

    Attributes:
        grades: by scan, of those that have a row.
        scans_without_row: scans of which the table says nothing.
        rows_without_scan: names in the table, as it spells them, that no scan has.
        shared: names in the table that stand for several scans, with these.
    """

    grades: Mapping[str, ScanGrades]
    scans_without_row: tuple[str, ...]
    rows_without_scan: tuple[str, ...]
    shared: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class GradeTable:
    """A table of grades by ``scan_key`` of its rows, and how it spells each of these names."""

    scans: Mapping[str, ScanGrades] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def join(self, identifiers: Sequence[str]) -> GradeJoin:
        """The table beside scans: each takes the row that names it most closely."""
        rows: dict[str, str] = {}
        for identifier in identifiers:
            found = next((key for key in scan_keys(identifier) if key in self.scans), None)
            if found is not None:
                rows[identifier] = found
        owners: dict[str, list[str]] = {}
        for identifier, key in rows.items():
            owners.setdefault(key, []).append(identifier)
        return GradeJoin(
            {identifier: self.scans[key] for identifier, key in rows.items()},
            tuple(identifier for identifier in identifiers if identifier not in rows),
            tuple(name for key, name in self.names.items() if key not in owners),
            {self.names[key]: tuple(scans) for key, scans in owners.items() if len(scans) > 1},
        )


def read_grades(path: Path) -> GradeTable:
    """The table.

    Raises:
        OSError: when the file cannot be read.
        RefusedContent: when it is no table.
        UnreadableVolume: when it has neither form, holds a level or a grade that there is not, or gives a vertebra two
            grades.
    """
    rows = read_rows(path)
    columns = list(rows[0]) if rows else []
    called = {column.strip().lower(): column for column in columns}
    name = called.get("scan") or called.get("verse_id")
    wide = [column for column in columns if column.endswith(_WIDE_GRADE)]
    if name is None or not (wide or {"level", "grade"} <= set(called)):
        raise UnreadableVolume(
            f"The table '{path.name}' needs the columns scan, level and grade, or verse_ID with columns like T7_fx-g."
        )
    grades: dict[str, dict[str, int]] = {}
    shapes: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for row in rows:
        key = scan_key(row[name])
        names.setdefault(key, row[name].strip())
        cells = {column.removesuffix(_WIDE_GRADE): row[column] for column in wide} or {
            row[called["level"]]: row[called["grade"]]
        }
        for text_of_level, text in cells.items():
            grade, level = _grade(text, path), _level(text_of_level)
            if level not in LEVEL_NUMBERS and level != EVERY_LEVEL:
                raise UnreadableVolume(
                    f"The table '{path.name}' names a level {show_value(text_of_level)}; levels are C1 to S1 or *."
                )
            if grade is not None and grades.setdefault(key, {}).setdefault(level, grade) != grade:
                raise UnreadableVolume(
                    f"The table '{path.name}' gives {level} of {show_value(names[key])} the grades "
                    f"{grades[key][level]} and {grade}; leave the right one."
                )
            grades.setdefault(key, {})
            shape = row.get(called.get("shape", "")) or row.get(f"{text_of_level}{_WIDE_SHAPE}") or ""
            if shape.strip().lower() in _SHAPES:
                shapes.setdefault(key, {})[level] = _SHAPES[shape.strip().lower()]
    return GradeTable({key: ScanGrades(known, shapes.get(key, {})) for key, known in grades.items()}, names)


def scan_key(name: str) -> str:
    """What a row is matched by: ``sub-verse004``, ``verse004`` and ``4`` are the same."""
    return scan_keys(name)[0]


def scan_keys(name: str) -> tuple[str, ...]:
    """What a scan may be called in a table, the closest first: with all entities, by its split, by its subject."""
    text = _ENDINGS.sub("", _ENDINGS.sub("", str(name).strip().lower()))
    subject, *rest = text.split("_")
    entities = [match for part in rest if (match := _ENTITY.fullmatch(part))]
    if len(entities) < len(rest):
        return (_plain(text),)
    values = {match["key"]: _plain(match["value"]) for match in entities}
    own = _plain(subject)
    keys = []
    if values:
        keys.append("|".join([own, *(f"{key}-{value}" for key, value in sorted(values.items()))]))
    if "split" in values:
        keys += [f"{own}|split-{values['split']}", values["split"]]
    return tuple(dict.fromkeys([*keys, own]))


def _plain(text: str) -> str:
    """A name without ``sub-``, ``verse`` and zeros in front of a number."""
    bare = text.removeprefix("sub-").removeprefix("verse")
    return bare.lstrip("0") or "0" if bare.isascii() and bare.isdigit() else bare


def _level(text: str) -> str:
    return _THORACIC.sub("T", text.strip().upper())


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
