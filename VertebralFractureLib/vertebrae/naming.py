"""Run the level network on a straightened spine and name the bodies that were found.

A body's evidence is the network's mean log-probability over the rows of its core. Imports torch inside its functions
only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.spine.spine_volume import SpineVolume
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.vertebrae.level_assignment import LevelName, name_levels
from VertebralFractureLib.vertebrae.level_input import STEP_MM, level_input
from VertebralFractureLib.vertebrae.sequence_search import Span
from VertebralFractureLib.weights import load_weights, restore

FloatArray = NDArray[np.float64]

WEIGHTS_NAME = "levels"
_HOLE_FROM_MM = 14.0


def level_log_probability(
    spine: SpineVolume, weights_folder: Path | None = None, device: str = "cpu"
) -> tuple[FloatArray, FloatArray]:
    """Arc length of the rows ``(n,)`` and log-probability of every level class ``(n, 25)`` there.

    Raises:
        WeightsDamaged: when the weights are missing or damaged.
    """
    import torch

    from VertebralFractureLib.vertebrae.level_network import LevelNetwork

    weights = load_weights(WEIGHTS_NAME, weights_folder)
    network = LevelNetwork(int(weights.config["width"]))
    restore(network, weights)
    network.to(device)
    picture = level_input(spine)
    with torch.inference_mode():
        logits = network(to_tensor(picture)[None].to(device))[0]
    log_p = to_array(torch.log_softmax(logits.double(), dim=0).T)
    rows = spine.origin_mm[2] + 0.5 * (STEP_MM - 1.0) + STEP_MM * np.arange(len(log_p), dtype=np.float64)
    return rows, log_p


def name_spans(spans: Sequence[Span], rows: FloatArray, log_p: FloatArray) -> list[LevelName]:
    """One name for each span, caudal to cranial; a hole in the column counts the levels that fit into it."""
    evidence = [_evidence(span, rows, log_p) for span in spans]
    steps = steps_between([(span.s_inferior_mm, span.s_superior_mm) for span in spans])
    return name_levels(np.array(evidence).reshape(len(spans), log_p.shape[1]), steps)


def steps_between(extents_mm: Sequence[tuple[float, float]]) -> list[int]:
    """How many levels up each next vertebra is, from the arc lengths of their lower and upper endplates."""
    return [_levels_up(below, above) for below, above in itertools.pairwise(extents_mm)]


def _evidence(span: Span, rows: FloatArray, log_p: FloatArray) -> FloatArray:
    middle = 0.5 * (span.s_inferior_mm + span.s_superior_mm)
    near = np.abs(rows - middle) <= max(0.35 * (span.s_superior_mm - span.s_inferior_mm), STEP_MM / 2)
    if not near.any():
        near = np.abs(rows - middle) == np.abs(rows - middle).min()
    return np.asarray(log_p[near].mean(axis=0))


def _levels_up(below: tuple[float, float], above: tuple[float, float]) -> int:
    gap = above[0] - below[1]
    if gap < _HOLE_FROM_MM:
        return 1
    pitch = 0.5 * (above[1] - above[0] + below[1] - below[0]) + 5.0
    return 1 + round((gap - 5.0) / pitch)
