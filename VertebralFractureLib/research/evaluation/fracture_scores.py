"""Score spines that a model never saw: real ones as they are, with simulated fractures, with mimics, and phantoms.

Two answers are kept of every vertebra: the network's between the reference endplates, and, where the models of the
vertebrae step are at hand, what the program itself finds and measures there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.fracture.patches import PatchGrid
from VertebralFractureLib.fracture.pooling import weigh_span
from VertebralFractureLib.fracture.scoring import (
    RawScores,
    SpinePatches,
    compute_scan_logit,
    network_from_weights,
    run_member,
)
from VertebralFractureLib.research.datasets.reference_set import fold_count, patient_of_scan
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.fracture_shapes import random_fracture_count, random_plan
from VertebralFractureLib.research.training.fracture_data import LabeledSpine, boxes_of, eligible, labeled, simulated
from VertebralFractureLib.types import BoolArray
from VertebralFractureLib.vertebrae import Vertebra, localize_vertebrae
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.weights import load_weights, weights_names

logger = logging.getLogger(__name__)
VARIANTS = 4
"""Versions of each real scan with fractures, and as many with mimics alone."""
_MIMIC_SHARE = 0.2
_MATCH_MM = 8.0


@dataclass(frozen=True)
class FoundScore:
    """What the program itself says of a vertebra: pooled logits by member, the measured loss and its grade."""

    logits: Mapping[str, float]
    height_loss: float | None
    grade: int | None


@dataclass(frozen=True)
class VertebraScore:
    """One vertebra: its truth, and by member the pooled logits of a grade of at least 1, 2 and 3.

    ``found`` is None where the program does not find or does not judge it, or was not asked.
    """

    grade: int
    shape: str | None
    simulated: str
    level: str | None
    logits: Mapping[str, tuple[float, float, float]]
    found: FoundScore | None = None


@dataclass(frozen=True)
class SpineScore:
    """One spine. ``kind``: "scan" (as it is), "fractured", "mimic" (both simulated on a scan), or "phantom"."""

    scan: str
    patient: str
    kind: str
    fold: int | None
    slice_mm: float
    vertebrae: tuple[VertebraScore, ...]
    series_logits: Mapping[str, float]

    @property
    def is_fractured(self) -> bool:
        return any(vertebra.grade > 0 for vertebra in self.vertebrae)


def spines_of(content: Mapping[str, Any]) -> list[SpineScore]:
    """The scores that ``evaluate_fracture`` wrote into its JSON, under "spines"."""
    spines = []
    for row in content["spines"]:
        vertebrae = [
            VertebraScore(
                **{
                    **item,
                    "logits": {name: tuple(values) for name, values in item["logits"].items()},
                    "found": None if item["found"] is None else FoundScore(**item["found"]),
                }
            )
            for item in row["vertebrae"]
        ]
        spines.append(SpineScore(**{**row, "vertebrae": tuple(vertebrae)}))
    return spines


def evaluation_spines(case: StraightCase, variants: int = VARIANTS) -> Iterator[tuple[str, LabeledSpine]]:
    """The case as it is; for a real one also ``variants`` versions with 1 to 4 fractures and as many with mimics."""
    volume = replace(case.volume, hu=np.asarray(case.volume.hu, dtype=np.float32))
    yield ("phantom" if case.is_phantom else "scan"), LabeledSpine(volume, labeled(case).vertebrae)
    candidates = eligible(case, *case.volume.frame.range_mm)
    if case.is_phantom or not candidates:
        return
    for index in range(2 * variants):
        rng = np.random.default_rng([index, *case.identifier.encode()])
        fractures = random_fracture_count(rng) if index < variants else 0
        plan, grades = random_plan(boxes_of(case), candidates, fractures, _MIMIC_SHARE, rng)
        if plan:
            yield ("fractured" if index < variants else "mimic"), simulated(case, plan, grades, volume, rng)


def score_cases(
    cases: Sequence[StraightCase], weights_folder: Path, members: Sequence[str], *, variants: int = VARIANTS
) -> list[SpineScore]:
    """Uncalibrated scores of all evaluation spines of ``cases``, by the weights of one folder."""
    networks = {name: network_from_weights(load_weights(PREFIX + name, weights_folder)) for name in members}
    pooling = {name: network.pooling.detach().double().numpy() for name, (network, _) in networks.items()}
    models = None
    if {"vertebrae", "levels"} <= set(weights_names("", weights_folder)):
        models = VertebraModels.load(weights_folder)
    result = []
    for number, case in enumerate(cases, 1):
        logger.info("Scoring %s (%d of %d)", case.identifier, number, len(cases))
        slice_mm = max(case.source_spacing_mm)
        for kind, spine in evaluation_spines(case, variants):
            sampled: dict[PatchGrid, SpinePatches] = {}
            raw: dict[str, RawScores] = {}
            for name, (network, grid) in networks.items():
                if grid not in sampled:
                    sampled[grid] = SpinePatches.of(spine.volume, grid)
                raw[name] = run_member(network, sampled[grid])
            found = []
            if models is not None:
                found = localize_vertebrae(spine.volume, models, slice_thickness_mm=slice_mm)
            vertebrae, judged = _score_vertebrae(spine, raw, found)
            if vertebrae:
                series = {
                    name: compute_scan_logit(scores.logits[judged, 0], pooling[name]) for name, scores in raw.items()
                }
                patient = case.patient or patient_of_scan(case.identifier)
                result.append(SpineScore(case.identifier, patient, kind, case.fold, slice_mm, vertebrae, series))
    return result


def _score_vertebrae(
    spine: LabeledSpine, raw: Mapping[str, RawScores], found: Sequence[Vertebra]
) -> tuple[tuple[VertebraScore, ...], BoolArray]:
    """Scores of the vertebrae of known grade, and which positions lie in them."""
    first = next(iter(raw.values()))
    vertebrae = []
    judged = np.zeros(len(first.positions_mm), dtype=np.bool_)
    for item in spine.vertebrae:
        weight = weigh_span(first.positions_mm, first.inside_fraction, item.low_mm, item.high_mm)
        if item.grade is None or weight is None:
            continue
        judged |= weight > 0.0
        logits = {name: tuple(float(value) for value in weight @ scores.logits) for name, scores in raw.items()}
        middle = 0.5 * (item.low_mm + item.high_mm)
        near = [v for v in found if abs(v.middle_mm - middle) <= _MATCH_MM]
        seen = _found_score(near[0], raw) if near and near[0].reason is None else None
        vertebrae.append(VertebraScore(item.grade, item.shape, item.simulated, item.level, logits, seen))  # type: ignore[arg-type]
    return tuple(vertebrae), judged


def _found_score(vertebra: Vertebra, raw: Mapping[str, RawScores]) -> FoundScore | None:
    first = next(iter(raw.values()))
    weight = weigh_span(first.positions_mm, first.inside_fraction, *vertebra.extent_mm)
    if weight is None:
        return None
    logits = {name: float(weight @ scores.logits[:, 0]) for name, scores in raw.items()}
    return FoundScore(logits, vertebra.height_loss, vertebra.morphometric_grade)


def cross_validated_scores(
    cases: Sequence[StraightCase], folds_folder: Path, members: Sequence[str], *, variants: int = VARIANTS
) -> list[SpineScore]:
    """Real cases judged by the weights of the fold that left them out, in ``folds_folder/fold<K>``.

    Phantoms and scans that only evaluate were seen by no fold; the first fold's weights judge them.
    """
    result = []
    for fold in range(fold_count()):
        here = [c for c in cases if (c.fold == fold and not c.is_phantom) or (fold == 0 and c.fold is None)]
        logger.info("Fold %d: %d cases", fold, len(here))
        if here:
            result += score_cases(here, folds_folder / f"fold{fold}", members, variants=variants)
    return result
