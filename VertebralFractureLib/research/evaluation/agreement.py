"""How far the program's grades, heights and levels agree with the reference's; every interval draws patients."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from VertebralFractureLib.research.evaluation.endpoints import REPEATS, draw_patients, percentiles
from VertebralFractureLib.research.evaluation.judged import JudgedScan
from VertebralFractureLib.research.evaluation.metrics import proportion_by_patient
from VertebralFractureLib.types import FloatArray, IntArray

_GRADES = 4
_WITHIN_MM = 2.0
PARTS = ("anterior", "middle", "posterior")


def weighted_kappa(table: FloatArray, power: int = 2) -> float:
    """Cohen's kappa of a square table with weights |i - j| to a power: 1 linear, 2 quadratic (Cohen 1968).

    The same as ``sklearn.metrics.cohen_kappa_score``; nan where both always say the same one grade.
    """
    count = float(table.sum())
    if count == 0:
        return math.nan
    grades = np.arange(len(table))
    weight = np.abs(grades[:, None] - grades[None, :]) ** power
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / count
    by_chance = float((weight * expected).sum())
    return math.nan if by_chance == 0.0 else 1.0 - float((weight * table).sum()) / by_chance


def grade_agreement(scans: Sequence[JudgedScan], repeats: int = REPEATS) -> dict[str, Any]:
    """The confusion of grades and its weighted kappas, of vertebrae that have a grade of both."""
    rows = [
        (v.truth_grade, v.grade, scan.patient) for scan in scans for v in scan.vertebrae if v.grade is not None
    ]  # fmt: skip
    if not rows:
        return {"vertebrae": 0}
    truth, found = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    owner = _numbers([row[2] for row in rows])
    cell = truth * _GRADES + found

    def table(chosen: IntArray | slice) -> FloatArray:
        return np.bincount(cell[chosen], minlength=_GRADES**2).reshape(_GRADES, _GRADES).astype(np.float64)

    draws = [table(draw) for draw in draw_patients(owner, repeats)]
    whole = table(slice(None))
    same = proportion_by_patient(truth == found, [str(number) for number in owner])
    return {
        "vertebrae": len(rows),
        "patients": int(owner.max()) + 1,
        "table": whole.astype(int).tolist(),
        "kappa_quadratic": _percentiles(weighted_kappa(whole), [weighted_kappa(one) for one in draws]),
        "kappa_linear": _percentiles(weighted_kappa(whole, 1), [weighted_kappa(one, 1) for one in draws]),
        "same": {"value": same.value, "low": same.low, "high": same.high},
    }


def height_agreement(scans: Sequence[JudgedScan], repeats: int = REPEATS) -> dict[str, Any]:
    """Bland and Altman's figures of the heights, mm, found minus true, for each height and for all.

    Bias and limits of agreement (bias -+ 1.96 standard deviations) have intervals by patient; ``points`` are mean and
    difference of every pair. Heights that the program measured on both sides are left out.
    """
    pairs = [
        (0.5 * (true + found), found - true, part, scan.patient)
        for scan in scans
        for v in scan.vertebrae
        for part, true, found in zip(PARTS, v.true_heights_mm, v.found_heights_mm, strict=True)
        if true is not None and found is not None
    ]
    if not pairs:
        return {}
    content: dict[str, Any] = {}
    for name in (*PARTS, "all"):
        chosen = [pair for pair in pairs if name in ("all", pair[2])]
        if len(chosen) < 2:
            continue
        difference = np.array([pair[1] for pair in chosen])
        owner = _numbers([pair[3] for pair in chosen])
        samples = [difference[draw] for draw in draw_patients(owner, repeats)]
        within = proportion_by_patient(np.abs(difference) <= _WITHIN_MM, [str(number) for number in owner])
        content[name] = {
            "heights": len(chosen),
            "patients": int(owner.max()) + 1,
            "bias_mm": _percentiles(float(difference.mean()), [float(s.mean()) for s in samples]),
            "sd_mm": float(difference.std(ddof=1)),
            "lower_limit_mm": _percentiles(_limit(difference, -1.96), [_limit(s, -1.96) for s in samples]),
            "upper_limit_mm": _percentiles(_limit(difference, 1.96), [_limit(s, 1.96) for s in samples]),
            "mean_absolute_mm": float(np.abs(difference).mean()),
            "within_2_mm": {"value": within.value, "low": within.low, "high": within.high},
        }
    content["points"] = [[round(mean, 3), round(difference, 3)] for mean, difference, _, _ in pairs]
    return content


def level_agreement(scans: Sequence[JudgedScan]) -> dict[str, Any]:
    """How many vertebrae have the reference's name, and in how many scans and patients every named one has it."""
    rows = [
        (v.level == v.found_level, scan.identifier, scan.patient)
        for scan in scans
        for v in scan.vertebrae
        if v.level is not None and v.found_level is not None
    ]
    if not rows:
        return {}
    right = proportion_by_patient([row[0] for row in rows], [row[2] for row in rows])
    wrong_scans = {scan for is_right, scan, _ in rows if not is_right}
    wrong_patients = {patient for is_right, _, patient in rows if not is_right}
    owners = {scan: patient for _, scan, patient in rows}
    whole = proportion_by_patient([scan not in wrong_scans for scan in owners], list(owners.values()))
    patients = list(dict.fromkeys(owners.values()))
    subjects = proportion_by_patient([patient not in wrong_patients for patient in patients], patients)
    return {
        name: {"hits": found.hits, "count": found.count, "value": found.value, "low": found.low, "high": found.high}
        for name, found in (("vertebrae", right), ("scans", whole), ("patients", subjects))
    }


def failures(scans: Sequence[JudgedScan]) -> dict[str, dict[str, int]]:
    """How many scans and graded vertebrae have no answer, by reason, and how many of these are fractured."""
    lost = [scan for scan in scans if scan.probability is None]
    reasons = Counter(scan.reason or scan.outcome.value for scan in lost)
    rows = [(v.reason, v.truth_grade > 0) for scan in scans for v in scan.vertebrae if v.probability is None]
    return {
        "scans": dict(reasons.most_common()),
        "fractured_scans": dict(
            Counter(scan.reason or scan.outcome.value for scan in lost if scan.is_fractured).most_common()
        ),
        "vertebrae": dict(Counter(reason for reason, _ in rows).most_common()),
        "fractured_vertebrae": dict(Counter(reason for reason, is_fractured in rows if is_fractured).most_common()),
    }


def _limit(difference: FloatArray, times: float) -> float:
    return float(difference.mean() + times * difference.std(ddof=1)) if len(difference) > 1 else math.nan


def _numbers(names: Sequence[str]) -> IntArray:
    _, number = np.unique(list(names), return_inverse=True)
    return np.asarray(number, dtype=np.int64)


def _percentiles(value: float, draws: Sequence[float]) -> dict[str, float | None]:
    low, high = percentiles(draws)
    return {
        name: float(number) if math.isfinite(number) else None
        for name, number in (("value", value), ("low", low), ("high", high))
    }
