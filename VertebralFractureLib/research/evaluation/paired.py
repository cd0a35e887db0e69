"""Two answers on the same vertebrae or scans: other weights, or a reader, against the program; paired by patient.

Areas differ by the clustered DeLong test (DeLong 1988, Obuchowski 1997) and by a paired bootstrap of patients;
sensitivity and specificity by the bootstrap. Only units that both answered are compared; how many only one answered is
said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from VertebralFractureLib.research.datasets.grade_table import read_grades
from VertebralFractureLib.research.evaluation.endpoints import (
    ENDPOINTS,
    LEAST_PATIENTS,
    REPEATS,
    UNITS,
    Rows,
    auc_parts,
    draw_patients,
    percentiles,
    rows_of,
)
from VertebralFractureLib.research.evaluation.judged import JudgedScan
from VertebralFractureLib.research.evaluation.metrics import auc

_Z = 1.959964
_MOST_NAMED = 12
_READER_SCORE = {0: 0.0, 1: 1 / 3, 2: 2 / 3, 3: 1.0}
"""An order of a reader's grades; only their order counts for an area."""


@dataclass(frozen=True)
class Reader:
    """A reader's grades beside the same scans.

    Attributes:
        name: of the table.
        scans: as the reader judged them.
        said: how many vertebrae the table answers, and what of it found no partner.
    """

    name: str
    scans: tuple[JudgedScan, ...]
    said: str


def scans_of_reader(scans: Sequence[JudgedScan], table: Path) -> Reader:
    """The scans as a reader's table of grades answers them: a grade of 1 or more calls, grade 2 or 3 calls severe.

    A vertebra without a row has no answer; a scan's answer is its highest grade.

    Raises:
        UnreadableVolume, RefusedContent: when it is no table of grades.
    """
    join = read_grades(table).join([scan.identifier for scan in scans])
    result = []
    for scan in scans:
        known = join.grades.get(scan.identifier)
        vertebrae = []
        for vertebra in scan.vertebrae:
            grade = None if known is None else known.grade(vertebra.level)
            score = None if grade is None else _READER_SCORE[grade]
            severe = None if grade is None else float(grade >= 2)
            vertebrae.append(replace(vertebra, probability=score, severe_probability=severe, grade=grade, reason=""))
        answers = [v.probability for v in vertebrae if v.probability is not None]
        result.append(replace(scan, probability=max(answers, default=None), vertebrae=tuple(vertebrae)))
    answered = sum(v.probability is not None for scan in result for v in scan.vertebrae)
    every = sum(len(scan.vertebrae) for scan in result)
    unplaced = [
        f"{name} {level}"
        for name, known in join.grades.items()
        for level in known.unplaced([v.level for scan in scans if scan.identifier == name for v in scan.vertebrae])
    ]
    said = f"The table '{table.name}' answers {answered} of {every} graded vertebrae."
    for what, names in (("Rows without a scan", join.rows_without_scan), ("Rows without a graded vertebra", unplaced)):
        if names:
            more = ", ..." if len(names) > _MOST_NAMED else ""
            said += f" {what} ({len(names)}): {', '.join(names[:_MOST_NAMED])}{more}."
    return Reader(table.stem, tuple(result), said)


def compare_answers(
    ours: Sequence[JudgedScan],
    others: Sequence[JudgedScan],
    thresholds: tuple[float, float],
    repeats: int = REPEATS,
    *,
    units: Sequence[str] = UNITS,
    endpoints: Sequence[str] = tuple(ENDPOINTS),
) -> dict[str, dict[str, Any]]:
    """``compare_rows`` by unit and endpoint.

    Args:
        ours, others: the same scans with the same vertebrae in the same order.
        thresholds: at which the first and the second call.

    Raises:
        ValueError: when they are not the same scans.
    """
    if [(s.identifier, len(s.vertebrae)) for s in ours] != [(s.identifier, len(s.vertebrae)) for s in others]:
        raise ValueError("Both must have judged the same vertebrae of the same scans.")
    return {
        unit: {
            name: compare_rows(
                rows_of(ours, unit, ENDPOINTS[name]), rows_of(others, unit, ENDPOINTS[name]), thresholds, repeats
            )
            for name in endpoints
        }
        for unit in units
    }


def compare_rows(first: Rows, second: Rows, thresholds: tuple[float, float], repeats: int = REPEATS) -> dict[str, Any]:
    """The difference of areas, sensitivities and specificities (second minus first) on units that both answered."""
    one, two = np.isfinite(first.score), np.isfinite(second.score)
    both = one & two
    truth, owner = first.truth[both], first.owner[both]
    a, b = first.score[both], second.score[both]
    content: dict[str, Any] = {
        "both_answered": int(both.sum()),
        "only_first": int((one & ~two).sum()),
        "only_second": int((two & ~one).sum()),
        "with_endpoint": int(truth.sum()),
    }
    if not truth.any() or truth.all():
        return content
    draws = draw_patients(owner, repeats)
    content["auc"] = {
        "first": auc(a, truth),
        "second": auc(b, truth),
        **_delong(a, b, truth, owner),
        "difference_bootstrap": _interval(
            auc(b, truth) - auc(a, truth), [auc(b[d], truth[d]) - auc(a[d], truth[d]) for d in draws]
        ),
    }
    called = (a >= thresholds[0]).astype(np.float64), (b >= thresholds[1]).astype(np.float64)
    for name, among in (("sensitivity", truth), ("specificity", ~truth)):
        gain = called[1] - called[0] if name == "sensitivity" else called[0] - called[1]
        content[name] = {
            "first": float(called[0][among].mean() if name == "sensitivity" else 1.0 - called[0][among].mean()),
            "second": float(called[1][among].mean() if name == "sensitivity" else 1.0 - called[1][among].mean()),
            "difference_bootstrap": _interval(
                float(gain[among].mean()), [float(gain[d][among[d]].mean()) for d in draws if among[d].any()]
            ),
        }
    return content


def _delong(a: Any, b: Any, truth: Any, owner: Any) -> Mapping[str, Any]:
    """The difference of two areas with interval and two-sided p by their clustered variances."""
    first, second = auc_parts(a, truth, owner), auc_parts(b, truth, owner)
    difference = second.value - first.value
    if len(np.unique(owner)) < LEAST_PATIENTS:
        return {"difference": {"value": difference, "low": None, "high": None}, "p_delong": None}
    spread = math.sqrt(max(first.variance + second.variance - 2.0 * first.covariance(second), 0.0))
    is_same = spread == 0.0 and difference == 0.0
    p = 1.0 if is_same else None if spread == 0.0 else 2.0 * float(norm.sf(abs(difference) / spread))
    return {
        "difference": {
            "value": difference,
            "low": difference - _Z * spread,
            "high": difference + _Z * spread,
        },
        "p_delong": p,
    }


def _interval(value: float, draws: Sequence[float]) -> dict[str, float | None]:
    low, high = percentiles(draws)
    return {"value": value, "low": low if math.isfinite(low) else None, "high": high if math.isfinite(high) else None}
