"""How often a name is right, and whether its probability means what it says: whole scans, changed copies, stretches.

A scan is judged by weights that never saw its patient. A changed copy has thicker slices, other HU, more noise or a
narrower view, which changes no level. A stretch that holds neither the first nor the last rib nor the sacrum has no
landmark: there the right answer is a probability that says so, or no name at all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.metrics import brier_score_loss

from VertebralFractureLib.atomic_write import atomic_write, write_file
from VertebralFractureLib.research.datasets.reference_set import patient_of_scan
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.metrics import ReliabilityBin, proportion_by_patient, reliability
from VertebralFractureLib.research.simulation.changed_acquisition import CHANGES
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.thresholds import LABELING, moved_threshold
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import Float32Array
from VertebralFractureLib.vertebrae.labeling import draw_column, judge_column
from VertebralFractureLib.vertebrae.level_assignment import LevelOpinion, Steps, find_likeliest_levels
from VertebralFractureLib.vertebrae.level_column import lay_column, weigh_steps
from VertebralFractureLib.vertebrae.level_input import CHANNELS, LEVEL_CLASSES, ROWS_PER_CELL
from VertebralFractureLib.vertebrae.level_landmark import find_landmarks, keep_doubt_of_scan
from VertebralFractureLib.vertebrae.localization import compute_body_maps, localize_bodies
from VertebralFractureLib.vertebrae.models import BODY_WEIGHTS, VertebraModels
from VertebralFractureLib.weights import load_weights

CONFIDENT = 0.95
"""A wrong name with at least this probability misleads whoever reads it."""
CUT = ("as it is", "together")
"""The changes of which stretches are cut out too."""
_MATCH_MM = 10.0
_LANDMARK_MARGIN_MM = 15.0
"""What must be seen above T1, below T12 or below L5, together with that vertebra, for a stretch to show a landmark."""
_SHORTEST_MM, _LONGEST_MM = 90.0, 260.0
_BINS = (0.0, LABELING.known_from, 0.8, 0.9, CONFIDENT, 1.0)
_WEIGHTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
_REGION_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Opinion:
    """What the network says about the bodies found in one stretch, caudal to cranial.

    Attributes:
        change: what was changed, of ``CHANGES``.
        stretch: 0 is the whole scan.
        column: the network's opinion.
        steps: how many levels up each next body is, or what is known of it.
        levels: the reader's level of each body, None where the reader annotated none.
        has_landmark: a first rib, a last rib or the sacrum is in the field of view.
    """

    scan: str
    fold: int
    change: str
    stretch: int
    column: LevelOpinion
    steps: Steps
    levels: tuple[str | None, ...]
    has_landmark: bool


@dataclass(frozen=True)
class LabeledBody:
    """A body with its true and its likeliest level, and how many landmarks the program saw."""

    scan: str
    change: str
    stretch: int
    has_landmark: bool
    landmarks: int
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
        confident: bodies whose level claims 0.95 or more; confident_wrong: those of them that are wrong.
        stretches_right: stretches or whole scans of which a name is reported and every reported one is right.
        stretches_wrong: with a wrong name; stretches_misled: with a wrong name of 0.95 or more.
        patients: whom the stretches are of; patients_right: those of whom no stretch has a wrong name.
        reliability: for every range of probability that holds bodies: how many, mean probability, fraction right.
    """

    bodies: int
    reported: int
    right: int
    confident: int
    confident_wrong: int
    stretches: int
    patients: int
    patients_right: int
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


def opinion_on(
    case: StraightCase, stretch: int, models: VertebraModels, change: str = "as it is", kept: Path | None = None
) -> Opinion | None:
    """The network's opinion on the bodies that are found in a changed case; None where there is none.

    Args:
        kept: a file that holds the bodies and their picture, or that they are written to: they do not depend on the
            level network.
    """
    extents, picture = _found_in(case, stretch, models, change, kept)
    if not extents:
        return None
    known = [(0.5 * (v.box.s_inf + v.box.s_sup), v.level) for v in case.reference.vertebrae if v.box is not None]
    levels = []
    for below, above in extents:
        distance, level = min((abs(middle - 0.5 * (below + above)), name) for middle, name in known if name is not None)
        levels.append(level if distance <= _MATCH_MM else None)
    return Opinion(
        scan=case.identifier,
        fold=case.fold or 0,
        change=change,
        stretch=stretch,
        column=judge_column(to_tensor(picture), lay_column(extents), models.levels),
        steps=weigh_steps(extents),
        levels=tuple(levels),
        has_landmark=shows_landmark(case),
    )


