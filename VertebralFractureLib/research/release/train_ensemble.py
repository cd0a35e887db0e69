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

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.options import AUTOMATIC, DEVICES
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan, fold_count, reference_scans
from VertebralFractureLib.research.evaluation import evaluate_fracture
from VertebralFractureLib.research.evaluation.fracture_scores import VARIANTS
from VertebralFractureLib.research.release import calibrate_fracture
from VertebralFractureLib.research.release.fracture_card import write_cards
from VertebralFractureLib.research.training import train_fracture
from VertebralFractureLib.research.training.fracture_members import MEMBERS, SEEDS, SHIPPED, member_name
from VertebralFractureLib.research.training.run_options import add_other_models

logger = logging.getLogger(__name__)


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
    parser.add_argument("--device", choices=DEVICES, default=AUTOMATIC, help="where the networks train")


def run(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    scans = reference_scans(arguments.data)
    _refuse_missing_folds(scans)
    names = [member_name(variant, seed) for variant in arguments.members for seed in range(arguments.seeds)]
    if arguments.phantoms:
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
        goes_on = bool(arguments.phantoms) and not is_first
        train_fracture.run(
            Namespace(
                data=None if is_first else arguments.data,
                cache=arguments.cache,
                out=arguments.out / "runs" / f"{name}-{stage}",
                fold=fold,
                validation_fold=None,
                patience=None,
                validation_every=100,
                device=arguments.device,
                again=True,
                phantoms=arguments.phantoms,
                series_per_scan=arguments.series_per_scan,
                series_per_phantom=arguments.series_per_phantom,
                minutes=arguments.minutes,
                steps=arguments.steps or (member.first_steps if is_first else member.steps if goes_on else None),
                seed=seed,
                start_from=arguments.out / "first" if goes_on else None,
                start_member=member_name(member.first, seed) if goes_on else None,
                learning_rate=member.learning_rate if goes_on else train_fracture.LEARNING_RATE,
                member=variant,
                weights_folder=folder,
            )
        )


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
