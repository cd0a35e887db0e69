"""Make bodies denser or less dense in straight space and leave their height as it is, as metastases and islands do.

Every change is blurred as the scan's slices blur it, so that it looks as that scanner would have shown it.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.simulation.noise_texture import blurred
from VertebralFractureLib.research.simulation.simulate_fracture import BLUR_SHARE
from VertebralFractureLib.types import Float32Array

_SOFT_TISSUE_HU = 45.0
_DENSEST_HU = 1250.0
"""Sclerosis is no denser; what is would be cement or metal."""


class DensityChange(Enum):
    """What happens to the bone of one body."""

    ISLAND = "bone island"
    PATCHY = "patchy sclerosis"
    SCLEROTIC = "sclerotic body"
    BANDS = "bands at both endplates"
    BAND = "band under one endplate"
    HEMANGIOMA = "hemangioma"
    LYTIC = "lytic hole"

    @property
    def is_dense(self) -> bool:
        return self not in (DensityChange.HEMANGIOMA, DensityChange.LYTIC)


def change_density(
    hu: Float32Array,
    origin_mm: tuple[float, float, float],
    box: BodyBox,
    change: DensityChange,
    rng: np.random.Generator,
    slice_mm: float = 1.0,
) -> Float32Array:
    """A copy of a straight volume of 1 mm voxels in which the bone of one body is changed.

    Args:
        hu: ``[k, j, i]`` along (s, a, r).
        origin_mm: straight (r, a, s) of voxel (0, 0, 0).
        box: the body; nothing outside it changes but by the blur of the slices.
        rng: size, place and strength.
        slice_mm: thickness of the slices that the volume was made from.
    """
    margin = 4 + int(np.ceil(slice_mm))
    s, a, r = (np.arange(n, dtype=np.float32) + np.float32(o) for n, o in zip(hu.shape, origin_mm[::-1], strict=True))
    window = tuple(
        slice(max(int(np.searchsorted(axis, low)) - margin, 0), int(np.searchsorted(axis, high)) + margin)
        for axis, low, high in (
            (s, box.s_inf, box.s_sup),
            (a, box.a_post, box.a_ant),
            (r, box.r_left, box.r_right),
        )
    )
    body = _BodyGrid(s[window[0]], a[window[1]], r[window[2]], box)
    part = np.asarray(hu[window], dtype=np.float32)
    changed = _changed(part, body, change, rng)
    result = np.array(hu, dtype=np.float32)
    result[window] = part + blurred(changed - part, BLUR_SHARE * max(slice_mm, 1.0))
    return result


class _BodyGrid:
    """Coordinates of a window around one body, as fractions of the body and as mm from its walls."""

    def __init__(self, s: Float32Array, a: Float32Array, r: Float32Array, box: BodyBox) -> None:
        self.s, self.a, self.r = s[:, None, None], a[None, :, None], r[None, None, :]
        self.box = box
        self.height, self.depth, self.width = box.s_sup - box.s_inf, box.a_ant - box.a_post, box.r_right - box.r_left
        self.middle_r = 0.5 * (box.r_left + box.r_right)

    def inside(self, cortex_mm: float) -> Float32Array:
        """1 within the rounded outline of the body, ``cortex_mm`` and more inside it; 0 outside, over 2 mm."""
        box = self.box
        ends = np.minimum(self.s - box.s_inf, box.s_sup - self.s) - cortex_mm
        half_a, half_r = 0.5 * self.depth - cortex_mm, 0.5 * self.width - cortex_mm
        t = (self.a - 0.5 * (box.a_post + box.a_ant)) / half_a
        q = (self.r - self.middle_r) / half_r
        around = (1.0 - (t**4 + q**4) ** 0.25) * min(half_a, half_r)
        return _step(np.minimum(ends, around), 2.0)

    def ball(self, rng: np.random.Generator, least_mm: float, most_mm: float) -> Float32Array:
        """1 in an irregular ellipsoid of that radius somewhere in the body, 0 outside, over 1.5 mm."""
        size = rng.uniform(least_mm, most_mm) * rng.uniform(0.8, 1.25, 3)
        u, t, q = rng.uniform([0.25, 0.2, 0.25], [0.75, 0.8, 0.75])
        place = (self.box.s_inf + u * self.height, self.box.a_post + t * self.depth, self.box.r_left + q * self.width)
        away = np.sqrt(
            sum(
                ((axis - where) / np.float32(n)) ** 2
                for axis, where, n in zip((self.s, self.a, self.r), place, size, strict=True)
            )
        )
        return _step((1.15 - away) * float(size.mean()), 1.5)

    def texture(self, rng: np.random.Generator, strength: float) -> Float32Array:
        """Factors around 1 that vary over some 5 mm."""
        waves = sum(
            np.sin(float(rng.uniform(0.5, 1.3)) * axis + float(rng.uniform(0.0, 6.3)))
            for axis in (self.s + 0.3 * self.a, self.a - 0.4 * self.r, self.r + 0.5 * self.s)
        )
        return np.asarray(1.0 + strength * waves, dtype=np.float32)


def _changed(hu: Float32Array, body: _BodyGrid, change: DensityChange, rng: np.random.Generator) -> Float32Array:
    marrow = body.inside(1.5)
    if change in (DensityChange.HEMANGIOMA, DensityChange.LYTIC):
        hole = body.ball(rng, 5.0, 9.0) * (marrow if change == DensityChange.HEMANGIOMA else body.inside(0.0))
        if change == DensityChange.LYTIC:
            soft = np.float32(_SOFT_TISSUE_HU + rng.uniform(-10.0, 15.0))
            structure = hu
            for axis in range(3):
                structure = blurred(structure, 1.5, axis)
            # The noise of the scan stays: only the bone is taken away.
            return np.asarray(hu - hole * np.maximum(structure - soft, 0.0), dtype=np.float32)
        struts = np.maximum(np.sin(1.8 * body.a) * np.sin(1.8 * body.r), 0.0) ** 2
        depth = np.float32(rng.uniform(60.0, 130.0))
        return np.asarray(hu - hole * depth * (1.0 - 2.0 * struts), dtype=np.float32)
    if change == DensityChange.ISLAND:
        added = np.float32(rng.uniform(400.0, 900.0)) * body.ball(rng, 3.0, 6.0)
    elif change == DensityChange.PATCHY:
        count = int(rng.integers(2, 5))
        patches = np.max([body.ball(rng, 4.0, 7.5) for _ in range(count)], axis=0)
        added = np.float32(rng.uniform(180.0, 500.0)) * patches * body.texture(rng, 0.2)
    elif change == DensityChange.SCLEROTIC:
        added = np.float32(rng.uniform(120.0, 600.0)) * body.texture(rng, 0.15)
    else:
        reach = float(rng.uniform(0.2, 0.35)) * body.height
        from_above, from_below = body.box.s_sup - body.s, body.s - body.box.s_inf
        if change == DensityChange.BAND:
            end = from_above if rng.random() < 0.7 else from_below
            middle, width = float(rng.uniform(2.5, 5.0)), float(rng.uniform(1.2, 2.6))
            band = np.exp(-0.5 * ((end - middle) / width) ** 2) * body.texture(rng, 0.2)
        else:
            band = _step(1.2 * reach - from_above, 2.0) + _step(1.2 * reach - from_below, 2.0)
        added = np.float32(rng.uniform(90.0, 300.0)) * band
    denser = hu + marrow * np.asarray(added, dtype=np.float32)
    return np.asarray(np.where(denser > _DENSEST_HU, np.maximum(hu, _DENSEST_HU), denser), dtype=np.float32)


def _step(distance: Float32Array, width: float) -> Float32Array:
    return np.asarray(np.clip(distance / np.float32(width), 0.0, 1.0), dtype=np.float32)
