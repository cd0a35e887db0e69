"""Measure the fracture networks on spines that they never saw: real ones, simulated fractures on them, and phantoms.

Every fold's weights judge that fold's patients; sensitivity and AUC on real anatomy are those of SIMULATED fractures.
The figures are those of ``evaluation.performance``, so networks and program are measured by the same functions.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.fracture.pooling import pool_ensemble
from VertebralFractureLib.fracture.scoring import calibrate_logits
from VertebralFractureLib.research.evaluation.fracture_scores import (
    VARIANTS,
    SpineScore,
    VertebraScore,
    cross_validated_scores,
)
from VertebralFractureLib.research.evaluation.html_report import html_report
from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra
from VertebralFractureLib.research.evaluation.metrics import auc, fit_platt_line
from VertebralFractureLib.research.evaluation.performance import performance
from VertebralFractureLib.research.training.fracture_members import shipped_names
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.thresholds import SCORING

logger = logging.getLogger(__name__)
Lines = Mapping[str, Sequence[float]]
"""Platt's lines of one member: "vertebra" (grade 1 or more), "grade2", "grade3" (these or more) and "scan"."""
_ORDINALS = ("vertebra", "grade2", "grade3")
CROSS_VALIDATED = "real, cross-validated"
"""Name of the group of spines that were judged by weights which never saw their patient."""
VALIDATION_PHANTOMS = range(500_000, 500_030)


def fit_calibration(spines: Sequence[SpineScore], member: str) -> dict[str, list[float]]:
    """Platt's lines for the vertebrae and for the scans; prevalence is that of the simulated set.

    Of a grade that no vertebra of the set has, or all have, the logit is left as it is.
    """
    vertebrae = [vertebra for spine in spines for vertebra in spine.vertebrae]
    grades = np.array([vertebra.grade for vertebra in vertebrae])
    logits = np.array([vertebra.logits[member] for vertebra in vertebrae])
    lines = {
        **{
            name: fit_platt_line(logits[:, least - 1], grades >= least)
            for least, name in enumerate(_ORDINALS, start=1)
            if least == 1 or 0 < int((grades >= least).sum()) < len(grades)
        },
        "scan": fit_platt_line(
            np.array([s.series_logits[member] for s in spines]), np.array([s.is_fractured for s in spines])
        ),
    }
    return {**{name: [1.0, 0.0] for name in _ORDINALS}, **{name: list(line) for name, line in lines.items()}}


def out_of_fold_calibrations(
    spines: Sequence[SpineScore], members: Sequence[str]
) -> dict[int | None, dict[str, dict[str, list[float]]]]:
    """For each fold, lines fitted on the other folds' real patients; for None, on those of all folds.

    Where one fold alone was scored, its own lines stand in: there is no other to fit on.
    """
    real = [spine for spine in spines if spine.fold is not None]
    result: dict[int | None, dict[str, dict[str, list[float]]]] = {
        None: {member: fit_calibration(real, member) for member in members}
    }
    folds = sorted({spine.fold for spine in real if spine.fold is not None})
    for fold in folds:
        others = [spine for spine in real if spine.fold != fold] if len(folds) > 1 else real
        result[fold] = {member: fit_calibration(others, member) for member in members}
    return result


def judged(
    spines: Sequence[SpineScore], members: Sequence[str], calibrations: Mapping[int | None, Mapping[str, Lines]]
) -> list[JudgedScan]:
    """The spines as the ensemble of ``members`` judges them; ``calibrations`` by fold, so that none calibrates itself.

    The scan's probability is the program's: ``F_agg``, or the most suspicious vertebra if that is more. ``grade`` is
    the network's own: the highest grade that is at least as likely as not.
    """
    scans = []
    for spine in spines:
        lines = {member: calibrations[spine.fold][member] for member in members}
        vertebrae = tuple(_judged_vertebra(vertebra, lines) for vertebra in spine.vertebrae)
        series = _pooled([_answer(lines[m]["scan"], spine.series_logits[m]) for m in members])
        most = max(v.probability or 0.0 for v in vertebrae)
        scans.append(JudgedScan(spine.scan, spine.patient, max(series, most), vertebrae, spine.slice_mm))
    return scans


