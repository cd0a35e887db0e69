"""Train the body network that finds and measures vertebrae, and save its weights with the record of the run.

Real scans supervise the strip that the reader saw, phantoms everything; each is half of every batch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.training import straight_training
from VertebralFractureLib.research.training.run_options import add_other_models
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.research.training.straight_training import train_on_cases
from VertebralFractureLib.research.training.vertebra_batches import Batch, BodyBatches
from VertebralFractureLib.vertebrae.body_network import BodyModel, BodyNetwork
from VertebralFractureLib.vertebrae.localization import compute_body_maps, localize_bodies
from VertebralFractureLib.vertebrae.models import BODY_WEIGHTS
from VertebralFractureLib.weights import load_weights

__all__ = ["add_arguments", "body_loss", "measure_edge_offset", "run"]

STEPS = 3000
_MEASURED_MM = 3.3
"""Slices up to which the reader's heights are good to 1 or 2 mm."""
_MAP_SHARE = (1.0, 4.0, 4.0)
"""Edges are thin: without a larger share the mask would rule the loss."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    straight_training.add_arguments(parser, default_steps=STEPS)


def body_loss(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Weighted binary cross entropy with soft targets, each map with its share, over the known pixels."""
    picture, target, weight = (part.to(device) for part in batch)
    logits = model(picture).float()
    share = torch.tensor(_MAP_SHARE, device=device)[None, :, None, None]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, weight=weight * share, reduction="sum")
    return loss / weight[:, 0].sum().clamp(min=1.0)


def run(arguments: argparse.Namespace) -> int:
    """Train and save ``vertebrae`` into the weights folder."""
    done = train_on_cases(
        arguments, BodyNetwork, lambda cases: BodyBatches(cases, batch_size=4), body_loss, learning_rate=3e-3
    )
    config = {"architecture": "BodyNetwork", "width": 16, **done.record}
    folder = arguments.weights_folder
    save_weights(BODY_WEIGHTS, done.tensors, {**config, "edge_outward_mm": 0.0}, folder)
    config["edge_outward_mm"] = measure_edge_offset(done.cases, folder)
    save_weights(BODY_WEIGHTS, done.tensors, config, folder)
    add_other_models(folder, done.held_out)
    return 0


def measure_edge_offset(cases: Sequence[StraightCase], weights_folder: Path) -> float:
    """How far inside the reader's endplates the weights in a folder mark them: half the median lack of middle height.

    Phantoms and readers do not mean exactly the same line by an endplate; the network, taught by both, marks one in
    between, and this brings it to the reader's. Measured on the scans that the reader could measure; 0 without any.
    """
    model, lacks = BodyModel.from_weights(load_weights(BODY_WEIGHTS, weights_folder)), []
    for case in cases:
        if case.is_phantom or max(case.source_spacing_mm) > _MEASURED_MM:
            continue
        maps = replace(compute_body_maps(case.volume, model), edge_outward_mm=0.0)
        bodies = [body for body in localize_bodies(case.volume, maps) if body.shape is not None and body.complete]
        for true in case.reference.vertebrae:
            if true.box is None or not true.complete or true.heights_mm[1] is None:
                continue
            middle = 0.5 * (true.box.s_inf + true.box.s_sup)
            near = [body for body in bodies if abs(body.span.middle_mm - middle) < 5.0]
            if len(near) == 1 and near[0].shape is not None:
                upper, lower = near[0].shape.landmarks[1, 1], near[0].shape.landmarks[4, 1]
                lacks.append(true.heights_mm[1] - (upper - lower))
    return round(0.5 * float(np.median(lacks)), 3) if lacks else 0.0
