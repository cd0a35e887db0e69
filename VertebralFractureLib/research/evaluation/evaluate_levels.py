"""How often a name is right, and whether its probability means what it says: whole scans, and stretches out of them.

A scan is judged by weights that never saw its patient. A stretch that holds neither the first nor the last rib nor the
sacrum has no landmark: there the right answer is a probability that says so, or no name at all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.metrics import brier_score_loss

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.datasets.reference_set import patient_of_scan
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.metrics import ReliabilityBin, proportion_by_patient, reliability
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.thresholds import LABELING
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.labeling import compute_level_log_probability
from VertebralFractureLib.vertebrae.level_assignment import find_likeliest_levels
from VertebralFractureLib.vertebrae.level_column import count_steps
from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES
from VertebralFractureLib.vertebrae.level_landmark import has_landmark, limit_without_landmark
from VertebralFractureLib.vertebrae.localization import compute_body_maps, localize_bodies
from VertebralFractureLib.vertebrae.models import VertebraModels

CONFIDENT = 0.9
"""A wrong name with at least this probability misleads whoever reads it."""
_MATCH_MM = 10.0
_SHORTEST_MM, _LONGEST_MM = 90.0, 260.0
_BINS = (0.0, LABELING.known_from, 0.8, 0.9, 0.97, 1.0)
_WEIGHTS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Opinion:
    """What the network says about the bodies found in one stretch, caudal to cranial.

    Attributes:
        log_probability: ``(n, 25)`` of every body by itself.
        steps: how many levels up each next body is.
        levels: the reader's level of each body, None where the reader annotated none.
        has_landmark: a first rib, a last rib or the sacrum is in the field of view.
        extents_mm: arc lengths of the bodies' endplates; seen_mm: of the field of view.
    """

    scan: str
    fold: int
    stretch: int
    log_probability: FloatArray
    steps: tuple[int, ...]
    levels: tuple[str | None, ...]
    has_landmark: bool
    extents_mm: tuple[tuple[float, float], ...]
    seen_mm: tuple[float, float]


@dataclass(frozen=True)
class LabeledBody:
    """A body with its true and its likeliest level."""

    scan: str
    stretch: int
    has_landmark: bool
    true: str
    likeliest: str
    probability: float

    @property
    def right(self) -> bool:
        return self.true == self.likeliest


@dataclass(frozen=True)
class LevelFigures:
    """Over a set of bodies; the interval is 95 % and by patient.

    Attributes:
        reported: bodies whose level is reported (probability from 0.6 on); right: those reported rightly.
        stretches_wrong: with a wrong name; stretches_misled: with a wrong name of 0.9 or more.
        patients: whom the stretches are of.
        reliability: for every range of probability that holds bodies: how many, mean probability, fraction right.
    """

    bodies: int
    reported: int
    right: int
    stretches: int
    patients: int
    stretches_right: int
    stretches_unlabeled: int
    stretches_wrong: int
    stretches_misled: int
    misled_interval: tuple[float, float]
    brier: float
    reliability: tuple[ReliabilityBin, ...]


def stretches(case: StraightCase, count: int) -> list[StraightCase]:
    """The whole case, then ``count`` stretches of 9 to 26 cm at random (less where less is annotated)."""
    rng = np.random.default_rng(list(case.identifier.encode()))
    boxes = [v.box for v in case.reference.vertebrae if v.box is not None]
    low, high = min(box.s_inf for box in boxes) - 12.0, max(box.s_sup for box in boxes) + 12.0
    parts = [case]
    for _ in range(count):
        length = min(rng.uniform(_SHORTEST_MM, _LONGEST_MM), max(0.7 * (high - low), 0.9 * _SHORTEST_MM))
        start = rng.uniform(low, max(high - length, low + 1e-6))
        parts.append(_cut(case, start, start + length))
    return parts


def _cut(case: StraightCase, low: float, high: float) -> StraightCase:
    volume = case.volume
    first = max(round(low - volume.origin_mm[2]), 0)
    part = slice(first, round(high - volume.origin_mm[2]))
    origin = (*volume.origin_mm[:2], volume.origin_mm[2] + first * volume.spacing_mm[2])
    return replace(case, volume=replace(volume, hu=volume.hu[part], inside=volume.inside[part], origin_mm=origin))


def opinion_on(case: StraightCase, stretch: int, weights_folder: Path | None) -> Opinion:
    """The network's opinion on the bodies that are found in a case."""
    models = VertebraModels.load(weights_folder)
    bodies = localize_bodies(case.volume, compute_body_maps(case.volume, models.body))
    extents = [(body.span.s_inferior_mm, body.span.s_superior_mm) for body in bodies]
    known = [(0.5 * (v.box.s_inf + v.box.s_sup), v.level) for v in case.reference.vertebrae if v.box is not None]
    levels = []
    for below, above in extents:
        distance, level = min((abs(middle - 0.5 * (below + above)), name) for middle, name in known if name is not None)
        levels.append(level if distance <= _MATCH_MM else None)
    return Opinion(
        scan=case.identifier,
        fold=case.fold or 0,
        stretch=stretch,
        log_probability=compute_level_log_probability(case.volume, extents, models.levels),
        steps=tuple(count_steps(extents)),
        levels=tuple(levels),
        has_landmark=shows_landmark(case),
        extents_mm=tuple(extents),
        seen_mm=_seen_mm(case),
    )


