"""The baseline: the canal found without learning, as soft tissue inside a ring of bone with a body in front of it.

Rays go out from every pixel; how many meet bone at a canal's distance is the evidence. Path and curve are those of the
product, so that a comparison shows what the network adds and nothing else.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal.axial_stack import AxialStack, build_axial_stack
from VertebralFractureLib.canal.candidates import CanalCandidates
from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.curve import fit_centerline
from VertebralFractureLib.canal.network import BOX_SIDES
from VertebralFractureLib.canal.path import find_canal_path
from VertebralFractureLib.thresholds import CANAL_CANDIDATES
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.types import Float32Array as Field
from VertebralFractureLib.volume import CTVolume

_BONE_HU = 170.0
_RAYS = 24
_RING_MM = (6.0, 18.0)
_FREE_MM = 4.0
_CONTENTS_HU, _CONTENTS_WIDTH_HU = 30.0, 90.0
_BODY_MM = (12.0, 34.0)
_BODY_HALF_WIDTH_MM = 8.0
_BODY_HU = 90.0
_LAMINA_DEG = 50.0
_MIDDLE_SCORE, _STEEPNESS = 0.62, 14.0
_APART_MM = 12.0
_SPREAD_MM = 3.0


def classical_centerline(ct: CTVolume) -> Centerline | None:
    """The canal's centerline by bone ring and dynamic programming; None where no path is found."""
    stack = build_axial_stack(ct)
    candidates = classical_candidates(stack)
    path = find_canal_path(candidates.position_mm, candidates.probability, stack.spacing_mm[2])
    return None if path is None else fit_centerline(stack, candidates, path)


def classical_candidates(stack: AxialStack) -> CanalCandidates:
    """The places of highest ring score on every slice, moved to the middle of their ring."""
    places = CANAL_CANDIDATES.candidates_per_slice
    hu = np.asarray(stack.hu, dtype=np.float32)
    bone = hu > _BONE_HU
    score = _score(hu, bone, stack.spacing_mm[0])
    score = _box_mean(score, 1)
    count = len(hu)
    position = np.zeros((count, places, 2))
    probability = np.zeros((count, places))
    apart = round(_APART_MM / stack.spacing_mm[0])
    for row in range(count):
        left = score[row].copy()
        for place in range(places):
            j, i = (int(index) for index in np.unravel_index(left.argmax(), left.shape))
            value = float(left[j, i])
            if value <= 0.0:
                break
            position[row, place] = _cortical_boundary_center(bone[row], float(i), float(j), stack.spacing_mm[0])
            probability[row, place] = 1.0 / (1.0 + np.exp(-_STEEPNESS * (value - _MIDDLE_SCORE)))
            left[max(j - apart, 0) : j + apart + 1, max(i - apart, 0) : i + apart + 1] = 0.0
    return CanalCandidates(
        stack.heights_mm,
        np.array(stack.origin_ras[:2]) + position * np.array(stack.spacing_mm[:2]),
        probability,
        np.full(probability.shape, _SPREAD_MM),
        np.zeros((*probability.shape, BOX_SIDES)),
    )


def _angles() -> FloatArray:
    """0 is anterior, a quarter turn is the patient's right."""
    return 2.0 * np.pi * np.arange(_RAYS) / _RAYS


def _score(hu: Field, bone: BoolArray, pixel_mm: float) -> Field:
    """0 to 1 per pixel: half of it the ring, the rest lamina behind and body in front; 0 outside soft tissue."""
    angles = _angles()
    ring, lamina = np.zeros(hu.shape, np.float32), np.zeros(hu.shape, np.float32)
    behind = np.abs(np.degrees(angles) - 180.0) <= _LAMINA_DEG
    for angle, is_behind in zip(angles, behind, strict=True):
        met = np.zeros(hu.shape, bool)
        for radius in np.arange(_RING_MM[0], _RING_MM[1] + 0.1, pixel_mm):
            met |= _shifted(bone, *_offset(angle, radius, pixel_mm))
        ring += met
        if is_behind:
            lamina += met
    free = np.ones(hu.shape, bool)
    for angle in angles[::3]:
        free &= ~_shifted(bone, *_offset(angle, _FREE_MM, pixel_mm))
    body = np.zeros(hu.shape, np.float32)
    dense = hu > _BODY_HU
    steps = [(r, a) for a in np.arange(*_BODY_MM, 2.0 * pixel_mm) for r in (-_BODY_HALF_WIDTH_MM, 0.0, 8.0)]
    for r, a in steps:
        body += _shifted(dense, round(a / pixel_mm), round(r / pixel_mm))
    contents = np.abs(_box_mean(hu, 1) - _CONTENTS_HU) < _CONTENTS_WIDTH_HU
    score = 0.5 * ring / _RAYS + 0.2 * lamina / behind.sum() + 0.3 * body / len(steps)
    return np.where(free & contents & ~bone, score, 0.0).astype(np.float32)


def _offset(angle: float, radius_mm: float, pixel_mm: float) -> tuple[int, int]:
    return round(radius_mm * np.cos(angle) / pixel_mm), round(radius_mm * np.sin(angle) / pixel_mm)


def _shifted(mask: BoolArray, rows: int, columns: int) -> BoolArray:
    """The mask's value ``rows`` anterior and ``columns`` to the right of every pixel; False beyond the edge."""
    result = np.zeros_like(mask)
    height, width = mask.shape[1:]
    to_j, to_i = slice(max(-rows, 0), height - max(rows, 0)), slice(max(-columns, 0), width - max(columns, 0))
    from_j, from_i = slice(max(rows, 0), height - max(-rows, 0)), slice(max(columns, 0), width - max(-columns, 0))
    result[:, to_j, to_i] = mask[:, from_j, from_i]
    return result


def _box_mean(values: Field, reach: int) -> Field:
    """Mean over a square of ``2 reach + 1`` pixels within the slice."""
    padded = np.pad(values, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    size, (height, width) = 2 * reach + 1, values.shape[1:]
    total = np.zeros_like(values)
    for j in range(size):
        for i in range(size):
            total += padded[:, j : j + height, i : i + width]
    return np.asarray(total / size**2, dtype=np.float32)


def _cortical_boundary_center(bone: BoolArray, i: float, j: float, pixel_mm: float) -> tuple[float, float]:
    """Pixel (i, j) in the middle between opposite walls, where both are met; two rounds."""
    angles = _angles()
    radius = np.arange(0.0, _RING_MM[1] + 0.1, 0.5) / pixel_mm
    height, width = bone.shape
    for _ in range(2):
        rows = np.rint(j + radius[None] * np.cos(angles)[:, None]).astype(int).clip(0, height - 1)
        columns = np.rint(i + radius[None] * np.sin(angles)[:, None]).astype(int).clip(0, width - 1)
        hit = bone[rows, columns]
        reach = np.where(hit.any(axis=1), radius[hit.argmax(axis=1)], np.nan)
        opposite = np.roll(reach, _RAYS // 2)
        half = 0.5 * (reach - opposite)
        known = np.isfinite(half)
        if known.sum() < _RAYS // 3:
            break
        # A shift d gives every ray half the difference d . direction: least squares over the rays that are known.
        directions = np.stack([np.cos(angles[known]), np.sin(angles[known])], axis=1)
        shift = np.linalg.lstsq(directions, half[known], rcond=None)[0]
        j, i = j + float(shift[0]), i + float(shift[1])
    return i, j
