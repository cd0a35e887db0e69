"""What a paper reports of a binary answer, for vertebrae, scans and patients and for two endpoints, with intervals.

Endpoints: a fracture of any grade (1 to 3), and a moderate or severe one (2 or 3), against which grade 1 counts as
negative. A scan or patient has the endpoint where any of its vertebrae has. Every interval draws patients with all that
belongs to them; areas by the clustered variance of DeLong and Obuchowski (Obuchowski 1997, Biometrics 53:567), on the
logit scale so that it stays below 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra
from VertebralFractureLib.research.evaluation.metrics import (
    auc,
    calibration_error,
    calibration_error_by_chance,
    proportion_by_patient,
    reliability,
)
from VertebralFractureLib.types import BoolArray, FloatArray, IntArray

REPEATS = 500
LEAST_PATIENTS = 10
"""With fewer, neither a bootstrap of patients nor a variance between them says how far a figure may be off."""
_Z = 1.959964
_CLIP = 1e-6
ENDPOINTS: Mapping[str, int] = {"any grade": 1, "grade 2 or 3": 2}
UNITS = ("vertebrae", "scans", "patients")


@dataclass(frozen=True)
class Rows:
    """One row per unit, ``(n,)`` each: score (nan where nothing was answered), truth, and number of the patient."""

    score: FloatArray
    truth: BoolArray
    owner: IntArray

    def answered(self) -> Rows:
        """Those with an answer."""
        known = np.isfinite(self.score)
        return Rows(self.score[known], self.truth[known], self.owner[known])


def rows_of(scans: Sequence[JudgedScan], unit: str, least_grade: int) -> Rows:
    """Rows of one of ``UNITS`` for the endpoint of at least a grade."""
    names = {patient: number for number, patient in enumerate(dict.fromkeys(scan.patient for scan in scans))}
    rows: list[tuple[float, bool, int]] = []
    if unit == "vertebrae":
        rows = [
            (_number(_score_of(v, least_grade)), v.truth_grade >= least_grade, names[scan.patient])
            for scan in scans
            for v in scan.vertebrae
        ]
    elif unit == "scans":
        rows = [(_scan_score(scan, least_grade), _has(scan, least_grade), names[scan.patient]) for scan in scans]
    else:
        for patient, number in names.items():
            own = [scan for scan in scans if scan.patient == patient]
            known = [score for scan in own if math.isfinite(score := _scan_score(scan, least_grade))]
            rows.append((max(known, default=math.nan), any(_has(scan, least_grade) for scan in own), number))
    if not rows:
        return Rows(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Rows(columns[0].astype(np.float64), columns[1].astype(bool), columns[2].astype(np.int64))


def _has(scan: JudgedScan, least_grade: int) -> bool:
    return any(vertebra.truth_grade >= least_grade for vertebra in scan.vertebrae)


def _score_of(vertebra: JudgedVertebra, least_grade: int) -> float | None:
    return vertebra.probability if least_grade == 1 else vertebra.severe_probability


def _scan_score(scan: JudgedScan, least_grade: int) -> float:
    """The scan's own probability; of a severe fracture, that of its most suspicious vertebra."""
    if scan.probability is None:
        return math.nan
    if least_grade == 1:
        return scan.probability
    known = [v.severe_probability for v in scan.vertebrae if v.severe_probability is not None]
    return max(known, default=math.nan)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def draw_patients(owner: IntArray, repeats: int, seed: int = 0) -> list[IntArray]:
    """Indices of rows of so many samples of patients, drawn with replacement, each with all of its rows.

    None of fewer than ``LEAST_PATIENTS``: then no interval is told.
    """
    _, number = np.unique(owner, return_inverse=True)
    groups = [np.flatnonzero(number == index) for index in range(int(number.max()) + 1)] if len(number) else []
    rng = np.random.default_rng(seed)
    count = len(groups)
    if count < LEAST_PATIENTS:
        return []
    return [np.concatenate([groups[i] for i in rng.integers(0, count, count)]) for _ in range(repeats)]


def interval_of(rows: Rows, statistic: Callable[[Rows], float], draws: Sequence[IntArray]) -> dict[str, float | None]:
    """A statistic with its 95 % percentile interval over the draws; null where it cannot be said."""
    value = statistic(rows)
    return _estimate(value, *percentiles([statistic(Rows(rows.score[d], rows.truth[d], rows.owner[d])) for d in draws]))


