"""Score spines that a model never saw, real ones with and without simulated fractures and phantoms, and sum it up.

Every fold's weights judge that fold's patients; sensitivity and AUC on real anatomy are those of SIMULATED fractures.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.fracture.pooling import sigmoid
from VertebralFractureLib.training.fracture_members import SHIPPED
from VertebralFractureLib.training.fracture_metrics import (
    auc,
    auc_interval,
    calibration_error,
    operating_point,
    platt_line,
)
from VertebralFractureLib.training.fracture_scores import VARIANTS, SpineScore, cross_validated_scores
from VertebralFractureLib.training.straight_cache import load_or_build_cases

logger = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]
VALIDATION_PHANTOMS = range(500_000, 500_030)


@dataclass(frozen=True)
class Figures:
    """What is reported of one member, or of the ensemble, on one kind of spines; nan where it cannot be said."""

    vertebrae: int
    fractured_vertebrae: int
    vertebra_auc: float
    vertebra_auc_interval: tuple[float, float]
    vertebra_sensitivity: float
    vertebra_specificity: float
    sensitivity_by_grade: dict[str, float]
    sensitivity_by_shape: dict[str, float]
    mimic_specificity: float
    vertebra_calibration_error: float
    spines: int
    fractured_spines: int
    scan_auc: float
    scan_auc_interval: tuple[float, float]
    scan_sensitivity: float
    scan_specificity: float
    scan_calibration_error: float
    false_alarms_per_unmodified_scan: float


def fit_calibration(spines: Sequence[SpineScore], member: str) -> dict[str, list[float]]:
    """Platt's lines for the vertebrae and for the scans; prevalence is that of the simulated set."""
    vertebrae = [vertebra for spine in spines for vertebra in spine.vertebrae]
    lines = {
        "vertebra": platt_line(
            np.array([v.logits[member][0] for v in vertebrae]), np.array([v.grade > 0 for v in vertebrae])
        ),
        "scan": platt_line(
            np.array([s.series_logits[member] for s in spines]), np.array([s.is_fractured for s in spines])
        ),
    }
    return {name: list(line) for name, line in lines.items()}


def figures(
    spines: Sequence[SpineScore],
    members: Sequence[str],
    calibrations: Mapping[int | None, Mapping[str, dict[str, list[float]]]],
) -> Figures:
    """Figures of the mean of ``members``; ``calibrations`` by fold, so that no spine helps to calibrate itself."""
    rows = [(spine, vertebra) for spine in spines for vertebra in spine.vertebrae]
    by_fold = [calibrations[spine.fold] for spine, _ in rows]
    vertebra_p = np.mean(
        [_calibrated([v.logits[m][0] for _, v in rows], [c[m]["vertebra"] for c in by_fold]) for m in members], axis=0
    )
    by_fold = [calibrations[spine.fold] for spine in spines]
    scan_p = np.mean(
        [_calibrated([s.series_logits[m] for s in spines], [c[m]["scan"] for c in by_fold]) for m in members], axis=0
    )
    truth = np.array([v.grade > 0 for _, v in rows])
    scan_truth = np.array([s.is_fractured for s in spines])
    sensitivity, specificity = operating_point(vertebra_p, truth, 0.5)
    scan_sensitivity, scan_specificity = operating_point(scan_p, scan_truth, 0.5)

    def share_called(select: NDArray[np.bool_]) -> float:
        return float((vertebra_p[select] >= 0.5).mean()) if select.any() else float("nan")

    grades = np.array([v.grade for _, v in rows])
    shapes = np.array([v.shape or "" for _, v in rows])
    mimics = np.array([v.simulated == "mimic" for _, v in rows])
    plain = np.array([s.kind == "scan" or (s.kind == "phantom" and not s.is_fractured) for s, _ in rows])
    plain_spines = sum(s.kind == "scan" or (s.kind == "phantom" and not s.is_fractured) for s in spines)
    return Figures(
        vertebrae=len(rows),
        fractured_vertebrae=int(truth.sum()),
        vertebra_auc=auc(vertebra_p, truth),
        vertebra_auc_interval=auc_interval(vertebra_p, truth, [s.patient for s, _ in rows]),
        vertebra_sensitivity=sensitivity,
        vertebra_specificity=specificity,
        sensitivity_by_grade={str(g): share_called(grades == g) for g in (1, 2, 3)},
        sensitivity_by_shape={n: share_called(truth & (shapes == n)) for n in ("wedge", "biconcave", "crush")},
        mimic_specificity=1.0 - share_called(mimics & ~truth),
        vertebra_calibration_error=calibration_error(vertebra_p, truth),
        spines=len(spines),
        fractured_spines=int(scan_truth.sum()),
        scan_auc=auc(scan_p, scan_truth),
        scan_auc_interval=auc_interval(scan_p, scan_truth, [s.patient for s in spines]),
        scan_sensitivity=scan_sensitivity,
        scan_specificity=scan_specificity,
        scan_calibration_error=calibration_error(scan_p, scan_truth),
        false_alarms_per_unmodified_scan=float((plain & ~truth & (vertebra_p >= 0.5)).sum() / max(plain_spines, 1)),
    )


def _calibrated(logits: Sequence[float], lines: Sequence[Sequence[float]]) -> FloatArray:
    slope, offset = np.asarray(lines, dtype=np.float64).T
    return sigmoid(slope * np.asarray(logits) + offset)


def out_of_fold_calibrations(
    spines: Sequence[SpineScore], members: Sequence[str]
) -> dict[int | None, dict[str, dict[str, list[float]]]]:
    """For each fold, lines fitted on the other folds' real patients; for None, on those of all folds."""
    real = [spine for spine in spines if spine.fold is not None]
    result: dict[int | None, dict[str, dict[str, list[float]]]] = {
        None: {member: fit_calibration(real, member) for member in members}
    }
    for fold in sorted({spine.fold for spine in real if spine.fold is not None}):
        others = [spine for spine in real if spine.fold != fold]
        result[fold] = {member: fit_calibration(others, member) for member in members}
    return result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of the reference scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the straightened cases")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--phantoms", type=int, default=len(VALIDATION_PHANTOMS), help="validation phantoms")
    parser.add_argument("--members", nargs="+", default=list(SHIPPED), help="as the folds name them")
    parser.add_argument(
        "--variants", type=int, default=VARIANTS, help="versions of a scan with fractures, and with mimics"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the figures")


def run(arguments: argparse.Namespace) -> int:
    cases = load_or_build_cases(arguments.cache, arguments.data, VALIDATION_PHANTOMS[: arguments.phantoms])
    members: list[str] = arguments.members
    spines = cross_validated_scores(cases, arguments.folds_folder, members, variants=arguments.variants)
    calibrations = out_of_fold_calibrations(spines, members)
    groups = {
        "real, cross-validated": [s for s in spines if s.fold is not None],
        "real, evaluation only": [s for s in spines if s.fold is None and s.kind != "phantom"],
        "phantoms": [s for s in spines if s.kind == "phantom"],
    }
    named = {**{member: [member] for member in members}, "ensemble": members}
    content = {
        "figures": {
            group: {name: asdict(figures(chosen, list(who), calibrations)) for name, who in named.items()}
            for group, chosen in groups.items()
            if chosen
        },
        "calibration": calibrations[None],
        "spines": [asdict(spine) for spine in spines],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))
