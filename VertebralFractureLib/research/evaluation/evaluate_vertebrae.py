"""How well vertebrae are found, named, measured and graded, against readers' boxes and phantoms' truth.

A scan is judged by the model that never saw its patient (its fold left out). Predictions beyond the annotated stretch
are not counted as false: the reader did not annotate every vertebra that is there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.datasets import ReferenceVertebra
from VertebralFractureLib.research.datasets.reference_set import fold_count
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.compare import match_centers
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.vertebrae.assembly import localize_vertebrae
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.vertebrae.vertebra import Vertebra

_HEIGHTS = ("anterior", "middle", "posterior")
_NOTHING = (float("nan"), float("nan"), float("nan"))
_ORDER = {name: -number for number, name in enumerate(CRANIAL_TO_CAUDAL)}


@dataclass(frozen=True)
class CaseFigures:
    """One scan; pairs are of complete reference vertebrae with what was found within 10 mm of their center.

    Attributes:
        spurious: whole vertebrae found inside the annotated stretch that match no annotated one.
        level_shift: median of found minus true level, in levels (cranial positive), None when unnamed.
        height_errors_mm: found minus true (anterior, middle, posterior) of the pairs where both are known.
        grades: (true, found) grade of the pairs where both are known.
    """

    identifier: str
    complete: int
    found: int
    spurious: int
    center_errors_mm: tuple[float, ...]
    levels_right: int
    levels_unknown: int
    level_shift: float | None
    height_errors_mm: tuple[tuple[float, float, float], ...]
    heights_mm: tuple[tuple[float, float, float], ...]
    grades: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class VertebraeFigures:
    """Over a set of scans. Errors in mm; ``false_alarms`` are grades >= 1 where the reference says 0."""

    scans: int
    complete: int
    recall: float
    precision: float
    center_error_median_mm: float
    center_error_p95_mm: float
    scans_levels_right: int
    scans_levels_shifted: int
    scans_levels_unknown: int
    heights: int
    height_mean_absolute_error_mm: dict[str, float]
    height_bias_mm: dict[str, float]
    height_mean_absolute_error_percent: dict[str, float]
    graded_healthy: int
    false_alarms: int
    graded_fractured: int
    fractured_called: int
    fractured_grade_right: int


def evaluate_case(case: StraightCase, weights_folder: Path | None = None) -> CaseFigures:
    """Find the vertebrae of one case (on its reference centerline) and compare."""
    return compare(case, localize_vertebrae(case.volume, VertebraModels.load(weights_folder)))


def compare(case: StraightCase, vertebrae: Sequence[Vertebra]) -> CaseFigures:
    """Match by center, nearest first within 10 mm, each found vertebra once."""
    truth = [v for v in case.reference.vertebrae if v.complete and v.level != "S1" and _is_seen(case, v)]
    pairs = _match(truth, vertebrae)
    matched = {id(found) for _, found, _ in pairs}
    boxes = [v.box for v in case.reference.vertebrae if v.box is not None]
    low, high = min(b.s_inf for b in boxes), max(b.s_sup for b in boxes)
    known = [v for v in case.reference.vertebrae if not v.complete or v.level == "S1"]
    beside = {id(found) for _, found, _ in _match(known, vertebrae)}
    spurious = [v for v in vertebrae if id(v) not in matched | beside and v.complete and low <= v.middle_mm <= high]
    named = [(true.level, found.level) for true, found, _ in pairs if true.level is not None]
    shifts = [_ORDER[found] - _ORDER[true] for true, found in named if found is not None and true is not None]
    errors, sizes = [], []
    for true, found, _ in pairs:
        anterior, middle, posterior = true.heights_mm
        if found.heights_mm is None or anterior is None or middle is None or posterior is None:
            continue
        size = np.array([anterior, middle, posterior])
        heights = found.heights_mm
        error = np.array([heights.anterior, heights.middle, heights.posterior]) - size
        errors.append((float(error[0]), float(error[1]), float(error[2])))
        sizes.append((anterior, middle, posterior))
    return CaseFigures(
        identifier=case.identifier,
        complete=len(truth),
        found=len(pairs),
        spurious=len(spurious),
        center_errors_mm=tuple(distance for _, _, distance in pairs),
        levels_right=sum(true == found for true, found in named),
        levels_unknown=sum(found is None for _, found in named),
        level_shift=float(np.median(shifts)) if shifts else None,
        height_errors_mm=tuple(errors),
        heights_mm=tuple(sizes),
        grades=tuple(
            (true.grade, found.morphometric_grade)
            for true, found, _ in pairs
            if true.grade is not None and found.morphometric_grade is not None
        ),
    )


def _is_seen(case: StraightCase, vertebra: ReferenceVertebra) -> bool:
    """Whether the body's center lies in the field of view; a phantom's truth may hold more than its volume."""
    r, a, s = case.volume.frame.ras_to_straight(np.array([vertebra.center_ras]))[0]
    origin = case.volume.origin_mm
    k, j, i = round(s - origin[2]), round(a - origin[1]), round(r - origin[0])
    shape = case.volume.inside.shape
    return 0 <= k < shape[0] and 0 <= j < shape[1] and 0 <= i < shape[2] and bool(case.volume.inside[k, j, i])


def _match(
    truth: Sequence[ReferenceVertebra], found: Sequence[Vertebra]
) -> list[tuple[ReferenceVertebra, Vertebra, float]]:
    partner = match_centers([v.center_ras for v in truth], [v.center_ras for v in found])
    return [(truth[row], found[column], distance) for row, (column, distance) in partner.items()]


def summarize(cases: Sequence[CaseFigures]) -> VertebraeFigures:
    """Pool vertebrae over scans; a scan's levels are right when every named pair is, unknown when none is named."""
    complete, found = sum(c.complete for c in cases), sum(c.found for c in cases)
    spurious = sum(c.spurious for c in cases)
    distances = np.array([d for c in cases for d in c.center_errors_mm] or [np.nan])
    errors = np.array([e for c in cases for e in c.height_errors_mm] or [_NOTHING])
    sizes = np.array([h for c in cases for h in c.heights_mm] or [_NOTHING])
    grades = [pair for c in cases for pair in c.grades]
    healthy = [found_grade for true, found_grade in grades if true == 0]
    fractured = [pair for pair in grades if pair[0] > 0]
    unknown = [c for c in cases if c.level_shift is None]
    right = [c for c in cases if c.level_shift is not None and c.levels_right + c.levels_unknown == c.found]
    return VertebraeFigures(
        scans=len(cases),
        complete=complete,
        recall=found / max(complete, 1),
        precision=found / max(found + spurious, 1),
        center_error_median_mm=float(np.median(distances)),
        center_error_p95_mm=float(np.percentile(distances, 95)),
        scans_levels_right=len(right),
        scans_levels_shifted=len(cases) - len(unknown) - len(right),
        scans_levels_unknown=len(unknown),
        heights=sum(len(c.height_errors_mm) for c in cases),
        height_mean_absolute_error_mm=_by_place(np.abs(errors)),
        height_bias_mm=_by_place(errors),
        height_mean_absolute_error_percent=_by_place(100.0 * np.abs(errors) / sizes),
        graded_healthy=len(healthy),
        false_alarms=sum(grade > 0 for grade in healthy),
        graded_fractured=len(fractured),
        fractured_called=sum(grade > 0 for _, grade in fractured),
        fractured_grade_right=sum(true == grade for true, grade in fractured),
    )


