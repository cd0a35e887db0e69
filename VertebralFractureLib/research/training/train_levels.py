"""Train the level network that names vertebrae, and save its weights with the record of the run.

Neighboring levels share part of the target (a reader can be off by one), and beside each vertebra the whole stretch is
judged: the true run of names against the same run shifted up or down, which is what the assignment decides later. The
region of each vertebra is learned from its own picture, beyond the found bodies too.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from VertebralFractureLib.research.training import straight_training
from VertebralFractureLib.research.training.level_batches import UNKNOWN, Batch, LevelBatches
from VertebralFractureLib.research.training.run_options import add_other_models
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.research.training.straight_training import train_on_cases
from VertebralFractureLib.research.training.straightened_cases import load_or_build_numbering_phantoms
from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES
from VertebralFractureLib.vertebrae.level_network import LevelNetwork
from VertebralFractureLib.vertebrae.models import LEVEL_WEIGHTS
from VertebralFractureLib.weights import Weights, load_weights

__all__ = ["add_arguments", "level_loss", "run", "run_scores"]

STEPS = 2400
_LEARNING_RATE, _FURTHER_RATE = 2e-3, 1e-3
"""Of a training from nothing, and of one that goes on from other weights."""
_NEIGHBOR_SHARE = 0.05
_RUN_WEIGHT, _RUN_SHARE = 0.4, 0.5
"""How much of each vertebra's evidence counts for the run, and the part of the run's loss."""
_REGION_SHARE = 1.0
_REGION_SMOOTHING = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    straight_training.add_arguments(parser, default_steps=STEPS)
    parser.add_argument("--numbering-phantoms", type=int, default=48, help="columns with variants, seeds from 0")


def level_loss(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Cross entropy over the named cells (5 % on each neighboring class), the shifts of the run, and the regions."""
    picture, spacing, classes, regions = (part.to(device) for part in batch)
    both = model(picture, spacing).float()
    logits = both[:, : len(LEVEL_CLASSES)].permute(0, 2, 1)
    known = classes != UNKNOWN
    log_p = torch.log_softmax(logits, dim=-1)
    target = torch.nn.functional.one_hot(classes[known], len(LEVEL_CLASSES)).float()
    shared = torch.nn.functional.pad(target, (1, 1))
    target = (1.0 - 2.0 * _NEIGHBOR_SHARE) * target + _NEIGHBOR_SHARE * (shared[:, 2:] + shared[:, :-2])
    loss = -(target * log_p[known]).sum(-1).mean()
    runs = []
    for sample, names in zip(log_p, classes, strict=True):
        if (names != UNKNOWN).any():
            scores, true = run_scores(sample[names != UNKNOWN], names[names != UNKNOWN])
            runs.append(-torch.log_softmax(_RUN_WEIGHT * scores, dim=0)[true])
    of_region = torch.nn.functional.cross_entropy(
        both[:, len(LEVEL_CLASSES) :], regions, ignore_index=UNKNOWN, label_smoothing=_REGION_SMOOTHING
    )
    return torch.as_tensor(loss + _RUN_SHARE * torch.stack(runs).mean() + _REGION_SHARE * of_region)


def run_scores(log_p: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Summed log-probabilities of the run at every shift that keeps to the classes, and which one is the true one."""
    lowest, highest = int(classes.min()), int(classes.max())
    shifts = range(-lowest, len(LEVEL_CLASSES) - highest)
    at = torch.arange(len(classes), device=classes.device)
    return torch.stack([log_p[at, classes + shift].sum() for shift in shifts]), lowest


def run(arguments: argparse.Namespace) -> int:
    """Train and save ``levels`` into the weights folder."""
    start = None if arguments.start_from is None else load_weights(LEVEL_WEIGHTS, arguments.start_from)
    done = train_on_cases(
        arguments,
        lambda: _make_network(start),
        lambda cases: LevelBatches(cases, batch_size=8),
        level_loss,
        learning_rate=_LEARNING_RATE if start is None else _FURTHER_RATE,
        weight_decay=3e-2,
        more_phantoms=load_or_build_numbering_phantoms(arguments.cache, range(arguments.numbering_phantoms)),
        starts_itself=True,
    )
    config = {"architecture": "LevelNetwork", "width": 64, "classes": list(LEVEL_CLASSES), **done.record}
    save_weights(LEVEL_WEIGHTS, done.tensors, config, arguments.weights_folder)
    add_other_models(arguments.weights_folder, done.held_out)
    return 0


def _make_network(start: Weights | None) -> LevelNetwork:
    """A network with random weights, or with those of ``start`` where it has a tensor of that name and shape."""
    network = LevelNetwork()
    if start is not None:
        tensors = {name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in start.tensors.items()}
        network.load_state_dict(tensors, strict=False)
    return network