def _judged_vertebra(vertebra: VertebraScore, lines: Mapping[str, Lines]) -> JudgedVertebra:
    answers = [_answer(line["vertebra"], vertebra.logits[member][0]) for member, line in lines.items()]
    probability = _pooled(answers)
    least = [
        _pooled([_answer(line[name], vertebra.logits[member][index]) for member, line in lines.items()])
        for index, name in enumerate(_ORDINALS)
    ]
    grade = int(np.sum(np.minimum.accumulate(least) >= SCORING.decision_threshold))
    return JudgedVertebra(vertebra.grade, vertebra.shape, vertebra.level, probability, float(np.std(answers)), grade)


def _pooled(answers: Sequence[float]) -> float:
    return float(pool_ensemble(np.array(answers)))


def _answer(line: Sequence[float], logit: float) -> float:
    return float(calibrate_logits(np.asarray(logit), line))


def warp_response(spines: Sequence[SpineScore], scans: Sequence[JudgedScan]) -> float:
    """AUC with which the score tells bodies mapped onto themselves from untouched ones: 0.5 if it ignores maps.

    nan where the set lacks either.
    """
    rows = [
        (found.probability or 0.0, known.simulated == "mapped")
        for spine, scan in zip(spines, scans, strict=True)
        for known, found in zip(spine.vertebrae, scan.vertebrae, strict=True)
        if known.grade == 0 and known.simulated in ("", "mapped")
    ]
    return auc(np.array([score for score, _ in rows]), np.array([mapped for _, mapped in rows], dtype=bool))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of the reference scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the straightened cases")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--phantoms", type=int, default=len(VALIDATION_PHANTOMS), help="validation phantoms")
    parser.add_argument("--members", nargs="+", default=shipped_names(), help="as the folds name them")
    parser.add_argument("--variants", type=int, default=VARIANTS, help="versions of a scan with fractures, and mimics")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the figures; an HTML page lies beside it")


def run(arguments: argparse.Namespace) -> int:
    cases = load_or_build_cases(arguments.cache, arguments.data, VALIDATION_PHANTOMS[: arguments.phantoms])
    members: list[str] = arguments.members
    spines = cross_validated_scores(cases, arguments.folds_folder, members, variants=arguments.variants)
    content = figures_of(spines, members)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_file(arguments.out, json.dumps(content, indent=1) + "\n")
    page = {f"{group}: {who}": figures for group, sets in content["figures"].items() for who, figures in sets.items()}
    write_file(arguments.out.with_suffix(".html"), html_report(page, {}))
    return 0


def figures_of(spines: Sequence[SpineScore], members: Sequence[str]) -> dict[str, Any]:
    """Figures of every member and of the ensemble on every group of spines, the final lines, and the scores."""
    calibrations = out_of_fold_calibrations(spines, members)
    real = [s for s in spines if s.fold is not None]
    groups = {
        CROSS_VALIDATED: real,
        f"{CROSS_VALIDATED}, as scanned": [s for s in real if s.kind == "scan"],
        "real, evaluation only": [s for s in spines if s.fold is None and s.kind != "phantom"],
        "phantoms": [s for s in spines if s.kind == "phantom"],
    }
    named = {member: [member] for member in members}
    if len(members) > 1:
        named["ensemble"] = list(members)
    figures: dict[str, dict[str, Any]] = {}
    for group, chosen in groups.items():
        for name, who in named.items() if chosen else ():
            scans = judged(chosen, who, calibrations)
            measured = performance(scans, SCORING.decision_threshold)
            figures.setdefault(group, {})[name] = {**measured, "warp_response_auc": warp_response(chosen, scans)}
    return {
        "figures": figures,
        "calibration": calibrations[None],
        "fold_calibration": {str(fold): lines for fold, lines in calibrations.items() if fold is not None},
        "spines": [asdict(spine) for spine in spines],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))
