"""Target maps of the body network for one case, on the plane r = 0: what is known, and a weight of 0 where nothing is.

A phantom's endplates are curves through its three landmarks each, exact to a fraction of a voxel whatever its slice
thickness; a reader's box is exact at mid depth only, so only that strip supervises the edges of a real scan.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox, ReferenceVertebra
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.vertebrae.body_input import ANTERIOR_FROM_MM, COLUMNS

EDGE_SIGMA_MM = 1.3
_STRIP_MM = 4.0
_CORE_MM = 4.0
_OSTEOPHYTE_MM = 7.0
_RESOLVED_MM = 3.3
"""Thicker slices leave the reader's endplates uncertain by millimeters: they count half."""
_WIDEST_DISC_MM = 20.0


@dataclass(frozen=True)
class BodyTargets:
    """float32 ``(3, rows, 96)`` each: body, upper edge, lower edge; rows and columns as in ``SagittalInput``."""

    value: Float32Array
    weight: Float32Array


def body_targets(case: StraightCase) -> BodyTargets:
    """The targets of a phantom or of an annotated scan."""
    s = case.volume.axis_mm("s")
    return _phantom_targets(case, s) if case.is_phantom else _annotated_targets(case, s)


def _plates(
    case: StraightCase, vertebra: ReferenceVertebra, box: BodyBox, a: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """s of the upper and lower endplate over a: through the landmarks where there are any, else level at mid depth."""
    if vertebra.landmarks_ras is None:
        return np.full(len(a), box.s_sup), np.full(len(a), box.s_inf)
    points = case.volume.frame.ras_to_straight(np.array(vertebra.landmarks_ras))
    return continue_parabola(points[:3, 1:], a), continue_parabola(points[3:, 1:], a)


def _phantom_targets(case: StraightCase, s: FloatArray) -> BodyTargets:
    a = ANTERIOR_FROM_MM + np.arange(COLUMNS, dtype=np.float64)
    value = np.zeros((3, len(s), COLUMNS), dtype=np.float32)
    weight = np.ones_like(value)
    for vertebra in case.reference.vertebrae:
        if vertebra.level == "S1":
            continue
        if vertebra.landmarks_ras is None:
            _ignore(weight, vertebra, s)
            continue
        points = case.volume.frame.ras_to_straight(np.array(vertebra.landmarks_ras))
        upper, lower = continue_parabola(points[:3, 1:], a), continue_parabola(points[3:, 1:], a)
        a_post, a_ant = _walls(vertebra.box, points)
        within = np.clip(0.5 + np.minimum(a - a_post, a_ant - a), 0.0, 1.0)
        below_upper = np.clip(0.5 + upper[None] - s[:, None], 0.0, 1.0)
        above_lower = np.clip(0.5 + s[:, None] - lower[None], 0.0, 1.0)
        value[0] = np.maximum(value[0], below_upper * above_lower * within)
        for channel, curve in ((1, upper), (2, lower)):
            edge = np.exp(-0.5 * ((s[:, None] - curve[None]) / EDGE_SIGMA_MM) ** 2) * within
            value[channel] = np.maximum(value[channel], edge)
    return BodyTargets(value, weight)


def _walls(box: BodyBox | None, points: FloatArray) -> tuple[float, float]:
    if box is not None:
        return box.a_post, box.a_ant
    return float(points[[2, 5], 1].mean() - 3.0), float(points[[0, 3], 1].mean() + 3.5)


def continue_parabola(points: FloatArray, a: FloatArray) -> FloatArray:
    """s over a through three landmarks ``(3, 2)`` of (a, s); straight beyond the outer two, where it would run away."""
    x, y = points[np.argsort(points[:, 0])].T
    coefficients = np.polyfit(x, y, 2)
    inside = np.clip(a, x[0], x[2])
    slope = np.polyval(np.polyder(coefficients), inside)
    return np.asarray(np.polyval(coefficients, inside) + 0.5 * slope * (a - inside))


def _ignore(weight: Float32Array, vertebra: ReferenceVertebra, s: FloatArray) -> None:
    if vertebra.box is not None:
        weight[:, (s > vertebra.box.s_inf - 6.0) & (s < vertebra.box.s_sup + 6.0)] = 0.0


def _annotated_targets(case: StraightCase, s: FloatArray) -> BodyTargets:
    a = ANTERIOR_FROM_MM + np.arange(COLUMNS, dtype=np.float64)
    value = np.zeros((3, len(s), COLUMNS), dtype=np.float32)
    weight = np.zeros_like(value)
    known = [(v, v.box) for v in case.reference.vertebrae if v.complete and v.box is not None]
    boxes = [box for _, box in known]
    sure = 1.0 if max(case.source_spacing_mm) <= _RESOLVED_MM else 0.5
    for vertebra, box in known:
        upper, lower = _plates(case, vertebra, box, a)
        margin = min(_CORE_MM, 0.3 * (box.s_sup - box.s_inf))
        middle = 0.5 * (box.a_post + box.a_ant)
        strip = np.abs(a - middle) <= _STRIP_MM
        span = (s > box.s_inf - 3.0) & (s < box.s_sup + 3.0)
        core = (s[:, None] > lower[None] + margin) & (s[:, None] < upper[None] - margin)
        weight[:, span[:, None] & strip] = sure
        above_lower, below_upper = s[:, None] - lower[None, strip], upper[None, strip] - s[:, None]
        inside_strip = np.clip(0.5 + np.minimum(above_lower, below_upper), 0.0, 1.0)
        value[0][:, strip] = np.maximum(value[0][:, strip], inside_strip)
        deep = core & (a > box.a_post + 2.0) & (a < box.a_ant - 2.0)
        value[0][deep] = 1.0
        weight[:, deep] = 1.0
        outside = (a < box.a_post - 3.0) | (a > box.a_ant + _OSTEOPHYTE_MM)
        weight[:, span[:, None] & outside] = 1.0
        for channel, distance in ((1, below_upper), (2, above_lower)):
            edge = np.exp(-0.5 * (distance / EDGE_SIGMA_MM) ** 2)
            value[channel][:, strip] = np.maximum(value[channel][:, strip], edge)
    for below, above in itertools.pairwise(boxes):
        if above.s_inf - below.s_sup > _WIDEST_DISC_MM:
            continue
        gap = (s > below.s_sup) & (s < above.s_inf)
        middle = 0.25 * (below.a_post + below.a_ant + above.a_post + above.a_ant)
        weight[:, gap[:, None] & (np.abs(a - middle) <= _STRIP_MM)] = sure
    lowest = case.reference.vertebrae[0] if case.reference.vertebrae else None
    if lowest is not None and lowest.level == "L5" and lowest.level_certain and lowest.box is not None:
        weight[:, s < lowest.box.s_inf - 6.0] = 1.0
    return BodyTargets(value, weight)
