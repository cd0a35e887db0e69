"""Run the level network on the bodies that were found in a straightened spine, and name them.

Imports torch inside its functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel, likeliest_levels, told
from VertebralFractureLib.vertebrae.level_column import column_of, steps_between
from VertebralFractureLib.vertebrae.level_input import (
    LEVEL_CLASSES,
    fine_rows,
    fine_volume,
    normalize_channels,
    relative_pitch,
    sample_column,
    standard_places,
)
from VertebralFractureLib.vertebrae.level_landmark import limit_without_landmark
from VertebralFractureLib.weights import load_weights, restore

WEIGHTS_NAME = "levels"


def label_bodies(
    spine: StraightenedVolume,
    extents_mm: Sequence[tuple[float, float]],
    weights_folder: Path | None = None,
    device: str = "cpu",
) -> list[LevelLabel]:
    """One name for each body, given the arc lengths of its lower and upper endplate, caudal to cranial.

    A hole in the column counts the levels that fit into it, and no name is surer than what is seen allows. The network
    runs on ``device`` as torch names it.

    Raises:
        WeightsDamaged: when the weights are missing or damaged.
    """
    opinion = level_log_probability(spine, extents_mm, weights_folder, device)
    names = likeliest_levels(opinion, steps_between(extents_mm))
    s = spine.axis_mm("s")
    return told(limit_without_landmark(names, extents_mm, (float(s[0]), float(s[-1]))))


def level_log_probability(
    spine: StraightenedVolume,
    extents_mm: Sequence[tuple[float, float]],
    weights_folder: Path | None = None,
    device: str = "cpu",
) -> FloatArray:
    """Log-probability of every level class for every body, ``(n, 25)``, each body by itself.

    The network sees the column and its mirror image: left and right carry no level.

    Raises:
        WeightsDamaged: when the weights are missing or damaged.
    """
    import torch

    from VertebralFractureLib.vertebrae.level_network import LevelNetwork

    if not extents_mm:
        return np.zeros((0, len(LEVEL_CLASSES)))
    weights = load_weights(WEIGHTS_NAME, weights_folder)
    network = LevelNetwork(int(weights.config["width"]))
    restore(network, weights)
    network.to(device)
    column = column_of(extents_mm)
    picture = normalize_channels(
        sample_column(fine_volume(spine), fine_rows(column, spine.origin_mm[2]), *standard_places())
    )
    pitch = to_tensor(relative_pitch(column.pitch_mm))
    with torch.inference_mode():
        both = torch.stack([picture, picture.flip(-1)]).to(device)
        logits = network(both, torch.stack([pitch, pitch]).to(device))
    log_p = to_array(torch.log_softmax(logits.double().mean(dim=0), dim=0).T)
    return np.asarray(log_p[column.found])
