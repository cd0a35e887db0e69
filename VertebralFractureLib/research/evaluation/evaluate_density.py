r"""What do networks, heights and the density finding say of bodies that are dense or destroyed and no fracture?

    python -m VertebralFractureLib.research.evaluation.evaluate_density \
        --data DATA --cache CACHE --folds-folder Testing/FoldWeights --out FILE

Simulated on the real scans, each judged by the weights of the fold that never saw its patient.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.fracture import score_vertebrae
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.density_copies import DensityCopy, density_copies
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.vertebrae import Vertebra, localize_vertebrae
from VertebralFractureLib.vertebrae.bone_change import keeps_height
from VertebralFractureLib.vertebrae.grading import grade_from_loss

_MATCH_MM = 8.0


def judge_copy(copy: DensityCopy, models: Models) -> list[Vertebra]:
    """The vertebrae of a copy as the program judges them along the reference centerline."""
    spine = copy.spine.volume
    found = localize_vertebrae(spine, models.vertebrae, slice_thickness_mm=copy.slice_mm)
    return score_vertebrae(found, models.fractures.score_positions(spine))


def count_copy(copy: DensityCopy, found: Sequence[Vertebra]) -> Counter[str]:
    """Counts by what was changed: bodies, scored ones, and what is said of those."""
    counts: Counter[str] = Counter()
    for index, truth in enumerate(copy.spine.vertebrae):
        middle = 0.5 * (truth.low_mm + truth.high_mm)
        near = [vertebra for vertebra in found if abs(vertebra.middle_mm - middle) <= _MATCH_MM]
        if truth.grade is None or not near:
            continue
        change = copy.changes.get(index)
        what = f"{copy.kind}, grade {truth.grade}, {'unchanged' if change is None else change.value}"
        for said in _list_said(near[0]):
            counts[f"{what}: {said}"] += 1
    return counts


def _list_said(vertebra: Vertebra) -> list[str]:
    said = ["bodies"]
    if vertebra.fracture_probability is None or vertebra.network_probability is None:
        return [*said, f"not evaluable, {vertebra.reason}"]
    said.append("scored")
    if vertebra.network_probability >= SCORING.decision_threshold:
        said.append("called by the networks")
    if vertebra.fracture_probability >= SCORING.decision_threshold:
        said.append("suspected")
    if grade_from_loss(vertebra.height_loss or 0.0):
        said.append("graded by its heights")
    if keeps_height(vertebra):
        said.append("height kept")
    if vertebra.density_finding is not None:
        said.append(f"finding {vertebra.density_finding}")
    return said


def evaluate(cases: Sequence[StraightCase], folds_folder: Path) -> Counter[str]:
    """The counts over all copies of the cases; those of no fold are judged by the first fold's weights."""
    total: Counter[str] = Counter()
    models: Models | None = None
    for case in sorted(cases, key=lambda one: one.fold or 0):
        options = DetectionOptions(weights_folder=folds_folder / f"fold{case.fold or 0}")
        models = Models.load(options, before=models)
        for copy in density_copies(case):
            total += count_copy(copy, judge_copy(copy, models))
    return total


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--scans", nargs="*", default=None, help="of these alone")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the counts")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    cases = load_or_build_cases(arguments.cache, arguments.data)
    if arguments.scans is not None:
        cases = [case for case in cases if case.identifier in arguments.scans]
    total = evaluate(cases, arguments.folds_folder)
    for what, count in sorted(total.items()):
        print(f"{what} {count}")
    write_file(arguments.out, json.dumps(dict(sorted(total.items())), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
