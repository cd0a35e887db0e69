"""Train the canal network: ``vertebral-fracture train canal``.

The same run serves the fold models and the model that ships; only the scans that are left out differ, so that the
cross-validated figures speak for the recipe. Runs that share ``--out`` share the resampled cases.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from VertebralFractureLib.canal.network import CHANNELS, CanalNetwork, network_from_weights
from VertebralFractureLib.errors import OptionRefused
from VertebralFractureLib.research.datasets import read_annotation, reference_to_json
from VertebralFractureLib.research.datasets.content_keys import file_sha256, key_of
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan, describe_grouping, reference_scans
from VertebralFractureLib.research.datasets.training_record import trained_scans
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom, random_options
from VertebralFractureLib.research.training.canal_cases import (
    CanalCase,
    case_without_spine,
    load_case,
    make_canal_case,
    save_case,
)
from VertebralFractureLib.research.training.canal_data import CanalSampler, canal_loss
from VertebralFractureLib.research.training.loop import TrainingOptions, Validation, train
from VertebralFractureLib.research.training.run_options import (
    add_other_models,
    add_run_arguments,
    refuse_empty_folds,
    refuse_mixed_folder,
    refuse_seen,
    run_folder,
)
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.torch_arrays import to_array
from VertebralFractureLib.weights import load_weights

logger = logging.getLogger(__name__)

_WEIGHTS = "cord"
_VALIDATION_BATCHES, _VALIDATION_SEED = 8, 77_000_000
_EVERY_SCOLIOSIS = 4
"""Every fourth phantom has a scoliosis of 30 to 60 degrees, which chance alone would hardly ever draw."""
READ_IN_FRONT_MM = 0.9
"""How much farther in front the center of a real canal is read than that of a phantom is drawn.

From the middle between the bony canal's walls, front and back, the readings of 22 scans lie 0.47 mm in front (0.24 to
0.82) and the truth of 30 phantoms 0.43 mm behind (0.25 to 0.73): a reader takes the center of gravity of a canal that
narrows behind. Networks that learned from both lay 0.3 mm behind the readings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of the reference scans (<id>.nii.gz with <id>.json)")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and resampled cases")
    add_run_arguments(parser)
    parser.add_argument("--phantoms", type=int, default=30, help="number of phantoms to make and train on")
    parser.add_argument("--without-spine", type=int, default=24, help="number of drawn volumes without a spine")
    parser.add_argument("--steps", type=int, default=3000, help="batches to train on")
    parser.add_argument("--minutes", type=float, default=None, help="stop after this wall time even if steps are left")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--weights-folder", type=Path, required=True, help="where the weights called 'cord' are written"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=2e-3)


