"""Each vertebra's own mid-sagittal plane, found by its symmetry; in a scoliosis it is not the canal's.

A body that is rotated about the canal shows its flank, and a pedicle's root, on the plane through the canal, and the
heights read there are those of other points. Body and arch together are symmetric, whatever one osteophyte does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import MID_PLANE
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.volume.sampling import sample_linear


@dataclass(frozen=True)
class MidPlane:
    """A sagittal plane that moves and turns along s; all arrays ``(n,)``, s ascending.

    Attributes:
        s_mm: where it is known; between, it is interpolated, beyond, it stays.
        offset_mm: r of the plane at a = ``pivot_mm``.
        turn_rad: about s; positive turns the front to the patient's right.
    """

    s_mm: FloatArray
    offset_mm: FloatArray
    turn_rad: FloatArray

    @staticmethod
    def of_canal() -> MidPlane:
        """The plane r = 0."""
        return MidPlane(np.zeros(1), np.zeros(1), np.zeros(1))

    def straight(self, r: FloatArray, a: FloatArray, s: FloatArray) -> FloatArray:
        """Straight (r, a, s) ``(..., 3)`` of points lateral (``r``), along (``a``) and at height ``s`` of the plane.

        ``a`` counts along the plane so that it equals the straight a at ``pivot_mm``; the three broadcast.
        """
        offset, turn = np.interp(s, self.s_mm, self.offset_mm), np.interp(s, self.s_mm, self.turn_rad)
        ahead = a - MID_PLANE.pivot_mm
        across = offset + np.cos(turn) * r + np.sin(turn) * ahead
        along = MID_PLANE.pivot_mm - np.sin(turn) * r + np.cos(turn) * ahead
        return np.stack(np.broadcast_arrays(across, along, s + 0.0 * (r + a)), axis=-1)

    def to_plane(self, points: FloatArray) -> FloatArray:
        """Lateral, along the plane, and s ``(..., 3)`` of straight points: the inverse of ``straight``."""
        r, a, s = np.moveaxis(points, -1, 0)
        offset, turn = np.interp(s, self.s_mm, self.offset_mm), np.interp(s, self.s_mm, self.turn_rad)
        across, ahead = r - offset, a - MID_PLANE.pivot_mm
        lateral = np.cos(turn) * across - np.sin(turn) * ahead
        along = MID_PLANE.pivot_mm + np.sin(turn) * across + np.cos(turn) * ahead
        return np.stack([lateral, along, s], axis=-1)

    def at(self, s_mm: float) -> MidPlane:
        """The plane at one height, going on from there without turning."""
        here = np.array([s_mm])
        return MidPlane(here, np.interp(here, self.s_mm, self.offset_mm), np.interp(here, self.s_mm, self.turn_rad))


def find_mid_plane(spine: StraightenedVolume, bodies: Sequence[tuple[float, float, float]]) -> MidPlane:
    """The plane through bodies given as (arc length of the lower and upper endplate, a of the anterior wall), mm.

    Each body's own best plane, then the median and mean over neighbors: vertebrae turn gradually.
    """
    if not bodies:
        return MidPlane.of_canal()
    found = np.array([_plane_of(spine, *body) for body in bodies])
    smooth = _smoothed(found)
    return MidPlane(np.array([0.5 * (low + high) for low, high, _ in bodies]), smooth[:, 0], smooth[:, 1])


def _smoothed(values: FloatArray) -> FloatArray:
    padded = np.concatenate([values[:1], values, values[-1:]])
    median = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    padded = np.concatenate([median[:1], median, median[-1:]])
    return np.asarray(0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:])


def _plane_of(spine: StraightenedVolume, low: float, high: float, front: float) -> tuple[float, float]:
    """Offset and turn of the plane that mirrors the slab at a body's mid height onto itself best."""
    tuned = MID_PLANE
    picture = _axial_picture(spine, low, high, front)
    if picture.known.mean() < tuned.least_known:
        return 0.0, 0.0
    offsets = np.linspace(-tuned.farthest_offset_mm, tuned.farthest_offset_mm, tuned.offsets)
    turns = np.radians(np.linspace(-tuned.farthest_turn_deg, tuned.farthest_turn_deg, tuned.turns))
    offset, turn = _best(picture, offsets, turns)
    near = np.linspace(-1.0, 1.0, 5)
    return _best(picture, offset + tuned.refined_offset_mm * near, turn + np.radians(tuned.refined_turn_deg * near))


