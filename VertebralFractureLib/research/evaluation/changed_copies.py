"""Whole detections on changed copies of real scans: right, said to be doubtful, refused by its name, or silently wrong.

    python -m VertebralFractureLib.research.evaluation.changed_copies --data DATA \
        --folds-folder Testing/FoldWeights --out copies.jsonl [--kinds ...] [--scans ...] [--table]

Every scan is judged by the weights of its fold, which never saw its patient. A copy either carries the same information
as the scan (``SAME``: a refusal is wrong) or lost something of it (``DAMAGED``: a refusal that names it is right).
Rows are appended to ``--out``; what it holds already is not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from VertebralFractureLib.errors import NotEvaluable, UnreadableVolume
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.research.datasets import ReferenceSpine
from VertebralFractureLib.research.datasets.annotation_file import read_annotation
from VertebralFractureLib.research.evaluation.canal_changes import (
    Change,
    ChangedScan,
    blanked,
    mirrored,
    noise,
    offset,
    rotated,
    stored_otherwise,
    thick_slices,
)
from VertebralFractureLib.research.evaluation.case_sets import annotated_cases
from VertebralFractureLib.research.evaluation.compare import compare
from VertebralFractureLib.research.evaluation.stack_changes import (
    SLICE_CHANGES,
    changed_slices,
    cropped_in_plane,
    more_air,
    moved_origin,
)
from VertebralFractureLib.research.simulation.operated_spines import OPERATIONS, Operation
from VertebralFractureLib.result import EVALUABLE
from VertebralFractureLib.result.words import list_doubts
from VertebralFractureLib.types import FloatArray, Point
from VertebralFractureLib.vertebrae.vertebra import Vertebra
from VertebralFractureLib.volume import check_ct, read_volume

SURE_FROM = 0.95
"""A wrong name that claims this probability or more is silent, unless a doubt stands on its row."""
_INSIDE_MM = 20.0


class Outcome(str, Enum):
    """What became of one copy, from best to worst."""

    RIGHT = "right"
    IN_DOUBT = "wrong, and said to be in doubt"
    REFUSED = "refused, rightly"
    WRONG_REFUSAL = "refused, wrongly"
    SILENT_WRONG = "silently wrong"


@dataclass(frozen=True)
class CopyKind:
    """One kind of change.

    Attributes:
        change: makes the copy.
        same_information: whether a reader would see as much as before, so that a refusal is wrong.
    """

    change: Change
    same_information: bool = True


def _operated(operation: Operation) -> Change:
    return lambda ct, line, rng: ChangedScan(operation(ct, line, rng), np.eye(4))


SAME_INFORMATION: Mapping[str, Change] = {
    "as it is": lambda ct, _line, _rng: ChangedScan(ct, np.eye(4)),
    "stored in another order": stored_otherwise,
    "5 mm slices": thick_slices(5.0),
    "-50 HU": offset(-50.0),
    "+50 HU": offset(50.0),
    "+100 HU": offset(100.0),
    "+150 HU": offset(150.0),
    "noise of 60 HU": noise(60.0),
    "turned 15° about head-feet": rotated(2, 15.0),
    "turned 15° about right-left": rotated(0, 15.0),
    "origin moved by 1e-6 mm": moved_origin(1e-6),
    "origin moved by 0.01 mm": moved_origin(0.01),
    "up to 20 voxels cropped in plane": cropped_in_plane(20),
    "one more slice of air": more_air(1),
}
LOST_INFORMATION: Mapping[str, Change] = {
    "turned 45° about head-feet, unsaid": rotated(2, 45.0),
    "turned 90° about head-feet, unsaid": rotated(2, 90.0),
    "turned 180° about head-feet, unsaid": rotated(2, 180.0),
    "head and feet turned, unsaid": rotated(0, 180.0),
    "front and back mirrored, unsaid": mirrored(1),
    "slices reversed, unsaid": mirrored(2),
    "a tenth of the slices lost to air": blanked(0.1),
    **{name: changed_slices(name) for name in SLICE_CHANGES},
}
OPERATED: Mapping[str, Change] = {name: _operated(operation) for name, operation in OPERATIONS.items()}
KINDS: Mapping[str, CopyKind] = {
    **{name: CopyKind(change) for name, change in SAME_INFORMATION.items()},
    **{name: CopyKind(change, same_information=False) for name, change in LOST_INFORMATION.items()},
    **{name: CopyKind(change, same_information=False) for name, change in OPERATED.items()},
}


@dataclass(frozen=True)
class CopyResult:
    """One row: the outcome, and what was wrong.

    ``told`` is the refusal's sentence or the doubts; ``wrong_names`` are (given, true, probability).
    """

    scan: str
    patient: str
    kind: str
    outcome: Outcome
    told: str
    names: int = 0
    wrong_names: tuple[tuple[str, str, float], ...] = ()
    false_alarms: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    seconds: float = 0.0


def judge_copy(
    name: str, scan: str, patient: str, changed: ChangedScan, truth: ReferenceSpine, models: Models
) -> CopyResult:
    """Detect in one copy and compare with what is true of its scan."""
    kind, started = KINDS[name], time.monotonic()

    def result(outcome: Outcome, told: str) -> CopyResult:
        return CopyResult(scan, patient, name, outcome, told, seconds=round(time.monotonic() - started, 2))

    refused = Outcome.WRONG_REFUSAL if kind.same_information else Outcome.REFUSED
    try:
        report = detect(check_ct(changed.ct), models=models, options=DetectionOptions(threads=1)).report
    except (UnreadableVolume, NotEvaluable) as error:
        return result(refused, str(error))
    if report.status != EVALUABLE:
        return result(refused, report.reason or "")
    shown = replace(report, vertebrae=tuple(_taken_back(v, changed.to_first) for v in report.vertebrae))
    kept = replace(truth, vertebrae=tuple(v for v in truth.vertebrae if _is_shown(v.center_ras, changed)))
    comparison = compare(shown, kept)
    matched = [(pair.truth, pair.found) for pair in comparison.pairs if pair.found is not None]
    named = [(one.level, found) for one, found in matched if one.level is not None and found.level is not None]
    wrong = [(found, str(level)) for level, found in named if found.level != level]
    suspected = {v.label: v for v in shown.suspected}
    alarms = [suspected[label] for label in comparison.false_alarms]
    missing = [str(pair.truth.level) for pair in comparison.pairs if pair.found is None]
    silent = [found for found, _ in wrong if found.level_probability >= SURE_FROM and not found.doubts]
    silent += [found for found in alarms if not found.doubts]
    if not (wrong or alarms or missing):
        outcome = Outcome.RIGHT
    elif report.doubts or not (silent or missing):
        outcome = Outcome.IN_DOUBT
    else:
        is_said = not silent and any(v.doubts for v in shown.vertebrae)
        outcome = Outcome.IN_DOUBT if is_said else Outcome.SILENT_WRONG
    return replace(
        result(outcome, "; ".join(list_doubts(report))),
        names=len(named),
        wrong_names=tuple((str(v.level), level, round(v.level_probability, 3)) for v, level in wrong),
        false_alarms=tuple(v.label for v in alarms),
        missing=tuple(missing),
    )


def _is_shown(center_ras: Point, changed: ChangedScan) -> bool:
    """Whether a point of the scan lies ``_INSIDE_MM`` or more inside the copy."""
    back = np.linalg.inv(changed.to_first)
    at = changed.ct.ras_to_ijk_points((back[:3, :3] @ np.array(center_ras) + back[:3, 3])[None])[0]
    margin = _INSIDE_MM / np.array(changed.ct.spacing_mm)
    return bool(np.all(at >= margin) and np.all(at <= np.array(changed.ct.hu.shape[::-1]) - 1 - margin))


def _taken_back(vertebra: Vertebra, to_first: FloatArray) -> Vertebra:
    r, a, s = to_first[:3, :3] @ np.array(vertebra.center_ras) + to_first[:3, 3]
    return replace(vertebra, center_ras=(float(r), float(a), float(s)))


def copy_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: a row for each kind, with the outcomes counted, and the names."""
    heads = ("copy", "scans", *(outcome.value for outcome in Outcome), "names right", "wrong at 0.95")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        counted = Counter(row["outcome"] for row in own)
        names = sum(row["names"] for row in own)
        wrong = [probability for row in own for _, _, probability in row["wrong_names"]]
        sure = sum(probability >= SURE_FROM for probability in wrong)
        cells = (kind, len(own), *(counted[outcome.value] for outcome in Outcome))
        lines.append(f"| {' | '.join(map(str, cells))} | {names - len(wrong)} of {names} | {sure} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of <id>.nii.gz with <id>.json")
    parser.add_argument("--folds-folder", type=Path, default=None, help="holds fold0, fold1, ...; none: shipped")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, appended to")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--scans", nargs="+", default=None, help="identifiers; all otherwise")
    parser.add_argument("--table", action="store_true", help="only print the table of what --out holds")
    arguments = parser.parse_args()
    if not arguments.table:
        run_copies(arguments.data, arguments.folds_folder, arguments.out, arguments.kinds, arguments.scans)
    rows = [json.loads(line) for line in arguments.out.read_text(encoding="utf-8").splitlines()]
    print("\n".join(copy_table(rows)))


def run_copies(
    data: Path, folds: Path | None, out: Path, kinds: Sequence[str], scans: Sequence[str] | None = None
) -> None:
    """Judge every kind of copy of every scan that ``out`` does not hold yet."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
    done = {(row["scan"], row["kind"]) for row in map(json.loads, lines)}
    loaded: dict[Path | None, Models] = {}
    for case in annotated_cases(data, None, folds):
        left = [kind for kind in kinds if (case.identifier, kind) not in done]
        if (scans is not None and case.identifier not in scans) or not left:
            continue
        folder = case.weights_folder
        models = loaded.setdefault(folder, Models.load(DetectionOptions(weights_folder=folder)))
        ct, truth = read_volume(case.volume), read_annotation(case.annotation)
        for kind in left:
            rng = np.random.default_rng(crc32(f"{case.identifier} {kind}".encode()))
            changed = KINDS[kind].change(ct, truth.centerline, rng)
            row = judge_copy(kind, case.identifier, case.patient, changed, truth, models)
            with out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")


if __name__ == "__main__":
    main()
