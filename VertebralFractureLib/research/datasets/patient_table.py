"""``patients.csv`` beside annotated scans: whose each scan is, its fold, and whatever else is known of it.

Columns ``scan`` and ``patient``, perhaps ``fold`` (0, 1, ... or ``none`` for a scan that only evaluates); every other
column (sex, age, kV, manufacturer, kernel) is a characteristic that ``evaluate`` makes subgroups of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from VertebralFractureLib.checked_json import listed, show_value
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.research.datasets.table_file import read_rows

PATIENT_TABLE = "patients.csv"
_SCAN, _PATIENT, _FOLD = "scan", "patient", "fold"
_MOST_NAMED = 5


@dataclass(frozen=True)
class PatientTable:
    """By scan: its patient, its fold where the table splits, and its characteristics by column."""

    patients: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, int | None] | None = None
    characteristics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_patient_table(path: Path, folds: int) -> PatientTable:
    """The table.

    Args:
        path: the CSV.
        folds: how many folds there are.

    Raises:
        OSError: when the file cannot be read.
        RefusedContent: when a column is missing, a scan is there twice, there is no such fold, or a patient is in two.
    """
    rows = read_rows(path)
    columns = list(rows[0]) if rows else []
    if not {_SCAN, _PATIENT} <= set(columns):
        raise RefusedContent(f"The table '{path.name}' needs the columns scan and patient.")
    patients: dict[str, str] = {}
    split: dict[str, int | None] = {}
    for row in rows:
        scan, patient = row[_SCAN].strip(), row[_PATIENT].strip()
        if not scan or not patient:
            raise RefusedContent(f"The table '{path.name}' has a row without a scan or a patient.")
        if scan in patients:
            raise RefusedContent(f"The table '{path.name}' has the scan {show_value(scan)} twice; leave the right row.")
        patients[scan] = patient
        if _FOLD in columns:
            split[scan] = _fold(row[_FOLD], folds, path)
    homes: dict[str, int | None] = {}
    for scan, fold in split.items():
        if homes.setdefault(patients[scan], fold) != fold:
            raise RefusedContent(
                f"The table '{path.name}' puts the scans of patient {show_value(patients[scan])} into two folds; "
                "a patient lies in one."
            )
    others = [column for column in columns if column not in (_SCAN, _PATIENT, _FOLD)]
    known = {row[_SCAN].strip(): {column: row[column].strip() for column in others} for row in rows}
    return PatientTable(patients, split if _FOLD in columns else None, known)


def refuse_missing(table: PatientTable, scans: Iterable[str]) -> None:
    """Check that the table names every scan: a patient of whom it names one scan only could lie in two folds.

    Raises:
        RefusedContent: otherwise.
    """
    missing = sorted(set(scans) - set(table.patients))
    if missing:
        named = listed(missing[:_MOST_NAMED]) + (" and others" if len(missing) > _MOST_NAMED else "")
        raise RefusedContent(
            f"{PATIENT_TABLE} lacks {len(missing)} of the scans beside it ({named}); add a row for each, "
            "with its name as its file has it, without .nii.gz."
        )


def _fold(text: str, folds: int, path: Path) -> int | None:
    word = text.strip().lower()
    if word in ("", "none"):
        return None
    if not word.isdecimal() or int(word) >= folds:
        raise RefusedContent(
            f"The table '{path.name}' has the fold {show_value(text)}; folds are 0 to {folds - 1}, "
            "or none for a scan that only evaluates."
        )
    return int(word)
