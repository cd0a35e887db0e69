"""Train the network that tells head from feet, starting from the level network, and save it with the run's record."""

from __future__ import annotations

import argparse

import torch

from VertebralFractureLib.orientation import UPRIGHT_WEIGHTS
from VertebralFractureLib.orientation.upright_network import UprightNetwork
from VertebralFractureLib.research.training import straight_training
from VertebralFractureLib.research.training.run_options import add_other_models
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.research.training.straight_training import train_on_cases
from VertebralFractureLib.research.training.upright_batches import Batch, UprightBatches
from VertebralFractureLib.torch_arrays import to_tensor
from VertebralFractureLib.vertebrae.models import LEVEL_WEIGHTS
from VertebralFractureLib.weights import MANIFEST, WeightsFolder

__all__ = ["add_arguments", "run", "upright_loss"]

STEPS = 400
_LEAST_DOUBT = 0.02
"""Nothing is taught to be surer than this, so that odds stay of a size that can be averaged."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    straight_training.add_arguments(parser, default_steps=STEPS)


def upright_loss(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Cross entropy over the cells that hold a body."""
    picture, spacing, found, up = (part.to(device) for part in batch)
    odds = model(picture, spacing).float()
    target = (_LEAST_DOUBT + (1.0 - 2.0 * _LEAST_DOUBT) * up)[:, None].expand_as(odds)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(odds, target, weight=found, reduction="sum")
    return loss / found.sum().clamp(min=1.0)


def run(arguments: argparse.Namespace) -> int:
    """Train and save ``upright`` into the weights folder; where that holds level weights, it starts from them.

    ``--start-from`` names other weights of the same network to go on from.
    """
    start = None
    if (arguments.weights_folder / MANIFEST).is_file() and arguments.start_from is None:
        folder = WeightsFolder(arguments.weights_folder)
        start = folder.load(LEVEL_WEIGHTS).tensors if LEVEL_WEIGHTS in folder.names() else None

    def make() -> UprightNetwork:
        network = UprightNetwork()
        state = network.state_dict()
        for key, value in (start or {}).items():
            if key in state and state[key].shape == value.shape:
                state[key] = to_tensor(value).float()
        network.load_state_dict(state)
        return network

    done = train_on_cases(
        arguments,
        make,
        lambda cases: UprightBatches(cases, batch_size=8),
        upright_loss,
        learning_rate=1e-3,
        weight_decay=2e-2,
    )
    config = {"architecture": "UprightNetwork", "started_from_levels": start is not None, **done.record}
    save_weights(UPRIGHT_WEIGHTS, done.tensors, config, arguments.weights_folder)
    add_other_models(arguments.weights_folder, done.held_out)
    return 0
