"""Train the orientation network on scans and phantoms in every turn, and save its weights with the run's record."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from VertebralFractureLib.orientation import ORIENTATION_WEIGHTS
from VertebralFractureLib.orientation.network import OrientationNetwork
from VertebralFractureLib.research.datasets.training_record import trained_scans
from VertebralFractureLib.research.training import straight_training
from VertebralFractureLib.research.training.loop import TrainingOptions, Validation, train
from VertebralFractureLib.research.training.orientation_batches import Batch, OrientationBatches, load_or_build_cases
from VertebralFractureLib.research.training.run_options import (
    add_other_models,
    refuse_empty_folds,
    refuse_mixed_folder,
    refuse_seen,
    run_folder,
)
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.weights import load_weights, restore

__all__ = ["add_arguments", "orientation_loss", "run"]

STEPS = 1500
_LEARNING_RATE = 4e-3
_VALIDATION_BATCHES, _VALIDATION_SEED = 4, 77_000_000
_CANAL_WEIGHT, _DIRECTION_WEIGHT, _SIDE_WEIGHT, _POSITIVE = 1.0, 1.0, 0.15, 8.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    straight_training.add_arguments(parser, default_steps=STEPS)


def orientation_loss(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Cross entropy of the canal, squared error of the two directions, and cross entropy of the side.

    The squared error makes the length of a direction the certainty that the network has of it: the mean of all that
    look like this.
    """
    volume, target, weight = (part.to(device) for part in batch)
    answer = model(volume).float()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    positive = weight[:, 0] * (1.0 + (_POSITIVE - 1.0) * target[:, 0])
    canal = entropy(answer[:, 0], target[:, 0], weight=positive, reduction="sum") / positive.sum().clamp(min=1.0)
    error = ((answer[:, 1:7] - target[:, 1:7]) ** 2).sum(1) * weight[:, 1]
    side = entropy(answer[:, 7], target[:, 7], weight=weight[:, 2], reduction="sum") / weight[:, 2].sum().clamp(min=1.0)
    direction = error.sum() / weight[:, 1].sum().clamp(min=1.0)
    return torch.as_tensor(_CANAL_WEIGHT * canal + _DIRECTION_WEIGHT * direction + _SIDE_WEIGHT * side)


def run(arguments: argparse.Namespace) -> int:
    """Train and save ``orientation`` into the weights folder."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    cases = load_or_build_cases(arguments.cache, arguments.data, arguments.phantoms)
    if arguments.data is not None:
        refuse_empty_folds([case.fold for case in cases if case.is_real], arguments)
    held_out = [case.name for case in cases if case.is_real and case.fold == arguments.fold]
    folder = arguments.weights_folder
    refuse_mixed_folder(folder, ORIENTATION_WEIGHTS, held_out)
    left_out = {arguments.fold, arguments.validation_fold} - {None}
    chosen = [case for case in cases if case.fold not in left_out]
    model = OrientationNetwork()
    started_from: dict[str, Any] = {}
    if arguments.start_from is not None:
        weights = load_weights(ORIENTATION_WEIGHTS, arguments.start_from)
        refuse_seen(weights.config, held_out, "The weights of --start-from")
        restore(model, weights)
        started_from = {"started_from_sha256": weights.sha256, "started_from_scans": trained_scans(weights.config)}
    options = TrainingOptions(
        steps=arguments.steps,
        learning_rate=arguments.learning_rate or _LEARNING_RATE,
        weight_decay=1e-3,
        seed=arguments.seed,
        time_limit_s=None if arguments.minutes is None else 60.0 * arguments.minutes,
        device=arguments.device,
    )
    made_of = {
        "model": ORIENTATION_WEIGHTS,
        "fold_left_out": arguments.fold,
        "validation_fold": arguments.validation_fold,
        "data": {case.name: case.content_key for case in chosen},
        **started_from,
    }
    validation = None
    if arguments.validation_fold is not None:
        watched = OrientationBatches([case for case in cases if case.fold == arguments.validation_fold])
        batches = [watched(_VALIDATION_SEED + index) for index in range(_VALIDATION_BATCHES)]
        validation = Validation(batches, arguments.validation_every, arguments.patience)
    run_in = run_folder(arguments.out, arguments.fold)
    log = train(model, OrientationBatches(chosen), orientation_loss, options, run_in, made_of, validation)
    config = {
        "architecture": "OrientationNetwork",
        "fold_left_out": arguments.fold,
        "seed": arguments.seed,
        "steps": log[-1]["step"] if log else 0,
        "phantoms": sum(not case.is_real for case in chosen),
        "scans": sorted(case.name for case in chosen if case.is_real),
        **started_from,
    }
    tensors = {key: value.cpu().half().numpy() for key, value in model.state_dict().items()}
    save_weights(ORIENTATION_WEIGHTS, tensors, config, folder)
    add_other_models(folder, held_out)
    return 0
