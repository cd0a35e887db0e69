"""Train the level network that names vertebrae, and save its weights with the record of the run.

Neighboring levels share part of the target (a reader can be off by one), and beside each vertebra the whole stretch is
judged: the true run of names against the same run shifted up or down, which is what the assignment decides later.
"""

from __future__ import annotations

import argparse

import torch

from VertebralFractureLib.research.training import straight_training
from VertebralFractureLib.research.training.level_batches import UNKNOWN, Batch, LevelBatches
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.research.training.straight_training import train_on_cases
from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES
from VertebralFractureLib.vertebrae.level_network import LevelNetwork

__all__ = ["add_arguments", "level_loss", "run", "run_scores"]

STEPS = 2400
_NEIGHBOR_SHARE = 0.05
_RUN_WEIGHT, _RUN_SHARE = 0.4, 0.5
"""How much of each vertebra's evidence counts for the run, and the part of the run's loss."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    straight_training.add_arguments(parser, default_steps=STEPS)


def level_loss(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Cross entropy over the named cells, with 5 % on each neighboring class, and over the shifts of the whole run."""
    picture, spacing, classes = (part.to(device) for part in batch)
    logits = model(picture, spacing).float().permute(0, 2, 1)
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
    return torch.as_tensor(loss + _RUN_SHARE * torch.stack(runs).mean())


def run_scores(log_p: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Summed log-probabilities of the run at every shift that keeps to the classes, and which one is the true one."""
    lowest, highest = int(classes.min()), int(classes.max())
    shifts = range(-lowest, len(LEVEL_CLASSES) - highest)
    at = torch.arange(len(classes), device=classes.device)
    return torch.stack([log_p[at, classes + shift].sum() for shift in shifts]), lowest


def run(arguments: argparse.Namespace) -> int:
    """Train and save ``levels`` into the weights folder."""
    done = train_on_cases(
        arguments,
        LevelNetwork,
        lambda cases: LevelBatches(cases, batch_size=8),
        level_loss,
        learning_rate=2e-3,
        weight_decay=3e-2,
    )
    config = {"architecture": "LevelNetwork", "width": 64, "classes": list(LEVEL_CLASSES), **done.record}
    save_weights("levels", done.tensors, config, arguments.weights_folder)
    return 0
