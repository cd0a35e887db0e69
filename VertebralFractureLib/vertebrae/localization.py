"""Find every vertebral body in a straightened spine and place its landmarks, by network, search and tracing.

What the field of view cuts is found too and marked incomplete, so that the count of levels does not slip. Imports torch
inside its functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import ACCOUNTING, LOCALIZATION
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.vertebrae.accounting import ColumnAccount, account_for_bodies
from VertebralFractureLib.vertebrae.body_input import ANTERIOR_FROM_MM, COLUMNS, build_sagittal_input, mark_inside_plane
from VertebralFractureLib.vertebrae.endplates import BodyShape, average_strip, find_mid_depth, measure_shape
from VertebralFractureLib.vertebrae.mid_plane import MidPlane, find_mid_plane
from VertebralFractureLib.vertebrae.sequence_search import Profiles, Span, search_spans
from VertebralFractureLib.volume.sampling import sample_nearest

if TYPE_CHECKING:
    from VertebralFractureLib.vertebrae.body_network import BodyModel
    from VertebralFractureLib.vertebrae.body_surface import BodySurface, SurfaceMeasures


@dataclass(frozen=True)
class LocalizedBody:
    """One body: where it lies along s, its shape (None where it could not be traced), and whether it is whole.

    ``middle_mm`` and the shape are measured on the plane of the maps that it was found on, which ``plane`` is.
    ``surface`` and ``measures`` are those of ``surfacing``; None before, and where no surface was believable.
    """

    span: Span
    middle_mm: float
    shape: BodyShape | None
    complete: bool
    plane: MidPlane
    surface: BodySurface | None = None
    measures: SurfaceMeasures | None = None

    def landmarks_straight(self) -> FloatArray | None:
        """Straight (r, a, s) of the six landmarks ``(6, 3)``."""
        if self.shape is None:
            return None
        a, s = self.shape.landmarks.T
        return self.plane.straight(np.zeros(6), a, s)


@dataclass(frozen=True)
class BodyMaps:
    """The network's answer.

    Attributes:
        probability: ``(3, rows, 96)`` of body, upper edge and lower edge.
        s_from_mm: arc length of row 0.
        edge_outward_mm: how far inside the reader's endplate these weights mark it, measured on their training scans.
        plane: the sagittal plane that the maps are of.
    """

    probability: FloatArray
    s_from_mm: float
    edge_outward_mm: float
    plane: MidPlane = field(default_factory=MidPlane.of_canal)


def compute_body_maps(spine: StraightenedVolume, model: BodyModel, plane: MidPlane | None = None) -> BodyMaps:
    """Run the body network on the canal's plane or another one."""
    import torch

    picture = build_sagittal_input(spine, plane)
    with torch.inference_mode():
        logits = model.network(to_tensor(picture.channels)[None].to(model.device))[0]
    probability = to_array(torch.sigmoid(logits)[:, : picture.rows].double())
    return BodyMaps(probability, picture.s_from_mm, model.edge_outward_mm, plane or MidPlane.of_canal())


def localize_bodies_in_canal_plane(spine: StraightenedVolume, model: BodyModel) -> list[LocalizedBody]:
    """The bodies, caudal to cranial, on the sagittal plane of the canal."""
    return localize_bodies(spine, compute_body_maps(spine, model))


def localize_bodies_in_their_planes(
    spine: StraightenedVolume,
    model: BodyModel,
    report: Callable[[float], None] | None = None,
    *,
    first: Sequence[LocalizedBody] | None = None,
) -> list[LocalizedBody]:
    """The bodies, caudal to cranial, each on its own mid-sagittal plane: found on the canal's first, then again.

    Args:
        first: of ``localize_bodies_in_canal_plane`` for this spine volume and model, where they are known already.
    """
    report = report or (lambda _: None)
    first = localize_bodies_in_canal_plane(spine, model) if first is None else first
    report(0.4)
    known = [(b.span.s_inferior_mm, b.span.s_superior_mm, b.shape.a_anterior) for b in first if b.shape is not None]
    plane = find_mid_plane(spine, known)
    report(0.6)
    maps = compute_body_maps(spine, model, plane)
    found = _search_again(spine, model, maps, drop_shallow_shapes(localize_bodies(spine, maps)))
    report(0.9)
    return found


def account_for(bodies: Sequence[LocalizedBody]) -> ColumnAccount:
    """What does not add up among the bodies, caudal to cranial."""
    return account_for_bodies(
        [(body.span.s_inferior_mm, body.span.s_superior_mm) for body in bodies],
        [body.complete for body in bodies],
        [None if body.shape is None else body.shape.greatest_height_mm for body in bodies],
    )


