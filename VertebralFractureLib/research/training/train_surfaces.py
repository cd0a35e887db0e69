"""Train the surface network and save its weights with the record of the run.

More than half of every batch are fractures simulated on real bodies in two ways; the rest are bodies as scanned, and
phantoms.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import torch

from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.training import straight_training
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.research.training.straight_training import train_on_cases
from VertebralFractureLib.research.training.surface_batches import Batch, SurfaceBatches
from VertebralFractureLib.research.training.surface_windows import load_or_build_windows
from VertebralFractureLib.vertebrae.body_network import BodyModel
from VertebralFractureLib.vertebrae.grading import measure_heights
from VertebralFractureLib.vertebrae.localization import localize_bodies_in_their_planes
from VertebralFractureLib.vertebrae.models import BODY_WEIGHTS, SURFACE_WEIGHTS
from VertebralFractureLib.vertebrae.surface_network import SurfaceModel, SurfaceNetwork
from VertebralFractureLib.vertebrae.surfacing import surface_bodies
from VertebralFractureLib.weights import WeightsFolder

__all__ = ["add_arguments", "measure_landmark_offsets", "run", "surface_loss"]

STEPS = 3000
BATCH = 3
_WIDTH = 16
_LEARNING_RATE, _GOING_ON_RATE = 3e-3, 1.2e-3
_CUT_MM = 4.0
_FAR_WEIGHT = 0.15
_SCALE_SHARE = 0.1
_READ_MM, _SAME_MM = 3.3, 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    straight_training.add_arguments(parser, default_steps=STEPS)


def surface_loss(model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """Absolute error of the distance cut at 4 mm, and how well the scale tells it (of a Laplace distribution)."""
    picture, truth = (part.to(device) for part in batch)
    answer = model(picture).float()
    distance, scale = answer[:, :1], answer[:, 1:]
    near = truth.abs() < _CUT_MM
    # Beyond the cut any distance on the right side of it is right.
    far = torch.where(truth > 0.0, torch.relu(_CUT_MM - distance), torch.relu(_CUT_MM + distance))
    error = torch.where(near, (distance - truth).abs(), _FAR_WEIGHT * far)
    told = error.detach() / scale + scale.log()
    return torch.as_tensor(4.0 * error.mean() + _SCALE_SHARE * (told * near).sum() / near.sum().clamp(min=1))


def run(arguments: argparse.Namespace) -> int:
    """Train and save ``surfaces`` into the weights folder."""
    body = BodyModel.from_weights(WeightsFolder(None).load(BODY_WEIGHTS))

    def batches_of(cases: list[StraightCase]) -> SurfaceBatches:
        windows = [window for case in cases for window in load_or_build_windows(arguments.cache, case, body)]
        return SurfaceBatches(windows, BATCH)

    rate = _LEARNING_RATE if arguments.start_from is None else _GOING_ON_RATE
    done = train_on_cases(arguments, lambda: SurfaceNetwork(_WIDTH), batches_of, surface_loss, learning_rate=rate)
    folder = arguments.weights_folder
    config = {"architecture": "SurfaceNetwork", "width": _WIDTH, "landmark_outward_mm": [0.0, 0.0, 0.0], **done.record}
    save_weights(SURFACE_WEIGHTS, done.tensors, config, folder)
    model = SurfaceModel.from_weights(WeightsFolder(folder).load(SURFACE_WEIGHTS))
    config["landmark_outward_mm"] = measure_landmark_offsets(done.cases, body, model)
    save_weights(SURFACE_WEIGHTS, done.tensors, config, folder)
    return 0


def measure_landmark_offsets(cases: Sequence[StraightCase], body: BodyModel, model: SurfaceModel) -> list[float]:
    """How far outside the network's surface the reader's endplates lie, mm, at the front, the middle and the back.

    A reader marks the steepest fall on a narrow strip, a surface is smooth over its neighborhood: half of the median
    difference of the heights, on scans whose slices are thin enough to read them.
    """
    lacks = []
    for case in cases:
        if case.is_phantom or max(case.source_spacing_mm) > _READ_MM:
            continue
        found = localize_bodies_in_their_planes(case.volume, body)
        surfaced = surface_bodies(case.volume, found, model)
        for true in case.reference.vertebrae:
            if true.box is None or None in true.heights_mm:
                continue
            middle = 0.5 * (true.box.s_inf + true.box.s_sup)
            near = [one for one in surfaced if abs(one.span.middle_mm - middle) < _SAME_MM and one.surface is not None]
            points = near[0].landmarks_straight() if len(near) == 1 else None
            if points is not None:
                heights = measure_heights(case.volume.frame.straight_to_ras(points))
                lacks.append(np.array(true.heights_mm, dtype=np.float64) - np.array(astuple(heights)))
    return [round(0.5 * float(lack), 3) for lack in np.median(lacks, axis=0)] if lacks else [0.0, 0.0, 0.0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    import logging

    logging.basicConfig(level=logging.INFO)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
