"""Score spines that a model never saw, real ones with and without simulated fractures and phantoms, and sum it up.

Every fold's weights judge that fold's patients; sensitivity and AUC on real anatomy are those of SIMULATED fractures.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.fracture.scoring import (
    LEAST_INSIDE,
    calibrated,
    network_from_weights,
    raw_scores,
    series_logit,
)
from VertebralFractureLib.training.fracture_data import (
    LabelledSpine,
    crop,
    eligible,
    labelled,
    random_plan,
    simulated,
)
from VertebralFractureLib.training.fracture_members import MEMBERS, SHIPPED
from VertebralFractureLib.training.fracture_metrics import (
    auc,
    auc_interval,
    calibration_error,
    operating_point,
    platt_line,
)
from VertebralFractureLib.training.reference_set import fold_count, patient_of_scan
from VertebralFractureLib.training.straight_cache import StraightCase, load_or_build_cases
from VertebralFractureLib.weights import load_weights

logger = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]
VARIANTS = 2
"""Versions of each real scan with fractures, and as many with mimics alone."""
VALIDATION_PHANTOMS = range(500_000, 500_030)


@dataclass(frozen=True)
class VertebraScore:
    """One vertebra: its truth and, by member, the mean logit of its positions, weighted as ``score_vertebrae`` does."""

    grade: int
    shape: str | None
    simulated: str
    level: str | None
    logits: Mapping[str, float]


@dataclass(frozen=True)
class SpineScore:
    """One spine. ``kind``: "scan" (as it is), "fractured", "mimic" (both simulated on a scan), or "phantom"."""

    scan: str
    patient: str
    kind: str
    fold: int | None
    vertebrae: tuple[VertebraScore, ...]
    series_logits: Mapping[str, float]

    @property
    def is_fractured(self) -> bool:
        return any(vertebra.grade > 0 for vertebra in self.vertebrae)


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


def evaluation_spines(case: StraightCase, variants: int = VARIANTS) -> Iterator[tuple[str, LabelledSpine]]:
    """The case as it is; for a real one also ``variants`` versions with 1 to 3 fractures and as many with mimics."""
    low, high = case.volume.frame.range_mm
    volume = crop(case.volume, low - 48.0, high + 48.0)
    plain = labelled(case)
    yield ("phantom" if case.is_phantom else "scan"), LabelledSpine(volume, plain.vertebrae)
    candidates = eligible(case, low, high)
    if case.is_phantom or not candidates:
        return
    for index in range(2 * variants):
        rng = np.random.default_rng([index, *case.identifier.encode()])
        fractures = int(rng.integers(1, 4)) if index < variants else 0
        plan, grades = random_plan(case, candidates, fractures, 0.2, rng)
        if plan:
            yield ("fractured" if index < variants else "mimic"), simulated(case, plan, grades, volume, rng)


def score_cases(cases: Sequence[StraightCase], weights_folder: Path, members: Sequence[str]) -> list[SpineScore]:
    """Uncalibrated scores of all evaluation spines of ``cases``."""
    networks = {name: network_from_weights(load_weights(f"fracture-{name}", weights_folder)) for name in members}
    pooling = {name: network.pooling.detach().double().numpy() for name, (network, _) in networks.items()}
    result = []
    for case in cases:
        for kind, spine in evaluation_spines(case):
            raw = {name: raw_scores(network, grid, spine.volume) for name, (network, grid) in networks.items()}
            first = next(iter(raw.values()))
            vertebrae = []
            judged = np.zeros(len(first.positions_mm), dtype=np.bool_)
            for item in spine.vertebrae:
                within = (first.positions_mm >= item.low_mm) & (first.positions_mm <= item.high_mm)
                within &= first.inside_fraction >= LEAST_INSIDE
                if item.grade is not None and within.any():
                    judged |= within
                    middle, height = 0.5 * (item.low_mm + item.high_mm), item.high_mm - item.low_mm
                    weight = within * (1.0 - np.abs(first.positions_mm - middle) / height)
                    weight /= weight.sum()
                    logits = {name: float(weight @ scores.logits[:, 0]) for name, scores in raw.items()}
                    vertebrae.append(VertebraScore(item.grade, item.shape, item.simulated, item.level, logits))
            if vertebrae:
                series = {name: series_logit(scores.logits[judged, 0], pooling[name]) for name, scores in raw.items()}
                patient = patient_of_scan(case.identifier)
                result.append(SpineScore(case.identifier, patient, kind, case.fold, tuple(vertebrae), series))
    return result


def fit_calibration(spines: Sequence[SpineScore], member: str) -> dict[str, list[float]]:
    """Platt's lines for the vertebrae and for the scans; prevalence is that of the simulated set."""
    vertebrae = [vertebra for spine in spines for vertebra in spine.vertebrae]
    lines = {
        "vertebra": platt_line(
            np.array([v.logits[member] for v in vertebrae]), np.array([v.grade > 0 for v in vertebrae])
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
    vertebra_p = np.array(
        [
            np.mean([float(calibrated(np.asarray(v.logits[m]), calibrations[s.fold][m]["vertebra"])) for m in members])
            for s, v in rows
        ]
    )
    scan_p = np.array(
        [
            np.mean(
                [float(calibrated(np.asarray(s.series_logits[m]), calibrations[s.fold][m]["scan"])) for m in members]
            )
            for s in spines
        ]
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


def cross_validated_scores(
    cases: Sequence[StraightCase], folds_folder: Path, members: Sequence[str]
) -> list[SpineScore]:
    """Real cases judged by the weights of the fold that left them out, in ``folds_folder/fold<K>``.

    Phantoms and scans that only evaluate were seen by no fold; the first fold's weights judge them.
    """
    result = []
    for fold in range(fold_count()):
        here = [c for c in cases if (c.fold == fold and not c.is_phantom) or (fold == 0 and c.fold is None)]
        logger.info("Fold %d: %d cases", fold, len(here))
        result += score_cases(here, folds_folder / f"fold{fold}", members)
    return result


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
    parser.add_argument("--members", nargs="+", choices=sorted(MEMBERS), default=list(SHIPPED))
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the figures")


def run(arguments: argparse.Namespace) -> int:
    cases = load_or_build_cases(arguments.cache, arguments.data, VALIDATION_PHANTOMS[: arguments.phantoms])
    members: list[str] = arguments.members
    spines = cross_validated_scores(cases, arguments.folds_folder, members)
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
