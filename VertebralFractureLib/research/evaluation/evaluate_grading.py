"""The grading rules on public data with known answers: expert readings of heights, and a label map with known grades.

Neither needs weights. The figures are in docs/results/vertebrae.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.datasets.height_measurements import Readings, read_heights
from VertebralFractureLib.research.datasets.mask_heights import known_grades, mask_heights
from VertebralFractureLib.thresholds import GRADING
from VertebralFractureLib.vertebrae.grading import GRADING_RULES, LEVEL_NORMS_RULE, grade_column
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL, SCORED_LEVELS
from VertebralFractureLib.vertebrae.vertebra import Heights


@dataclass(frozen=True)
class RuleAgreement:
    """What one rule makes of the readings.

    Attributes:
        vertebrae, patients: read in all.
        flagged_vertebrae, flagged_patients: with a mean severity over the readers of 20 % or more.
        reader_pairs: pairs of readings of the same vertebra.
        kappa: Cohen's, of grade >= 1 between the two readings of a pair, each pair counted both ways.
        severity_difference: mean absolute difference of severity within a pair.
    """

    vertebrae: int
    patients: int
    flagged_vertebrae: int
    flagged_patients: int
    reader_pairs: int
    kappa: float
    severity_difference: float


def severities(readings: Readings, rule: str) -> dict[tuple[str, str], dict[str, float]]:
    """Severity by (scan, level), then by expert; the thoracic and lumbar levels alone are graded.

    These readings go to the floor of the endplate, which the table of norms was made from: the allowance of
    ``middle_over_floor`` for our own way of measuring is added first, so that it drops out again.
    """
    result: dict[tuple[str, str], dict[str, float]] = {}
    for (scan, expert), by_level in readings.items():
        levels = [level for level in reversed(CRANIAL_TO_CAUDAL) if level in by_level and level in SCORED_LEVELS]
        heights = [by_level[level] for level in levels]
        if rule == LEVEL_NORMS_RULE:
            heights = [
                Heights(h.anterior, h.middle + GRADING.middle_over_floor * h.posterior, h.posterior) for h in heights
            ]
        for level, grading in zip(levels, grade_column(heights, levels, rule), strict=True):
            if grading is not None:
                result.setdefault((scan, level), {})[expert] = grading.height_loss
    return result


def agreement(readings: Readings, rule: str) -> RuleAgreement:
    """Flagged vertebrae and patients, and the agreement of the readers, for a rule of ``GRADING_RULES``."""
    by_vertebra = severities(readings, rule)
    flagged = [
        key for key, by_expert in by_vertebra.items() if np.mean(list(by_expert.values())) >= GRADING.genant_cut_offs[0]
    ]
    pairs = [pair for by_expert in by_vertebra.values() for pair in itertools.combinations(by_expert.values(), 2)]
    return RuleAgreement(
        vertebrae=len(by_vertebra),
        patients=len({scan for scan, _ in by_vertebra}),
        flagged_vertebrae=len(flagged),
        flagged_patients=len({scan for scan, _ in flagged}),
        reader_pairs=len(pairs),
        kappa=_kappa(pairs),
        severity_difference=float(np.mean([abs(one - other) for one, other in pairs])) if pairs else float("nan"),
    )


def _kappa(pairs: Sequence[tuple[float, ...]]) -> float:
    """Cohen's kappa of severity >= 20 %, each pair counted both ways; nan without any pair or with one answer only."""
    called = np.array(pairs).reshape(-1, 2) >= GRADING.genant_cut_offs[0]
    if called.all() or not called.any():
        return float("nan")
    return float(cohen_kappa_score(called.ravel(), called[:, ::-1].ravel()))


def mask_table(labels: Path, centroids: Path, grades: Path) -> list[dict[str, Any]]:
    """One row a level, caudal to cranial: heights, the known grade, and the grade and severity by every rule."""
    heights = mask_heights(labels, centroids)
    truth = known_grades(grades)
    levels = list(heights)
    rows: list[dict[str, Any]] = [
        {"level": level, "heights_mm": asdict(heights[level]), "known_grade": truth.get(level)} for level in levels
    ]
    for rule in GRADING_RULES:
        for row, grading in zip(rows, grade_column(list(heights.values()), levels, rule), strict=True):
            if grading is not None:
                row[rule] = {"grade": grading.grade, "severity": round(grading.height_loss, 3), "shape": grading.shape}
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=Path, default=None, help="CSV of expert height readings")
    parser.add_argument(
        "--mask", type=Path, nargs=3, default=None, metavar=("LABELS", "CENTROIDS", "GRADES"), help="a graded label map"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    arguments = parser.parse_args()
    content: dict[str, Any] = {}
    if arguments.readings is not None:
        readings = read_heights(arguments.readings)
        content["readings"] = {rule: asdict(agreement(readings, rule)) for rule in GRADING_RULES}
    if arguments.mask is not None:
        content["mask"] = mask_table(*arguments.mask)
    write_file(arguments.out, json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
