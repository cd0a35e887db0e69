"""The real scans with reference annotations: where they are, which may train, and in which fold each patient is.

``folds.json`` beside this file lists scan identifiers. Both dates of one patient are in one fold; the scans under
``evaluation_only`` have a licence that keeps them out of weights that ship.
"""

from __future__ import annotations

import json
import os
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
        FileNotFoundError: when no folder is given or it holds none of the scans.
    """
    if folder is None:
        if ENVIRONMENT_VARIABLE not in os.environ:
            raise FileNotFoundError(f"Give the folder of the reference scans, or set {ENVIRONMENT_VARIABLE}.")
        folder = Path(os.environ[ENVIRONMENT_VARIABLE])
    content = _folds()
    fold_of: dict[str, int | None] = dict.fromkeys(content["evaluation_only"])
    fold_of.update({name: index for index, names in enumerate(content["folds"]) for name in names})
    scans = [
        ReferenceScan(name, folder / f"{name}.nii.gz", folder / f"{name}.json", fold)
        for name, fold in sorted(fold_of.items())
        if (folder / f"{name}.nii.gz").is_file() and (folder / f"{name}.json").is_file()
    ]
    if not scans:
        raise FileNotFoundError(f"The folder '{folder.name}' holds none of the reference scans.")
    return scans


def fold_count() -> int:
    """How many folds the reference set is split into."""
    return len(_folds()["folds"])


def fold_of_scan(identifier: str) -> int | None:
    """The fold that holds the scan; None for a scan that only evaluates or is not of the reference set."""
    return next((index for index, names in enumerate(_folds()["folds"]) if identifier in names), None)


def patient_of_scan(identifier: str) -> str:
    """The patient whom the scan shows: two dates of one patient share the name."""
    return str(_folds()["same_patient"].get(identifier, identifier))


def _folds() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(__file__).parent / "folds.json").read_text(encoding="utf-8"))
    return content
