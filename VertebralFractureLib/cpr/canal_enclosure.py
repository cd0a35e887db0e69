"""Check on the voxels that a curve runs in the spinal canal: soft tissue, with bone all around.

The canal network is as sure as what it has learned, and metal or a lost arch are not among that. Along a true canal
nearly all rays across the curve meet bone within 20 mm, and what they begin in is soft; in a muscle, a body, a lung or
between two rods they do not.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import ENCLOSURE
from VertebralFractureLib.types import BoolArray, FloatArray, IntArray


def weigh_enclosure(spine: StraightenedVolume) -> FloatArray:
    """``(rows,)`` from ``least_weight`` to 1: how well what lies around the curve r = a = 0 is a canal, along s.

    1 where the field of view shows too little to tell. Averaged over ``window_mm`` to either side: at foramina and
    between arches the canal is open.
    """
    tuned = ENCLOSURE
    reach = int(tuned.window_mm / spine.spacing_mm[2])
    enclosed, content = (_average_known(values, reach) for values in measure_enclosure(spine))
    excess = np.maximum(np.maximum(content - tuned.content_to_hu, tuned.content_from_hu - content), 0.0)
    score = enclosed - tuned.most_excess * np.minimum(excess / tuned.excess_hu, 1.0)
    weight = np.clip((score - tuned.open_at) / (tuned.closed_at - tuned.open_at), tuned.least_weight, 1.0)
    return np.where(np.isfinite(weight), weight, 1.0)


def measure_enclosure(spine: StraightenedVolume) -> tuple[FloatArray, FloatArray]:
    """``(rows,)`` fraction of the rays that meet bone before air, and ``(rows,)`` HU of what the curve runs through.

    Bone is denser than the content by ``bone_above_hu``, and less dense than metal. NaN where fewer than half of the
    rays lie in the field of view.
    """
    tuned = ENCLOSURE
    angle = 2.0 * np.pi * np.arange(int(tuned.rays)) / tuned.rays
    radius = np.arange(tuned.nearest_mm, tuned.farthest_mm + 0.5)
    a, r = np.cos(angle)[:, None] * radius, np.sin(angle)[:, None] * radius
    rays, seen = _nearest(spine, r, a)
    near = np.arange(-tuned.content_mm, tuned.content_mm + 0.5)
    middle, known = _nearest(spine, np.repeat(near, len(near)), np.tile(near, len(near)))
    content = np.full(len(rays), np.nan)
    rows = known.any(axis=1)
    content[rows] = np.nanmedian(np.where(known[rows], middle[rows], np.nan), axis=1)
    bone_from = np.clip(content + tuned.bone_above_hu, tuned.lowest_bone_hu, tuned.highest_bone_hu)[:, None, None]
    bone = _first((rays > bone_from) & (rays < tuned.metal_hu) & seen)
    air = _first((rays < tuned.air_hu) & seen)
    whole = seen.all(axis=2) | (bone < rays.shape[2])
    enclosed = np.full(len(rays), np.nan)
    rows = whole.mean(axis=1) >= 0.5
    enclosed[rows] = ((bone < air) & whole)[rows].sum(axis=1) / whole[rows].sum(axis=1)
    return enclosed, content


def _nearest(spine: StraightenedVolume, r: FloatArray, a: FloatArray) -> tuple[FloatArray, BoolArray]:
    """HU ``(rows, ...)`` at (r, a) of every row, nearest voxel, and whether each lies in the field of view."""
    i = np.rint((r - spine.origin_mm[0]) / spine.spacing_mm[0]).astype(np.intp)
    j = np.rint((a - spine.origin_mm[1]) / spine.spacing_mm[1]).astype(np.intp)
    within = (i >= 0) & (i < spine.hu.shape[2]) & (j >= 0) & (j < spine.hu.shape[1])
    i, j = np.clip(i, 0, spine.hu.shape[2] - 1), np.clip(j, 0, spine.hu.shape[1] - 1)
    return np.asarray(spine.hu[:, j, i], dtype=np.float64), np.asarray(spine.inside[:, j, i] & within)


def _first(hit: BoolArray) -> IntArray:
    """Index along the last axis of the first hit; its length where there is none."""
    return np.asarray(np.where(hit.any(axis=-1), hit.argmax(axis=-1), hit.shape[-1]), dtype=np.intp)


def _average_known(values: FloatArray, reach: int) -> FloatArray:
    """Mean of what is known within ``reach`` rows; NaN where nothing is known at the row itself."""
    kernel = np.ones(2 * reach + 1)
    known = np.isfinite(values)
    total = np.convolve(np.where(known, values, 0.0), kernel, mode="full")[reach : reach + len(values)]
    count = np.convolve(known.astype(np.float64), kernel, mode="full")[reach : reach + len(values)]
    return np.where(known, total / np.maximum(count, 1.0), np.nan)
