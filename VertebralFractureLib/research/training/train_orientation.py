"""Train the orientation network on scans and phantoms in every turn, and save its weights with the run's record."""

from __future__ import annotations

import argparse

import torch

from VertebralFractureLib.orientation import ORIENTATION_WEIGHTS
from VertebralFractureLib.orientation.network import OrientationNetwork
from VertebralFractureLib.research.training import straight_training
from VertebralFractureLib.research.training.loop import TrainingOptions, train
from VertebralFractureLib.research.training.orientation_batches import Batch, OrientationBatches, load_or_build_cases
from VertebralFractureLib.research.training.save_weights import save_weights

__all__ = ["add_arguments", "orientation_loss", "run"]

STEPS = 1500
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
    chosen = [case for case in cases if case.fold is None or case.fold != arguments.fold]
    model = OrientationNetwork()
    options = TrainingOptions(
        steps=arguments.steps,
        learning_rate=4e-3,
        weight_decay=1e-3,
        seed=arguments.seed,
        time_limit_s=None if arguments.minutes is None else 60.0 * arguments.minutes,
    )
    log = train(model, OrientationBatches(chosen), orientation_loss, options, arguments.out)
    config = {
        "architecture": "OrientationNetwork",
        "fold_left_out": arguments.fold,
        "seed": arguments.seed,
        "steps": log[-1]["step"] if log else 0,
        "phantoms": sum(not case.is_real for case in chosen),
        "scans": sorted(case.name for case in chosen if case.is_real),
    }
    tensors = {key: value.cpu().half().numpy() for key, value in model.state_dict().items()}
    save_weights(ORIENTATION_WEIGHTS, tensors, config, arguments.weights_folder)
    return 0
