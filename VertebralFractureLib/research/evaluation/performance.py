"""Every figure of how well fractures are found, as one plain dictionary: the JSON, the HTML and the Markdown show it.

Areas and operating points carry bootstrap intervals by patient, proportions in subgroups Wilson intervals; what cannot
be said is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from VertebralFractureLib.research.evaluation.curves import (
    SILENT,
    Rows,
    by_patient,
    confusion,
    froc,
    froc_sensitivity,
    patient_auc,
    reliability,
    roc,
    sensitivity_at_specificity,
    vertebra_auc,
)
from VertebralFractureLib.research.evaluation.fracture_metrics import calibration_error, calibration_error_by_chance
from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra
from VertebralFractureLib.research.evaluation.statistics import Estimate, wilson_interval

FALSE_ALARMS = (0.1, 0.2, 0.5, 1.0)
SPECIFICITIES = (0.90, 0.95, 0.99)
_WORST = 8
_REGIONS = {
    "T1-T4": ("T1", "T2", "T3", "T4"),
    "T5-T10": ("T5", "T6", "T7", "T8", "T9", "T10"),
    "T11-L1": ("T11", "T12", "T13", "L1"),
    "L2-L5": ("L2", "L3", "L4", "L5", "L6"),
}
_SLICES_MM = {"up to 1.5 mm": (0.0, 1.51), "1.5 to 3 mm": (1.51, 3.01), "above 3 mm": (3.01, math.inf)}
_NOISE_HU = {"below 15 HU": (0.0, 15.0), "15 to 30 HU": (15.0, 30.0), "30 HU and more": (30.0, math.inf)}
_VESSEL_HU = {"without": (-math.inf, 95.0), "with": (95.0, math.inf)}
"""Vessels without contrast medium had at most 83 HU in the reference scans and phantoms, with it at least 111."""
_BONE_HU = {"below 100 HU": (-math.inf, 100.0), "100 to 160 HU": (100.0, 160.0), "160 HU and more": (160.0, math.inf)}
"""The density of the whole scan's bone, by which age shows; cut-offs of opportunistic screening at L1."""


def performance(scans: Sequence[JudgedScan], threshold: float) -> dict[str, Any]:
    """The figures of a set at a decision threshold; nan becomes None.

    Raises:
        ValueError: when there is no scan.
    """
    if not scans:
        raise ValueError("There is no scan with a vertebra of known grade; nothing can be measured.")
    rows = Rows.of(scans)
    judged = rows.score > SILENT
    answered = [scan for scan in scans if scan.probability is not None]
    scan_p = np.array([scan.probability for scan in answered], dtype=np.float64)
    scan_truth = np.array([scan.is_fractured for scan in answered], dtype=bool)
    alarms_x, alarms_y = froc(rows.score, rows.truth, len(scans))
    plain = [scan for scan in scans if not scan.is_fractured]
    content = {
        "scans": len(scans),
        "patients": len({scan.patient for scan in scans}),
        "fractured_scans": sum(scan.is_fractured for scan in scans),
        "not_evaluable_scans": len(scans) - len(answered),
        "vertebrae": len(rows.score) - sum(len(scan.extra_probabilities) for scan in scans),
        "fractured_vertebrae": int(rows.truth.sum()),
        "silent_vertebrae": int((~judged).sum()),
        "threshold": threshold,
        "patient_auc": _estimate(by_patient(scans, patient_auc)),
        "vertebra_auc": _estimate(by_patient(scans, vertebra_auc)),
        "patient_roc": _points(*roc(scan_p, scan_truth)) if len(answered) else [],
        "vertebra_roc": _points(*roc(rows.score[judged], rows.truth[judged])),
        "froc": _points(alarms_x, alarms_y),
        "sensitivity_at_false_alarms": {
            f"{name} at {most:g}": _estimate(by_patient(scans, _froc_statistic(most, least)))
            for name, least in (("all", 1), ("grade 2 and 3", 2))
            for most in FALSE_ALARMS
        },
        "sensitivity_at_specificity": {
            f"{at:.2f}": _estimate(by_patient(scans, _specificity_statistic(at))) for at in SPECIFICITIES
        },
        "at_threshold": {
            "patients": _called([(p, bool(t)) for p, t in zip(scan_p, scan_truth, strict=True)], threshold),
            "vertebrae": _called(list(zip(rows.score, rows.truth, strict=True)), threshold),
            "false_alarms_per_scan": _share(rows, threshold, len(scans), np.ones(len(scans), dtype=bool)),
            "false_alarms_per_unfractured_scan": _share(
                rows, threshold, len(plain), np.array([not scan.is_fractured for scan in scans])
            ),
        },
        "by_grade": {f"grade {grade}": _called_vertebrae(scans, threshold, _of_grade(grade)) for grade in (1, 2, 3)},
        "by_shape": {
            shape: _called_vertebrae(scans, threshold, _of_shape(shape)) for shape in ("wedge", "biconcave", "crush")
        },
        "subgroups": _subgroups(scans, threshold),
        "calibration_error": {
            "vertebrae": calibration_error(rows.score[judged], rows.truth[judged]),
            "patients": calibration_error(scan_p, scan_truth) if len(answered) else None,
            "vertebrae_by_chance": calibration_error_by_chance(rows.score[judged]),
            "patients_by_chance": calibration_error_by_chance(scan_p) if len(answered) else None,
        },
        "reliability": {
            "vertebrae": reliability(rows.score[judged], rows.truth[judged]),
            "patients": reliability(scan_p, scan_truth) if len(answered) else [],
        },
        "uncertainty": _uncertainty(scans, threshold),
        "confusion": confusion(scans),
        "worst": _worst(scans),
    }
    return {name: _without_nan(value) for name, value in content.items()}


