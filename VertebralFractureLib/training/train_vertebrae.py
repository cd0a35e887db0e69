"""Train the body network that finds and measures vertebrae, and save its weights with the record of the run.

Real scans supervise the strip that the reader saw, phantoms everything; each is half of every batch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from VertebralFractureLib.training.loop import TrainingOptions, train
from VertebralFractureLib.training.straight_cache import load_or_build_cases, training_cases
from VertebralFractureLib.training.vertebra_batches import Batch, BodyBatches
from VertebralFractureLib.vertebrae.body_network import BodyNetwork
from VertebralFractureLib.weights import save_weights

_MAP_SHARE = (1.0, 4.0, 4.0)
"""Edges are thin: without a larger share the mask would rule the loss."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that this training shares with the other ones."""
    parser.add_argument("--data", type=Path, default=None, help="folder of annotated scans; none: phantoms only")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--fold", type=_fold, default=None, help="fold to leave out, or none")
    parser.add_argument("--phantoms", type=int, default=160, help="number of phantoms, seeds from 0")
    parser.add_argument("--minutes", type=float, default=10.0, help="wall time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights-folder", type=Path, required=True, help="where the weights are written")


def _fold(text: str) -> int | None:
    return None if text == "none" else int(text)


def body_loss(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Weighted binary cross entropy with soft targets, each map with its share, over the known pixels."""
    picture, target, weight = (part.to(device) for part in batch)
    logits = model(picture).float()
    share = torch.tensor(_MAP_SHARE, device=device)[None, :, None, None]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, weight=weight * share, reduction="sum")
    return loss / weight[:, 0].sum().clamp(min=1.0)


def run(arguments: argparse.Namespace) -> int:
    """Train and save ``vertebrae`` into the weights folder."""
    torch.manual_seed(arguments.seed)
    cases = load_or_build_cases(arguments.cache, arguments.data, range(arguments.phantoms))
    chosen = training_cases(cases, arguments.fold)
    model = BodyNetwork()
    options = TrainingOptions(
        steps=100_000,
        learning_rate=3e-3,
        seed=arguments.seed,
        checkpoint_every=500,
        time_limit_s=60.0 * arguments.minutes,
    )
    log = train(model, BodyBatches(chosen, batch_size=4), body_loss, options, arguments.out)
    config = {
        "architecture": "BodyNetwork",
        "width": 16,
        "fold_left_out": arguments.fold,
        "seed": arguments.seed,
        "steps": log[-1]["step"] if log else 0,
        "phantoms": sum(case.is_phantom for case in chosen),
        "scans": sorted(case.identifier for case in chosen if not case.is_phantom),
    }
    tensors = {key: value.cpu().half().numpy() for key, value in model.state_dict().items()}
    save_weights("vertebrae", tensors, config, arguments.weights_folder)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
