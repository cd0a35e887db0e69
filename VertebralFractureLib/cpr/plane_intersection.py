"""Where the canal bends so sharply that reformat planes intersect, keep only the part of each that no other reaches.

A point of a plane is its own as long as it lies below every plane further up and above every one further down. What
does not is marked as outside, so that the map from the patient to straightened coordinates has one value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.cpr.frame import STRAIGHTENED, ReformatFrame, ReformatPlanes
from VertebralFractureLib.cpr.grid import ReformatBox
from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU
from VertebralFractureLib.errors import CenterlineTooSharp
from VertebralFractureLib.thresholds import REFORMATTING
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray, IntArray

_SCREEN_MM = 4.0
_OTHERS_MM = 2.0


@dataclass(frozen=True)
class IntersectionLimits:
    """What limits the planes of a box; for every spine that is not sharply bent there is nothing.

    Attributes:
        half_planes: plane k to ``(m, 3)``: only where c0 + c1 r + c2 a >= 0 for each of them the plane is its own.
    """

    half_planes: dict[int, FloatArray]

    def differing_planes(self, other: IntersectionLimits, tolerance_mm: float) -> set[int]:
        """Planes that ``other`` limits in another way."""
        rows = {*self.half_planes, *other.half_planes}
        none = np.zeros((0, 3))
        pairs = {k: (self.half_planes.get(k, none), other.half_planes.get(k, none)) for k in rows}
        same = {k for k, (a, b) in pairs.items() if a.shape == b.shape and np.abs(a - b).max() <= tolerance_mm}
        return rows - same

    def mask_outside(self, box: ReformatBox, rows: IntArray, hu: Float32Array, inside: BoolArray) -> None:
        """Mark in ``hu`` and ``inside``, which hold the given planes of the box, what belongs to another plane."""
        r, a = box.axis_mm("r"), box.axis_mm("a")[:, None]
        for row, k in enumerate(rows.tolist()):
            for c0, c1, c2 in self.half_planes.get(k, ()):
                inside[row] &= c0 + c1 * r + c2 * a >= 0.0
            if k in self.half_planes:
                hu[row][~inside[row]] = OUTSIDE_HU


def find_intersections(frame: ReformatFrame, box: ReformatBox) -> IntersectionLimits:
    """Find the planes that other planes of the same box reach.

    Raises:
        CenterlineTooSharp: when they meet within the canal.
    """
    if frame.kind != STRAIGHTENED:
        return IntersectionLimits({})
    s, r, a = box.axis_mm("s"), box.axis_mm("r"), box.axis_mm("a")
    corners = _corners(r[[0, -1]], a[[0, -1]])
    reach = 2.0 * float(np.linalg.norm(corners, axis=1).max())
    reformatted = frame.reformat_planes(s)
    screen = np.arange(0, len(s), max(1, round(_SCREEN_MM / box.spacing_mm[2])))
    found = _least(_half_planes(reformatted, s, screen, screen, reach), corners).min(axis=1) < 0.0
    if not found.any():
        return IntersectionLimits({})
    near = np.abs(s[:, None] - s[screen[found]]).min(axis=1) <= 2.0 * _SCREEN_MM
    others = np.arange(0, len(s), max(1, round(_OTHERS_MM / box.spacing_mm[2])))
    rows = np.flatnonzero(near)
    planes = _half_planes(reformatted, s, rows, others, reach)
    _refuse_at_the_canal(planes, s[rows])
    limiting = _least(planes, corners) < 0.0
    return IntersectionLimits({int(k): planes[row, limiting[row]] for row, k in enumerate(rows) if limiting[row].any()})


def _corners(r_mm: FloatArray, a_mm: FloatArray) -> FloatArray:
    return np.array([(r, a) for r in r_mm for a in a_mm])


def _half_planes(at: ReformatPlanes, s: FloatArray, rows: IntArray, others: IntArray, reach: float) -> FloatArray:
    """``(planes, others, 3)``: how far a point (r, a) of a plane lies on its own side of another plane, in mm.

    It is c0 + c1 r + c2 a, less the distance that is asked for; a plane that is out of reach never limits.
    """
    normal = at.normal_ras[others]
    away = s[others][None, :] - s[rows][:, None]
    side = np.sign(away)
    offset = (normal * at.origin_ras[others]).sum(axis=1)[None, :] - at.origin_ras[rows] @ normal.T
    planes = np.stack(
        [
            side * offset
            - REFORMATTING.least_distance * np.minimum(np.abs(away), REFORMATTING.least_distance_up_to_mm),
            -side * (at.right_ras[rows] @ normal.T),
            -side * (at.anterior_ras[rows] @ normal.T),
        ],
        axis=-1,
    )
    planes[(np.abs(away) > reach) | (side == 0.0)] = 0.0
    return planes


def _least(planes: FloatArray, corners: FloatArray) -> FloatArray:
    """``(planes, others)`` smallest value of each half-plane over the corners (r, a)."""
    values = planes[..., :1] + planes[..., 1:] @ corners.T
    return np.asarray(values.min(axis=-1))


def _refuse_at_the_canal(planes: FloatArray, s: FloatArray) -> None:
    tuned = REFORMATTING
    canal = _corners(np.array([-tuned.torn_at_mm, tuned.torn_at_mm]), np.array([-tuned.torn_at_mm, tuned.torn_at_mm]))
    meeting = _least(planes, canal).min(axis=1) < 0.0
    if meeting.any():
        where = float(np.median(s[meeting]))
        raise CenterlineTooSharp(
            f"The centerline bends so sharply {where:.0f} mm above its lower end that reformat planes "
            "meet in the canal; smooth or move its points there."
        )
