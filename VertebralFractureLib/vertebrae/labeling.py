"""Run the level network on the bodies that were found in a straightened spine, and label them.

Imports torch inside its functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel, drop_uncertain_levels, find_likeliest_levels
from VertebralFractureLib.vertebrae.level_column import lay_column, weigh_steps
from VertebralFractureLib.vertebrae.level_input import (
    LEVEL_CLASSES,
    build_fine_volume,
    compute_relative_spacing,
    list_coarse_indices,
    list_fine_rows,
    normalize_channels,
    sample_column,
)

if TYPE_CHECKING:
    from VertebralFractureLib.vertebrae.level_network import LevelModel
from VertebralFractureLib.vertebrae.level_landmark import limit_without_landmark


def label_bodies(
    spine: StraightenedVolume,
    extents_mm: Sequence[tuple[float, float]],
    model: LevelModel,
    seen_mm: tuple[float, float] | None = None,
) -> list[LevelLabel]:
    """Label each body, given the arc lengths of its lower and upper endplate, caudal to cranial.

    A hole in the column counts the levels that fit into it; where that is not certain, neither are the labels beyond
    it, and none is surer than what is seen allows.

    Args:
        seen_mm: the stretch in which landmarks count; None: all of the volume.
    """
    opinion = compute_level_log_probability(spine, extents_mm, model)
    labels = find_likeliest_levels(opinion, weigh_steps(extents_mm))
    s = spine.axis_mm("s")
    seen_mm = seen_mm or (float(s[0]), float(s[-1]))
    return drop_uncertain_levels(limit_without_landmark(labels, extents_mm, seen_mm))


def compute_level_log_probability(
    spine: StraightenedVolume, extents_mm: Sequence[tuple[float, float]], model: LevelModel
) -> FloatArray:
    """Log-probability of every level class for every body, ``(n, 25)``, each body by itself.

    The network sees the column and its mirror image: left and right carry no level.
    """
    import torch

    if not extents_mm:
        return np.zeros((0, len(LEVEL_CLASSES)))
    column = lay_column(extents_mm)
    picture = normalize_channels(
        sample_column(build_fine_volume(spine), list_fine_rows(column, spine.origin_mm[2]), *list_coarse_indices())
    )
    spacing = to_tensor(compute_relative_spacing(column.spacing_mm))
    with torch.inference_mode():
        both = torch.stack([picture, picture.flip(-1)]).to(model.device)
        logits = model.network(both, torch.stack([spacing, spacing]).to(model.device))
    log_p = to_array(torch.log_softmax(logits.double().mean(dim=0), dim=0).T)
    return np.asarray(log_p[column.found])
