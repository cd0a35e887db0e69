"""Score a spine volume: every member of the ensemble scores the same positions.

A member's logits are calibrated by the line that was fitted on held-out patients before the members are pooled, and
the weights carry their own grid, so that a retrained member needs no change of code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.errors import NotEvaluable
from VertebralFractureLib.fracture.fracture_sequence import FractureSequence
from VertebralFractureLib.fracture.network import GRADES, FractureNetwork, NetworkOptions
from VertebralFractureLib.fracture.patches import (
    PatchGrid,
    encode_positions,
    lay_patch_points,
    list_patch_positions,
    sample_patches,
)
from VertebralFractureLib.fracture.pooling import pool_ensemble, sigmoid
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.weights import Weights, build_network

_PATCHES_PER_CHUNK = 32
_ORDINALS = ("vertebra", "grade2", "grade3")
"""Names of the lines that calibrate a grade of at least 1, 2 and 3, as the weights hold them."""


@dataclass(frozen=True)
class RawScores:
    """One member's uncalibrated answer: ``logits`` ``(n, 3)`` of grade >= 1, 2, 3; heights ``(n, 3)`` in mm."""

    positions_mm: FloatArray
    logits: FloatArray
    heights_mm: FloatArray
    inside_fraction: FloatArray


def network_from_weights(weights: Weights) -> tuple[FractureNetwork, PatchGrid]:
    """The network in evaluation mode and the patch grid it was trained on."""
    network = build_network(lambda: FractureNetwork(NetworkOptions.from_config(weights.config["network"])), weights)
    return network, PatchGrid.from_config(weights.config["grid"])


@dataclass(frozen=True)
class SpinePatches:
    """Patches ``(n, 2, S, A, R)`` of a spine on one grid, where they lie, and their positional encoding ``(n, c)``."""

    positions_mm: FloatArray
    patches: torch.Tensor
    code: torch.Tensor

    @staticmethod
    def of(spine: StraightenedVolume, grid: PatchGrid) -> SpinePatches:
        positions = list_patch_positions(spine.frame)
        patches = sample_patches(spine, lay_patch_points(spine.frame, positions, grid), grid)
        return SpinePatches(positions, patches, to_tensor(encode_positions(spine.frame, positions)))

    @property
    def inside_fraction(self) -> FloatArray:
        return to_array(self.patches[:, 1].mean(dim=(1, 2, 3)).double())


def run_member(network: FractureNetwork, sampled: SpinePatches) -> RawScores:
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


@dataclass(frozen=True)
class FractureMember:
    """One network of the ensemble, ready to run.

    Attributes:
        grid: of the patches that it was trained on.
        grade_lines: slope and offset that calibrate its logits of a grade of at least 1, 2 and 3 at a position.
        scan_line: the same for a scan.
        pooling: ``(3,)`` the parameters of its ``F_agg``.
    """

    network: FractureNetwork
    grid: PatchGrid
    grade_lines: tuple[tuple[float, float], ...]
    scan_line: tuple[float, float]
    pooling: FloatArray

    @staticmethod
    def from_weights(weights: Weights, device: str = "cpu") -> FractureMember:
        """Build the network on ``device``, by its name in torch."""
        network, grid = network_from_weights(weights)
        lines = weights.config["calibration"]
        pooling = np.asarray(weights.tensors["pooling"], dtype=np.float64)
        grades = tuple((float(lines[name][0]), float(lines[name][1])) for name in _ORDINALS)
        return FractureMember(network.to(device), grid, grades, tuple(lines["scan"]), pooling)

    def calibrate(self, logits: FloatArray) -> FloatArray:
        """Probabilities ``(..., 3)`` of a grade of at least 1, 2 and 3 from logits; none exceeds the one before."""
        answers = [calibrate_logits(logits[..., index], line) for index, line in enumerate(self.grade_lines)]
        return np.minimum.accumulate(np.stack(answers, axis=-1), axis=-1)


@dataclass(frozen=True)
class FractureEnsemble:
    """The ensemble: its members by name, without the prefix ``fracture-``, in the order in which they are asked."""

    members: Mapping[str, FractureMember]

    def score_positions(self, spine: StraightenedVolume, progress: StageProgress | None = None) -> FractureSequence:
        """The probability of a fracture at every position along a ``straightened`` volume at 1 mm.

        Args:
            progress: called after each member.

        Raises:
            NotEvaluable: when fewer than three patches lie inside the field of view.
            Cancelled: from ``progress``.
        """
        logits: dict[str, FloatArray] = {}
        sampled: dict[PatchGrid, SpinePatches] = {}
        for index, (name, member) in enumerate(self.members.items()):
            if member.grid not in sampled:
                sampled[member.grid] = SpinePatches.of(spine, member.grid)
            scores = run_member(member.network, sampled[member.grid])
            if np.count_nonzero(scores.inside_fraction >= SCORING.least_inside) < SCORING.least_positions:
                raise NotEvaluable("Too little of the spine lies inside the volume to look for fractures.")
            logits[name] = scores.logits
            if progress is not None:
                progress((index + 1) / len(self.members))
        answers = {name: member.calibrate(logits[name]) for name, member in self.members.items()}
        one, two, three = ({name: values[:, index] for name, values in answers.items()} for index in range(GRADES))
        stacked = np.stack(list(one.values()))
        return FractureSequence(
            positions_mm=scores.positions_mm,
            probability=pool_ensemble(stacked),
            uncertainty=stacked.std(axis=0),
            inside_fraction=scores.inside_fraction,
            member_probability=one,
            member_probability_of_2=two,
            member_probability_of_3=three,
            member_logits={name: values[:, 0] for name, values in logits.items()},
        )

    def score_scan(self, sequence: FractureSequence, spans_mm: Sequence[tuple[float, float]]) -> FractureSequence:
        """The sequence with ``F_agg`` over the positions inside the given spans of arc length.

        The spans are those of the vertebrae that were judged: the cervical spine, the sacrum and what the field of view
        cuts are outside the model's purpose and must not decide a scan. Where no position lies in a span, all positions
        count whose patch lies inside the field of view.
        """
        inside = sequence.inside_fraction
        counted = np.zeros(len(inside), dtype=np.bool_)
        for low, high in spans_mm:
            counted |= (sequence.positions_mm >= low) & (sequence.positions_mm <= high)
        counted &= inside >= SCORING.least_inside
        if not counted.any():
            counted = inside >= min(SCORING.least_inside_for_scan, float(inside.max()))
        scores = []
        for name, member in self.members.items():
            scan = compute_scan_logit(sequence.member_logits[name][counted], member.pooling)
            scores.append(float(calibrate_logits(np.asarray(scan), member.scan_line)))
        return replace(sequence, scan_probability=float(pool_ensemble(np.array(scores))))


def compute_scan_logit(logits: FloatArray, pooling: FloatArray) -> float:
    """``F_agg`` of position logits, as ``FractureNetwork.aggregate`` computes it, from its three parameters."""
    sharpness = 0.5 + float(np.logaddexp(0.0, pooling[0]))
    smooth_maximum = float(np.logaddexp.reduce(sharpness * logits)) / sharpness
    return float(pooling[1]) * smooth_maximum + float(pooling[2])


def calibrate_logits(logits: FloatArray, line: Sequence[float]) -> FloatArray:
    """Platt 1999: probability from a logit through a fitted ``(slope, offset)``."""
    slope, offset = line
    return sigmoid(slope * logits + offset)