def shows_landmark(case: StraightCase) -> bool:
    """Whether the reader's own levels say that a landmark is in the field of view."""
    boxed = [(v.level, v.box) for v in case.reference.vertebrae if v.box is not None]
    return has_landmark([level for level, _ in boxed], [(box.s_inf, box.s_sup) for _, box in boxed], _seen_mm(case))


def _seen_mm(case: StraightCase) -> tuple[float, float]:
    s = case.volume.axis_mm("s")
    return float(s[0]), float(s[-1])


def label_bodies(opinions: Sequence[Opinion], evidence_weight: float | None = None) -> list[LabeledBody]:
    """The likeliest level of every body whose true level is known, as sure as the program is of it."""
    bodies = []
    for opinion in opinions:
        names = find_likeliest_levels(opinion.log_probability, opinion.steps, evidence_weight)
        names = limit_without_landmark(names, opinion.extents_mm, opinion.seen_mm)
        for true, name in zip(opinion.levels, names, strict=True):
            if true is not None and name.level is not None:
                bodies.append(
                    LabeledBody(opinion.scan, opinion.stretch, opinion.has_landmark, true, name.level, name.probability)
                )
    return bodies


def best_weight(opinions: Sequence[Opinion]) -> float:
    """The evidence weight with the smallest log loss of the probabilities; every stretch counts the same."""
    return min(_WEIGHTS, key=lambda weight: _log_loss(label_bodies(opinions, weight)))


def _log_loss(bodies: Sequence[LabeledBody]) -> float:
    losses: dict[tuple[str, int], list[float]] = {}
    for body in bodies:
        chance = body.probability if body.right else 1.0 - body.probability
        losses.setdefault((body.scan, body.stretch), []).append(-np.log(max(chance, 1e-3)))
    return float(np.mean([np.mean(values) for values in losses.values()]))


def figures_of(bodies: Sequence[LabeledBody]) -> LevelFigures:
    """The figures over some bodies."""
    tuned = LABELING
    groups: dict[tuple[str, int], list[LabeledBody]] = {}
    for body in bodies:
        groups.setdefault((body.scan, body.stretch), []).append(body)
    reported = [body for body in bodies if body.probability >= tuned.known_from]
    wrong = [any(not b.right and b.probability >= tuned.known_from for b in group) for group in groups.values()]
    misled = proportion_by_patient(
        [any(not b.right and b.probability >= CONFIDENT for b in group) for group in groups.values()],
        [patient_of_scan(scan) for scan, _ in groups],
    )
    probability, is_right = np.array([b.probability for b in bodies]), np.array([b.right for b in bodies], dtype=bool)
    unnamed = [all(b.probability < tuned.known_from for b in group) for group in groups.values()]
    return LevelFigures(
        bodies=len(bodies),
        reported=len(reported),
        right=sum(body.right for body in reported),
        stretches=len(groups),
        patients=misled.patients,
        stretches_right=len(groups) - sum(wrong) - sum(unnamed),
        stretches_unlabeled=sum(unnamed),
        stretches_wrong=sum(wrong),
        stretches_misled=misled.hits,
        misled_interval=(misled.low, misled.high),
        brier=float(brier_score_loss(is_right, probability, pos_label=True)) if bodies else float("nan"),
        reliability=tuple(reliability(probability, is_right, _BINS)),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--stretches", type=int, default=8, help="cut out of every scan")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    arguments = parser.parse_args()
    opinions = [
        opinion_on(part, number, arguments.folds_folder / f"fold{case.fold or 0}")
        for case in load_or_build_cases(arguments.cache, arguments.data)
        for number, part in enumerate(stretches(case, arguments.stretches))
    ]
    bodies = label_bodies(opinions)
    folds = sorted({opinion.fold for opinion in opinions})
    groups = {
        "whole": [b for b in bodies if b.stretch == 0],
        "stretches with a landmark": [b for b in bodies if b.stretch > 0 and b.has_landmark],
        "stretches without a landmark": [b for b in bodies if b.stretch > 0 and not b.has_landmark],
    }
    content = {
        "classes": len(LEVEL_CLASSES),
        "evidence_weight": LABELING.evidence_weight,
        "best_weight": best_weight(opinions),
        "best_weight_without_fold": {k: best_weight([o for o in opinions if o.fold != k]) for k in folds},
        **{name: asdict(figures_of(part)) for name, part in groups.items()},
        "wrong": [asdict(b) for b in bodies if not b.right and b.probability >= LABELING.known_from],
    }
    write_file(arguments.out, json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