def _by_place(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(_HEIGHTS, values.mean(axis=0), strict=True)}


def cross_validated(cases: Sequence[StraightCase], folds_folder: Path) -> list[CaseFigures]:
    """Every real case with the weights of ``folds_folder/fold<K>`` that left it out.

    The evaluation-only scans, which no fold trains on, take fold 0's.
    """
    real = [case for case in cases if not case.is_phantom]
    return [evaluate_case(case, folds_folder / f"fold{case.fold or 0}") for case in real]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--weights-folder", type=Path, default=None, help="weights judged on phantoms; none: shipped")
    parser.add_argument("--phantoms", type=int, nargs=2, default=(500_000, 500_000), help="first seed and one past")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")


def run(arguments: argparse.Namespace) -> int:
    """Cross-validated figures on real scans, and figures on phantoms that were not trained on, into one JSON file."""
    missing = [k for k in range(fold_count()) if not (arguments.folds_folder / f"fold{k}").is_dir()]
    if missing:
        raise FileNotFoundError(f"There are no weights for the folds {missing} in '{arguments.folds_folder.name}'.")
    real = cross_validated(load_or_build_cases(arguments.cache, arguments.data), arguments.folds_folder)
    drawn = load_or_build_cases(arguments.cache, None, range(*arguments.phantoms))
    phantoms = [evaluate_case(case, arguments.weights_folder) for case in drawn]
    content = {
        "real": asdict(summarize(real)),
        "phantoms": asdict(summarize(phantoms)) if phantoms else None,
        "cases": [asdict(figures) for figures in real + phantoms],
    }
    write_file(arguments.out, json.dumps(content, indent=1) + "\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
