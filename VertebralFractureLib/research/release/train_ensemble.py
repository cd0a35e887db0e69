"""One command from annotated scans to a calibrated, measured fracture ensemble; interrupted, it goes on where it was.

Every network first learns from phantoms alone. From there every member is trained once without each fold and once on
everything; the folds' weights judge the patients that they never saw, and those scores calibrate the final weights.
"""

from __future__ import annotations

import argparse
import json
import logging
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from VertebralFractureLib.atomic_write import atomic_write, write_file
from VertebralFractureLib.cli.option_types import whole_number
from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.options import AUTOMATIC, DEVICES
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan, fold_count, reference_scans
from VertebralFractureLib.research.datasets.training_record import trained_scans
from VertebralFractureLib.research.evaluation import evaluate_fracture
from VertebralFractureLib.research.evaluation.fracture_scores import VARIANTS, score_cases, spines_of
from VertebralFractureLib.research.evaluation.paired import compare_answers
from VertebralFractureLib.research.evaluation.study import told
from VertebralFractureLib.research.release import calibrate_fracture
from VertebralFractureLib.research.release.fracture_card import write_cards
from VertebralFractureLib.research.training import train_fracture
from VertebralFractureLib.research.training.fracture_members import MEMBERS, SEEDS, SHIPPED, member_name
from VertebralFractureLib.research.training.run_options import add_other_models, read_start, run_folder
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.weights import MANIFEST, load_weights, weights_names

logger = logging.getLogger(__name__)
ADAPTING_STEPS, ADAPTING_RATE = 600, 5e-4
"""Of a member that goes on from weights that know fractures already."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of the annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the straightened cases and the series")
    parser.add_argument("--out", type=Path, required=True, help="holds folds, figures.json, curves.png and weights")
    parser.add_argument("--members", nargs="+", choices=sorted(MEMBERS), default=list(SHIPPED))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many of each member")
    parser.add_argument("--phantoms", type=int, default=45, help="phantoms to train on, seeds 0, 1, ...")
    parser.add_argument("--validation-phantoms", type=int, default=30, help="phantoms to measure on")
    parser.add_argument("--series-per-scan", type=int, default=train_fracture.SERIES_PER_SCAN)
    parser.add_argument("--series-per-phantom", type=int, default=train_fracture.SERIES_PER_PHANTOM)
    parser.add_argument(
        "--variants", type=int, default=VARIANTS, help="versions of a scan with fractures, and with mimics"
    )
    parser.add_argument("--steps", type=int, default=None, help="steps of each stage; the members' own when left out")
    parser.add_argument("--minutes", type=float, default=None, help="most wall time of one training; no limit left out")
    parser.add_argument(
        "--start-from",
        type=read_start,
        default=None,
        help="adapt: folder of weights, or 'shipped', that every member goes on from instead of from phantoms",
    )
    parser.add_argument("--learning-rate", type=float, default=None, help="the members' own when left out")
    parser.add_argument(
        "--patience",
        type=whole_number("--patience", 1, 10**9),
        default=None,
        help="stop each fold after so many looks at the next fold's patients without a lower loss",
    )
    parser.add_argument("--validation-every", type=whole_number("--validation-every", 1, 10**9), default=50)
    parser.add_argument("--device", choices=DEVICES, default=AUTOMATIC, help="where the networks train")


def run(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    scans = reference_scans(arguments.data)
    _refuse_missing_folds(scans)
    names = [member_name(variant, seed) for variant in arguments.members for seed in range(arguments.seeds)]
    if arguments.start_from is not None:
        _refuse_unusable_start(arguments, names)
    elif arguments.phantoms:
        for first in sorted({MEMBERS[variant].first for variant in arguments.members}):
            _train_seeds(arguments, first, None, is_first=True)
    for variant in arguments.members:
        for fold in (*range(fold_count()), None):
            _train_seeds(arguments, variant, fold, is_first=False)
    figures = out / "figures.json"
    evaluate_fracture.run(
        Namespace(
            data=arguments.data,
            cache=arguments.cache,
            folds_folder=out / "folds",
            phantoms=arguments.validation_phantoms,
            members=names,
            variants=arguments.variants,
            out=figures,
        )
    )
    calibrate_fracture.run(
        Namespace(figures=figures, trained=out / "final", weights_folder=out / "weights", folds_folder=out / "folds")
    )
    add_other_models(out / "weights")
    for fold in range(fold_count()):
        held_out = [scan.identifier for scan in scans if scan.fold == fold]
        add_other_models(out / "folds" / f"fold{fold}", held_out)
    write_cards(out / "weights", figures, arguments.data)
    if arguments.start_from is not None:
        compare_with_start(arguments, names)
    logs = sorted((out / "runs").glob("*/*/log.json"))
    draw_curves({path.parent.parent.name: path for path in logs}, out / "curves.png")
    return 0


def _refuse_missing_folds(scans: Sequence[ReferenceScan]) -> None:
    """Check that every fold holds a patient: without one, weights would be judged by nobody or by what they saw.

    Raises:
        OptionRefused: otherwise.
    """
    empty = [str(fold) for fold in range(fold_count()) if not any(scan.fold == fold for scan in scans)]
    if empty:
        raise OptionRefused(
            f"No patient lies in fold {' and '.join(empty)}; cross-validation needs patients in each of "
            f"{fold_count()} folds. Split them in the column fold of patients.csv beside the scans."
        )


def _train_seeds(arguments: Namespace, variant: str, fold: int | None, *, is_first: bool) -> None:
    """The seeds of one training that are not there yet as they are asked for: the first stage, or without ``fold``."""
    member = MEMBERS[variant]
    stage = "first" if is_first else "final" if fold is None else f"fold{fold}"
    folder = arguments.out / ("folds" if stage.startswith("fold") else "") / stage
    for seed in range(arguments.seeds):
        name = member_name(variant, seed)
        adapts = arguments.start_from is not None
        goes_on = bool(arguments.phantoms) and not is_first and not adapts
        watched = None
        if arguments.patience is not None and fold is not None:
            watched = (fold + 1) % fold_count()
        steps = arguments.steps or (member.first_steps if is_first else member.steps if goes_on else None)
        if adapts:
            steps = arguments.steps or ADAPTING_STEPS
        if arguments.patience is not None and not is_first and fold is None:
            steps = _best_steps(arguments.out, name) or steps
        rate = member.learning_rate if goes_on else ADAPTING_RATE if adapts else train_fracture.LEARNING_RATE
        train_fracture.run(
            Namespace(
                data=None if is_first else arguments.data,
                cache=arguments.cache,
                out=arguments.out / "runs" / f"{name}-{stage}",
                fold=fold,
                validation_fold=watched,
                patience=None if watched is None else arguments.patience,
                validation_every=arguments.validation_every,
                device=arguments.device,
                again=True,
                phantoms=arguments.phantoms,
                series_per_scan=arguments.series_per_scan,
                series_per_phantom=arguments.series_per_phantom,
                minutes=arguments.minutes,
                steps=steps,
                seed=seed,
                start_from=arguments.start_from if adapts else arguments.out / "first" if goes_on else None,
                start_member=name if adapts else member_name(member.first, seed) if goes_on else None,
                learning_rate=arguments.learning_rate or rate,
                member=variant,
                weights_folder=folder,
            )
        )


def _best_steps(out: Path, name: str) -> int | None:
    """Steps after which the folds' held-out loss was lowest, in the middle of the folds; None where none looked."""
    best = []
    for fold in range(fold_count()):
        path = run_folder(out / "runs" / f"{name}-fold{fold}", fold) / "log.json"
        log = json.loads(path.read_text(encoding="utf-8"))["log"] if path.is_file() else []
        looks = [(entry["validation_loss"], entry["step"]) for entry in log if "validation_loss" in entry]
        if looks:
            best.append(int(min(looks)[1]))
    return int(np.median(best)) if best else None


