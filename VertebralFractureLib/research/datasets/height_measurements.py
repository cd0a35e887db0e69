"""Public expert readings of vertebral heights, graded by every rule: how many are flagged, and do readers agree.

The table is that of neuro-ml/anchor-free-genant: 2 or 3 experts on each of 100 CTs, three segments a vertebra, in
voxels. Only ratios of them mean anything, which is all that the rules use.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from VertebralFractureLib.thresholds import GRADING
from VertebralFractureLib.vertebrae.grading import LEVEL_NORMS_RULE, grade_column
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL, SCORED_LEVELS
from VertebralFractureLib.vertebrae.vertebra import Heights

Readings = Mapping[tuple[str, str], Mapping[str, Heights]]
"""By (scan, expert), then by level."""


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


def read_heights(table: Path) -> Readings:
    """The readings of a CSV with columns scan, expert, level, ant_len_vox, mid_len_vox, post_len_vox.

    Raises:
        ValueError: when a column is missing.
    """
    readings: dict[tuple[str, str], dict[str, Heights]] = {}
    with table.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            try:
                heights = Heights(float(row["ant_len_vox"]), float(row["mid_len_vox"]), float(row["post_len_vox"]))
                readings.setdefault((row["scan"], row["expert"]), {})[row["level"]] = heights
            except KeyError as error:
                raise ValueError(f"'{table.name}' holds no height readings: it lacks the column {error}.") from None
    return readings


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
    if not pairs:
        return float("nan")
    called = np.array(pairs) >= GRADING.genant_cut_offs[0]
    agreed, share = float((called[:, 0] == called[:, 1]).mean()), float(called.mean())
    by_chance = share**2 + (1.0 - share) ** 2
    return float("nan") if by_chance == 1.0 else (agreed - by_chance) / (1.0 - by_chance)
