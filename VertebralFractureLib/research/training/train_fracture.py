"""Train one member of the fracture ensemble end to end, on phantoms and on fractures simulated on real scans.

``--fold K`` leaves fold K out; scans that only evaluate are never trained on. The weights are saved with the
calibration of what they started from, or none, which ``calibrate_fracture`` replaces.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.fracture.network import GRADES, FractureNetwork
from VertebralFractureLib.research.datasets.content_keys import key_of
from VertebralFractureLib.research.datasets.training_record import trained_scans
from VertebralFractureLib.research.training.fracture_data import Batch, SeriesOptions
from VertebralFractureLib.research.training.fracture_members import GRIDS, MEMBERS, SHIPPED, member_name
from VertebralFractureLib.research.training.fracture_series import SeriesStore, build_series, scan_of_series
from VertebralFractureLib.research.training.loop import TrainingOptions, Validation, train
from VertebralFractureLib.research.training.run_options import (
    add_other_models,
    add_run_arguments,
    content_of,
    drop_shipped_members,
    refuse_empty_folds,
    refuse_mixed_folder,
    refuse_seen,
    run_folder,
)
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases, training_cases
from VertebralFractureLib.weights import MANIFEST, load_weights, restore, weights_names

logger = logging.getLogger(__name__)
SERIES_PER_BATCH = 4
SERIES_PER_SCAN, SERIES_PER_PHANTOM = 128, 12
VALIDATION_SERIES = 16
_VALIDATION_BATCHES, _VALIDATION_SEED = 8, 77_000_000
LEARNING_RATE = 2e-3
"""From random weights."""
SERIES_FOLDER = "fracture-series"
_POSITIVE_WEIGHT, _SERIES_WEIGHT, _HEIGHT_WEIGHT = 2.0, 0.5, 1.0
_GRADE_WEIGHTS = (1.0, 0.5, 0.5)
IDENTITY_CALIBRATION = {"vertebra": [1.0, 0.0], "scan": [1.0, 0.0]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of the reference scans; phantoms alone without it")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the straightened cases and the series")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint and the log")
    add_run_arguments(parser)
    parser.add_argument("--phantoms", type=int, default=45, help="number of phantoms, seeds 0, 1, ...")
    parser.add_argument("--minutes", type=float, default=None, help="most wall time of the training; no limit left out")
    parser.add_argument("--steps", type=int, default=None, help="steps; the member's own number when left out")
    parser.add_argument(
        "--start-member", default=None, help="whose weights there; of the same network, by default its own"
    )
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--series-per-scan", type=int, default=SERIES_PER_SCAN, help="training series of a real scan")
    parser.add_argument("--series-per-phantom", type=int, default=SERIES_PER_PHANTOM)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--member", choices=sorted(MEMBERS), default=SHIPPED[0])
    parser.add_argument("--weights-folder", type=Path, required=True, help="where the weights are saved")


def run(arguments: argparse.Namespace) -> int:
    """Train and save the member; returns 0.

    ``arguments.again``, where there is one: weights of the same recipe are kept, and those of another are made again.
    """
    fold = arguments.fold
    member = MEMBERS[arguments.member]
    name = PREFIX + member_name(arguments.member, arguments.seed)
    every = load_or_build_cases(arguments.cache, arguments.data, range(arguments.phantoms))
    if arguments.data is not None:
        refuse_empty_folds([case.fold for case in every if not case.is_phantom], arguments)
    held_out = [case.identifier for case in every if fold is not None and case.fold == fold]
    refuse_mixed_folder(arguments.weights_folder, name, held_out)
    started = PREFIX + arguments.start_member if arguments.start_member else name
    before = None if arguments.start_from is None else load_weights(started, arguments.start_from)
    if before is not None:
        refuse_seen(before.config, held_out, "The weights of --start-from")
    cases = training_cases(every, fold, arguments.validation_fold)
    options = SeriesOptions()
    folder = arguments.cache / SERIES_FOLDER
    real = [case for case in cases if not case.is_phantom]
    drawn = [case for case in cases if case.is_phantom]
    scan_files = build_series(folder, real, GRIDS, options, arguments.series_per_scan)
    files = scan_files + build_series(folder, drawn, GRIDS, options, arguments.series_per_phantom)
    if not files:
        raise OptionRefused(
            "There is nothing to train on: no vertebra of --data has a grade, and there are no phantoms."
        )
    store = SeriesStore.load(files, member.grid_name)
    torch.manual_seed(arguments.seed)
    network = FractureNetwork(member.network)
    if before is not None:
        restore(network, before)
    training = TrainingOptions(
        steps=arguments.steps or member.first_steps + member.steps,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        time_limit_s=None if arguments.minutes is None else 60.0 * arguments.minutes,
        device=arguments.device,
    )
    made_of = {
        "model": name,
        "fold_left_out": fold,
        "validation_fold": arguments.validation_fold,
        "data": content_of(cases),
        "series": len(files),
        "started_from_sha256": None if before is None else before.sha256,
    }
    recipe = recipe_of(made_of, training, arguments.patience)
    run_in = run_folder(arguments.out, fold)
    again = getattr(arguments, "again", False)
    if again and _is_made(name, arguments.weights_folder, recipe):
        logger.info("'%s' is there, made of the same data with the same options", name)
        return 0
    validation = None
    if arguments.validation_fold is not None:
        watched = [case for case in every if case.may_train and case.fold == arguments.validation_fold]
        held = SeriesStore.load(build_series(folder, watched, GRIDS, options, VALIDATION_SERIES), member.grid_name)
        batches = [held.batch(SERIES_PER_BATCH, _VALIDATION_SEED + index) for index in range(_VALIDATION_BATCHES)]
        validation = Validation(batches, arguments.validation_every, arguments.patience)
    log = train(
        network,
        lambda seed: store.batch(SERIES_PER_BATCH, seed),
        loss_of,
        training,
        run_in,
        made_of,
        validation,
        anew=again,
    )
    config: dict[str, Any] = {
        "network": asdict(member.network),
        "grid": asdict(member.grid),
        "calibration": IDENTITY_CALIBRATION if before is None else before.config["calibration"],
        "training": {
            "fold_left_out": fold,
            "scans": sorted({scan_of_series(path) for path in scan_files}),
            "phantoms": len(drawn),
            "series": len(files),
            "seed": arguments.seed,
            "steps": int(log[-1]["step"]) if log else 0,
            "loss": float(log[-1]["loss"]) if log else None,
            "recipe": recipe,
            "started_from": None if before is None else before.sha256,
            "started_from_scans": [] if before is None else trained_scans(before.config),
            "first_stage": None if before is None else before.config["training"],
        },
    }
    tensors = {name: value.cpu().numpy().astype(np.float16) for name, value in network.state_dict().items()}
    drop_shipped_members(arguments.weights_folder, name)
    sha256 = save_weights(name, tensors, config, arguments.weights_folder)
    logger.info("Saved %s, SHA-256 %s", name, sha256)
    if before is None and not again:
        logger.warning(
            "CAUTION: '%s' is not calibrated, its probabilities mean nothing yet; calibrate it on patients that it "
            "did not see (evaluate_fracture, then calibrate_fracture), or use 'train ensemble'.",
            name,
        )
    add_other_models(arguments.weights_folder, held_out)
    return 0


def _is_made(name: str, folder: Path, recipe: str) -> bool:
    """Whether ``folder`` holds weights of this name and recipe."""
    if not (folder / MANIFEST).is_file() or name not in weights_names("", folder):
        return False
    return bool(load_weights(name, folder).config["training"].get("recipe") == recipe)


def recipe_of(made_of: Mapping[str, Any], training: TrainingOptions, patience: int | None) -> str:
    """A key of all that the weights depend on, by which a later run knows whether they are what it would make."""
    return key_of([dict(made_of), {**asdict(training), "device": None}, patience])


def loss_of(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Weighted ordinal cross entropy at the positions, cross entropy of the series, and L1 of the heights."""
    patches, code, valid, grade, weight, heights, known = (
        value.to(device)
        for value in (
            batch.patches, batch.code, batch.valid, batch.grade, batch.weight, batch.heights, batch.heights_known,
        )
    )  # fmt: skip
    logits, predicted, series = model(patches, code, valid)
    steps = torch.arange(1, GRADES + 1, device=device)
    target = (grade[..., None] >= steps).float()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = entropy * (1.0 + (_POSITIVE_WEIGHT - 1.0) * target)
    entropy = (entropy * torch.tensor(_GRADE_WEIGHTS, device=device)).sum(dim=-1)
    position_loss = (entropy * weight).sum() / weight.sum().clamp_min(1.0)
    is_fractured = ((grade > 0) & (weight >= 1.0)).any(dim=1).float()
    series_loss = torch.nn.functional.binary_cross_entropy_with_logits(series.float(), is_fractured)
    height_loss = ((predicted - heights).abs() * known).sum() / known.sum().clamp_min(1.0)
    total: torch.Tensor = position_loss + _SERIES_WEIGHT * series_loss + _HEIGHT_WEIGHT * height_loss
    return total
