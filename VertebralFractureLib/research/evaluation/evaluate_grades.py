"""How well fractures are measured, graded and called: simulated ones of two simulations, on real scans never seen.

    python -m VertebralFractureLib.research.evaluation.evaluate_grades --data DATA --cache CACHE \
        --folds-folder Testing/FoldWeights --simulation second --slice-mm native --out grades.json --table

One to three vertebrae of every real scan break (``broken_spines``; always the same ones). The spine is judged on its
reference centerline by the weights that never saw its patient (scans that only evaluate: fold 0), as the program judges
it. Run again with the same ``--out``, it goes on where it stopped. ``Judge`` is the place to put another measurement:
anything that makes ``Vertebra`` records of a straightened case.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.datasets.reference_set import patient_of_scan
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.broken_spines import BrokenSpine, Simulation, broken_spines
from VertebralFractureLib.research.evaluation.compare import match_centers
from VertebralFractureLib.research.evaluation.metrics import proportion_by_patient
from VertebralFractureLib.research.simulation.loss_maps import LossMap
from VertebralFractureLib.research.simulation.measured_losses import measure_loss_maps
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.vertebrae.grading import classify_shape
from VertebralFractureLib.vertebrae.vertebra import Vertebra

logger = logging.getLogger(__name__)
HEIGHTS = ("anterior", "middle", "posterior")
REGIONS = {"T1-T4": range(1, 5), "T5-T10": range(5, 11), "T11-L1": range(11, 14), "L2-L5": range(14, 19)}
_LABELED = {"T9": ["T11", "T12"], "T10": ["T11", "T12"], "L1": ["T12", "L2"]}
"""Levels of the graded label map (VerSe 004) that are broken, and the intact ones beside them."""
Judge = Callable[[StraightCase], Sequence[Vertebra]]


@dataclass(frozen=True)
class GradedRow:
    """One complete vertebra of a broken spine; what was found is None where nothing was, or where it was withheld.

    Attributes:
        slice_mm: of the volume that was judged.
        family: what broke it; None for a vertebra beside.
        loss, found_loss: largest loss of height, true and measured.
        probability: joined with the networks where they were asked.
    """

    scan: str
    patient: str
    level: str | None
    slice_mm: float
    family: str | None
    grade: int
    shape: str | None
    loss: float | None
    heights_mm: tuple[float | None, float | None, float | None]
    found: bool
    reason: str | None
    found_heights_mm: tuple[float, float, float] | None
    found_loss: float | None
    found_grade: int | None
    found_shape: str | None
    probability: float | None
    member_probability: dict[str, float] | None

    @property
    def is_called(self) -> bool:
        """A grade of 1 or more, or a probability at which the program suspects a fracture."""
        return (self.found_grade or 0) >= 1 or (self.probability or 0.0) >= SCORING.decision_threshold


@lru_cache(maxsize=4)
def product_judge(weights: Path, *, with_networks: bool) -> Judge:
    """What the program does from the straightened volume on, with the weights of a folder, loaded once."""
    from VertebralFractureLib.fracture import score_vertebrae
    from VertebralFractureLib.models import Models
    from VertebralFractureLib.options import CPU, DetectionOptions
    from VertebralFractureLib.vertebrae import localize_vertebrae

    models = Models.load(DetectionOptions(weights_folder=weights, device=CPU))

    def judge(case: StraightCase) -> Sequence[Vertebra]:
        slice_mm = max(case.source_spacing_mm)
        found = localize_vertebrae(case.volume, models.vertebrae, slice_thickness_mm=slice_mm)
        if not with_networks:
            return [_graded_by_heights(vertebra) for vertebra in found]
        return score_vertebrae(found, models.fractures.score_positions(case.volume))

    return judge


def _graded_by_heights(vertebra: Vertebra) -> Vertebra:
    """The vertebra with the grade and the shape that its heights alone would give."""
    grade, losses = vertebra.morphometric_grade, vertebra.height_losses
    return replace(vertebra, grade=grade, shape=classify_shape(losses) if grade and losses is not None else None)


def grade_rows(spine: BrokenSpine, found: Sequence[Vertebra]) -> list[GradedRow]:
    """The complete vertebrae of known grade beside what was found within 10 mm of their centers."""
    case = spine.case
    truth = [(at, v) for at, v in enumerate(spine.boxed) if v.complete and v.level != "S1"]
    partner = match_centers([v.center_ras for _, v in truth], [v.center_ras for v in found])
    rows = []
    for row, (index, vertebra) in enumerate(truth):
        is_broken = index in spine.plan
        if vertebra.grade is None or (vertebra.grade and not is_broken):
            continue
        own = found[partner[row][0]] if row in partner else None
        heights = None if own is None else own.heights_mm
        members = None if own is None else own.member_probability
        rows.append(
            GradedRow(
                scan=case.identifier,
                patient=case.patient or patient_of_scan(case.identifier),
                level=vertebra.level,
                slice_mm=max(case.source_spacing_mm),
                family=spine.families.get(index),
                grade=vertebra.grade,
                shape=vertebra.shape,
                loss=max(spine.losses[index]) if is_broken else None,
                heights_mm=vertebra.heights_mm,
                found=own is not None,
                reason=None if own is None or own.reason is None else str(own.reason),
                found_heights_mm=None if heights is None else (heights.anterior, heights.middle, heights.posterior),
                found_loss=None if own is None else own.height_loss,
                found_grade=None if own is None else own.grade,
                found_shape=None if own is None or own.shape is None else str(own.shape),
                probability=None if own is None else own.fracture_probability,
                member_probability=None if members is None else dict(members),
            )
        )
    return rows


def figures_of(rows: Sequence[GradedRow]) -> dict[str, Any]:
    """All figures: of the fractures, of what stands beside them, and of the fractures in groups.

    A body that broke and still lost less than 20 % of every height is neither.
    """
    broken = [row for row in rows if row.family is not None and row.grade >= 1]
    beside = [row for row in rows if row.family is None]
    families = sorted({str(row.family) for row in broken})
    groups: dict[str, Callable[[GradedRow], bool]] = {
        **{f"grade {g}": lambda row, g=g: row.grade == g for g in (1, 2, 3)},  # type: ignore[misc]
        **{shape: lambda row, shape=shape: row.shape == shape for shape in ("wedge", "biconcave", "crush")},  # type: ignore[misc]
        "slices up to 2 mm": lambda row: row.slice_mm <= 2.1,
        "slices above 2 to 3.3 mm": lambda row: 2.1 < row.slice_mm <= 3.3,
        "slices above 3.3 mm": lambda row: row.slice_mm > 3.3,
        **{name: lambda row, levels=levels: _rank(row.level) in levels for name, levels in REGIONS.items()},  # type: ignore[misc]
        **{f"map: {name}": lambda row, name=name: row.family == name for name in families},  # type: ignore[misc]
    }
    parts = {name: [row for row in broken if is_of(row)] for name, is_of in groups.items()}
    return {
        "fractures": _figures(broken),
        "beside": {
            "count": len(beside),
            "false_alarms": asdict(_proportion(beside, lambda row: row.is_called)),
            "height_error_mm": _height_errors(beside),
        },
        "groups": {name: _figures(part) for name, part in parts.items() if part},
    }


def _figures(rows: Sequence[GradedRow]) -> dict[str, Any]:
    graded = [row for row in rows if row.found_grade is not None]
    losses = [(row.found_loss, row.loss) for row in rows if row.found_loss is not None]
    errors = np.array([found - true for found, true in losses if true is not None])
    return {
        "count": len(rows),
        "scans": len({row.scan for row in rows}),
        "found": asdict(_proportion(rows, lambda row: row.found)),
        "called": asdict(_proportion(rows, lambda row: row.is_called)),
        "graded": len(graded),
        "exact_grade": asdict(_proportion(graded, lambda row: row.found_grade == row.grade)),
        "within_one_grade": asdict(_proportion(graded, lambda row: abs((row.found_grade or 0) - row.grade) <= 1)),
        "shape_right": asdict(_proportion(graded, lambda row: row.found_shape == row.shape)),
        "loss_error": _spread(errors),
        "height_error_mm": _height_errors(rows),
    }


def _proportion(rows: Sequence[GradedRow], is_hit: Callable[[GradedRow], bool]) -> Any:
    return proportion_by_patient([is_hit(row) for row in rows], [row.patient for row in rows])


def _height_errors(rows: Sequence[GradedRow]) -> dict[str, dict[str, float | int | None]]:
    """Found minus true, by height, of those where both are known."""
    result = {}
    for at, name in enumerate(HEIGHTS):
        pairs = [(row.found_heights_mm[at], row.heights_mm[at]) for row in rows if row.found_heights_mm is not None]
        result[name] = _spread(np.array([found - true for found, true in pairs if true is not None]))
    return result


def _spread(errors: np.ndarray[Any, Any]) -> dict[str, float | int | None]:
    """Median and 90th percentile of the absolute error, and the mean error; None of nothing."""
    if len(errors) == 0:
        return {"count": 0, "median": None, "p90": None, "bias": None}
    size = np.abs(errors)
    return {
        "count": len(errors),
        "median": float(np.median(size)),
        "p90": float(np.percentile(size, 90)),
        "bias": float(errors.mean()),
    }


def _rank(level: str | None) -> int:
    """1 for T1 to 17 for L5, 0 where there is no such level."""
    if not level or level[0] not in "TL":
        return 0
    return int(level[1:]) + (12 if level[0] == "L" else 0)


def format_table(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table, one row a group."""
    head = (
        "| fractures | n | called | exact grade | within one | shape | loss error, median (bias), points | "
        "height error mm, median a / m / p | 90 % | bias |\n|---|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = [_line("all", figures["fractures"])] + [_line(name, one) for name, one in figures["groups"].items()]
    beside = figures["beside"]
    alarms = beside["false_alarms"]
    return (
        head
        + "\n".join(lines)
        + f"\n\nFalse alarms beside: {_share(alarms)}; heights there, median "
        + f"{_three(beside['height_error_mm'], 'median')} mm, bias {_three(beside['height_error_mm'], 'bias')} mm.\n"
    )


def _line(name: str, one: dict[str, Any]) -> str:
    errors, loss = one["height_error_mm"], one["loss_error"]
    told = ("called", "exact_grade", "within_one_grade", "shape_right")
    shares = " | ".join(_share(one[key], with_interval=name == "all") for key in told)
    lost = "-" if loss["median"] is None else f"{100 * loss['median']:.1f} ({100 * loss['bias']:+.1f})"
    spreads = " | ".join(_three(errors, key) for key in ("median", "p90", "bias"))
    return f"| {name} | {one['count']} | {shares} | {lost} | {spreads} |"


def _share(one: dict[str, Any], *, with_interval: bool = True) -> str:
    if not one["count"]:
        return "-"
    interval = f" ({100 * one['low']:.0f} to {100 * one['high']:.0f} %)" if with_interval else ""
    return f"{one['hits']} of {one['count']}{interval}"


def _three(errors: dict[str, Any], key: str) -> str:
    sign = "+" if key == "bias" else ""
    return " / ".join("-" if errors[name][key] is None else f"{errors[name][key]:{sign}.1f}" for name in HEIGHTS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--simulation", type=Simulation, choices=list(Simulation), required=True)
    parser.add_argument("--slice-mm", type=_slices, default=None, help="native, or a thickness in mm")
    parser.add_argument("--scans", nargs="+", default=None, help="these alone, by name")
    parser.add_argument("--networks", action="store_true", help="ask the fracture networks too")
    parser.add_argument("--label-maps", type=Path, default=None, help="folder of verse004_*: their maps too")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; a run goes on where it stopped")
    parser.add_argument("--table", action="store_true", help="print the figures as a table")


def _slices(text: str) -> float | None:
    return None if text == "native" else float(text)


def run(arguments: argparse.Namespace) -> int:
    """Judge every broken spine that ``--out`` does not hold yet, and write the figures after each."""
    import torch

    torch.set_num_threads(1)
    measured: list[LossMap] = []
    if arguments.label_maps is not None and arguments.simulation == Simulation.SECOND:
        folder = arguments.label_maps
        maps = measure_loss_maps(folder / "verse004_vert.nii.gz", folder / "verse004_ctd.json", _LABELED)
        measured = list(maps.values())
    cases = [case for case in load_or_build_cases(arguments.cache, arguments.data) if not case.is_phantom]
    settings = {
        "simulation": str(arguments.simulation),
        "slice_mm": arguments.slice_mm,
        "networks": arguments.networks,
        "measured_maps": len(measured),
    }
    rows, done = _rows_before(arguments.out, settings)
    wanted = set(arguments.scans or [case.identifier for case in cases]) - done
    for spine in broken_spines(cases, arguments.simulation, arguments.slice_mm, measured, only=wanted):
        weights = arguments.folds_folder / f"fold{spine.case.fold or 0}"
        found = product_judge(weights, with_networks=arguments.networks)(spine.case)
        rows += grade_rows(spine, found)
        done.add(spine.case.identifier)
        logger.info("%s", spine.case.identifier)
        content = {
            "settings": settings,
            "figures": figures_of(rows),
            "scans": sorted(done),
            "rows": [asdict(row) for row in rows],
        }
        write_file(arguments.out, json.dumps(content, indent=1) + "\n")
    if arguments.table:
        print(format_table(figures_of(rows)))
    return 0


def _rows_before(path: Path, settings: dict[str, Any]) -> tuple[list[GradedRow], set[str]]:
    """The rows that an earlier run with the same settings left, and the scans that it had finished."""
    if not path.is_file():
        return [], set()
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["settings"] != settings:
        raise ValueError(f"{path.name} holds figures of another run ({content['settings']}); choose another file.")
    return [GradedRow(**row) for row in content["rows"]], set(content["scans"])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))
