"""The mid-sagittal outline of a body: traced, and moved along with the landmarks that a reader drags.

``trace_outline`` is the only place that an outline comes from; all that draws or fills bodies takes the outline from
the vertebra's record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.cpr import ReformatFrame
from VertebralFractureLib.types import FloatArray, Point
from VertebralFractureLib.vertebrae.vertebra import Vertebra

if TYPE_CHECKING:
    from VertebralFractureLib.vertebrae.localization import LocalizedBody

_DECIMALS = 3
"""Of a millimeter: far below what is known, and a report stays short."""


def trace_outline(frame: ReformatFrame, body: LocalizedBody) -> tuple[Point, ...] | None:
    """Outline of a body on its own mid plane, RAS mm; None when it was not traced.

    From the anterior upper corner over the upper endplate backward, and over the lower one back to the front: where the
    body's surface cuts the plane, and without a surface the traced endplates with straight walls between them.
    """
    if body.shape is None or body.shape.endplates is None:
        return None
    ring = None if body.surface is None else body.surface.outline((body.middle_mm, body.span.middle_mm))
    if ring is None:
        upper, lower = body.shape.endplates
        ring = np.concatenate([upper, lower[::-1]])
    a, s = ring.T
    return _points(frame.straight_to_ras(body.plane.straight(np.zeros(len(a)), a, s)))


def outline_points(vertebra: Vertebra) -> FloatArray | None:
    """The outline to draw, ``(n, 3)`` in RAS mm, not closed: what was traced, else the lines between the six landmarks.

    None where the body was not measured at all.
    """
    if vertebra.outline_ras is not None:
        return np.array(vertebra.outline_ras)
    if vertebra.landmarks_ras is not None:
        return np.array(vertebra.landmarks_ras)[[0, 1, 2, 5, 4, 3]]
    return None


def measure_mean_height(outline_ras: Sequence[Point], landmarks_ras: Sequence[Point]) -> float:
    """Area of a closed outline over its depth, mm; the six landmarks tell where its front and its back are."""
    ring, marks = np.array(outline_ras, dtype=np.float64), np.array(landmarks_ras, dtype=np.float64)
    area = 0.5 * float(np.linalg.norm(np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0)))
    forward = marks[[0, 3]].mean(axis=0) - marks[[2, 5]].mean(axis=0)
    along = ring @ (forward / max(float(np.linalg.norm(forward)), 1e-9))
    return area / max(float(np.ptp(along)), 1e-9)


def widen_polygon(points: FloatArray, by: float) -> FloatArray:
    """The corners ``(n, 2)`` of a closed polygon moved outward by ``by``, each along the mean of its sides'
    normals; a corner that repeats the one before it stays beside that one.
    """
    sides = np.roll(points, -1, axis=0) - points
    doubled_area = float((points[:, 0] * np.roll(points[:, 1], -1) - points[:, 1] * np.roll(points[:, 0], -1)).sum())
    normals = np.stack([sides[:, 1], -sides[:, 0]], axis=1) * np.sign(doubled_area)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    mean = normals + np.roll(normals, 1, axis=0)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
    return np.asarray(points + by * mean)


def follow_landmarks(
    outline_ras: Sequence[Point], before_ras: Sequence[Point] | None, after_ras: Sequence[Point]
) -> tuple[Point, ...]:
    """The outline, moved as its body's landmarks were.

    Each endplate moves by what its three landmarks moved, linearly between them along the body's depth; what lies
    between the endplates moves by their mean, weighted by how near it is to each.

    Args:
        before_ras: the six landmarks that belong to the outline; None: where it crosses the lines between the upper
            and lower landmarks of ``after_ras``.
        after_ras: where they are now.
    """
    outline, after = np.array(outline_ras, dtype=np.float64), np.array(after_ras, dtype=np.float64)
    before = _cross_outline(outline, after) if before_ras is None else np.array(before_ras, dtype=np.float64)
    anterior = scale_to_unit(before[0] + before[3] - before[2] - before[5])
    superior = before[:3].mean(axis=0) - before[3:].mean(axis=0)
    superior = scale_to_unit(superior - (superior @ anterior) * anterior)
    depth = outline @ anterior
    height, moved = [], []
    for plate in (slice(0, 3), slice(3, 6)):
        order = np.argsort(before[plate] @ anterior)
        at = (before[plate] @ anterior)[order]
        height.append(np.interp(depth, at, (before[plate] @ superior)[order]))
        shift = (after[plate] - before[plate])[order]
        moved.append(np.stack([np.interp(depth, at, shift[:, axis]) for axis in range(3)], axis=1))
    upper = np.clip((outline @ superior - height[1]) / np.maximum(height[0] - height[1], 1e-6), 0.0, 1.0)[:, None]
    return _points(outline + upper * moved[0] + (1.0 - upper) * moved[1])


def _cross_outline(outline: FloatArray, landmarks: FloatArray) -> FloatArray:
    """Where the closed outline crosses the lines through each upper landmark and the lower one below it ``(6, 3)``."""
    crossings: FloatArray = np.array(landmarks, dtype=np.float64)
    middle, starts, ends = outline.mean(axis=0), outline, np.roll(outline, -1, axis=0)
    _, _, axes = np.linalg.svd(outline - middle)
    flat = (axes[:2] @ (points - middle).T for points in (starts, ends, landmarks))
    (x0, y0), (x1, y1), (x, y) = flat
    for upper in range(3):
        lower = upper + 3
        along = np.array([x[upper] - x[lower], y[upper] - y[lower]])
        side0 = along[0] * (y0 - y[lower]) - along[1] * (x0 - x[lower])
        side1 = along[0] * (y1 - y[lower]) - along[1] * (x1 - x[lower])
        cut = np.flatnonzero((side0 < 0.0) != (side1 < 0.0))
        if len(cut) < 2:
            continue
        points = starts[cut] + (side0[cut] / (side0[cut] - side1[cut]))[:, None] * (ends[cut] - starts[cut])
        height = (points - landmarks[lower]) @ (landmarks[upper] - landmarks[lower])
        crossings[upper], crossings[lower] = points[height.argmax()], points[height.argmin()]
    return crossings


def scale_to_unit(vector: FloatArray) -> FloatArray:
    """The vector with length 1; one without a length stays what it is."""
    return np.asarray(vector) / max(float(np.linalg.norm(vector)), 1e-9)


def _points(points_ras: FloatArray) -> tuple[Point, ...]:
    rounded = np.round(points_ras, _DECIMALS)
    return tuple((float(r), float(a), float(s)) for r, a, s in rounded)