def _refuse_unusable_start(arguments: Namespace, names: Sequence[str]) -> None:
    """Check that the folder to go on from holds every member, before anything is straightened.

    Raises:
        OptionRefused: otherwise.
    """
    there = _trained(arguments.start_from)
    missing = [name for name in names if PREFIX + name not in there]
    if missing:
        raise OptionRefused(
            f"'{one_line(arguments.start_from.name, NAME_LIMIT)}' holds no weights of {', '.join(missing)}; "
            "choose --members and --seeds that it has."
        )


def _trained(folder: Path) -> Sequence[str]:
    return weights_names(PREFIX, folder) if (folder / MANIFEST).is_file() else []


def compare_with_start(arguments: Namespace, names: Sequence[str]) -> None:
    """Say whether adapting helped: the folds' weights and those they started from on the same held-out patients.

    Writes ``comparison.json``. Both judge every patient of a fold; scans that the start was trained on are left out.
    """
    out: Path = arguments.out
    content = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    start = {name: load_weights(PREFIX + name, arguments.start_from) for name in names}
    seen = {scan for weights in start.values() for scan in trained_scans(weights.config)}
    cases = [
        case
        for case in load_or_build_cases(arguments.cache, arguments.data)
        if case.fold is not None and case.identifier not in seen
    ]
    adapted = [spine for spine in spines_of(content) if spine.fold is not None and spine.scan not in seen]
    before = [
        spine
        for fold in range(fold_count())
        for spine in score_cases(
            [case for case in cases if case.fold == fold], arguments.start_from, names, variants=arguments.variants
        )
    ]
    lines: dict[int | None, dict[str, dict[str, list[float]]]] = {
        int(fold): found for fold, found in content["fold_calibration"].items()
    }
    own = {name: weights.config["calibration"] for name, weights in start.items()}
    compared = compare_answers(
        evaluate_fracture.judged(before, names, dict.fromkeys(lines, own)),
        evaluate_fracture.judged(adapted, names, lines),
        (SCORING.decision_threshold, SCORING.decision_threshold),
        units=("vertebrae", "scans"),
        endpoints=("any grade",),
    )
    write_file(out / "comparison.json", json.dumps(compared, indent=1) + "\n")
    for unit, endpoints in compared.items():
        found = endpoints["any grade"]
        for figure in ("auc", "sensitivity", "specificity"):
            if figure in found:
                one = found[figure]
                logger.info(
                    "Adapted against what it started from, %s, %s on held-out patients: %.3f before, %.3f now, "
                    "difference %s",
                    unit, figure, one["first"], one["second"], told(one["difference_bootstrap"]),
                )  # fmt: skip


def draw_curves(logs: Mapping[str, Path], picture: Path) -> None:
    """Draw the loss over the steps of every run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.0))
    axes = figure.add_subplot(xlabel="step", ylabel="loss", yscale="log")
    for name, path in logs.items():
        log = json.loads(path.read_text(encoding="utf-8"))["log"]
        axes.plot([entry["step"] for entry in log], [entry["loss"] for entry in log], label=name, linewidth=1.0)
    axes.legend(fontsize=6, ncols=2)
    with atomic_write(picture) as partial:
        figure.savefig(partial, dpi=120)
