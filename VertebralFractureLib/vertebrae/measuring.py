"""Measure a vertebra where a person says that there is one: the network's maps place its six landmarks.

The person's extent is only a hint: each endplate is looked for near it, so that a click need not hit to the millimeter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.cpr.hu_scale import shift_to_hu_scale
from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import BODY_SEARCH, ENDPLATES
from VertebralFractureLib.types import FloatArray, Point
from VertebralFractureLib.vertebrae.endplates import average_strip, find_mid_depth, measure_shape
from VertebralFractureLib.vertebrae.localization import (
    LocalizedBody,
    compute_body_maps,
    localize_bodies_in_their_planes,
)
from VertebralFractureLib.vertebrae.outline import trace_outline
from VertebralFractureLib.vertebrae.sequence_search import Span
from VertebralFractureLib.vertebrae.surfacing import surface_bodies

if TYPE_CHECKING:
    from VertebralFractureLib.vertebrae.models import VertebraModels


@dataclass(frozen=True)
class MeasuredBody:
    """Extent (arc length of the lower and upper endplate, mm), ``(6, 3)`` landmarks and outline in RAS mm.

    The latter two are None where the body was not traced.
    """

    extent_mm: tuple[float, float]
    landmarks_ras: FloatArray | None
    outline_ras: tuple[Point, ...] | None = None


def measure_bodies(
    spine: StraightenedVolume, extents_mm: Sequence[tuple[float, float]], models: VertebraModels
) -> list[MeasuredBody]:
    """The bodies whose endplates lie near ``extents_mm``, arc lengths on the ``straightened`` volume."""
    # The column's mid-sagittal plane follows from the vertebrae that the network finds by itself.
    spine, _ = shift_to_hu_scale(spine)
    found = localize_bodies_in_their_planes(spine, models.body)
    maps = compute_body_maps(spine, models.body, found[0].plane if found else None)
    s = maps.s_from_mm + np.arange(maps.probability.shape[1], dtype=np.float64)
    middle = find_mid_depth(maps.probability[0])
    upper_edge, lower_edge = (average_strip(maps.probability[edge], middle) for edge in (1, 2))
    bodies = []
    for lower, upper in extents_mm:
        span = Span(_edge_near(s, lower_edge, lower), _edge_near(s, upper_edge, upper), 1.0)
        if span.s_superior_mm - span.s_inferior_mm < BODY_SEARCH.minimum_height_mm:
            span = Span(lower, upper, 1.0)
        at = float(np.interp(span.middle_mm, s, middle))
        shape = measure_shape(maps.probability, maps.s_from_mm, span, at, maps.edge_outward_mm)
        bodies.append(LocalizedBody(span, at, shape, complete=True, plane=maps.plane))
    # Each by itself: two extents of a reader may overlap, and neither is the other's neighbor.
    return [_measured(spine, surface_bodies(spine, [body], models.surfaces)[0]) for body in bodies]


def _measured(spine: StraightenedVolume, body: LocalizedBody) -> MeasuredBody:
    points = body.landmarks_straight()
    return MeasuredBody(
        (body.span.s_inferior_mm, body.span.s_superior_mm),
        None if points is None else spine.frame.straight_to_ras(points),
        trace_outline(spine.frame, body),
    )


def _edge_near(s: FloatArray, edge: FloatArray, hint_mm: float) -> float:
    """The most probable edge near the hint; the hint itself where none is likely."""
    tuned = ENDPLATES
    near = np.abs(s - hint_mm) <= tuned.click_reach_mm
    if not near.any():
        return hint_mm
    likely = np.where(near, edge * np.exp(-0.5 * ((s - hint_mm) / tuned.click_sd_mm) ** 2), 0.0)
    return float(s[likely.argmax()]) if likely.max() > tuned.click_from else hint_mm