def percentiles(draws: Sequence[float]) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile; nan where there are none, or where all are alike: that is no certainty."""
    known = np.array([draw for draw in draws if math.isfinite(draw)])
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (math.nan, math.nan)
    return (float(low), float(high)) if low < high else (math.nan, math.nan)


def _estimate(value: float, low: float, high: float) -> dict[str, float | None]:
    return {name: _or_none(number) for name, number in (("value", value), ("low", low), ("high", high))}


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class AucParts:
    """An area and its parts by patient, from which variances and covariances of areas on the same rows follow.

    ``residuals``: ``(patients,)`` sums whose squares' sum, times ``factor``, is the variance of ``value``.
    """

    value: float
    residuals: FloatArray
    factor: float

    def covariance(self, other: AucParts) -> float:
        return float(self.factor * (self.residuals * other.residuals).sum())

    @property
    def variance(self) -> float:
        return self.covariance(self)


def auc_parts(score: FloatArray, truth: BoolArray, owner: IntArray) -> AucParts:
    """Area under the ROC curve with its variance by clusters (Obuchowski 1997); with one row a cluster, DeLong 1988's.

    Of one class alone the value is nan.
    """
    _, number = np.unique(owner, return_inverse=True)
    patients = int(number.max()) + 1 if len(number) else 0
    positives, negatives = score[truth], score[~truth]
    if not len(positives) or not len(negatives) or patients < 2:
        return AucParts(auc(score, truth), np.zeros(patients), 0.0)
    above = _placement(positives, negatives)
    below = 1.0 - _placement(negatives, positives)
    value = float(above.mean())
    sums = np.bincount(number[truth], weights=above - value, minlength=patients) / len(positives)
    sums = sums + np.bincount(number[~truth], weights=below - value, minlength=patients) / len(negatives)
    return AucParts(value, sums, patients / (patients - 1.0))


def _placement(of: FloatArray, among: FloatArray) -> FloatArray:
    """For each of ``of``, the fraction of ``among`` that lies below it; ties count half."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, of, side="left")
    not_above = np.searchsorted(ordered, of, side="right")
    return np.asarray((below + not_above) / (2.0 * len(among)), dtype=np.float64)


def auc_interval(parts: AucParts) -> dict[str, float | None]:
    """The area with its 95 % interval on the logit scale; where it is 0 or 1 the interval's end stays open to what is
    not seen: null."""
    value, spread = parts.value, math.sqrt(max(parts.variance, 0.0))
    if not 0.0 < value < 1.0 or spread == 0.0:
        return _estimate(value, math.nan, math.nan)
    center, half = math.log(value / (1.0 - value)), _Z * spread / (value * (1.0 - value))
    return _estimate(value, _expit(center - half), _expit(center + half))