def run(arguments: argparse.Namespace) -> int:
    """Train and write the weights; returns 0.

    Raises:
        UnreadableVolume: when the folder of scans holds none.
        OptionRefused: when a fold is empty, nothing is left to train on, or weights saw the scans that are left out.
    """
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    fold = arguments.fold
    cases_folder = arguments.out / "cases"
    cases_folder.mkdir(parents=True, exist_ok=True)
    every = [] if arguments.data is None else reference_scans(arguments.data)
    for line in describe_grouping(every) if every else ():
        logger.info("%s", line)
    if every:
        refuse_empty_folds([scan.fold for scan in every], arguments)
    held_out = [scan.identifier for scan in every if fold is not None and scan.fold == fold]
    refuse_mixed_folder(arguments.weights_folder, _WEIGHTS, held_out)
    left_out = {None, fold, arguments.validation_fold}
    scans = [scan for scan in every if scan.fold not in left_out]
    watched = [scan for scan in every if scan.fold is not None and scan.fold == arguments.validation_fold]
    keys = {scan.identifier: _key_of_scan(scan) for scan in (*scans, *watched)}
    cases = [_cached(scan.identifier, keys[scan.identifier], cases_folder, _reader(scan)) for scan in scans]
    phantoms = [
        _cached(f"phantom-{seed}", key_of(repr(_phantom_options(seed))), cases_folder, _phantom_maker(seed))
        for seed in range(arguments.phantoms)
    ]
    spineless = [
        _cached(f"without-spine-{seed}", "", cases_folder, _spineless_maker(seed))
        for seed in range(arguments.without_spine)
    ]
    if not cases and not phantoms:
        raise OptionRefused("There is nothing to train on; give --data, --phantoms, or both.")
    network = CanalNetwork()
    started_from: dict[str, Any] = {"started_from_sha256": None}
    if arguments.start_from is not None:
        weights = load_weights(_WEIGHTS, arguments.start_from)
        refuse_seen(weights.config, held_out, "The weights of --start-from")
        network = network_from_weights(weights)
        started_from = {"started_from_sha256": weights.sha256, "started_from_scans": trained_scans(weights.config)}
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    options = TrainingOptions(
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        time_limit_s=None if arguments.minutes is None else 60.0 * arguments.minutes,
        device=arguments.device,
    )
    sampler = CanalSampler(cases, phantoms, spineless)
    made_of = {
        "model": _WEIGHTS,
        "fold_left_out": fold,
        "validation_fold": arguments.validation_fold,
        "data": {scan.identifier: keys[scan.identifier] for scan in scans},
        "phantoms": arguments.phantoms,
        "without_spine": arguments.without_spine,
        **started_from,
    }
    validation = None
    if watched:
        held = CanalSampler(
            [_cached(scan.identifier, keys[scan.identifier], cases_folder, _reader(scan)) for scan in watched], []
        )
        batches = [held(_VALIDATION_SEED + index) for index in range(_VALIDATION_BATCHES)]
        validation = Validation(batches, arguments.validation_every, arguments.patience)
    folder = run_folder(arguments.out, fold)
    log = train(network, sampler, canal_loss, options, folder, made_of, validation)
    record = {
        "scans": [scan.identifier for scan in scans],
        "phantom_seeds": [0, arguments.phantoms],
        "without_spine_seeds": [0, arguments.without_spine],
        "left_out_fold": fold,
        "seed": arguments.seed,
        "steps": int(log[-1]["step"]) if log else 0,
        "seconds": float(log[-1]["elapsed_s"]) if log else 0.0,
        **started_from,
    }
    config = {"architecture": "CanalNetwork", "widths": list(network.widths), "channels": CHANNELS, "training": record}
    # float16 is far finer than the training noise.
    tensors = {
        key: to_array(value).astype(np.float16)
        for key, value in network.state_dict().items()
        if value.dtype.is_floating_point
    }
    sha256 = save_weights(_WEIGHTS, tensors, config, arguments.weights_folder)
    logger.info("Wrote the weights 'cord', SHA-256 %s.", sha256)
    add_other_models(arguments.weights_folder, held_out)
    return 0


def _key_of_scan(scan: ReferenceScan) -> str:
    """What tells whether a scan and its annotation are those that a cached case was made of."""
    return key_of([file_sha256(scan.volume_path), reference_to_json(read_annotation(scan.annotation_path))])


def _cached(name: str, key: str, folder: Path, make: Callable[[], CanalCase]) -> CanalCase:
    path = folder / (f"{name}--{key}.npz" if key else f"{name}.npz")
    if not path.is_file():
        logger.info("Resampling %s", name)
        # Written beside and moved into place: runs that share the folder never read half a file.
        partial = path.with_name(f"{path.stem}.{os.getpid()}.npz")
        save_case(make(), partial)
        partial.replace(path)
    return load_case(name, path)


def _reader(scan: ReferenceScan) -> Callable[[], CanalCase]:
    def read() -> CanalCase:
        from VertebralFractureLib.volume import read_volume

        return make_canal_case(scan.identifier, read_volume(scan.volume_path), read_annotation(scan.annotation_path))

    return read


def _phantom_options(seed: int) -> PhantomOptions:
    options = random_options(seed, field_of_view="full", spacing_mm=(2.0, 2.0, 4.0))
    if seed % _EVERY_SCOLIOSIS == 0:
        side = 1.0 if seed % (2 * _EVERY_SCOLIOSIS) == 0 else -1.0
        options = replace(options, scoliosis_deg=side * (30.0 + 5.0 * (seed % 7)))
    return options


def _phantom_maker(seed: int) -> Callable[[], CanalCase]:
    def make() -> CanalCase:
        phantom = make_phantom(_phantom_options(seed))
        return make_canal_case(f"phantom-{seed}", phantom.ct, phantom.reference, forward_mm=READ_IN_FRONT_MM)

    return make


def _spineless_maker(seed: int) -> Callable[[], CanalCase]:
    def make() -> CanalCase:
        from VertebralFractureLib.research.phantom.no_spine import NO_SPINE_KINDS, make_no_spine

        kind = NO_SPINE_KINDS[seed % len(NO_SPINE_KINDS)]
        return case_without_spine(f"without-spine-{seed}", make_no_spine(kind, seed))

    return make
