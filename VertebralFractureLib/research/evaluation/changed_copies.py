"""Whole detections on changed copies of real scans: right, said to be doubtful, refused by its name, or silently wrong.

    python -m VertebralFractureLib.research.evaluation.changed_copies --data DATA ... \
        --folds-folder Testing/FoldWeights --out copies.jsonl [--kinds ...] [--copies 10] [--scans ...] [--table]

Every scan is judged by the weights of its fold, which never saw its patient; a scan without annotation by what ships,
and against what the program says of the scan as it is. A copy either carries the same information
as the scan (``SAME``: a refusal is wrong) or lost something of it (``DAMAGED``: a refusal that names it is right).
Kinds that are drawn at random (``DRAWN``) are copied ``--copies`` times. Rows are appended to ``--out``; what it holds
already is not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.errors import NotEvaluable, UnreadableVolume
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.research.datasets import ReferenceSpine, ReferenceVertebra
from VertebralFractureLib.research.datasets.annotation_file import read_annotation
from VertebralFractureLib.research.datasets.reference_set import patient_of_scan
from VertebralFractureLib.research.evaluation.canal_changes import (
    Change,
    ChangedScan,
    blanked,
    box_lost,
    crop_anywhere,
    mirrored,
    noise,
    offset,
    other_hu,
    reordered,
    rotated,
    stored_otherwise,
    thick_slices,
    tilted,
)
from VertebralFractureLib.research.evaluation.case_sets import weights_of_volume
from VertebralFractureLib.research.evaluation.compare import compare, match_centers
from VertebralFractureLib.research.evaluation.stack_changes import (
    SLICE_CHANGES,
    block_lost,
    changed_slices,
    cropped_in_plane,
    more_air,
    moved_origin,
)
from VertebralFractureLib.research.simulation.operated_spines import OPERATIONS, Operation
from VertebralFractureLib.result import EVALUABLE, SpineReport
from VertebralFractureLib.result.words import list_doubts
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra
from VertebralFractureLib.volume import check_ct, read_volume

MOVED_FROM_MM = 4.0
"""A height that moved further without a doubt is silently wrong."""
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
DRAWN: Mapping[str, CopyKind] = {
    "axes exchanged or flipped, unsaid": CopyKind(reordered, same_information=False),
    "a block of slices lost": CopyKind(block_lost, same_information=False),
    "a box on the spine lost": CopyKind(box_lost, same_information=False),
    "another HU scale and offset": CopyKind(other_hu),
    "tilted by 8 to 25 degrees, unsaid": CopyKind(tilted(8.0, 25.0)),
    "cropped anywhere": CopyKind(crop_anywhere, same_information=False),
}
"""Kinds that differ from copy to copy of one scan."""
OPERATED: Mapping[str, Change] = {name: _operated(operation) for name, operation in OPERATIONS.items()}
KINDS: Mapping[str, CopyKind] = {
    **{name: CopyKind(change) for name, change in SAME_INFORMATION.items()},
    **{name: CopyKind(change, same_information=False) for name, change in LOST_INFORMATION.items()},
    **{name: CopyKind(change, same_information=False) for name, change in OPERATED.items()},
    **DRAWN,
}


@dataclass(frozen=True)
class CopyResult:
    """One row: the outcome, and what was wrong.

    ``told`` is the refusal's sentence or the doubts; ``wrong_names`` are (given, true, probability); ``extra`` are
    scored vertebrae where there is none; ``moved_mm`` is how far a height without a doubt lies from that of the scan
    as it is.
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
    extra: tuple[str, ...] = ()
    moved_mm: float = 0.0
    sees_landmark: bool = False
    copy: int = 0
    seconds: float = 0.0


