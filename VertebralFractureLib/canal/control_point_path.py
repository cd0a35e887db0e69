"""The canal's path through points that a person placed: the network's evidence decides everywhere else.

Every anchor is a place that the path must take; between anchors that lie too far apart for the evidence, a faint line
from one to the next keeps the path together. At the end the curve is bent so that it runs through the anchors exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.canal.axial_stack import AxialStack, axial_stack
from VertebralFractureLib.canal.candidates import CanalCandidates, canal_candidates
from VertebralFractureLib.canal.centerline import Centerline, ordered_points
from VertebralFractureLib.canal.curve import POINT_MM, centerline_from_path
from VertebralFractureLib.canal.network import network_from_weights
from VertebralFractureLib.canal.path import canal_path
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.weights import load_weights

_CONE_MM, _CONE_SLOPE, _CONE_REACH_MM = 4.0, 1.0, 30.0
"""Near an anchor a candidate counts only inside a cone around it: 4 mm, and 1 mm more per mm of height."""
_FAINT = 0.3
_BEND_MM = 12.0


@dataclass(frozen=True)
class CanalEvidence:
    """What the network sees of the canal in one CT; made once, so that every drag is answered at once."""

    stack: AxialStack
    candidates: CanalCandidates


def canal_evidence(
    ct: CTVolume, *, weights_folder: Path | None = None, device: str = "cpu", progress: StageProgress | None = None
) -> CanalEvidence:
    """Run the canal network over the CT, on ``device`` as torch names it.

    Raises:
        WeightsDamaged: when the weights are missing or damaged.
        Cancelled: from ``progress``.
    """
    weights = load_weights("cord", weights_folder)
    network = network_from_weights(weights.tensors, weights.config).to(device)
    stack = axial_stack(ct)
    return CanalEvidence(stack, canal_candidates(network, stack, progress))


def path_through(evidence: CanalEvidence, anchors_ras: FloatArray) -> Centerline | None:
    """The canal's centerline through the anchors ``(n, 3)`` RAS mm, beyond them as far as the network sees a canal.

    ``None`` when neither the network nor the anchors make a path.
    """
    anchors = ordered_points(np.asarray(anchors_ras, dtype=np.float64).reshape(-1, 3))
    candidates, required = _with_anchors(evidence, anchors)
    slice_mm = evidence.stack.spacing_mm[2]
    path = canal_path(candidates.position_mm, candidates.probability, slice_mm, required)
    line = None if path is None else centerline_from_path(evidence.stack, candidates, path)
    if line is None or (len(anchors) and not _covers(line, anchors, slice_mm)):
        return centerline_through(anchors)
    return bent_through(line, anchors)


def centerline_through(anchors: FloatArray) -> Centerline | None:
    """A plain spline through ordered points with a point every 5 mm; ``None`` for fewer than two."""
    if len(anchors) < 2:
        return None
    spline = Centerline(anchors, np.ones(len(anchors)))
    count = max(2, int(np.ceil(spline.length_mm / POINT_MM)) + 1)
    at = np.linspace(0.0, spline.length_mm, count)
    return Centerline(spline.positions_ras(at), np.zeros(count))


def bent_through(line: Centerline, anchors: FloatArray) -> Centerline:
    """``line`` bent sideways, over 12 mm to each side, so that it runs through the anchors at its heights."""
    points = line.points_ras.copy()
    inside = (anchors[:, 2] > points[0, 2]) & (anchors[:, 2] < points[-1, 2]) if len(anchors) else np.zeros(0, bool)
    if not inside.any() or np.any(np.diff(points[:, 2]) <= 0.0):
        return line
    fixed = anchors[inside]
    fine = line.positions_ras(np.arange(0.0, line.length_mm, 0.5, dtype=np.float64))
    missed = fixed[:, :2] - np.stack([np.interp(fixed[:, 2], fine[:, 2], fine[:, axis]) for axis in (0, 1)], axis=1)
    influence = np.exp(-0.5 * ((fixed[:, None, 2] - fixed[None, :, 2]) / _BEND_MM) ** 2)
    weights = np.linalg.solve(influence + 1e-6 * np.eye(len(fixed)), missed)
    points[:, :2] += np.exp(-0.5 * ((points[:, None, 2] - fixed[None, :, 2]) / _BEND_MM) ** 2) @ weights
    return replace(line, points_ras=points)


def _with_anchors(evidence: CanalEvidence, anchors: FloatArray) -> tuple[CanalCandidates, NDArray[np.bool_]]:
    """The candidates with one place more per slice: the anchor, or a faint one on the line between two anchors."""
    found, heights = evidence.candidates, evidence.candidates.heights_mm
    probability = found.probability.copy()
    extra, faint = np.zeros((len(heights), 1, 2)), np.zeros((len(heights), 1))
    required = np.zeros((len(heights), probability.shape[1] + 1), dtype=np.bool_)
    if len(anchors) > 1:
        between = (heights > anchors[0, 2]) & (heights < anchors[-1, 2])
        for axis in (0, 1):
            extra[:, 0, axis] = np.interp(heights, anchors[:, 2], anchors[:, axis])
        faint[between] = _FAINT
    for anchor in anchors:
        rise = np.abs(heights - anchor[2])[:, None]
        aside = np.linalg.norm(found.position_mm - anchor[:2], axis=-1)
        probability[(rise <= _CONE_REACH_MM) & (aside > _CONE_MM + _CONE_SLOPE * rise)] = 0.0
    for anchor in anchors:
        row = int(np.abs(heights - anchor[2]).argmin())
        if abs(heights[row] - anchor[2]) <= evidence.stack.spacing_mm[2]:
            probability[row] = 0.0
            extra[row, 0], faint[row] = anchor[:2], 1.0
            required[row, -1] = True
    spread = np.concatenate([found.spread_mm, np.zeros_like(faint)], axis=1)
    return replace(
        found,
        position_mm=np.concatenate([found.position_mm, extra], axis=1),
        probability=np.concatenate([probability, faint], axis=1),
        spread_mm=spread,
        walls_mm=np.concatenate([found.walls_mm, np.zeros((*faint.shape, found.walls_mm.shape[2]))], axis=1),
    ), required


def _covers(line: Centerline, anchors: FloatArray, slice_mm: float) -> bool:
    low, high = line.points_ras[0, 2], line.points_ras[-1, 2]
    return bool(np.all((anchors[:, 2] >= low - slice_mm) & (anchors[:, 2] <= high + slice_mm)))
