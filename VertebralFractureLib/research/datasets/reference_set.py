"""The real scans with annotations: where they are, which may train, and in which fold each patient is.

``folds.json`` beside this file lists scan identifiers. Both dates of one patient are in one fold; the scans under
``evaluation_only`` have a license that keeps them out of weights that ship; ``collections`` names whom to credit. A
scan that the file does not name is a user's own and may train; its fold follows from its patient's name, so that it is
the same in every run.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT_VARIABLE = "VERTEBRAL_FRACTURE_DATA"


@dataclass(frozen=True)
class ReferenceScan:
    identifier: str
    volume_path: Path
    annotation_path: Path
    fold: int | None
    """0, 1, ... or None for a scan that only evaluates."""


def reference_scans(folder: Path | None = None) -> list[ReferenceScan]:
    """The scans found in ``folder`` (or in ``$VERTEBRAL_FRACTURE_DATA``), sorted by identifier.

    Raises:
        FileNotFoundError: when no folder is given or it holds no annotated scan.
    """
    if folder is None:
        if ENVIRONMENT_VARIABLE not in os.environ:
            raise FileNotFoundError(f"Give the folder of the annotated scans, or set {ENVIRONMENT_VARIABLE}.")
        folder = Path(os.environ[ENVIRONMENT_VARIABLE])
    scans = [
        ReferenceScan(path.stem, path.with_name(f"{path.stem}.nii.gz"), path, fold_of_scan(path.stem))
        for path in sorted(folder.glob("*.json"))
        if path.with_name(f"{path.stem}.nii.gz").is_file()
    ]
    if not scans:
        raise FileNotFoundError(f"The folder '{folder.name}' holds no <id>.nii.gz with <id>.json.")
    return scans


def fold_count() -> int:
    """How many folds the reference set is split into."""
    return len(_folds()["folds"])


def fold_of_scan(identifier: str) -> int | None:
    """The fold that holds the scan; None for a scan that only evaluates."""
    content = _folds()
    if identifier in content["evaluation_only"]:
        return None
    named = (index for index, names in enumerate(content["folds"]) if identifier in names)
    return next(named, zlib.crc32(patient_of_scan(identifier).encode()) % len(content["folds"]))


def patient_of_scan(identifier: str) -> str:
    """The patient whom the scan shows; of a user's own scan, the name before the first underscore."""
    return str(_folds()["same_patient"].get(identifier, identifier.split("_")[0]))


def collection_of_scan(identifier: str) -> str | None:
    """The public collection and the license to credit for the scan; None for a user's own."""
    return next((name for name, scans in _folds()["collections"].items() if identifier in scans), None)


def _folds() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(__file__).parent / "folds.json").read_text(encoding="utf-8"))
    return content
