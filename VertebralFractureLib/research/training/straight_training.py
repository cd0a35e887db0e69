"""What the trainings on straightened cases share: their arguments, the run by wall time, and its record.

The record names what the weights were trained on, so that a model card can be written from the weights alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.training.loop import BatchMaker, LossFunction, TrainingOptions, train
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases, training_cases


@dataclass(frozen=True)
class StraightRun:
    """A finished run: the cases it saw, the tensors in half precision, and the record for the weights' config."""

    cases: Sequence[StraightCase]
    tensors: dict[str, NDArray[np.generic]]
    record: dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser, default_steps: int) -> None:
    """The arguments of every training on straightened cases."""
    parser.add_argument("--data", type=Path, default=None, help="folder of annotated scans; none: phantoms only")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--fold", type=_fold, default=None, help="fold to leave out, or none")
    parser.add_argument("--phantoms", type=int, default=160, help="number of phantoms, seeds from 0")
    parser.add_argument("--steps", type=int, default=default_steps, help="batches to train on")
    parser.add_argument("--minutes", type=float, default=None, help="stop after this wall time even if steps are left")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights-folder", type=Path, required=True, help="where the weights are written")


def train_on_cases(
    arguments: argparse.Namespace,
    make_model: Callable[[], torch.nn.Module],
    batches_of: Callable[[list[StraightCase]], BatchMaker],
    loss: LossFunction,
    learning_rate: float,
    weight_decay: float = TrainingOptions.weight_decay,
    more_phantoms: Sequence[StraightCase] = (),
) -> StraightRun:
    """Train the model on the cases that ``arguments`` allow and on ``more_phantoms``, for ``--steps``."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    cases = load_or_build_cases(arguments.cache, arguments.data, range(arguments.phantoms))
    chosen = [*training_cases(cases, arguments.fold), *more_phantoms]
    model = make_model()
    options = TrainingOptions(
        steps=arguments.steps,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=arguments.seed,
        checkpoint_every=500,
        time_limit_s=None if arguments.minutes is None else 60.0 * arguments.minutes,
    )
    log = train(model, batches_of(chosen), loss, options, arguments.out)
    record = {
        "fold_left_out": arguments.fold,
        "seed": arguments.seed,
        "steps": log[-1]["step"] if log else 0,
        "phantoms": sum(case.is_phantom for case in chosen),
        "scans": sorted(case.identifier for case in chosen if not case.is_phantom),
    }
    tensors = {key: value.cpu().half().numpy() for key, value in model.state_dict().items()}
    return StraightRun(chosen, tensors, record)


def _fold(text: str) -> int | None:
    return None if text == "none" else int(text)
