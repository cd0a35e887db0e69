"""Every figure of how well fractures are found, as one plain dictionary: the JSON, the HTML and the Markdown show it.

Every interval is over patients: areas and operating points by bootstrap, proportions by Wilson's interval at the size
that the patients are worth. What cannot be said is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra, Outcome
from VertebralFractureLib.research.evaluation.metrics import (
    UNSCORED,
    Estimate,
    auc,
    bootstrap_by_patient,
    calibration_error,
    calibration_error_by_chance,
    froc,
    proportion_by_patient,
    reliability,
    roc,
    sensitivity_at,
)
from VertebralFractureLib.types import BoolArray, FloatArray, IntArray

_REPEATS = 400
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


@dataclass(frozen=True)
class VertebraRows:
    """Vertebrae as arrays ``(n,)``: score (``UNSCORED`` without an answer), truth, grade, and index of the scan.

    ``is_extra``: found where the truth has nothing; it can raise a false alarm, and is no normal vertebra that could be
    spared.
    """

    score: FloatArray
    truth: BoolArray
    grade: IntArray
    scan: IntArray
    is_extra: BoolArray

    @staticmethod
    def of(scans: Sequence[JudgedScan]) -> VertebraRows:
        """Every vertebra of known grade, then every extra one."""
        rows = [(_score(v), v.truth_grade, index, 0) for index, scan in enumerate(scans) for v in scan.vertebrae]
        rows += [(p, 0, index, 1) for index, scan in enumerate(scans) for p in scan.extra_probabilities]
        score, grade, scan_index, extra = (np.array(column) for column in zip(*rows, strict=True))
        return VertebraRows(score.astype(np.float64), grade > 0, grade, scan_index, extra.astype(bool))

    @property
    def is_evaluable(self) -> BoolArray:
        """Vertebrae of known grade that were answered."""
        return np.asarray((self.score > UNSCORED) & ~self.is_extra)


def _score(vertebra: JudgedVertebra) -> float:
    return UNSCORED if vertebra.probability is None else vertebra.probability


def estimate_by_patient(scans: Sequence[JudgedScan], statistic: Callable[[Sequence[JudgedScan]], float]) -> Estimate:
    """A statistic of scans, with its interval over patients drawn with replacement, each with all of its scans."""
    return bootstrap_by_patient(scans, [scan.patient for scan in scans], statistic, _REPEATS)


def vertebra_auc(scans: Sequence[JudgedScan]) -> float:
    """AUC over the vertebrae that were scored; nan where one class is missing."""
    rows = VertebraRows.of(scans)
    judged = rows.is_evaluable
    return auc(rows.score[judged], rows.truth[judged])


def scan_auc(scans: Sequence[JudgedScan]) -> float:
    """AUC over the scans that were evaluable, fractured where any vertebra is; nan where one class is missing."""
    judged = [scan for scan in scans if scan.probability is not None]
    score = np.array([scan.probability for scan in judged], dtype=np.float64)
    return auc(score, np.array([scan.is_fractured for scan in judged], dtype=bool))


def froc_sensitivity(scans: Sequence[JudgedScan], most_alarms: float, least_grade: int) -> float:
    """Sensitivity for fractures of a grade and above at most so many false alarms a scan."""
    rows = VertebraRows.of(scans)
    if not (rows.grade >= least_grade).any():
        return float("nan")
    return sensitivity_at(*froc(rows.score, rows.truth, len(scans), rows.grade >= least_grade), most_alarms)


def sensitivity_at_specificity(scans: Sequence[JudgedScan], specificity: float) -> float:
    """Sensitivity for answered vertebrae where at least this fraction of the normal ones is not called."""
    rows = VertebraRows.of(scans)
    judged = rows.is_evaluable
    if not rows.truth[judged].any():
        return float("nan")
    return sensitivity_at(*roc(rows.score[judged], rows.truth[judged]), 1.0 - specificity)


def confusion(scans: Sequence[JudgedScan]) -> list[list[int]]:
    """Rows: true grade 0 to 3; columns: measured grade 0 to 3, then not measured."""
    table = np.zeros((4, 5), dtype=int)
    for scan in scans:
        for vertebra in scan.vertebrae:
            table[vertebra.truth_grade, 4 if vertebra.grade is None else vertebra.grade] += 1
    return [[int(value) for value in row] for row in table]


def performance(scans: Sequence[JudgedScan], threshold: float) -> dict[str, Any]:
    """The figures of a set at a decision threshold; nan becomes None.

    Raises:
        ValueError: when there is no scan.
    """
    if not scans:
        raise ValueError("There is no scan with a vertebra of known grade; nothing can be measured.")
    rows = VertebraRows.of(scans)
    judged = rows.is_evaluable
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
        "refused_scans": sum(scan.outcome is Outcome.REFUSED for scan in scans),
        "vertebrae": int((~rows.is_extra).sum()),
        "fractured_vertebrae": int(rows.truth.sum()),
        "unscored_vertebrae": int((rows.score == UNSCORED).sum()),
        "unscored_fractured_vertebrae": int((rows.truth & (rows.score == UNSCORED)).sum()),
        "extra_vertebrae": int(rows.is_extra.sum()),
        "ungraded_vertebrae": sum(scan.ungraded for scan in scans),
        "threshold": threshold,
        "scan_auc": _estimate(estimate_by_patient(scans, scan_auc)),
        "vertebra_auc": _estimate(estimate_by_patient(scans, vertebra_auc)),
        "scan_roc": _points(*roc(scan_p, scan_truth)) if len(answered) else [],
        "vertebra_roc": _points(*roc(rows.score[judged], rows.truth[judged])),
        "froc": _points(alarms_x, alarms_y),
        "sensitivity_at_false_alarms": {
            f"{name} at {most:g}": _estimate(estimate_by_patient(scans, _froc_statistic(most, least)))
            for name, least in (("all", 1), ("grade 2 and 3", 2))
            for most in FALSE_ALARMS
        },
        "sensitivity_at_specificity": {
            f"{at:.2f}": _estimate(estimate_by_patient(scans, _specificity_statistic(at))) for at in SPECIFICITIES
        },
        "at_threshold": {
            "scans": _called(
                np.array([UNSCORED if scan.probability is None else scan.probability for scan in scans]),
                np.array([scan.is_fractured for scan in scans], dtype=bool),
                [scan.patient for scan in scans],
                threshold,
            ),
            "vertebrae": _called_vertebrae(scans, threshold, lambda _: True),
            "false_alarms_per_scan": _alarms_per_scan(rows, threshold, len(scans), np.ones(len(scans), dtype=bool)),
            "false_alarms_per_unfractured_scan": _alarms_per_scan(
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
            "scans": calibration_error(scan_p, scan_truth) if len(answered) else None,
            "vertebrae_by_chance": calibration_error_by_chance(rows.score[judged]),
            "scans_by_chance": calibration_error_by_chance(scan_p) if len(answered) else None,
        },
        "reliability": {
            "vertebrae": [asdict(b) for b in reliability(rows.score[judged], rows.truth[judged])],
            "scans": [asdict(b) for b in reliability(scan_p, scan_truth)],
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
    rows = [(_score(v), v.truth_grade > 0, scan.patient) for scan in scans for v in scan.vertebrae if chosen(v)]
    scores, truth, patients = zip(*rows, strict=True) if rows else ((), (), ())
    return _called(np.array(scores, dtype=np.float64), np.array(truth, dtype=bool), patients, threshold)


def _called(scores: FloatArray, truth: BoolArray, patients: Sequence[str], threshold: float) -> dict[str, Any]:
    """Sensitivity and specificity with intervals by patient: of what was answered, and by intention to diagnose.

    The latter counts what was not answered as wrong, on both sides.
    """
    is_called, answered = scores >= threshold, scores > UNSCORED
    owners = np.array(patients, dtype=object)
    caught = proportion_by_patient(is_called[truth & answered], owners[truth & answered])
    spared = proportion_by_patient(~is_called[~truth & answered], owners[~truth & answered])
    caught_of_all = proportion_by_patient(is_called[truth], owners[truth])
    spared_of_all = proportion_by_patient(answered[~truth] & ~is_called[~truth], owners[~truth])
    return {
        "fractured": caught_of_all.count,
        "normal": spared_of_all.count,
        "fractured_patients": caught_of_all.patients,
        "normal_patients": spared_of_all.patients,
        "answered_fractured": caught.count,
        "answered_normal": spared.count,
        "sensitivity": caught.value,
        "sensitivity_interval": [caught.low, caught.high],
        "specificity": spared.value,
        "specificity_interval": [spared.low, spared.high],
        "intention_to_diagnose": {
            "sensitivity": caught_of_all.value,
            "sensitivity_interval": [caught_of_all.low, caught_of_all.high],
            "specificity": spared_of_all.value,
            "specificity_interval": [spared_of_all.low, spared_of_all.high],
        },
    }


def _alarms_per_scan(rows: VertebraRows, threshold: float, scans: int, counted: BoolArray) -> float | None:
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
    rows = [(_score(v), scan.identifier, v) for scan in scans for v in scan.vertebrae]
    normal = sorted((row for row in rows if row[2].truth_grade == 0), key=lambda row: -row[0])
    fractured = sorted((row for row in rows if row[2].truth_grade > 0), key=lambda row: row[0])
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
        for _, identifier, v in normal[:_WORST] + fractured[:_WORST]
    ]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "patients": estimate.patients,
        "scans": estimate.samples,
    }


def _points(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> list[list[float]]:
    return [[round(float(a), 5), round(float(b), 5)] for a, b in zip(x, y, strict=True)]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