def judge_copy(
    name: str,
    scan: str,
    patient: str,
    changed: ChangedScan,
    truth: ReferenceSpine,
    models: Models,
    *,
    first: SpineReport | None = None,
) -> CopyResult:
    """Detect in one copy and compare with what is true of its scan, and with ``first``, what is said of it as it is."""
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
    shown = replace(report, vertebrae=tuple(_taken_back(v, changed) for v in report.vertebrae))
    kept = replace(truth, vertebrae=tuple(v for v in truth.vertebrae if _is_shown(v.center_ras, changed)))
    comparison = compare(shown, kept)
    matched = [(pair.truth, pair.found) for pair in comparison.pairs if pair.found is not None]
    named = [(one.level, found) for one, found in matched if one.level is not None and found.level is not None]
    wrong = [(found, str(level)) for level, found in named if found.level != level]
    suspected = {v.label: v for v in shown.suspected}
    alarms = [suspected[label] for label in comparison.false_alarms]
    missing = [str(pair.truth.level) for pair in comparison.pairs if pair.found is None]
    moved_mm = 0.0 if first is None else measure_moved_height(first, shown)
    extra = _list_unknown(shown, truth)
    silent = [found for found, _ in wrong if found.level_probability >= SURE_FROM and not found.doubts]
    silent += [found for found in (*alarms, *extra) if not found.doubts]
    is_moved = moved_mm > MOVED_FROM_MM
    if not (wrong or alarms or missing or extra or is_moved):
        outcome = Outcome.RIGHT
    elif report.doubts or not (silent or missing or is_moved):
        outcome = Outcome.IN_DOUBT
    else:
        is_said = not silent and not is_moved and any(v.doubts for v in shown.vertebrae)
        outcome = Outcome.IN_DOUBT if is_said else Outcome.SILENT_WRONG
    return replace(
        result(outcome, "; ".join(list_doubts(report))),
        names=len(named),
        wrong_names=tuple((str(v.level), level, round(v.level_probability, 3)) for v, level in wrong),
        false_alarms=tuple(v.label for v in alarms),
        missing=tuple(missing),
        extra=tuple(v.label for v in extra),
        moved_mm=round(moved_mm, 2),
        sees_landmark=not any(DoubtKind.LEVEL_BY_COUNTING in v.doubts for v in shown.vertebrae),
    )


def measure_moved_height(first: SpineReport, other: SpineReport) -> float:
    """The largest change, mm, of a height between two reports on one spine, where neither has a doubt about it."""
    pairs = match_centers([v.center_ras for v in first.vertebrae], [v.center_ras for v in other.vertebrae])
    moved = [0.0]
    for row, (column, _) in pairs.items():
        one, two = first.vertebrae[row], other.vertebrae[column]
        if one.heights_mm is not None and two.heights_mm is not None and not (one.doubts or two.doubts):
            moved += [abs(a - b) for a, b in zip(astuple(one.heights_mm), astuple(two.heights_mm), strict=True)]
    return max(moved)


def truth_of_report(identifier: str, report: SpineReport) -> ReferenceSpine:
    """What a report says, as the truth of its copies; only what was scored has to be found again."""
    line = Centerline(np.array(report.centerline.points_ras), np.array(report.centerline.confidence))
    suspected = {v.label for v in report.suspected}
    vertebrae = tuple(
        ReferenceVertebra(
            level=v.level,
            complete=v.status == Status.SCORED,
            center_ras=v.center_ras,
            box=None,
            heights_mm=(None, None, None),
            grade=v.grade if v.label in suspected else 0,
            shape=None,
        )
        for v in report.vertebrae
    )
    return ReferenceSpine(identifier, line, vertebrae)


def _is_shown(center_ras: Point, changed: ChangedScan) -> bool:
    """Whether a point of the scan lies ``_INSIDE_MM`` or more inside the copy."""
    at = changed.indices_from_first(np.array(center_ras)[None])[0]
    margin = _INSIDE_MM / np.array(changed.ct.spacing_mm)
    return bool(np.all(at >= margin) and np.all(at <= np.array(changed.ct.hu.shape[::-1]) - 1 - margin))


