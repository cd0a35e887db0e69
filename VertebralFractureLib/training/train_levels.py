"""Train the level network that names vertebrae, and save its weights with the record of the run.

Neighbouring levels share part of the target (a reader can be off by one, and a row near a disc belongs to both), which
keeps the network's confidence honest.
"""

from __future__ import annotations

import argparse

import torch

from VertebralFractureLib.training.level_batches import UNKNOWN, Batch, LevelBatches
from VertebralFractureLib.training.straight_training import add_arguments, train_on_cases
from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES
from VertebralFractureLib.vertebrae.level_network import LevelNetwork
from VertebralFractureLib.weights import save_weights

__all__ = ["add_arguments", "level_loss", "run"]

_NEIGHBOUR_SHARE = 0.08


def level_loss(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Cross entropy against the class with 8 % on each neighbour, over the rows that have a target."""
    picture, classes = (part.to(device) for part in batch)
    logits = model(picture).float().permute(0, 2, 1)
    known = classes != UNKNOWN
    log_p = torch.log_softmax(logits[known], dim=-1)
    target = torch.nn.functional.one_hot(classes[known], len(LEVEL_CLASSES)).float()
    shared = torch.nn.functional.pad(target, (1, 1))
    target = (1.0 - 2.0 * _NEIGHBOUR_SHARE) * target + _NEIGHBOUR_SHARE * (shared[:, 2:] + shared[:, :-2])
    return -(target * log_p).sum(-1).mean()


def run(arguments: argparse.Namespace) -> int:
    """Train and save ``levels`` into the weights folder."""
    done = train_on_cases(
        arguments,
        LevelNetwork,
        lambda cases: LevelBatches(cases, batch_size=6),
        level_loss,
        learning_rate=2e-3,
        weight_decay=2e-2,
    )
    config = {"architecture": "LevelNetwork", "width": 64, "classes": list(LEVEL_CLASSES), **done.record}
    save_weights("levels", done.tensors, config, arguments.weights_folder)
    return 0
