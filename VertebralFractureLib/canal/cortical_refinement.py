"""Cortical boundary refinement: move the found points towards the middle of the bone around them, on the scan's voxels.

The network knows which hole in the bone is the canal, and sees it in pixels of 2 mm; where its walls stand can be
measured. Neither is perfect, so a position goes a part of the way: where few rays meet bone on both sides, or where the
two disagree by more than 3 mm, it stays where the network put it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from VertebralFractureLib.canal.bony_canal import find_bone_threshold_hu
from VertebralFractureLib.canal.candidates import CanalCandidates
from VertebralFractureLib.canal.path import CanalPath
from VertebralFractureLib.thresholds import CORTICAL_REFINEMENT
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sampling import sample_hu_between


def refine_to_cortex(ct: CTVolume, candidates: CanalCandidates, path: CanalPath) -> CanalCandidates:
    """The candidates with the positions along ``path`` moved, and their walls still where they were."""
    tuned = CORTICAL_REFINEMENT
    positions = candidates.position_mm[path.rows, path.choices]
    middle, certainty = find_cortical_boundary_center(ct, candidates.heights_mm[path.rows], positions)
    shift = middle - positions
    # A position that differs by nearly too much goes nearly nowhere: a limit without a slope would make it jump.
    apart = np.linalg.norm(shift, axis=1)
    agreement = np.clip((tuned.farthest_mm - apart) / (tuned.farthest_mm - tuned.agrees_mm), 0.0, 1.0)
    shift = tuned.cortex_weight * (certainty * agreement)[:, None] * shift
    position, walls = candidates.position_mm.copy(), candidates.walls_mm.copy()
    position[path.rows, path.choices] += shift
    walls[path.rows, path.choices] -= shift[:, [0, 0, 1, 1, 0, 0, 1, 1]]
    return replace(candidates, position_mm=position, walls_mm=walls)


def find_cortical_boundary_center(
    ct: CTVolume, heights_mm: FloatArray, positions_mm: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Compute the middle between the walls that rays from each position meet in its axial plane.

    A position off the middle by d sees the two walls in a direction u at distances that differ by 2 d . u: d is the
    least squares solution over all directions in which both walls are met, found in a few rounds.

    Args:
        heights_mm: ``(n,)`` RAS S.
        positions_mm: ``(n, 2)`` RAS R and A.

    Returns:
        ``(n, 2)`` RAS R and A, and how far it can be believed ``(n,)``: 0 where fewer than ``least_paired`` of the
        directions meet both walls, 1 from ``enough_paired`` on.
    """
    tuned = CORTICAL_REFINEMENT
    angles = 2.0 * np.pi * np.arange(tuned.rays) / tuned.rays
    directions = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    middle, certainty = positions_mm.copy(), np.zeros(len(positions_mm))
    for _ in range(tuned.rounds):
        reach = _reach_mm(ct, np.column_stack([middle, heights_mm]), directions)
        half = 0.5 * (reach - np.roll(reach, tuned.rays // 2, axis=1))
        known = np.isfinite(half)
        paired = known.mean(axis=1)
        normal = np.einsum("nk,ka,kb->nab", known.astype(float), directions, directions) + 1e-6 * np.eye(2)
        moment = np.where(known, half, 0.0) @ directions
        step = np.linalg.solve(normal, moment[:, :, None])[:, :, 0]
        certainty = np.clip((paired - tuned.least_paired) / (tuned.enough_paired - tuned.least_paired), 0.0, 1.0)
        middle += certainty[:, None] * np.clip(step, -tuned.farthest_mm, tuned.farthest_mm)
    return np.asarray(middle), certainty


def _reach_mm(ct: CTVolume, centers_ras: FloatArray, directions: FloatArray) -> FloatArray:
    """Distance ``(n, rays)`` at which each ray meets bone, between voxels; NaN where it meets none or starts in it."""
    tuned = CORTICAL_REFINEMENT
    threshold = find_bone_threshold_hu(ct, centers_ras)
    radius = np.arange(tuned.nearest_ray_mm, tuned.longest_ray_mm + 0.5 * tuned.ray_step_mm, tuned.ray_step_mm)
    rays = np.concatenate([directions[:, None] * radius[:, None], np.zeros((len(directions), len(radius), 1))], axis=2)
    hu = sample_hu_between(ct, centers_ras[:, None, None] + rays)
    bone = hu > threshold[:, None, None]
    first = bone.argmax(axis=2)
    at = np.take_along_axis(hu, first[:, :, None], axis=2)[:, :, 0]
    before = np.take_along_axis(hu, np.maximum(first - 1, 0)[:, :, None], axis=2)[:, :, 0]
    with np.errstate(invalid="ignore"):
        back = np.clip((at - threshold[:, None]) / np.maximum(at - before, 1e-3), 0.0, 1.0)
    reach = radius[first] - tuned.ray_step_mm * np.nan_to_num(back)
    return np.asarray(np.where(bone.any(axis=2) & ~bone[:, :, 0], reach, np.nan))