def _list_unknown(shown: SpineReport, truth: ReferenceSpine) -> list[Vertebra]:
    """Scored vertebrae between the first and the last true one that are none of them."""
    known = match_centers([v.center_ras for v in truth.vertebrae], [v.center_ras for v in shown.vertebrae])
    matched = {column for column, _ in known.values()}
    heights = [v.center_ras[2] for v in truth.vertebrae] or [0.0]
    return [
        v
        for column, v in enumerate(shown.vertebrae)
        if column not in matched and v.status == Status.SCORED and min(heights) <= v.center_ras[2] <= max(heights)
    ]


def _taken_back(vertebra: Vertebra, changed: ChangedScan) -> Vertebra:
    r, a, s = changed.points_to_first(np.array(vertebra.center_ras)[None])[0]
    return replace(vertebra, center_ras=(float(r), float(a), float(s)))


def copy_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: a row for each kind, with the outcomes counted, and the names."""
    heads = ("copy", "copies", *(outcome.value for outcome in Outcome), "names right", "wrong at 0.95")
    heads = (*heads, "with a landmark and a name, all names right")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        counted = Counter(row["outcome"] for row in own)
        names = sum(row["names"] for row in own)
        wrong = [probability for row in own for _, _, probability in row["wrong_names"]]
        sure = sum(probability >= SURE_FROM for probability in wrong)
        cells = (kind, len(own), *(counted[outcome.value] for outcome in Outcome))
        counting = [row for row in own if row["sees_landmark"] and row["names"]]
        right = sum(not row["wrong_names"] for row in counting)
        told = f"{names - len(wrong)} of {names} | {sure} | {right} of {len(counting)}"
        lines.append(f"| {' | '.join(map(str, cells))} | {told} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of <id>.nii.gz, with <id>.json")
    parser.add_argument("--folds-folder", type=Path, default=None, help="holds fold0, fold1, ...; none: shipped")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, appended to")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--copies", type=int, default=1, help="of each scan, of the kinds that are drawn at random")
    parser.add_argument("--scans", nargs="+", default=None, help="identifiers; all otherwise")
    parser.add_argument("--table", action="store_true", help="only print the table of what --out holds")
    arguments = parser.parse_args()
    if not arguments.table:
        volumes = [path for folder in arguments.data for path in sorted(folder.glob("*.nii.gz"))]
        if arguments.scans is not None:
            volumes = [path for path in volumes if path.name.removesuffix(".nii.gz") in arguments.scans]
        run_copies(volumes, arguments.folds_folder, arguments.out, arguments.kinds, arguments.copies)
    rows = [json.loads(line) for line in arguments.out.read_text(encoding="utf-8").splitlines()]
    print("\n".join(copy_table(rows)))


def run_copies(volumes: Sequence[Path], folds: Path | None, out: Path, kinds: Sequence[str], copies: int = 1) -> None:
    """Judge every kind of copy of every scan that ``out`` does not hold yet: one of each first, then the next ones."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
    done = {(row["scan"], row["kind"], row["copy"]) for row in map(json.loads, lines)}
    loaded: dict[Path | None, Models] = {}
    reports: dict[Path, SpineReport] = {}
    for number in range(copies):
        for path in volumes:
            scan, folder = path.name.removesuffix(".nii.gz"), weights_of_volume(path, folds)
            left = [kind for kind in kinds if (number == 0 or kind in DRAWN) and (scan, kind, number) not in done]
            if not left:
                continue
            if folder not in loaded:
                loaded[folder] = Models.load(DetectionOptions(weights_folder=folder))
            models, ct = loaded[folder], read_volume(path)
            if path not in reports:
                reports[path] = detect(ct, models=models, options=DetectionOptions(threads=1)).report
            annotation = path.with_name(f"{scan}.json")
            truth = read_annotation(annotation) if annotation.is_file() else truth_of_report(scan, reports[path])
            for kind in left:
                rng = np.random.default_rng(crc32(f"{scan} {kind} {number or ''}".strip().encode()))
                changed = KINDS[kind].change(ct, truth.centerline, rng)
                row = judge_copy(kind, scan, patient_of_scan(scan), changed, truth, models, first=reports[path])
                with out.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(asdict(replace(row, copy=number))) + "\n")


if __name__ == "__main__":
    main()
