"""Is the one vertebra that matters still found when it has collapsed? Every complete body of the real scans, in turn.

One severe fracture (Genant grade 3) is simulated on one vertebra at a time, in every position of every scan, and the
bodies are searched as in any other scan. No real scan of the development set holds such a vertebra.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.datasets.reference_set import patient_of_scan
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.compare import MATCH_MM
from VertebralFractureLib.research.evaluation.metrics import proportion_by_patient
from VertebralFractureLib.research.simulation.collapsed_cases import with_fractures
from VertebralFractureLib.research.simulation.fracture_shapes import BICONCAVE, CRUSH, WEDGE
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.vertebrae.localization import LocalizedBody, compute_body_maps, localize_bodies
from VertebralFractureLib.vertebrae.models import VertebraModels

SEVERE = 3
_SHAPES = (WEDGE, BICONCAVE, CRUSH)
_ENDPLATE_MM = 4.0


@dataclass(frozen=True)
class Collapse:
    """One simulated collapse and what became of it.

    Attributes:
        found: a body's middle lies within 10 mm of its own, nearer than to any other vertebra's.
        endplates_found: that body's endplates lie within 4 mm of the true ones too: it was not merged with a disc or a
            neighbor.
    """

    scan: str
    level: str | None
    shape: str
    found: bool
    endplates_found: bool


def collapsed_in_turn(case: StraightCase) -> Iterator[tuple[int, str, StraightCase]]:
    """Index among the boxed vertebrae, shape, and the case with that one vertebra collapsed; shapes take turns."""
    boxed = [v for v in case.reference.vertebrae if v.box is not None]
    for index, vertebra in enumerate(boxed):
        if vertebra.complete and vertebra.level != "S1":
            rng = np.random.default_rng([index, *case.identifier.encode()])
            shape = _SHAPES[(index + len(case.identifier)) % len(_SHAPES)]
            yield index, shape, with_fractures(case, {index: (SEVERE, shape)}, rng)


def judge(case: StraightCase, index: int, shape: str, bodies: Sequence[LocalizedBody]) -> Collapse:
    """Whether vertebra ``index`` of a collapsed case is among the bodies."""
    boxed = [v for v in case.reference.vertebrae if v.box is not None]
    boxes = [v.box for v in boxed if v.box is not None]
    box, middles = boxes[index], np.array([_middle(box) for box in boxes])
    own = [body for body in bodies if int(np.abs(middles - body.span.middle_mm).argmin()) == index]
    near = [body for body in own if abs(body.span.middle_mm - _middle(box)) <= MATCH_MM]
    exact = [
        body
        for body in near
        if abs(body.span.s_inferior_mm - box.s_inf) <= _ENDPLATE_MM
        and abs(body.span.s_superior_mm - box.s_sup) <= _ENDPLATE_MM
    ]
    return Collapse(case.identifier, boxed[index].level, shape, bool(near), bool(exact))


def _middle(box: BodyBox) -> float:
    return 0.5 * (box.s_inf + box.s_sup)


def evaluate_collapses(cases: Sequence[StraightCase], folds_folder: Path | None) -> list[Collapse]:
    """Every collapse of every real case, each scan with the weights that left it out (shipped weights: None)."""
    results = []
    for case in cases:
        weights = None if folds_folder is None else folds_folder / f"fold{case.fold or 0}"
        model = VertebraModels.load(weights).body
        for index, shape, collapsed in collapsed_in_turn(case):
            bodies = localize_bodies(collapsed.volume, compute_body_maps(collapsed.volume, model))
            results.append(judge(collapsed, index, shape, bodies))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--folds-folder", type=Path, default=None, help="holds fold0, fold1, ...; none: shipped")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    arguments = parser.parse_args()
    results = evaluate_collapses(load_or_build_cases(arguments.cache, arguments.data), arguments.folds_folder)
    patients = [patient_of_scan(result.scan) for result in results]
    content = {
        "collapses": len(results),
        "recall": asdict(proportion_by_patient([result.found for result in results], patients)),
        "endplates_found": asdict(proportion_by_patient([result.endplates_found for result in results], patients)),
        "missed": [asdict(result) for result in results if not result.found or not result.endplates_found],
    }
    write_file(arguments.out, json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