def _of_grade(grade: int) -> Callable[[JudgedVertebra], bool]:
    return lambda vertebra: vertebra.truth_grade == grade


def _of_shape(shape: str) -> Callable[[JudgedVertebra], bool]:
    return lambda vertebra: vertebra.truth_grade > 0 and vertebra.truth_shape == shape


def _of_levels(levels: Sequence[str]) -> Callable[[JudgedVertebra], bool]:
    return lambda vertebra: vertebra.level in levels


def _froc_statistic(most: float, least_grade: int) -> Callable[[Sequence[JudgedScan]], float]:
    return lambda chosen: froc_sensitivity(chosen, most, least_grade)


def _specificity_statistic(at: float) -> Callable[[Sequence[JudgedScan]], float]:
    return lambda chosen: sensitivity_at_specificity(chosen, at)


def _subgroups(scans: Sequence[JudgedScan], threshold: float) -> dict[str, Any]:
    def within(value: float | None, limits: tuple[float, float]) -> bool:
        return value is not None and limits[0] <= value < limits[1]

    bone = {id(scan): _median([v.trabecular_hu for v in scan.vertebrae]) for scan in scans}
    result = {
        f"region {name}": _called_vertebrae(scans, threshold, _of_levels(levels)) for name, levels in _REGIONS.items()
    }
    for title, groups, value in (
        ("slices", _SLICES_MM, lambda scan: scan.slice_mm),
        ("contrast medium", _VESSEL_HU, lambda scan: scan.vessel_hu),
        ("noise", _NOISE_HU, lambda scan: scan.noise_hu),
        ("bone", _BONE_HU, lambda scan: bone[id(scan)]),
    ):
        for name, limits in groups.items():
            chosen = [scan for scan in scans if within(value(scan), limits)]
            result[f"{title} {name}"] = _called_vertebrae(chosen, threshold, lambda _: True)
    return {name: group for name, group in result.items() if group["fractured"] or group["normal"]}


def _called_vertebrae(
    scans: Sequence[JudgedScan], threshold: float, chosen: Callable[[JudgedVertebra], bool]
) -> dict[str, Any]:
    rows = [
        (SILENT if v.probability is None else v.probability, v.truth_grade > 0)
        for scan in scans
        for v in scan.vertebrae
        if chosen(v)
    ]
    return _called(rows, threshold)


def _called(rows: Sequence[tuple[float, bool]], threshold: float) -> dict[str, Any]:
    """Sensitivity and specificity with Wilson intervals."""
    caught = sum(score >= threshold for score, truth in rows if truth)
    quiet = sum(score < threshold for score, truth in rows if not truth)
    fractured = sum(bool(truth) for _, truth in rows)
    normal = len(rows) - fractured
    return {
        "fractured": fractured,
        "normal": normal,
        "sensitivity": caught / fractured if fractured else None,
        "sensitivity_interval": list(wilson_interval(caught, fractured)),
        "specificity": quiet / normal if normal else None,
        "specificity_interval": list(wilson_interval(quiet, normal)),
    }


def _share(rows: Rows, threshold: float, scans: int, counted: np.ndarray[Any, np.dtype[np.bool_]]) -> float | None:
    alarms = (rows.score >= threshold) & ~rows.truth & counted[rows.scan]
    return float(alarms.sum()) / scans if scans else None


def _uncertainty(scans: Sequence[JudgedScan], threshold: float) -> dict[str, Any]:
    """How often the program errs on the tenth of the vertebrae it is least sure of, and on the rest."""
    rows = [
        (v.uncertainty, (v.probability >= threshold) != (v.truth_grade > 0))
        for scan in scans
        for v in scan.vertebrae
        if v.probability is not None and v.uncertainty is not None
    ]
    if len(rows) < 10:
        return {}
    order = sorted(rows, key=lambda row: -row[0])
    unsure, sure = order[: len(rows) // 10], order[len(rows) // 10 :]
    return {
        "flag_from": unsure[-1][0],
        "flagged": len(unsure),
        "errors_flagged": sum(wrong for _, wrong in unsure),
        "not_flagged": len(sure),
        "errors_not_flagged": sum(wrong for _, wrong in sure),
    }


def _worst(scans: Sequence[JudgedScan]) -> list[dict[str, Any]]:
    """The most confident errors: normal vertebrae with the highest scores, fractures with the lowest."""
    rows = [
        (SILENT if v.probability is None else v.probability, scan.identifier, v)
        for scan in scans
        for v in scan.vertebrae
    ]
    normal = sorted((row for row in rows if row[2].truth_grade == 0), key=lambda row: -row[0])
    broken = sorted((row for row in rows if row[2].truth_grade > 0), key=lambda row: row[0])
    return [
        {
            "scan": identifier,
            "level": v.level,
            "truth_grade": v.truth_grade,
            "truth_shape": v.truth_shape,
            "probability": v.probability,
            "measured_grade": v.grade,
            "uncertainty": v.uncertainty,
        }
        for _, identifier, v in normal[:_WORST] + broken[:_WORST]
    ]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "patients": estimate.cases}


def _points(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> list[list[float]]:
    return [[round(float(a), 5), round(float(b), 5)] for a, b in zip(x, y, strict=True)]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