def _found_in(
    case: StraightCase, stretch: int, models: VertebraModels, change: str, kept: Path | None
) -> tuple[list[tuple[float, float]], Float32Array]:
    """The endplates of the bodies, caudal to cranial, and the picture of their column as the network sees it."""
    if kept is not None and kept.is_file():
        with np.load(kept, allow_pickle=False) as content:
            extents = [(float(low), float(high)) for low, high in content["extents_mm"]]
            picture = np.asarray(content["picture"], dtype=np.float32)
        # A picture from before the column was laid otherwise has other cells.
        if not extents or picture.shape[1] == ROWS_PER_CELL * len(lay_column(extents).spacing_mm):
            return extents, picture
    volume = CHANGES[change](case.volume, stretch)
    bodies = localize_bodies(volume, compute_body_maps(volume, models.body))
    extents = [(body.span.s_inferior_mm, body.span.s_superior_mm) for body in bodies]
    drawn = to_array(draw_column(volume, lay_column(extents))) if extents else np.zeros((CHANNELS, 0, 0, 0))
    picture = np.asarray(drawn, dtype=np.float32)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as partial, partial.open("wb") as stream:
            np.savez(stream, extents_mm=np.array(extents).reshape(-1, 2), picture=picture.astype(np.float16))
    return extents, picture


def shows_landmark(case: StraightCase) -> bool:
    """Whether the reader's own levels say that the first rib, the last rib or the sacrum is in the field of view."""
    s = case.volume.axis_mm("s")
    low, high = float(s[0]), float(s[-1])
    for vertebra in case.reference.vertebrae:
        box = vertebra.box
        if box is None:
            continue
        if vertebra.level == "T1" and box.s_inf > low and box.s_sup + _LANDMARK_MARGIN_MM < high:
            return True
        if vertebra.level in ("T12", "L5") and box.s_inf - _LANDMARK_MARGIN_MM > low and box.s_sup < high:
            return True
    return False


def label_bodies(opinions: Sequence[Opinion], evidence_weight: float | None = None) -> list[LabeledBody]:
    """The likeliest level of every body whose true level is known, as sure as the program is of it."""
    bodies = []
    for opinion in opinions:
        names = find_likeliest_levels(opinion.column, opinion.steps, evidence_weight)
        landmarks = find_landmarks(opinion.column, names)
        names = keep_doubt_of_scan(opinion.column, names, landmarks)
        key = (opinion.scan, opinion.change, opinion.stretch, opinion.has_landmark, len(landmarks))
        bodies += [
            LabeledBody(*key, true, name.level, name.probability)
            for true, name in zip(opinion.levels, names, strict=True)
            if true is not None and name.level is not None
        ]
    return bodies


def best_weights(opinions: Sequence[Opinion]) -> tuple[float, float]:
    """The weights of level and region evidence with the smallest log loss; every stretch counts the same."""
    losses: dict[tuple[float, float], float] = {}
    for region in _REGION_WEIGHTS:
        with moved_threshold("LABELING.region_weight", region):
            losses |= {(weight, region): _log_loss(label_bodies(opinions, weight)) for weight in _WEIGHTS}
    return min(losses.items(), key=lambda item: item[1])[0]


def _log_loss(bodies: Sequence[LabeledBody]) -> float:
    losses: dict[tuple[str, str, int], list[float]] = {}
    for body in bodies:
        chance = body.probability if body.right else 1.0 - body.probability
        losses.setdefault((body.scan, body.change, body.stretch), []).append(-np.log(max(chance, 1e-3)))
    return float(np.mean([np.mean(values) for values in losses.values()]))


