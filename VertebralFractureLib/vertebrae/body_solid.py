"""The body as a solid: which points of the patient lie in it, and its surface.

This module is the only place that says so; label map, segmentation, outlines in slice views and comparisons with masks
follow from it. The solid is built from what a report holds: the outline on the body's own mid plane and the lateral
walls. The outline becomes less deep towards the sides as a body's cross-section does, round in front and flat behind.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.thresholds import BODY_SOLID, LATERAL_WALLS
from VertebralFractureLib.types import BoolArray, FloatArray, IntArray
from VertebralFractureLib.vertebrae.outline import scale_to_unit, widen_polygon
from VertebralFractureLib.vertebrae.vertebra import Vertebra

_RINGS = 13
"""Sagittal sections of the surface, denser towards the sides."""

_STRIP_OF_WIDTH = 0.3
"""Half width of the strips of the heights, as a fraction of the body's."""


def has_solid(vertebra: Vertebra) -> bool:
    """Whether the body was traced, so that it can be filled."""
    return vertebra.outline_ras is not None and vertebra.landmarks_ras is not None


def bound_body(vertebra: Vertebra) -> FloatArray:
    """The eight corners ``(8, 3)`` in RAS mm of a box that holds all of a body that ``has_solid``."""
    axes, outline, (left, right) = _lay_out(vertebra)
    low, high = outline.min(axis=0), outline.max(axis=0)
    middle = 0.5 * (low[0] + high[0])
    low[0], high[0] = middle - left, middle + right
    corners = np.array([[r, a, s] for r in (low[0], high[0]) for a in (low[1], high[1]) for s in (low[2], high[2])])
    return np.asarray(corners @ axes)


def mark_body(vertebra: Vertebra, points_ras: FloatArray) -> BoolArray:
    """Whether points ``(..., 3)`` in RAS mm lie in the body of a vertebra that ``has_solid``."""
    tuned = BODY_SOLID
    axes, outline, (left, right) = _lay_out(vertebra)
    r, a, s = np.moveaxis(points_ras @ axes.T, -1, 0)
    r = r - 0.5 * (outline[:, 0].min() + outline[:, 0].max())
    middle_a = 0.5 * (outline[:, 1].min() + outline[:, 1].max())
    aside = np.minimum(np.abs(r) / np.where(r < 0.0, left, right), 1.0)
    power = np.where(a > middle_a, tuned.front_power, tuned.back_power)
    depth = np.maximum(1.0 - aside**power, 0.0) ** (1.0 / power)
    section_a = middle_a + (a - middle_a) / np.maximum(depth, 1e-6)
    return np.asarray((depth > 0.0) & _is_inside(outline[:, 1:], section_a, s))


def mesh_body(vertebra: Vertebra, beside_mm: float = 0.0) -> tuple[FloatArray, IntArray]:
    """The surface of a body that ``has_solid``: points ``(n, 3)`` in RAS mm and triangles ``(m, 3)`` of their indices.

    Args:
        beside_mm: how far outside the body it runs.
    """
    tuned = BODY_SOLID
    axes, outline, (left, right) = _lay_out(vertebra)
    middle_r, middle_a, _ = 0.5 * (outline.min(axis=0) + outline.max(axis=0))
    section = widen_polygon(outline[:, 1:], beside_mm)
    rings = []
    for aside in np.sin(0.5 * np.pi * np.linspace(-1.0, 1.0, _RINGS)):
        power = np.where(section[:, 0] > middle_a, tuned.front_power, tuned.back_power)
        depth = np.maximum(1.0 - abs(aside) ** power, 0.0) ** (1.0 / power)
        r = np.full(len(section), middle_r + aside * ((left if aside < 0.0 else right) + beside_mm))
        rings.append(np.stack([r, middle_a + depth * (section[:, 0] - middle_a), section[:, 1]], axis=1))
    count = len(section)
    at = np.arange(count)
    after = (at + 1) % count
    quads = [np.stack([at, after, after + count, at + count], axis=1) + count * ring for ring in range(_RINGS - 1)]
    corners = np.concatenate(quads)
    return np.concatenate(rings) @ axes, np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])


def list_height_strips(vertebra: Vertebra) -> tuple[FloatArray, IntArray]:
    """The three lines that the heights are measured along, as strips across the mid plane; points and triangles.

    A sagittal slice near the mid plane cuts each strip in its line.
    """
    axes, _, (left, right) = _lay_out(vertebra)
    aside = _STRIP_OF_WIDTH * min(left, right) * axes[0]
    marks = np.array(vertebra.landmarks_ras)
    upper, lower = marks[:3], marks[3:]
    points = np.stack([upper - aside, upper + aside, lower + aside, lower - aside], axis=1).reshape(-1, 3)
    first = np.array([[0, 1, 2], [0, 2, 3]])
    return points, np.concatenate([first, first + 4, first + 8])


def _lay_out(vertebra: Vertebra) -> tuple[FloatArray, FloatArray, tuple[float, float]]:
    """The body's axes (rows to its right, front and top), its outline along them, and its half widths in mm."""
    if vertebra.outline_ras is None or vertebra.landmarks_ras is None:
        raise ValueError("A body that was not traced has no solid.")
    points = np.array(vertebra.outline_ras)
    box = vertebra.box
    if box is not None:
        axes = np.array(box.axes_ras)
        outline = points @ axes.T
        low = float(np.array(box.corner_ras) @ axes[0])
        middle = 0.5 * float(outline[:, 0].min() + outline[:, 0].max())
        left, right = middle - low, low + box.size_mm[0] - middle
        return axes, outline, (max(left, 1.0), max(right, 1.0))
    marks = np.array(vertebra.landmarks_ras)
    anterior = scale_to_unit(marks[0] + marks[3] - marks[2] - marks[5])
    right_axis = scale_to_unit(np.cross(anterior, marks[:3].sum(axis=0) - marks[3:].sum(axis=0)))
    axes = np.stack([right_axis, anterior, np.cross(right_axis, anterior)])
    outline = points @ axes.T
    depth = float(outline[:, 1].max() - outline[:, 1].min())
    half = 0.5 * max(LATERAL_WALLS.width_over_depth * depth, LATERAL_WALLS.least_usual_mm)
    return axes, outline, (half, half)


def _is_inside(polygon: FloatArray, x: FloatArray, y: FloatArray) -> BoolArray:
    """Whether points lie in a closed polygon ``(n, 2)``: a ray from each crosses its sides an odd number of times."""
    inside = np.zeros(np.shape(x), dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        if y0 != y1:
            inside ^= crosses & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return inside