def _expit(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


def fit_calibration_line(
    probability: FloatArray, truth: BoolArray, *, slope: float | None = None
) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of the truth on the logit of the probability, by Newton's steps.

    Args:
        probability, truth: ``(n,)``.
        slope: held at this value where given; the intercept is then calibration in the large (Cox 1958; Van Calster
            2016). nan where one class is missing or they are separated.
    """
    if truth.all() or not truth.any():
        return math.nan, math.nan
    clipped = np.clip(probability, _CLIP, 1.0 - _CLIP)
    logit = np.log(clipped / (1.0 - clipped))
    a, b = 1.0 if slope is None else slope, 0.0
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-np.clip(a * logit + b, -30.0, 30.0)))
        weight, rest = p * (1.0 - p), truth - p
        if slope is None:
            hessian = np.array(
                [[(weight * logit * logit).sum(), (weight * logit).sum()], [(weight * logit).sum(), weight.sum()]]
            )
            if abs(np.linalg.det(hessian)) < 1e-12:
                return math.nan, math.nan
            step_a, step_b = np.linalg.solve(hessian, np.array([(rest * logit).sum(), rest.sum()]))
        else:
            step_a, step_b = 0.0, float(rest.sum() / max(weight.sum(), 1e-12))
        a, b = a + float(step_a), b + float(step_b)
        if abs(step_a) + abs(step_b) < 1e-9:
            return a, b
        if abs(a) > 1e3 or abs(b) > 1e4:
            break
    return math.nan, math.nan


def threshold_for(rows: Rows, *, specificity: float | None = None, sensitivity: float | None = None) -> float:
    """The lowest threshold with at least this specificity, or the highest with at least this sensitivity."""
    if specificity is not None:
        candidates = np.append(np.unique(rows.score), np.inf)
        spared = np.searchsorted(np.sort(rows.score[~rows.truth]), candidates, side="left") / max(
            (~rows.truth).sum(), 1
        )
        return float(candidates[np.argmax(spared >= specificity - 1e-12)])
    positives = np.sort(rows.score[rows.truth])[::-1]
    wanted = math.ceil((sensitivity or 0.0) * len(positives) - 1e-12)
    return float(positives[max(wanted, 1) - 1]) if len(positives) else math.nan


def operating_point(rows: Rows, threshold: float) -> dict[str, Any]:
    """Sensitivity, specificity and predictive values of the answered rows at a threshold, with intervals by patient."""
    called = rows.score >= threshold
    pairs = {
        "sensitivity": (called, rows.truth),
        "specificity": (~called, ~rows.truth),
        "positive_predictive_value": (rows.truth, called),
        "negative_predictive_value": (~rows.truth, ~called),
    }
    content: dict[str, Any] = {"threshold": _or_none(threshold)}
    for name, (hit, among) in pairs.items():
        found = proportion_by_patient(hit[among], [str(owner) for owner in rows.owner[among]])
        content[name] = {
            "value": found.value, "low": found.low, "high": found.high, "hits": found.hits, "count": found.count,
        }  # fmt: skip
    return content


@dataclass(frozen=True)
class Chosen:
    """Operating points that a study asks for."""

    threshold: float
    specificities: tuple[float, ...] = (0.90, 0.95)
    sensitivities: tuple[float, ...] = (0.80, 0.90)


def endpoint_figures(rows: Rows, chosen: Chosen, repeats: int = REPEATS) -> dict[str, Any]:
    """All figures of one unit and endpoint; those with an answer, and by intention to diagnose where that differs."""
    known = rows.answered()
    positives, negatives = int(known.truth.sum()), int((~known.truth).sum())
    content: dict[str, Any] = {
        "units": len(rows.truth),
        "with_endpoint": int(rows.truth.sum()),
        "patients": len(np.unique(rows.owner)),
        "answered": len(known.truth),
        "answered_with_endpoint": positives,
        "auc": _estimate(math.nan, math.nan, math.nan),
        "operating_points": {},
        "calibration": None,
    }
    if not len(known.truth):
        return content
    draws = draw_patients(known.owner, repeats)
    parts = auc_parts(known.score, known.truth, known.owner)
    has_enough = len(np.unique(known.owner)) >= LEAST_PATIENTS
    content["auc"] = auc_interval(parts) if has_enough else _estimate(parts.value, math.nan, math.nan)
    content["auc_bootstrap"] = interval_of(known, lambda r: auc(r.score, r.truth), draws)
    points = {f"threshold {chosen.threshold:g}": operating_point(known, chosen.threshold)}
    if positives and negatives:
        points |= {
            f"specificity {at:g}": operating_point(known, threshold_for(known, specificity=at))
            for at in chosen.specificities
        }
        points |= {
            f"sensitivity {at:g}": operating_point(known, threshold_for(known, sensitivity=at))
            for at in chosen.sensitivities
        }
    content["operating_points"] = points
    content["intention_to_diagnose"] = operating_point_of_all(rows, chosen.threshold)
    content["calibration"] = calibration_figures(known, draws)
    return content


def operating_point_of_all(rows: Rows, threshold: float) -> dict[str, Any]:
    """Sensitivity and specificity by intention to diagnose: what was not answered counts as wrong."""
    answered = np.isfinite(rows.score)
    called = np.where(answered, rows.score >= threshold, ~rows.truth)
    point = operating_point(Rows(called.astype(np.float64), rows.truth, rows.owner), 0.5)
    return {name: point[name] for name in ("sensitivity", "specificity")}


def calibration_figures(known: Rows, draws: Sequence[IntArray]) -> dict[str, Any]:
    """Slope, intercept at slope 1, Brier score, expected calibration error and the reliability bins, with intervals."""
    return {
        "slope": interval_of(known, lambda r: fit_calibration_line(r.score, r.truth)[0], draws),
        "intercept": interval_of(known, lambda r: fit_calibration_line(r.score, r.truth, slope=1.0)[1], draws),
        "brier": interval_of(known, lambda r: float(np.mean((r.score - r.truth) ** 2)), draws),
        "brier_of_prevalence": float(known.truth.mean() * (1.0 - known.truth.mean())),
        "mean_probability": float(known.score.mean()),
        "prevalence": float(known.truth.mean()),
        "error": calibration_error(known.score, known.truth),
        "error_by_chance": calibration_error_by_chance(known.score),
        "reliability": [asdict(one) for one in reliability(known.score, known.truth)],
    }


def all_endpoints(
    scans: Sequence[JudgedScan],
    chosen: Chosen,
    repeats: int = REPEATS,
    *,
    units: Sequence[str] = UNITS,
    endpoints: Sequence[str] = tuple(ENDPOINTS),
) -> dict[str, dict[str, Any]]:
    """``endpoint_figures`` by unit and endpoint."""
    return {
        unit: {name: endpoint_figures(rows_of(scans, unit, ENDPOINTS[name]), chosen, repeats) for name in endpoints}
        for unit in units
    }
