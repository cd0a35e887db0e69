"""Fit how the networks' answers and the heights are joined into a grade, and measure it on patients that were left out.

    python -m VertebralFractureLib.research.release.calibrate_posterior --data DATA --cache CACHE \\
        --folds-folder Testing/FoldWeights --answers ANSWERS --out figures.json [--heights-again] [--save]

The answers of both witnesses are kept in ``--answers`` (``evaluation.witnesses``). After a change of how heights are
measured, ``--heights-again`` measures them anew and keeps the rest. ``--save`` writes the table that ships; its
prevalence is that of the simulated set, and no evaluation-only scan is in it.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.fracture.grade_posterior import (
    GRADES,
    TABLE,
    CumulativeLine,
    PosteriorTable,
    choose_grade,
    choose_range,
    compute_at_least,
)
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.fracture.pooling import pool_ensemble, pool_members, weigh_span
from VertebralFractureLib.fracture.scoring import FractureMember
from VertebralFractureLib.fracture.vertebra_scores import find_shape
from VertebralFractureLib.research.datasets.reference_set import fold_count
from VertebralFractureLib.research.evaluation.metrics import (
    Estimate,
    auc,
    bootstrap_by_patient,
    calibration_error,
    proportion_by_patient,
)
from VertebralFractureLib.research.evaluation.witnesses import (
    DRAWN,
    SCANNED,
    THICK_MM,
    THIN_UP_TO_MM,
    build_answers,
)
from VertebralFractureLib.research.training.fracture_members import shipped_names
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.vertebrae.grading import grade_column
from VertebralFractureLib.vertebrae.vertebra import HeightLosses, Heights
from VertebralFractureLib.weights import load_weights

logger = logging.getLogger(__name__)
_MATCH_MM = 8.0
_RIDGE = 1e-3
_MOST_Z = 4.0
NETWORK, HEIGHTS, JOINED = "networks alone", "heights alone", "joined"


@dataclass(frozen=True)
class WitnessRow:
    """One vertebra of known grade, and what both witnesses say; ``found`` False: the program did not judge it.

    ``network``: probability of a grade of at least 1, 2, 3; ``loss`` and ``loss_sd`` NaN where nothing was measured.
    """

    scan: str
    patient: str
    fold: int | None
    spine: str
    kind: str
    slice_mm: float
    is_copy: bool
    grade: int
    shape: str | None
    level: str | None
    found: bool
    network: tuple[float, float, float]
    loss: float
    loss_sd: float
    losses: HeightLosses | None


def collect_rows(answers: Sequence[Mapping[str, Any]], folds_folder: Path) -> list[WitnessRow]:
    """The vertebrae of known grade of all spines; the members are calibrated by the lines of their fold."""
    members: dict[int, dict[str, FractureMember]] = {}
    own_mm = {one["scan"]: min(a["slice_mm"] for a in answers if a["scan"] == one["scan"]) for one in answers}
    rows = []
    for one in answers:
        fold = one["fold"] or 0
        if fold not in members:
            members[fold] = {
                name: FractureMember.from_weights(load_weights(PREFIX + name, folds_folder / f"fold{fold}"))
                for name in shipped_names()
            }
        rows += _rows_of_spine(one, members[fold], is_copy=one["slice_mm"] > own_mm[one["scan"]])
    return rows


def _rows_of_spine(
    spine: Mapping[str, Any], members: Mapping[str, FractureMember], *, is_copy: bool
) -> list[WitnessRow]:
    found = spine["found"]
    heights = [Heights(**v["heights_mm"]) if v["heights_mm"] and v["reason"] is None else None for v in found]
    gradings = grade_column(heights, [v["level"] for v in found], height_sds_mm=[v["height_sd_mm"] for v in found])
    positions, inside = np.array(spine["positions_mm"]), np.array(spine["inside_fraction"])
    answers = {name: members[name].calibrate(np.array(values)) for name, values in spine["logits"].items()}
    rows = []
    for true in spine["truth"]:
        if true["grade"] is None or (true["level"] or "").startswith(("C", "S")):
            continue
        middle = 0.5 * (true["low_mm"] + true["high_mm"])
        near = [index for index, v in enumerate(found) if abs(0.5 * sum(v["extent_mm"]) - middle) <= _MATCH_MM]
        index = near[0] if near and found[near[0]]["reason"] is None else None
        weight = None if index is None else weigh_span(positions, inside, *found[index]["extent_mm"])
        network, grading = (np.nan, np.nan, np.nan), None
        if index is not None and weight is not None:
            grading = gradings[index]
            by_grade = (pool_members({n: a[:, k] for n, a in answers.items()}, weight) for k in range(GRADES))
            pooled = [float(pool_ensemble(np.array(list(one.values())))) for one in by_grade]
            one, two, three = np.minimum.accumulate(pooled).tolist()
            network = (one, two, three)
        rows.append(
            WitnessRow(
                scan=spine["scan"],
                patient=spine["patient"],
                fold=spine["fold"],
                spine=f"{spine['scan']}-{spine['version']}-{spine['slice_mm']:g}",
                kind=spine["kind"],
                slice_mm=spine["slice_mm"],
                is_copy=is_copy,
                grade=true["grade"],
                shape=true["shape"],
                level=true["level"],
                found=weight is not None,
                network=network,
                loss=np.nan if grading is None else grading.height_loss,
                loss_sd=np.nan if grading is None else grading.loss_sd or 0.0,
                losses=None if grading is None else grading.loss,
            )
        )
    return rows


@dataclass(frozen=True)
class Columns:
    """The rows that were judged as arrays."""

    grade: FloatArray
    network: FloatArray
    loss: FloatArray
    loss_sd: FloatArray

    @staticmethod
    def of(rows: Sequence[WitnessRow]) -> Columns:
        return Columns(
            np.array([row.grade for row in rows], dtype=np.float64),
            np.array([row.network for row in rows], dtype=np.float64).reshape(-1, GRADES),
            np.array([row.loss for row in rows], dtype=np.float64),
            np.array([row.loss_sd for row in rows], dtype=np.float64),
        )


def fit_table(rows: Sequence[WitnessRow]) -> PosteriorTable:
    """The table of the highest likelihood of the true grades, its slopes not negative and its offsets not rising."""
    columns = Columns.of([row for row in rows if row.found])
    flat = CumulativeLine((0.0, 0.0, 0.0), 1.0, 1.0)
    table = PosteriorTable(flat, flat, flat, flat, flat, _usual_sd(rows), _MOST_Z)
    none, first = np.full_like(columns.network, np.nan), np.array(columns.network)
    first[:, 1:] = np.nan
    no_loss = np.full_like(columns.loss, np.nan)
    measured = np.isfinite(columns.loss)

    def fitted(
        name: str, network: FloatArray, loss: FloatArray, among: BoolArray, table: PosteriorTable
    ) -> PosteriorTable:
        def build(values: FloatArray) -> PosteriorTable:
            one, to_two, to_three, network, loss = (float(value) for value in values)
            line = CumulativeLine((one, one - to_two, one - to_two - to_three), network, loss)
            return PosteriorTable(**{**_fields_of(table), name: line})

        def cost(values: FloatArray) -> float:
            at_least = compute_at_least(network[among], loss[among], columns.loss_sd[among], build(values))
            return _negative_log_likelihood(at_least, columns.grade[among]) + _RIDGE * float((values**2).sum())

        start = np.array([0.0, 0.5, 0.5, 0.7, 0.7])
        best = minimize(cost, start, method="L-BFGS-B", bounds=[(None, None)] + [(0.0, None)] * 4)
        return build(best.x)

    everywhere = np.ones(len(columns.grade), dtype=np.bool_)
    table = fitted("network_alone", columns.network, no_loss, everywhere, table)
    table = fitted("joined", columns.network, columns.loss, measured, table)
    table = fitted("loss_alone", none, columns.loss, measured, table)
    table = fitted("first_alone", first, no_loss, everywhere, table)
    return fitted("first_joined", first, columns.loss, measured, table)


def _usual_sd(rows: Sequence[WitnessRow]) -> float:
    """Median standard deviation of a loss in thin slices."""
    known = [row.loss_sd for row in rows if row.found and row.slice_mm <= THIN_UP_TO_MM and np.isfinite(row.loss_sd)]
    return round(float(np.median(known)), 3)


def _fields_of(table: PosteriorTable) -> dict[str, Any]:
    return {name: getattr(table, name) for name in PosteriorTable.__dataclass_fields__}


def _negative_log_likelihood(at_least: FloatArray, grade: FloatArray) -> float:
    """Mean over the vertebrae, of the true grade."""
    count = len(grade)
    edges = np.concatenate([np.ones((count, 1)), at_least, np.zeros((count, 1))], axis=1)
    probability = -np.diff(edges, axis=1)[np.arange(count), grade.astype(int)]
    return float(-np.log(np.maximum(probability, 1e-6)).mean())


def predict_left_out(rows: Sequence[WitnessRow]) -> dict[str, FloatArray]:
    """Probability ``(n, 3)`` of a grade of at least 1, 2, 3 by each way, from tables that never saw a row's fold.

    Evaluation-only scans are predicted by the table of all folds, which holds none of them. NaN: not judged.
    """
    tables = {fold: fit_table([r for r in rows if r.fold not in (None, fold)]) for fold in range(fold_count())}
    tables[-1] = fit_table([row for row in rows if row.fold is not None])
    columns, folds = Columns.of(rows), np.array([-1 if row.fold is None else row.fold for row in rows])
    nothing, no_loss = np.full_like(columns.network, np.nan), np.full_like(columns.loss, np.nan)
    given = {
        NETWORK: (columns.network, no_loss),
        HEIGHTS: (nothing, columns.loss),
        JOINED: (columns.network, columns.loss),
    }
    result = {name: np.full((len(rows), GRADES), np.nan) for name in given}
    for fold, table in tables.items():
        of_fold = folds == fold
        for name, (network, loss) in given.items():
            if of_fold.any():
                sd = np.nan_to_num(columns.loss_sd[of_fold])
                result[name][of_fold] = compute_at_least(network[of_fold], loss[of_fold], sd, table)
    return result


def tell_grades(at_least: FloatArray) -> list[int | None]:
    """The grade that is told of each row; None where none was judged."""
    return [
        choose_grade(_posterior(chances), SCORING.decision_threshold) if np.isfinite(chances).all() else None
        for chances in at_least
    ]


def _posterior(at_least: Sequence[float] | FloatArray) -> list[float]:
    return [float(value) for value in -np.diff([1.0, *at_least, 0.0])]


def figures_of(rows: Sequence[WitnessRow], at_least: FloatArray) -> dict[str, Any]:
    """Grades, calls, shapes, calibration and ranking of one way on some rows, each with its count and interval."""
    told = tell_grades(at_least)
    probability = np.nan_to_num(at_least[:, 0])
    called = probability >= SCORING.decision_threshold
    true = [row.grade for row in rows]
    everyone = range(len(rows))
    fractured = [i for i in everyone if true[i] > 0]
    normal = [i for i in everyone if true[i] == 0 and rows[i].found]
    shapes = [None if row.losses is None else find_shape(row.losses) for row in rows]
    shaped = [i for i in fractured if told[i] and rows[i].losses is not None]

    def share(hits: Sequence[bool], among: Sequence[int]) -> dict[str, Any]:
        return asdict(proportion_by_patient([hits[i] for i in among], [rows[i].patient for i in among]))

    is_exact = [told[i] == true[i] for i in everyone]
    is_near = [(known := told[i]) is not None and abs(known - true[i]) <= 1 for i in everyone]
    is_called = [bool(called[i]) for i in everyone]
    is_shape_right = [shapes[i] == rows[i].shape for i in everyone]
    judged = np.flatnonzero(np.isfinite(at_least[:, 0]))
    is_fractured = np.array([true[i] > 0 for i in judged], dtype=np.bool_)
    content: dict[str, Any] = {
        "vertebrae": len(rows),
        "exact grade": share(is_exact, fractured),
        **{f"exact, grade {k}": share(is_exact, [i for i in fractured if true[i] == k]) for k in (1, 2, 3)},
        "within one": share(is_near, fractured),
        "called": share(is_called, fractured),
        "false calls": share(is_called, normal),
        "grade above 0 of a normal one": share([bool(grade) for grade in told], normal),
        "shape right": share(is_shape_right, shaped),
        "shape given": share([shape is not None for shape in shapes], shaped),
        **{
            f"shape right, {shape}": share(is_shape_right, [i for i in shaped if rows[i].shape == shape])
            for shape in ("wedge", "biconcave", "crush")
        },
        "calibration error, vertebrae": calibration_error(probability[judged], is_fractured),
        "vertebra AUC": auc(probability[judged], is_fractured),
    }
    if len(judged):
        grades = np.array([true[i] for i in judged], dtype=np.float64)
        is_inside = [False] * len(rows)
        for i in judged:
            low, high = choose_range(_posterior(at_least[i]), told[i] or 0)
            is_inside[i] = low <= true[i] <= high
        content |= {
            "range holds the grade of a called fracture": share(is_inside, [i for i in fractured if called[i]]),
            "log loss": _negative_log_likelihood(at_least[judged], grades),
            "error of P(>= 2)": calibration_error(at_least[judged, 1], grades >= 2),
            "error of P(>= 3)": calibration_error(at_least[judged, 2], grades >= 3),
        }
    return {**content, **_scan_figures(rows, probability, np.array(true))}


def _scan_figures(rows: Sequence[WitnessRow], probability: FloatArray, true: FloatArray) -> dict[str, Any]:
    """Of spines, each as suspicious as its most suspicious vertebra; the interval is over patients."""
    spines: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        spines.setdefault(row.spine, []).append(index)
    patients = [rows[members[0]].patient for members in spines.values()]
    items = [(float(probability[m].max()), bool((true[m] > 0).any())) for m in spines.values()]

    def ranking(some: Sequence[tuple[float, bool]]) -> float:
        return auc(np.array([score for score, _ in some]), np.array([is_one for _, is_one in some], dtype=np.bool_))

    found: Estimate = bootstrap_by_patient(items, patients, ranking, repeats=300)
    scores, truth = (np.array([item[at] for item in items]) for at in (0, 1))
    return {
        "spines": len(items),
        "scan AUC, interval over patients": asdict(found),
        "calibration error, scans": calibration_error(scores, truth.astype(np.bool_)),
    }


def group_rows(rows: Sequence[WitnessRow]) -> dict[str, list[int]]:
    """Indices of the rows of each group that figures are told of."""
    thin, copies = f"thin, up to {THIN_UP_TO_MM:g} mm", f"the same in slices of {THICK_MM:g} mm"
    groups: dict[str, Callable[[WitnessRow], bool]] = {
        thin: lambda row: row.kind != DRAWN and not row.is_copy and row.slice_mm <= THIN_UP_TO_MM,
        copies: lambda row: row.kind != DRAWN and row.is_copy,
        "scanned in 4 to 5 mm": lambda row: row.kind != DRAWN and not row.is_copy and row.slice_mm > THIN_UP_TO_MM,
        f"second simulation, {thin}": lambda row: (
            row.kind == DRAWN and not row.is_copy and row.slice_mm <= THIN_UP_TO_MM
        ),
        f"second simulation, {copies}": lambda row: row.kind == DRAWN and row.is_copy,
        "as scanned, no fracture simulated": lambda row: not row.is_copy and row.kind == SCANNED,
    }
    return {name: [i for i, row in enumerate(rows) if belongs(row)] for name, belongs in groups.items()}


def measure(rows: Sequence[WitnessRow]) -> dict[str, Any]:
    """The figures of every way on every group, cross-validated by patient."""
    predicted = predict_left_out(rows)
    return {
        group: {name: figures_of([rows[i] for i in chosen], at_least[chosen]) for name, at_least in predicted.items()}
        for group, chosen in group_rows(rows).items()
        if chosen
    }


def save_table(rows: Sequence[WitnessRow], path: Path = TABLE) -> None:
    """Write the table of all rows that may train, with where it comes from."""
    used = [row for row in rows if row.fold is not None]
    table = fit_table(used)
    content = {
        "source": "VertebralFractureLib.research.release.calibrate_posterior",
        "set": f"{sum(row.found for row in used)} vertebrae of {len({row.spine for row in used})} spines of "
        f"{len({row.patient for row in used})} patients, with simulated fractures, judged by weights of folds that "
        "left them out; a part of them in slices of 5 mm",
        **{name: _rounded(value) for name, value in _fields_of(table).items()},
    }
    write_file(path, json.dumps(content, indent=1) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, CumulativeLine):
        return {name: _rounded(part) for name, part in asdict(value).items()}
    return [round(part, 4) for part in value] if isinstance(value, tuple) else round(float(value), 4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the reference scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the straightened cases")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--answers", type=Path, required=True, help="folder where spines and answers are kept")
    parser.add_argument("--heights-again", action="store_true", help="measure all heights anew")
    parser.add_argument("--save", action="store_true", help="write the table that ships")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the figures")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cases = load_or_build_cases(arguments.cache, arguments.data)
    answers = build_answers(cases, arguments.folds_folder, arguments.answers, heights_again=arguments.heights_again)
    rows = collect_rows(answers, arguments.folds_folder)
    write_file(arguments.out, json.dumps(measure(rows), indent=1) + "\n")
    if arguments.save:
        save_table(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