@dataclass(frozen=True)
class _Picture:
    """Mean bone over the middle of a body's height ``(rows along a, columns along r)``, 2 mm apart."""

    bone: FloatArray
    known: BoolArray
    a_mm: FloatArray
    r_mm: FloatArray


def _axial_picture(spine: StraightenedVolume, low: float, high: float, front: float) -> _Picture:
    tuned = MID_PLANE
    step = round(tuned.step_mm / spine.spacing_mm[1])
    s, a, r = spine.axis_mm("s"), spine.axis_mm("a"), spine.axis_mm("r")
    reach = max(0.25 * (high - low), 1.0)
    k = np.flatnonzero(np.abs(s - 0.5 * (low + high)) <= reach)
    j = np.flatnonzero((a >= tuned.from_anterior_mm) & (a < front + tuned.beyond_front_mm))
    i = np.flatnonzero(np.abs(r) < tuned.half_width_mm)
    j, i = j[: len(j) // step * step], i[: len(i) // step * step]
    box = np.ix_(k, j, i)
    hu = np.clip(np.asarray(spine.hu[box], dtype=np.float64), tuned.lowest_hu, tuned.highest_hu).mean(axis=0)
    inside = np.asarray(spine.inside[box]).all(axis=0)
    blocks = (len(j) // step, step, len(i) // step, step)
    return _Picture(
        hu.reshape(blocks).mean(axis=(1, 3)),
        np.asarray(inside.reshape(blocks).all(axis=(1, 3))),
        a[j].reshape(-1, step).mean(axis=1),
        r[i].reshape(-1, step).mean(axis=1),
    )


def _best(axial: _Picture, offsets: FloatArray, turns: FloatArray) -> tuple[float, float]:
    """The candidate with the highest correlation of the picture with its mirror image, less the prior."""
    tuned = MID_PLANE
    picture, known, a, r = axial.bone, axial.known, axial.a_mm, axial.r_mm
    rows, columns = picture.shape
    offset, turn = (grid.ravel()[:, None, None] for grid in np.meshgrid(offsets, turns, indexing="ij"))
    right, back = np.cos(turn), np.sin(turn)
    distance = (r[None, None, :] - offset) * right - (a[None, :, None] - tuned.pivot_mm) * back
    column = (r[None, None, :] - 2.0 * distance * right - r[0]) / tuned.step_mm
    row = (a[None, :, None] + 2.0 * distance * back - a[0]) / tuned.step_mm
    within = (row >= 0.0) & (row <= rows - 1.001) & (column >= 0.0) & (column <= columns - 1.001)
    row, column = np.clip(row, 0.0, rows - 1.001), np.clip(column, 0.0, columns - 1.001)
    j, i = row.astype(np.intp), column.astype(np.intp)
    mirrored = np.where(within, sample_linear(picture, np.stack([column, row], axis=-1)), tuned.lowest_hu)
    weight = known[None] & (~within | (known[j, i] & known[j + 1, i + 1]))
    count = np.maximum(weight.sum(axis=(1, 2)), 1)
    own = np.broadcast_to(picture[None], mirrored.shape)
    mean_own, mean_other = ((part * weight).sum(axis=(1, 2)) / count for part in (own, mirrored))
    x, y = (own - mean_own[:, None, None]) * weight, (mirrored - mean_other[:, None, None]) * weight
    correlation = (x * y).sum(axis=(1, 2)) / np.sqrt((x**2).sum(axis=(1, 2)) * (y**2).sum(axis=(1, 2)) + 1e-9)
    prior = (offset.ravel() / tuned.offset_sd_mm) ** 2 + (turn.ravel() / tuned.turn_sd_rad) ** 2
    score = np.where(count > 0.3 * picture.size, correlation, -1.0) - tuned.prior_weight * prior
    at = int(score.argmax())
    return float(offset.ravel()[at]), float(turn.ravel()[at])
