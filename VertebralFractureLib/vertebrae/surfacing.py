"""Give every localized body its surface, and read its shape, extent and walls from there.

The body network's tracing on one plane stays where the surface network's answer is no body of that place: then the
row says that its outline is the rougher one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import BODY_SEARCH, SURFACES
from VertebralFractureLib.vertebrae.body_surface import (
    BodySurface,
    SurfaceMeasures,
    block_of,
    compute_surfaces,
)
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.surface_input import BodyBlock

if TYPE_CHECKING:
    from VertebralFractureLib.vertebrae.surface_network import SurfaceModel


def surface_bodies(
    spine: StraightenedVolume, bodies: Sequence[LocalizedBody], model: SurfaceModel
) -> list[LocalizedBody]:
    """The bodies, each with its surface and what is measured on it where both are believable.

    A body whose block lies off its middle is looked at once more from there. Incomplete bodies keep what they have.
    """
    result = list(bodies)
    at = [index for index, body in enumerate(bodies) if body.complete]
    found = _look([_start(bodies[index]) for index in at], spine, model)
    again = [(n, _start_again(*one)) for n, one in enumerate(found) if one is not None and _is_off(*one)]
    for (n, _), one in zip(again, _look([block for _, block in again], spine, model), strict=True):
        found[n] = one
    for index, one in zip(at, found, strict=True):
        if one is not None and _is_believable(bodies[index], one[1]):
            result[index] = _with_surface(bodies[index], *one)
    return _without_overlaps(bodies, result)


_Look = tuple[BodySurface, SurfaceMeasures]


def _look(blocks: list[BodyBlock], spine: StraightenedVolume, model: SurfaceModel) -> list[_Look | None]:
    surfaces = compute_surfaces(spine, blocks, model)
    measured = [surface.measure(model.landmark_outward_mm) for surface in surfaces]
    return [None if one is None else (surface, one) for surface, one in zip(surfaces, measured, strict=True)]


def _start(body: LocalizedBody) -> BodyBlock:
    shape = body.shape
    middle = body.middle_mm if shape is None else 0.5 * (shape.a_posterior + shape.a_anterior)
    return block_of(body.plane, middle, (body.span.s_inferior_mm, body.span.s_superior_mm))


def _start_again(surface: BodySurface, measures: SurfaceMeasures) -> BodyBlock:
    middle = 0.5 * (measures.shape.a_posterior + measures.shape.a_anterior)
    return block_of(surface.block.plane, middle, measures.extent_mm)


def _is_off(surface: BodySurface, measures: SurfaceMeasures) -> bool:
    block = _start_again(surface, measures)
    off = max(abs(block.s_mm - surface.block.s_mm), abs(block.a_mm - surface.block.a_mm))
    return off > SURFACES.centered_mm or abs(block.height_mm - surface.block.height_mm) > 2.0 * SURFACES.centered_mm


def _is_believable(body: LocalizedBody, measures: SurfaceMeasures) -> bool:
    low, high = measures.extent_mm
    inside = low < body.span.middle_mm < high or body.span.s_inferior_mm < 0.5 * (low + high) < body.span.s_superior_mm
    return inside and BODY_SEARCH.minimum_height_mm <= high - low <= BODY_SEARCH.maximum_height_mm


def _with_surface(body: LocalizedBody, surface: BodySurface, measures: SurfaceMeasures) -> LocalizedBody:
    low, high = measures.extent_mm
    return replace(
        body,
        span=replace(body.span, s_inferior_mm=low, s_superior_mm=high),
        middle_mm=0.5 * (measures.shape.a_posterior + measures.shape.a_anterior),
        shape=measures.shape,
        surface=surface,
        measures=measures,
    )


def _without_overlaps(before: Sequence[LocalizedBody], after: list[LocalizedBody]) -> list[LocalizedBody]:
    """The bodies, of which none reaches into its neighbor: where two do, both keep what they were before."""
    result = list(after)
    for index in range(len(after) - 1):
        if after[index].span.s_superior_mm - after[index + 1].span.s_inferior_mm > SURFACES.overlap_mm:
            result[index], result[index + 1] = before[index], before[index + 1]
    return result