def _search_again(
    spine: StraightenedVolume, model: BodyModel, maps: BodyMaps, found: list[LocalizedBody]
) -> list[LocalizedBody]:
    """The bodies, searched in other ways where they do not add up; what explains the column best is kept.

    First faint bodies are looked for on the same maps, then the network sees the spine denser, less dense, with more
    and with less contrast, as another scanner would show it. A column that adds up is never searched again.
    """
    tuned = ACCOUNTING
    trouble = account_for(found).trouble
    if not trouble:
        return found
    changes = [(1.0, offset) for offset in tuned.hu_changes] + [(factor, 0.0) for factor in tuned.hu_factors]
    known = min((body.span.confidence for body in found), default=1.0)
    for scale, offset in [(1.0, 0.0), *changes]:
        if (scale, offset) != (1.0, 0.0):
            hu = np.where(spine.inside, scale * spine.hu + np.float32(offset), spine.hu).astype(np.float32)
            maps = compute_body_maps(replace(spine, hu=hu), model, maps.plane)
        for unbroken in (True,) if (scale, offset) == (1.0, 0.0) else (False, True):
            other = drop_shallow_shapes(localize_bodies(spine, maps, unbroken=unbroken))
            left = account_for(other).trouble
            sure = min((body.span.confidence for body in other), default=0.0)
            if left < trouble and sure >= min(tuned.least_confidence, known):
                found, trouble = other, left
        if not trouble:
            break
    return found


def drop_shallow_shapes(bodies: list[LocalizedBody]) -> list[LocalizedBody]:
    """The bodies in their order, those without a shape whose outline is far less deep than their neighbors'.

    Such an outline was traced inside the body, so that its heights would pass for a collapse; the body itself stays.
    """
    tuned = LOCALIZATION
    depths = [np.nan if b.shape is None else b.shape.a_anterior - b.shape.a_posterior for b in bodies]
    kept = []
    for at, body in enumerate(bodies):
        neighbors = np.array(
            depths[max(at - tuned.depth_neighbors, 0) : at] + depths[at + 1 : at + 1 + tuned.depth_neighbors]
        )
        neighbors = neighbors[np.isfinite(neighbors)]
        is_shallow = len(neighbors) >= tuned.depth_neighbors and depths[at] < tuned.shallow * np.median(neighbors)
        kept.append(replace(body, shape=None) if is_shallow else body)
    return kept


def localize_bodies(spine: StraightenedVolume, maps: BodyMaps, *, unbroken: bool = False) -> list[LocalizedBody]:
    """The bodies on the maps, caudal to cranial; ``unbroken`` as for ``search_spans``."""
    probability = maps.probability
    s = maps.s_from_mm + np.arange(probability.shape[1], dtype=np.float64)
    middle = find_mid_depth(probability[0])
    profiles = Profiles(
        s_mm=s,
        body=average_strip(probability[0], middle),
        upper_edge=average_strip(probability[1], middle),
        lower_edge=average_strip(probability[2], middle),
        inside=_inside_at(mark_inside_plane(spine, maps.plane), middle),
    )
    bodies = []
    for span in search_spans(profiles, unbroken=unbroken):
        at = float(np.interp(span.middle_mm, s, middle))
        shape = measure_shape(probability, maps.s_from_mm, span, at, maps.edge_outward_mm)
        whole = not span.cut and _is_whole(spine, maps.plane, span, at, shape)
        bodies.append(LocalizedBody(span, at, shape, whole, maps.plane))
    return bodies


def _inside_at(in_view: BoolArray, middle: FloatArray) -> BoolArray:
    """Whether the mid-depth point of every row of the picture lies in the field of view; one run, the longest."""
    columns = np.clip(np.rint(middle - ANTERIOR_FROM_MM).astype(int), 0, COLUMNS - 1)
    inside = np.asarray(in_view[np.arange(len(middle)), columns])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    if len(edges) == 0:
        return inside
    runs = edges.reshape(-1, 2)
    start, stop = runs[(runs[:, 1] - runs[:, 0]).argmax()]
    longest = np.zeros_like(inside)
    longest[start:stop] = True
    return longest


def _is_whole(spine: StraightenedVolume, plane: MidPlane, span: Span, middle: float, shape: BodyShape | None) -> bool:
    """Whether all corners of the body, a little inside its walls, lie in the field of view."""
    points = lay_corners(plane, span, middle, shape)
    inside, within = sample_nearest(spine.inside, spine.straight_to_ijk_points(points))
    return bool(np.all(within & inside))


def lay_corners(
    plane: MidPlane, span: Span, middle: float, shape: BodyShape | None, beyond_mm: float = 0.0
) -> FloatArray:
    """Straight (r, a, s) ``(n, 3)`` of the body's corners and landmarks, ``corner_mm`` to both sides of its plane.

    Args:
        middle: a of its middle, for a body without a shape.
        beyond_mm: how far outside its endplates.
    """
    tuned = LOCALIZATION
    a_post = shape.a_posterior if shape else middle - 0.5 * tuned.typical_depth_mm
    a_ant = shape.a_anterior if shape else middle + 0.5 * tuned.typical_depth_mm
    top, bottom = span.s_superior_mm + beyond_mm, span.s_inferior_mm - beyond_mm
    corners = [(a_ant - 1.0, top), (a_post + 1.0, top), (a_ant - 1.0, bottom), (a_post + 1.0, bottom)]
    if shape is not None:
        corners += [(float(a), float(s)) for a, s in shape.landmarks]
    a, s = np.array(corners).T
    lateral = tuned.corner_mm * np.array([-1.0, 0.0, 1.0])
    return plane.straight(lateral[:, None], a[None], s[None]).reshape(-1, 3)
