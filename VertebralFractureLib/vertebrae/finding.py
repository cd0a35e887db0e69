"""Find every vertebral body in a straightened spine and place its landmarks, by network, search and tracing.

What the field of view cuts is found too and marked incomplete, so that the count of levels does not slip. Imports torch
inside its functions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.spine.spine_volume import SpineVolume
from VertebralFractureLib.vertebrae.body_input import sagittal_input
from VertebralFractureLib.vertebrae.endplates import BodyShape, measure_shape, mid_depth, strip_mean
from VertebralFractureLib.vertebrae.sequence_search import Profiles, Span, search_spans
from VertebralFractureLib.weights import load_weights, restore

FloatArray = NDArray[np.float64]

WEIGHTS_NAME = "vertebrae"
_TYPICAL_DEPTH_MM = 28.0


@dataclass(frozen=True)
class FoundBody:
    """One body: where it lies along s, its shape (None where it could not be traced), and whether it is whole."""

    span: Span
    middle_mm: float
    shape: BodyShape | None
    complete: bool


@dataclass(frozen=True)
class BodyMaps:
    """The network's answer.

    Attributes:
        probability: ``(3, rows, 96)`` of body, upper edge and lower edge.
        s_from_mm: arc length of row 0.
        edge_outward_mm: how far inside the reader's endplate these weights mark it, measured on their training scans.
    """

    probability: FloatArray
    s_from_mm: float
    edge_outward_mm: float


def body_maps(spine: SpineVolume, weights_folder: Path | None = None) -> BodyMaps:
    """Run the body network.

    Raises:
        WeightsDamaged: when the weights are missing or damaged.
    """
    import torch

    from VertebralFractureLib.vertebrae.body_network import BodyNetwork

    weights = load_weights(WEIGHTS_NAME, weights_folder)
    network = BodyNetwork(int(weights.config["width"]))
    restore(network, weights)
    picture = sagittal_input(spine)
    with torch.inference_mode():
        logits = network(torch.from_numpy(picture.channels)[None])[0]
    probability = torch.sigmoid(logits)[:, : picture.rows].double().numpy()
    return BodyMaps(probability, picture.s_from_mm, float(weights.config["edge_outward_mm"]))


def find_bodies(spine: SpineVolume, maps: BodyMaps) -> list[FoundBody]:
    """The bodies on the maps, caudal to cranial."""
    probability = maps.probability
    s = maps.s_from_mm + np.arange(probability.shape[1], dtype=np.float64)
    middle = mid_depth(probability[0])
    profiles = Profiles(
        s_mm=s,
        body=strip_mean(probability[0], middle),
        upper_edge=strip_mean(probability[1], middle),
        lower_edge=strip_mean(probability[2], middle),
        inside=_inside_at(spine, middle),
    )
    bodies = []
    for span in search_spans(profiles):
        at = float(np.interp(span.middle_mm, s, middle))
        shape = measure_shape(probability, maps.s_from_mm, span, at, maps.edge_outward_mm)
        bodies.append(FoundBody(span, at, shape, not span.cut and _is_whole(spine, span, at, shape)))
    return bodies


def _inside_at(spine: SpineVolume, middle: FloatArray) -> NDArray[np.bool_]:
    """Whether the mid-depth point of every row lies in the field of view; one run, the longest."""
    columns = np.clip(np.rint(middle - spine.origin_mm[1]).astype(int), 0, spine.hu.shape[1] - 1)
    inside = np.asarray(spine.inside[np.arange(len(middle)), columns, round(-spine.origin_mm[0])])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    if len(edges) == 0:
        return inside
    runs = edges.reshape(-1, 2)
    start, stop = runs[(runs[:, 1] - runs[:, 0]).argmax()]
    longest = np.zeros_like(inside)
    longest[start:stop] = True
    return longest


def _is_whole(spine: SpineVolume, span: Span, middle: float, shape: BodyShape | None) -> bool:
    """Whether all corners of the body, a little inside its walls, lie in the field of view."""
    a_post = shape.a_posterior if shape else middle - 0.5 * _TYPICAL_DEPTH_MM
    a_ant = shape.a_anterior if shape else middle + 0.5 * _TYPICAL_DEPTH_MM
    corners = [(a_ant - 1.0, span.s_superior_mm), (a_post + 1.0, span.s_superior_mm)]
    corners += [(a_ant - 1.0, span.s_inferior_mm), (a_post + 1.0, span.s_inferior_mm)]
    if shape is not None:
        corners += [(float(a), float(s)) for a, s in shape.landmarks]
    count = spine.hu.shape
    for a, s in corners:
        for r in (-8.0, 0.0, 8.0):
            k, j, i = round(s - spine.origin_mm[2]), round(a - spine.origin_mm[1]), round(r - spine.origin_mm[0])
            if not (0 <= k < count[0] and 0 <= j < count[1] and 0 <= i < count[2] and bool(spine.inside[k, j, i])):
                return False
    return True