def figures_of(bodies: Sequence[LabeledBody]) -> LevelFigures:
    """The figures over some bodies."""
    tuned = LABELING
    groups: dict[tuple[str, str, int], list[LabeledBody]] = {}
    for body in bodies:
        groups.setdefault((body.scan, body.change, body.stretch), []).append(body)
    reported = [body for body in bodies if body.probability >= tuned.known_from]
    confident = [body for body in bodies if body.probability >= CONFIDENT]
    wrong = {
        key: any(not b.right and b.probability >= tuned.known_from for b in group) for key, group in groups.items()
    }
    misled = proportion_by_patient(
        [any(not b.right and b.probability >= CONFIDENT for b in group) for group in groups.values()],
        [patient_of_scan(scan) for scan, _, _ in groups],
    )
    patients_wrong = {patient_of_scan(scan) for (scan, _, _), is_wrong in wrong.items() if is_wrong}
    probability, is_right = np.array([b.probability for b in bodies]), np.array([b.right for b in bodies], dtype=bool)
    unnamed = [all(b.probability < tuned.known_from for b in group) for group in groups.values()]
    return LevelFigures(
        bodies=len(bodies),
        reported=len(reported),
        right=sum(body.right for body in reported),
        confident=len(confident),
        confident_wrong=sum(not body.right for body in confident),
        stretches=len(groups),
        patients=misled.patients,
        patients_right=misled.patients - len(patients_wrong),
        stretches_right=len(groups) - sum(wrong.values()) - sum(unnamed),
        stretches_unlabeled=sum(unnamed),
        stretches_wrong=sum(wrong.values()),
        stretches_misled=misled.hits,
        misled_interval=(misled.low, misled.high),
        brier=float(brier_score_loss(is_right, probability, pos_label=True)) if bodies else float("nan"),
        reliability=tuple(reliability(probability, is_right, _BINS)),
    )


def count_by_landmarks(bodies: Sequence[LabeledBody]) -> dict[int, tuple[int, int]]:
    """By number of landmarks that the program saw: columns, and those of them with every name right, told or not."""
    groups: dict[tuple[int, str, str, int], bool] = {}
    for body in bodies:
        key = (body.landmarks, body.scan, body.change, body.stretch)
        groups[key] = groups.get(key, True) and body.right
    counts: dict[int, tuple[int, int]] = {}
    for (landmarks, *_), right in groups.items():
        columns, all_right = counts.get(landmarks, (0, 0))
        counts[landmarks] = (columns + 1, all_right + right)
    return dict(sorted(counts.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--stretches", type=int, default=8, help="cut out of every scan")
    parser.add_argument("--changes", nargs="+", choices=sorted(CHANGES), default=list(CHANGES), help="copies to judge")
    parser.add_argument("--choose-weights", action="store_true", help="search the weights of the evidence; takes long")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    arguments = parser.parse_args()
    cases = load_or_build_cases(arguments.cache, arguments.data)
    folds = sorted({case.fold or 0 for case in cases})
    folders = {fold: arguments.folds_folder / f"fold{fold}" for fold in folds}
    models = {fold: VertebraModels.load(folder) for fold, folder in folders.items()}
    kept = {
        fold: arguments.cache / "columns" / load_weights(BODY_WEIGHTS, folder).sha256[:12]
        for fold, folder in folders.items()
    }
    judged = [
        opinion_on(
            part,
            number,
            models[case.fold or 0],
            change,
            kept[case.fold or 0] / f"{case.identifier} {change} {number}.npz",
        )
        for change in arguments.changes
        for case in cases
        for number, part in enumerate(stretches(case, arguments.stretches if change in CUT else 0))
    ]
    opinions = [opinion for opinion in judged if opinion is not None]
    bodies = label_bodies(opinions)
    groups = {
        f"whole scans, {change}": [b for b in bodies if b.change == change and b.stretch == 0] for change in CHANGES
    }
    for change in CUT:
        cut = [b for b in bodies if b.change == change and b.stretch > 0]
        groups[f"stretches with a landmark, {change}"] = [b for b in cut if b.has_landmark]
        groups[f"stretches without a landmark, {change}"] = [b for b in cut if not b.has_landmark]
    groups["all that show a landmark"] = [b for b in bodies if b.has_landmark]
    content = {
        "classes": len(LEVEL_CLASSES),
        "weights": [LABELING.evidence_weight, LABELING.region_weight],
        "best_weights": best_weights(opinions) if arguments.choose_weights else None,
        "best_weights_without_fold": {
            k: best_weights([o for o in opinions if o.fold != k]) if arguments.choose_weights else None for k in folds
        },
        "columns_right_by_landmarks": count_by_landmarks(bodies),
        **{name: asdict(figures_of(part)) for name, part in groups.items() if part},
        "wrong": [asdict(b) for b in bodies if not b.right and b.probability >= LABELING.known_from],
    }
    write_file(arguments.out, json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
