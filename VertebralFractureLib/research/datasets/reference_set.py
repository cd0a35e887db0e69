"""The real scans with annotations: where they are, which may train, and in which fold each patient is.

``folds.json`` beside this file lists scan identifiers. Both dates of one patient are in one fold; the scans under
``evaluation_only`` have a license that keeps them out of weights that ship; ``collections`` names whom to credit. A
scan that the file does not name is a user's own and may train; its fold follows from its patient's name, so that it is
the same in every run. A table ``patients.csv`` beside the scans says otherwise whose each scan is, and in which fold.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.research.datasets.patient_table import (
    PATIENT_TABLE,
    PatientTable,
    read_patient_table,
    refuse_missing,
)

ENVIRONMENT_VARIABLE = "VERTEBRAL_FRACTURE_DATA"
_DATE_OR_VISIT = re.compile(
    r"[-. ](19|20)\d{2}([-.]?\d{2}){0,2}$|(19|20)\d{6}$|(?<=\d)[a-z]$|[-. ]([a-z]{1,2}|[tv]?\d)$"
)
"""What may tell two scans of one patient apart at the end of a name: a date, a letter, a visit."""
_MOST_NAMED = 8


@dataclass(frozen=True)
class ReferenceScan:
    identifier: str
    volume_path: Path
    annotation_path: Path
    fold: int | None
    """0, 1, ... or None for a scan that only evaluates."""
    patient: str
    by_table: bool = False
    """Whether ``patients.csv`` says whose it is, and not its name."""


def reference_scans(folder: Path | None = None) -> list[ReferenceScan]:
    """The scans found in ``folder`` (or in ``$VERTEBRAL_FRACTURE_DATA``), sorted by identifier.

    Raises:
        UnreadableVolume: when no folder is given or it holds no annotated scan.
        RefusedContent: when its ``patients.csv`` is no such table or lacks a scan.
    """
    if folder is None:
        if ENVIRONMENT_VARIABLE not in os.environ:
            raise UnreadableVolume(f"Give the folder of the annotated scans, or set {ENVIRONMENT_VARIABLE}.")
        folder = Path(os.environ[ENVIRONMENT_VARIABLE])
    paths = [path for path in sorted(folder.glob("*.json")) if path.with_name(f"{path.stem}.nii.gz").is_file()]
    if not paths:
        raise UnreadableVolume(f"The folder '{folder.name}' holds no <id>.nii.gz with <id>.json.")
    table = patient_table_of(folder)
    if table is not None:
        refuse_missing(table, [path.stem for path in paths])
    return [_scan(path, table) for path in paths]


def patient_table_of(folder: Path) -> PatientTable | None:
    """The table ``patients.csv`` of a folder of annotated scans; None without one.

    Raises:
        RefusedContent: when it is no such table.
    """
    path = folder / PATIENT_TABLE
    return read_patient_table(path, fold_count()) if path.is_file() else None


def _scan(path: Path, table: PatientTable | None) -> ReferenceScan:
    volume = path.with_name(f"{path.stem}.nii.gz")
    if table is None:
        return ReferenceScan(path.stem, volume, path, fold_of_scan(path.stem), patient_of_scan(path.stem))
    patient = table.patients[path.stem]
    fold = fold_of_patient(patient) if table.folds is None else table.folds[path.stem]
    if path.stem in _folds()["evaluation_only"]:
        fold = None
    return ReferenceScan(path.stem, volume, path, fold, patient, by_table=True)


def describe_grouping(scans: Sequence[ReferenceScan]) -> list[str]:
    """Lines that say which scans are of one patient, and what each fold holds: to be read before anything is trained.

    What looks like one patient under two names, or like many under one, is said too.
    """
    sizes = Counter(scan.patient for scan in scans)
    by = f"by {PATIENT_TABLE}" if scans and scans[0].by_table else "by their names, up to the first underscore"
    lines = [f"{len(scans)} scans of {len(sizes)} patients ({by})."]
    for patient, count in sizes.items():
        if count > 1:
            of_patient = [scan.identifier for scan in scans if scan.patient == patient]
            lines.append(f"  Patient {patient}: {', '.join(of_patient)}.")
    for fold in (*range(fold_count()), None):
        here = [scan for scan in scans if scan.fold == fold]
        name = "Only evaluate" if fold is None else f"Fold {fold}"
        if here or fold is not None:
            patients = len({scan.patient for scan in here})
            lines.append(f"  {name}: {len(here)} scans of {patients} patients.")
    if scans and scans[0].by_table:
        return lines
    for stem, names in _alike(sizes).items():
        shown = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
        lines.append(
            f"  CAUTION: {shown} count as {len(names)} patients and may be one ('{stem}'): a patient in two folds "
            f"makes every figure too good. Say in {PATIENT_TABLE} whose each scan is."
        )
    if len(scans) > 3 and sizes.most_common(1)[0][1] > len(scans) / 2:
        lines.append(
            f"  CAUTION: most scans count as one patient, '{sizes.most_common(1)[0][0]}', and lie in one fold. "
            f"Say in {PATIENT_TABLE} whose each scan is."
        )
    return lines


def _alike(patients: Sequence[str] | Counter[str]) -> dict[str, list[str]]:
    """Patients' names that differ in their case, or in a date, letter or visit at their end."""
    groups: dict[str, list[str]] = {}
    for patient in patients:
        groups.setdefault(_DATE_OR_VISIT.sub("", patient.lower()), []).append(patient)
    return {stem: names for stem, names in groups.items() if len(names) > 1 and re.search(r"\d", stem)}


def fold_count() -> int:
    """How many folds the reference set is split into."""
    return len(_folds()["folds"])


def fold_of_scan(identifier: str) -> int | None:
    """The fold that holds the scan; None for a scan that only evaluates."""
    content = _folds()
    if identifier in content["evaluation_only"]:
        return None
    named = (index for index, names in enumerate(content["folds"]) if identifier in names)
    return next(named, fold_of_patient(patient_of_scan(identifier)))


def fold_of_patient(patient: str) -> int:
    """The fold of a patient whom no list names: from the name, so that it is the same in every run."""
    return zlib.crc32(patient.encode()) % fold_count()


def patient_of_scan(identifier: str) -> str:
    """The patient whom the scan shows; of a user's own scan, the name before the first underscore."""
    return str(_folds()["same_patient"].get(identifier, identifier.split("_")[0]))


def collection_of_scan(identifier: str) -> str | None:
    """The public collection and the license to credit for the scan; None for a user's own."""
    return next((name for name, scans in _folds()["collections"].items() if identifier in scans), None)


def _folds() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(__file__).parent / "folds.json").read_text(encoding="utf-8"))
    return content
