"""``cases.csv`` and ``vertebrae.csv``: truth and answer of every scan and vertebra, to count all figures again."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra

_PARTS = ("anterior", "middle", "posterior")
CASE_COLUMNS = (
    "scan", "patient", "outcome", "reason", "seen_in_training_by", "fracture_probability", "truth_fractured",
    "truth_max_grade", "graded", "graded_fractured", "answered", "answered_fractured", "ungraded", "truncated",
    "found_where_truth_has_nothing", "called_where_truth_has_nothing", "called_of_unknown_grade", "slice_mm",
    "noise_hu", "vessel_hu",
)  # fmt: skip
VERTEBRA_COLUMNS = (
    "scan", "patient", "level", "found_level", "truth_grade", "truth_shape", "fracture_probability",
    "severe_probability", "called", "grade", "uncertainty", "no_answer_because", "trabecular_hu",
    *(f"true_{part}_mm" for part in _PARTS), *(f"found_{part}_mm" for part in _PARTS),
)  # fmt: skip


def case_rows(scans: Sequence[JudgedScan], threshold: float) -> str:
    """A CSV with a row per scan; characteristics are further columns, an empty cell is unknown."""
    more = list(dict.fromkeys(name for scan in scans for name in scan.characteristics))
    rows = []
    for scan in scans:
        answered = [v for v in scan.vertebrae if v.probability is not None]
        rows.append(
            {
                **{f"characteristic_{name}": scan.characteristics.get(name, "") for name in more},
                "scan": scan.identifier,
                "patient": scan.patient,
                "outcome": scan.outcome.value,
                "reason": scan.reason,
                "seen_in_training_by": " ".join(scan.seen_by),
                "fracture_probability": scan.probability,
                "truth_fractured": int(scan.is_fractured) if scan.vertebrae else None,
                "truth_max_grade": max((v.truth_grade for v in scan.vertebrae), default=None),
                "graded": len(scan.vertebrae),
                "graded_fractured": sum(v.truth_grade > 0 for v in scan.vertebrae),
                "answered": len(answered),
                "answered_fractured": sum(v.truth_grade > 0 for v in answered),
                "ungraded": scan.ungraded,
                "truncated": scan.truncated,
                "found_where_truth_has_nothing": len(scan.extra_probabilities),
                "called_where_truth_has_nothing": sum(p >= threshold for p in scan.extra_probabilities),
                "called_of_unknown_grade": scan.called_ungraded,
                "slice_mm": scan.slice_mm,
                "noise_hu": scan.noise_hu,
                "vessel_hu": scan.vessel_hu,
            }
        )
    return _as_csv((*CASE_COLUMNS, *(f"characteristic_{name}" for name in more)), rows)


def vertebra_rows(scans: Sequence[JudgedScan], threshold: float) -> str:
    """A CSV with a row per vertebra of known grade."""
    return _as_csv(VERTEBRA_COLUMNS, [_row(scan, v, threshold) for scan in scans for v in scan.vertebrae])


def _row(scan: JudgedScan, v: JudgedVertebra, threshold: float) -> dict[str, object]:
    return {
        "scan": scan.identifier,
        "patient": scan.patient,
        "level": v.level,
        "found_level": v.found_level,
        "truth_grade": v.truth_grade,
        "truth_shape": v.truth_shape,
        "fracture_probability": v.probability,
        "severe_probability": v.severe_probability,
        "called": None if v.probability is None else int(v.probability >= threshold),
        "grade": v.grade,
        "uncertainty": v.uncertainty,
        "no_answer_because": v.reason,
        "trabecular_hu": v.trabecular_hu,
        **{f"true_{part}_mm": value for part, value in zip(_PARTS, v.true_heights_mm, strict=True)},
        **{f"found_{part}_mm": value for part, value in zip(_PARTS, v.found_heights_mm, strict=True)},
    }


def _as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    """A cell as programs read it; text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "@") else text
