"""Run the level network on the bodies that were found in a straightened spine, and label them.

Imports torch inside its functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.vertebrae.level_assignment import (
    LevelLabel,
    LevelOpinion,
    Steps,
    drop_uncertain_levels,
    find_likeliest_levels,
)
from VertebralFractureLib.vertebrae.level_column import Column, lay_column, weigh_steps
from VertebralFractureLib.vertebrae.level_input import (
    LEVEL_CLASSES,
    REGIONS,
    ROWS_PER_CELL,
    build_fine_volume,
    compute_relative_spacing,
    draw_fine_column,
)
from VertebralFractureLib.vertebrae.level_landmark import Landmark, find_landmarks, keep_doubt_of_scan

if TYPE_CHECKING:
    import torch

    from VertebralFractureLib.vertebrae.level_network import LevelModel


@dataclass(frozen=True)
class LabeledColumn:
    """A label for each body, caudal to cranial, and the landmarks that they were counted from."""

    labels: list[LevelLabel]
    landmarks: frozenset[Landmark]

    @property
    def is_counted_only(self) -> bool:
        """No landmark was seen: the levels follow from the look and size of the vertebrae alone."""
        return not self.landmarks


def label_bodies(
    spine: StraightenedVolume,
    extents_mm: Sequence[tuple[float, float]],
    model: LevelModel,
    seen_mm: tuple[float, float] | None = None,
    fine: torch.Tensor | None = None,
) -> LabeledColumn:
    """Label each body, given the arc lengths of its lower and upper endplate, caudal to cranial.

    A hole in the column counts the levels that fit into it; where that is not certain, neither are the labels beyond
    it, and none is surer than what is seen allows.

    Args:
        seen_mm: the stretch that the bodies are judged in; None: all of the volume.
        fine: of ``build_fine_volume`` for all of the volume, where it is built already.
    """
    shown, fine = (spine, fine) if seen_mm is None else (_cut(spine, seen_mm), None)
    return label_column(compute_level_opinion(shown, extents_mm, model, fine), weigh_steps(extents_mm))


def _cut(spine: StraightenedVolume, seen_mm: tuple[float, float]) -> StraightenedVolume:
    """The rows of the volume that lie in a stretch."""
    s = spine.axis_mm("s")
    first, last = np.searchsorted(s, seen_mm[0]), np.searchsorted(s, seen_mm[1], side="right")
    rows = slice(int(first), int(last))
    origin = (*spine.origin_mm[:2], float(s[first]))
    return replace(spine, hu=spine.hu[rows], inside=spine.inside[rows], origin_mm=origin)


def label_column(opinion: LevelOpinion, steps: Steps) -> LabeledColumn:
    """Label each body from the network's opinion; no label is surer than the landmarks that are seen allow."""
    labels = find_likeliest_levels(opinion, steps)
    landmarks = find_landmarks(opinion, labels) if labels else frozenset()
    return LabeledColumn(drop_uncertain_levels(keep_doubt_of_scan(opinion, labels, landmarks)), landmarks)


def compute_level_opinion(
    spine: StraightenedVolume,
    extents_mm: Sequence[tuple[float, float]],
    model: LevelModel,
    fine: torch.Tensor | None = None,
) -> LevelOpinion:
    """What the network says of every body, and of the cells around them; ``fine`` as in ``label_bodies``."""
    if not extents_mm:
        nothing = np.zeros((0, len(REGIONS)))
        return LevelOpinion(np.zeros((0, len(LEVEL_CLASSES))), nothing, nothing[:, 0], np.zeros(0, dtype=np.intp))
    column = lay_column(extents_mm)
    return judge_column(draw_column(spine, column, fine), column, model)


def draw_column(spine: StraightenedVolume, column: Column, fine: torch.Tensor | None = None) -> torch.Tensor:
    """The picture of the column that the network sees, ``(3, cells * 6, 28, 32)``; ``fine`` as in ``label_bodies``."""
    return draw_fine_column(build_fine_volume(spine) if fine is None else fine, spine.origin_mm[2], column)


def judge_column(picture: torch.Tensor, column: Column, model: LevelModel) -> LevelOpinion:
    """Run the network on the column's picture ``(3, cells * 6, 28, 32)`` and its mirror image: sides carry no level."""
    import torch

    spacing = to_tensor(compute_relative_spacing(column.spacing_mm))
    with torch.inference_mode():
        both = torch.stack([picture, picture.flip(-1)]).to(model.device)
        logits = model.network(both, torch.stack([spacing, spacing]).to(model.device)).double().mean(dim=0)
    levels, regions = logits[: len(LEVEL_CLASSES)], logits[len(LEVEL_CLASSES) :]
    seen = to_array(picture[2]).reshape(len(column.spacing_mm), ROWS_PER_CELL, -1).max(axis=2).mean(axis=1)
    return LevelOpinion(
        to_array(torch.log_softmax(levels, dim=0).T)[column.found],
        to_array(torch.log_softmax(regions, dim=0).T),
        seen,
        column.found,
    )
