"""Fit the box around a vertebral body, rotated as the vertebra is: about s as its own plane, forward as its endplates.

Depth and height come from what was traced on the plane. The lateral walls are looked for where the mean profile across
the body falls most steeply, near where a body of that depth has them: ribs, psoas and a contrast-filled aorta lie
lateral of it and are as dense.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU, StraightenedVolume
from VertebralFractureLib.thresholds import LATERAL_WALLS
from VertebralFractureLib.types import FloatArray, Point
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.outline import scale_to_unit
from VertebralFractureLib.vertebrae.vertebra import OrientedBox
from VertebralFractureLib.volume.sampling import sample_nearest

_SMOOTHING = np.array([0.25, 0.5, 0.25])


def oriented_box(spine: StraightenedVolume, body: LocalizedBody) -> OrientedBox | None:
    """The box of a body; None when it could not be traced."""
    points, shape = body.landmarks_straight(), body.shape
    if points is None or shape is None:
        return None
    left, right = _lateral_walls(spine, body)
    corners = spine.frame.straight_to_ras(points)
    middle = np.array([body.span.middle_mm])
    walls = [
        spine.frame.straight_to_ras(body.plane.straight(np.array([r]), np.array([a]), middle))[0]
        for r, a in ((left, body.middle_mm), (right, body.middle_mm), (0.0, shape.a_posterior), (0.0, shape.a_anterior))
    ]
    upper, lower = corners[:3], corners[3:]
    anterior = scale_to_unit(scale_to_unit(upper[0] - upper[2]) + scale_to_unit(lower[0] - lower[2]))
    rightward = walls[1] - walls[0]
    rightward = scale_to_unit(rightward - (rightward @ anterior) * anterior)
    axes = np.stack([rightward, anterior, np.cross(rightward, anterior)])
    inside = np.concatenate([corners, walls]) @ axes.T
    low = np.array([inside[:, 0].min(), inside[8:, 1].min(), inside[:6, 2].min()])
    high = np.array([inside[:, 0].max(), inside[8:, 1].max(), inside[:6, 2].max()])
    return OrientedBox(_vector(low @ axes), (_vector(axes[0]), _vector(axes[1]), _vector(axes[2])), _vector(high - low))


def _lateral_walls(spine: StraightenedVolume, body: LocalizedBody) -> tuple[float, float]:
    """Distance of the left (negative) and right wall from the body's plane in mm, at mid height and depth."""
    tuned = LATERAL_WALLS
    shape, span = body.shape, body.span
    if shape is None:
        raise ValueError("A body that was not traced has no walls.")
    if body.measures is not None:
        return body.measures.lateral_mm
    depth = shape.a_anterior - shape.a_posterior
    usual = 0.5 * max(tuned.width_over_depth * depth, tuned.least_usual_mm)
    reach = np.ceil(tuned.farthest * usual) + 2.0
    r = np.arange(-reach, reach + 0.5)
    a = 0.5 * (shape.a_anterior + shape.a_posterior) + 0.12 * depth * np.linspace(-1.0, 1.0, 5)
    s = span.middle_mm + 0.2 * (span.s_superior_mm - span.s_inferior_mm) * np.linspace(-1.0, 1.0, 7)
    points = body.plane.straight(r[:, None, None], a[None, :, None], s[None, None, :])
    values, within = sample_nearest(spine.hu, spine.straight_to_ijk_points(points))
    hu = np.where(within, values.astype(np.float64), OUTSIDE_HU)
    profile = np.convolve(np.clip(hu, tuned.lowest_hu, tuned.highest_hu).mean(axis=(1, 2)), _SMOOTHING, mode="same")
    return -_wall(r, profile[::-1], usual), _wall(r, profile, usual)


def _wall(r: FloatArray, profile: FloatArray, usual: float) -> float:
    """Where the profile falls most steeply going outward from the middle, weighted by how usual that distance is."""
    tuned = LATERAL_WALLS
    fall = np.maximum(profile[:-1] - profile[1:], 0.0)
    at = 0.5 * (r[:-1] + r[1:])
    weight = np.exp(-0.5 * ((at / usual - 1.0) / tuned.log_sd) ** 2)
    score = np.where((at >= tuned.nearest * usual) & (at <= tuned.farthest * usual), fall * weight, 0.0)
    if score.max() <= 0.0:
        return usual
    best = int(score.argmax())
    near = slice(max(best - 1, 0), best + 2)
    return float((at[near] * fall[near]).sum() / fall[near].sum())


def _vector(values: FloatArray) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
