"""From a spine volume to the fracture sequence: every member of the ensemble scores the same positions.

A member's logits are calibrated by the line that was fitted on held-out patients before the members are pooled, and
the weights carry their own grid, so that a retrained member needs no change of code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.errors import NotEvaluable
from VertebralFractureLib.fracture.fracture_sequence import FractureSequence
from VertebralFractureLib.fracture.members import PREFIX, chosen_members
from VertebralFractureLib.fracture.network import GRADES, FractureNetwork, NetworkOptions
from VertebralFractureLib.fracture.patches import (
    PatchGrid,
    patch_points,
    patch_positions,
    position_code,
    sample_patches,
)
from VertebralFractureLib.fracture.pooling import ensemble_probability, logit, sigmoid
from VertebralFractureLib.options import ALL_MEMBERS
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.weights import Weights, load_weights, restore

_PATCHES_PER_CHUNK = 32


@dataclass(frozen=True)
class RawScores:
    """One member's uncalibrated answer: ``logits`` ``(n, 3)`` of grade >= 1, 2, 3; heights ``(n, 3)`` in mm."""

    positions_mm: FloatArray
    logits: FloatArray
    heights_mm: FloatArray
    inside_fraction: FloatArray


def network_from_weights(weights: Weights) -> tuple[FractureNetwork, PatchGrid]:
    """The network in evaluation mode and the patch grid it was trained on."""
    network = FractureNetwork(NetworkOptions.from_config(weights.config["network"]))
    restore(network, weights)
    return network, PatchGrid.from_config(weights.config["grid"])


@dataclass(frozen=True)
class SpinePatches:
    """Patches ``(n, 2, S, A, R)`` of a spine on one grid, where they lie, and their position code ``(n, c)``."""

    positions_mm: FloatArray
    patches: torch.Tensor
    code: torch.Tensor

    @staticmethod
    def of(spine: StraightenedVolume, grid: PatchGrid) -> SpinePatches:
        positions = patch_positions(spine.frame)
        patches = sample_patches(spine, patch_points(spine.frame, positions, grid), grid)
        return SpinePatches(positions, patches, to_tensor(position_code(spine.frame, positions)))

    @property
    def inside_fraction(self) -> FloatArray:
        return to_array(self.patches[:, 1].mean(dim=(1, 2, 3)).double())


def raw_scores(network: FractureNetwork, sampled: SpinePatches) -> RawScores:
    """Run one member over a whole spine: the mean of its answers to the patches and to their mirror image."""
    device = next(network.parameters()).device
    code, valid = sampled.code[None].to(device), torch.ones(1, len(sampled.positions_mm), device=device)
    answers = []
    with torch.inference_mode():
        for patches in (sampled.patches, sampled.patches.flip(-1)):
            features = torch.cat(
                [network.encoder(part.to(device)) for part in torch.split(patches, _PATCHES_PER_CHUNK)]
            )
            logits, heights, _ = network.answer(features[None], code, valid)
            answers.append(torch.cat([logits[0], heights[0]], dim=1))
    answer = to_array((0.5 * (answers[0] + answers[1])).double())
    return RawScores(sampled.positions_mm, answer[:, :GRADES], 20.0 * answer[:, GRADES:], sampled.inside_fraction)


def score_sequence(
    spine: StraightenedVolume,
    *,
    weights_folder: Path | None = None,
    members: Sequence[str] = ALL_MEMBERS,
    device: str = "cpu",
    progress: StageProgress | None = None,
) -> FractureSequence:
    """The ensemble's fracture probability along a ``straightened`` spine volume.

    ``scan_probability`` is taken over all positions whose patch lies inside the field of view; once the vertebrae are
    known, ``score_series`` takes it over those that were judged.

    Args:
        spine: from ``spine.straighten``.
        weights_folder: folder with a weights manifest; the weights that ship when None.
        members: names without the prefix ``fracture-``, or a choice as ``chosen_members`` takes it.
        device: where the networks run, as torch names it.
        progress: called after each member.

    Raises:
        NotEvaluable: when fewer than three patches lie inside the field of view.
        OptionRefused: when there is no such member.
        WeightsDamaged: when a file is missing or damaged.
        Cancelled: from ``progress``.
    """
    tuned = SCORING
    names = chosen_members(members, weights_folder)
    probability: dict[str, FloatArray] = {}
    sampled: dict[PatchGrid, SpinePatches] = {}
    for index, name in enumerate(names):
        weights = load_weights(PREFIX + name, weights_folder)
        network, grid = network_from_weights(weights)
        network.to(device)
        if grid not in sampled:
            sampled[grid] = SpinePatches.of(spine, grid)
        scores = raw_scores(network, sampled[grid])
        if np.count_nonzero(scores.inside_fraction >= tuned.least_inside) < tuned.least_positions:
            raise NotEvaluable("Too little of the spine lies inside the volume to look for fractures.")
        line = weights.config["calibration"]["vertebra"]
        probability[name] = calibrate_confidence(scores.logits[:, 0], line)
        if progress is not None:
            progress((index + 1) / len(names))
    stacked = np.stack(list(probability.values()))
    sequence = FractureSequence(
        positions_mm=scores.positions_mm,
        probability=ensemble_probability(stacked),
        uncertainty=stacked.std(axis=0),
        inside_fraction=scores.inside_fraction,
        member_probability=probability,
        scan_probability=float("nan"),
    )
    counted = scores.inside_fraction >= min(tuned.least_inside_for_scan, float(scores.inside_fraction.max()))
    return _with_series_score(sequence, counted, weights_folder)


def score_series(
    sequence: FractureSequence, spans_mm: Sequence[tuple[float, float]], *, weights_folder: Path | None = None
) -> FractureSequence:
    """The sequence with ``F_agg`` taken only over positions inside the given spans of arc length.

    The spans are those of the vertebrae that were judged: the cervical spine, the sacrum and what the field of view
    cuts are outside the model's purpose and must not decide a scan. Unchanged when no position lies in a span.
    """
    counted = np.zeros(len(sequence.positions_mm), dtype=np.bool_)
    for low, high in spans_mm:
        counted |= (sequence.positions_mm >= low) & (sequence.positions_mm <= high)
    counted &= sequence.inside_fraction >= SCORING.least_inside
    return _with_series_score(sequence, counted, weights_folder) if counted.any() else sequence


def _with_series_score(sequence: FractureSequence, counted: BoolArray, weights_folder: Path | None) -> FractureSequence:
    scores = []
    for member, probability in sequence.member_probability.items():
        weights = load_weights(PREFIX + member, weights_folder)
        slope, offset = weights.config["calibration"]["vertebra"]
        logits = (logit(probability) - offset) / slope
        series = series_logit(logits[counted], np.asarray(weights.tensors["pooling"], dtype=np.float64))
        scores.append(float(calibrate_confidence(np.asarray(series), weights.config["calibration"]["scan"])))
    return replace(sequence, scan_probability=float(ensemble_probability(np.array(scores))))


def series_logit(logits: FloatArray, pooling: FloatArray) -> float:
    """``F_agg`` of position logits, as ``FractureNetwork.aggregate`` computes it, from its three parameters."""
    sharpness = 0.5 + float(np.logaddexp(0.0, pooling[0]))
    smooth_maximum = float(np.logaddexp.reduce(sharpness * logits)) / sharpness
    return float(pooling[1]) * smooth_maximum + float(pooling[2])


def calibrate_confidence(logits: FloatArray, line: Sequence[float]) -> FloatArray:
    """Platt 1999: probability from a logit through a fitted ``(slope, offset)``."""
    slope, offset = line
    return sigmoid(slope * logits + offset)
