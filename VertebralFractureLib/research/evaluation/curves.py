"""ROC, FROC, reliability and confusion as plain numbers; every interval is a bootstrap over patients.

FROC counts false alarms per scan over all scans, with and without a fracture (Bandos et al. 2009), and only normal
vertebrae can raise one; ties move together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.research.evaluation.fracture_metrics import auc
from VertebralFractureLib.research.evaluation.judged import JudgedScan
from VertebralFractureLib.research.evaluation.statistics import Estimate, bootstrap
from VertebralFractureLib.types import FloatArray

SILENT = -1.0
"""The score of what was not judged: below every threshold."""


@dataclass(frozen=True)
class Rows:
    """Vertebrae as arrays ``(n,)``: score, truth, grade, and the index of the scan."""

    score: FloatArray
    truth: NDArray[np.bool_]
    grade: NDArray[np.intp]
    scan: NDArray[np.intp]

    @staticmethod
    def of(scans: Sequence[JudgedScan]) -> Rows:
        """Every vertebra, and every extra one as a normal one that was scored."""
        rows = [
            (SILENT if v.probability is None else v.probability, v.truth_grade, index)
            for index, scan in enumerate(scans)
            for v in scan.vertebrae
        ]
        rows += [(p, 0, index) for index, scan in enumerate(scans) for p in scan.extra_probabilities]
        score, grade, scan_index = (np.array(column) for column in zip(*rows, strict=True))
        return Rows(score.astype(np.float64), grade > 0, grade, scan_index)


def roc(score: FloatArray, truth: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """False and true positive rate at every threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0.0, True)
    true, false = np.cumsum(truth[order])[last], np.cumsum(~truth[order])[last]
    tpr = np.concatenate([[0.0], true / max(int(truth.sum()), 1)])
    return np.concatenate([[0.0], false / max(int((~truth).sum()), 1)]), tpr


def froc(
    score: FloatArray, truth: NDArray[np.bool_], scans: int, counted: NDArray[np.bool_] | None = None
) -> tuple[FloatArray, FloatArray]:
    """False alarms per scan and sensitivity, from (0, 0) up, for scores that are not ``SILENT``.

    Args:
        score, truth: ``(n,)`` of vertebrae.
        scans: how many scans they come from.
        counted: which fractures the sensitivity is of; all when None.
    """
    wanted = truth if counted is None else truth & counted
    order = np.argsort(-score, kind="stable")
    order = order[score[order] > SILENT]
    last = np.append(np.diff(score[order]) != 0.0, True)[: len(order)]
    false, caught = np.cumsum(~truth[order])[last], np.cumsum(wanted[order])[last]
    sensitivity = np.concatenate([[0.0], caught / max(int(wanted.sum()), 1)])
    return np.concatenate([[0.0], false / max(scans, 1)]), sensitivity


def sensitivity_at(x: FloatArray, sensitivity: FloatArray, most: float) -> float:
    """The highest sensitivity of a curve where ``x`` is at most ``most``."""
    return float(sensitivity[x <= most + 1e-12].max())


def reliability(probability: FloatArray, truth: NDArray[np.bool_], bins: int = 10) -> list[dict[str, float]]:
    """Of each bin that holds something: how many, their mean probability, and the share that is fractured."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        {
            "count": int((index == b).sum()),
            "mean_probability": float(probability[index == b].mean()),
            "share_fractured": float(truth[index == b].mean()),
        }
        for b in range(bins)
        if (index == b).any()
    ]


def confusion(scans: Sequence[JudgedScan]) -> list[list[int]]:
    """Rows: true grade 0 to 3; columns: measured grade 0 to 3, then not measured."""
    table = np.zeros((4, 5), dtype=int)
    for scan in scans:
        for vertebra in scan.vertebrae:
            table[vertebra.truth_grade, 4 if vertebra.grade is None else vertebra.grade] += 1
    return [[int(value) for value in row] for row in table]


def by_patient(
    scans: Sequence[JudgedScan], statistic: Callable[[Sequence[JudgedScan]], float], repeats: int = 400
) -> Estimate:
    """A statistic of scans, with its interval over patients drawn with replacement, each with all of its scans."""
    groups: dict[str, list[JudgedScan]] = {}
    for scan in scans:
        groups.setdefault(scan.patient, []).append(scan)
    patients = list(groups.values())
    return bootstrap(patients, lambda chosen: statistic([scan for i in chosen for scan in patients[i]]), repeats)


def vertebra_auc(scans: Sequence[JudgedScan]) -> float:
    rows = Rows.of(scans)
    judged = rows.score > SILENT
    return auc(rows.score[judged], rows.truth[judged])


def patient_auc(scans: Sequence[JudgedScan]) -> float:
    judged = [scan for scan in scans if scan.probability is not None]
    score = np.array([scan.probability for scan in judged], dtype=np.float64)
    return auc(score, np.array([scan.is_fractured for scan in judged], dtype=bool))


def froc_sensitivity(scans: Sequence[JudgedScan], most_alarms: float, least_grade: int) -> float:
    """Sensitivity for fractures of a grade and above at most so many false alarms a scan."""
    rows = Rows.of(scans)
    if not (rows.grade >= least_grade).any():
        return float("nan")
    return sensitivity_at(*froc(rows.score, rows.truth, len(scans), rows.grade >= least_grade), most_alarms)


def sensitivity_at_specificity(scans: Sequence[JudgedScan], specificity: float) -> float:
    """Sensitivity for vertebrae where at least this share of the normal ones stays silent."""
    rows = Rows.of(scans)
    if not rows.truth.any():
        return float("nan")
    return sensitivity_at(*roc(rows.score, rows.truth), 1.0 - specificity)
