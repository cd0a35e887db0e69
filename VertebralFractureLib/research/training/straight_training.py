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

from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.orientation import UPRIGHT_WEIGHTS
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.datasets.training_record import trained_scans
from VertebralFractureLib.research.training.loop import (
    BatchMaker,
    LossFunction,
    TrainingOptions,
    Validation,
    train,
)
from VertebralFractureLib.research.training.run_options import (
    add_run_arguments,
    content_of,
    refuse_empty_folds,
    refuse_mixed_folder,
    refuse_seen,
    run_folder,
)
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases, training_cases
from VertebralFractureLib.vertebrae.models import BODY_WEIGHTS, LEVEL_WEIGHTS, SURFACE_WEIGHTS
from VertebralFractureLib.weights import load_weights, restore

_WEIGHTS_OF = {
    "BodyNetwork": BODY_WEIGHTS,
    "LevelNetwork": LEVEL_WEIGHTS,
    "SurfaceNetwork": SURFACE_WEIGHTS,
    "UprightNetwork": UPRIGHT_WEIGHTS,
}
"""What the weights of each network are called."""
VALIDATION_BATCHES = 8
_VALIDATION_SEED = 77_000_000


@dataclass(frozen=True)
class StraightRun:
    """A finished run: the cases it saw, the tensors in half precision, the record for the weights' config, and the
    scans that were left out."""

    cases: Sequence[StraightCase]
    tensors: dict[str, NDArray[np.generic]]
    record: dict[str, Any]
    held_out: Sequence[str] = ()


def add_arguments(parser: argparse.ArgumentParser, default_steps: int) -> None:
    """The arguments of every training on straightened cases."""
    parser.add_argument("--data", type=Path, default=None, help="folder of annotated scans; none: phantoms only")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    add_run_arguments(parser)
    parser.add_argument("--phantoms", type=int, default=160, help="number of phantoms, seeds from 0")
    parser.add_argument("--steps", type=int, default=default_steps, help="batches to train on")
    parser.add_argument("--minutes", type=float, default=None, help="stop after this wall time even if steps are left")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=None, help="the model's own when left out")
    parser.add_argument("--weights-folder", type=Path, required=True, help="where the weights are written")


def train_on_cases(
    arguments: argparse.Namespace,
    make_model: Callable[[], torch.nn.Module],
    batches_of: Callable[[list[StraightCase]], BatchMaker],
    loss: LossFunction,
    learning_rate: float,
    weight_decay: float = TrainingOptions.weight_decay,
    more_phantoms: Sequence[StraightCase] = (),
    *,
    starts_itself: bool = False,
) -> StraightRun:
    """Train the model on the cases that ``arguments`` allow and on ``more_phantoms``, for ``--steps``.

    The folder of the weights is checked first, so that nothing that saw a patient comes to lie beside what must not.

    Args:
        starts_itself: ``make_model`` restores what ``--start-from`` names; else it is done here.

    Raises:
        OptionRefused: when there is nothing to train on, a fold is empty, or weights saw the scans that are left out.
    """
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    cases = load_or_build_cases(arguments.cache, arguments.data, range(arguments.phantoms))
    if arguments.data is not None:
        refuse_empty_folds([case.fold for case in cases if not case.is_phantom], arguments)
    held_out = [case.identifier for case in cases if arguments.fold is not None and case.fold == arguments.fold]
    chosen = [*training_cases(cases, arguments.fold, arguments.validation_fold), *more_phantoms]
    if not chosen:
        raise OptionRefused("There is nothing to train on; give --data, --phantoms, or both.")
    started_from: dict[str, Any] = {}
    model = make_model()
    name = _WEIGHTS_OF[type(model).__name__]
    refuse_mixed_folder(arguments.weights_folder, name, held_out)
    if arguments.start_from is not None:
        weights = load_weights(name, arguments.start_from)
        refuse_seen(weights.config, held_out, "The weights of --start-from")
        started_from = {"started_from_sha256": weights.sha256, "started_from_scans": trained_scans(weights.config)}
        if not starts_itself:
            restore(model, weights)
    options = TrainingOptions(
        steps=arguments.steps,
        learning_rate=arguments.learning_rate or learning_rate,
        weight_decay=weight_decay,
        seed=arguments.seed,
        checkpoint_every=500,
        time_limit_s=None if arguments.minutes is None else 60.0 * arguments.minutes,
        device=arguments.device,
    )
    made_of = {
        "model": name,
        "fold_left_out": arguments.fold,
        "validation_fold": arguments.validation_fold,
        "data": content_of(chosen),
        **started_from,
    }
    validation = None
    if arguments.validation_fold is not None:
        watched = [case for case in cases if case.may_train and case.fold == arguments.validation_fold]
        batches = batches_of(watched)
        held = [batches(_VALIDATION_SEED + index) for index in range(VALIDATION_BATCHES)]
        validation = Validation(held, arguments.validation_every, arguments.patience)
    folder = run_folder(arguments.out, arguments.fold)
    log = train(model, batches_of(chosen), loss, options, folder, made_of, validation)
    record = {
        "fold_left_out": arguments.fold,
        "seed": arguments.seed,
        "steps": log[-1]["step"] if log else 0,
        "phantoms": sum(case.is_phantom for case in chosen),
        "scans": sorted(case.identifier for case in chosen if not case.is_phantom),
        **started_from,
    }
    tensors = {key: value.cpu().half().numpy() for key, value in model.state_dict().items()}
    return StraightRun(chosen, tensors, record, held_out)
