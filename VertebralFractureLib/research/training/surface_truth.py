"""Where the surface of a vertebral body lies: a phantom's as it was drawn, a real one's fitted to scan and reader.

A reader gives a body's walls at mid height and its endplates at mid depth. Between and beyond these points the surface
is the smooth one, near a vertebra's usual form, on which HU fall most steeply from bone to what lies outside
(semi-global matching after Hirschmüller 2008, on offsets from the form). Where nothing falls, at the pedicles' roots
and over a fused disc, the form decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from VertebralFractureLib.cpr import ReformatFrame, StraightenedVolume
from VertebralFractureLib.research.datasets import BodyBox, ReferenceVertebra
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.skeleton import PlacedVertebra, build_skeleton
from VertebralFractureLib.research.simulation.body_surfaces import BodySurfaces
from VertebralFractureLib.research.training.vertebra_targets import continue_parabola
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.volume.sampling import sample_linear

Distance = Callable[[FloatArray], FloatArray]
"""From straight points ``(..., 3)`` (r, a, s) to the signed distance from a body's surface in mm, negative inside."""

EXPONENT = 2.6
"""Of the superellipse that a body's cross-section is like; the phantom's."""
_STEP_MM = 2.0
_OFFSETS_MM = np.arange(-4.5, 4.75, 0.5)
_ANGLES = np.linspace(-np.pi, np.pi, 48, endpoint=False)
_LEVELS = np.linspace(-0.85, 0.85, 9)
"""Of the walls: height from the lower to the upper endplate as -1 to 1."""
_RIM_MM = 0.8
"""How much higher an endplate's left and right rims are than its middle; the phantom's dip is 0.5 to 1.5."""
_LOWEST_HU, _HIGHEST_HU = -120.0, 450.0
_SMOOTHNESS, _FORM, _READER = 0.35, 0.06, 2.0
"""Costs of a step of 0.5 mm between neighbors, of a squared mm off the form, and off a reader's point; a fall of
100 HU over 2 mm earns 1."""


def phantom_bodies(options: PhantomOptions, frame: ReformatFrame) -> dict[str, Distance]:
    """The surfaces of a phantom's bodies by level, as they were drawn; ``frame`` of the straightened volume."""
    skeleton = build_skeleton(options, np.random.default_rng([options.seed, 2020]))
    return {vertebra.level: _drawn(vertebra, frame) for vertebra in skeleton.vertebrae}


def _drawn(vertebra: PlacedVertebra, frame: ReformatFrame) -> Distance:
    def distance(points: FloatArray) -> FloatArray:
        local = (frame.straight_to_ras(points.reshape(-1, 3)) - vertebra.center_ras) @ vertebra.axes_ras.T
        r, a, s = local.T.astype(np.float32)
        return np.asarray(vertebra.shape.body_distance(r, a, s)[0], dtype=np.float64).reshape(points.shape[:-1])

    return distance


@dataclass(frozen=True)
class FittedSurface:
    """A body as two height fields and a wall around them, in coordinates of its own mid plane, mm.

    Attributes:
        plane: its mid-sagittal plane.
        middle: (a, s) of its center on the plane.
        r_mm, a_mm: lateral and forward of the center, where the height fields are known.
        upper, lower: ``(a, r)`` s of the endplates above the center.
        radius: ``(levels, angles)`` of the wall around the center's axis; angle 0 is the patient's right, 90 degrees
            the front.
        front_mm: a of the anterior wall at mid height, as the reader set it.
    """

    plane: MidPlane
    middle: tuple[float, float]
    r_mm: FloatArray
    a_mm: FloatArray
    upper: FloatArray
    lower: FloatArray
    radius: FloatArray
    front_mm: float

    def distance(self, points: FloatArray) -> FloatArray:
        """Signed distance of straight points ``(..., 3)``; exact near the surface only."""
        r, a, s = np.moveaxis(self.local(points), -1, 0)
        at = np.stack([(r - self.r_mm[0]) / _STEP_MM, (a - self.a_mm[0]) / _STEP_MM], axis=-1)
        upper, lower = sample_linear(self.upper, at), sample_linear(self.lower, at)
        slope = np.sqrt(1.0 + (np.gradient(0.5 * (self.upper + self.lower), _STEP_MM, axis=0).mean()) ** 2)
        plates = np.maximum(s - upper, lower - s) / slope
        return self.join(plates, r, a, 2.0 * (s - 0.5 * (upper + lower)) / np.maximum(upper - lower, 1.0))

    def join(self, plates: FloatArray, r: FloatArray, a: FloatArray, share: FloatArray) -> FloatArray:
        """Signed distance from endplates and walls together.

        Args:
            plates: signed distance from the nearer endplate, mm.
            r, a: of the points, in the body's own coordinates.
            share: how high they are between the endplates, -1 to 1.
        """
        angle = (np.arctan2(a, r) + np.pi) / (2.0 * np.pi) * len(_ANGLES)
        wrapped = np.concatenate([self.radius, self.radius[:, :1]], axis=1)
        level = (np.clip(share, -1.0, 1.0) - _LEVELS[0]) / (_LEVELS[1] - _LEVELS[0])
        walls = np.hypot(r, a) - sample_linear(wrapped, np.stack([angle, level], axis=-1))
        rounding = np.maximum(1.6 - np.abs(plates - walls), 0.0)
        return np.asarray(np.maximum(plates, walls) + 0.156 * rounding * rounding)

    def local(self, points: FloatArray) -> FloatArray:
        """Straight points ``(..., 3)`` in the body's own coordinates (r, a, s)."""
        return np.asarray(self.plane.to_plane(points) - np.array([0.0, *self.middle]))


@dataclass(frozen=True)
class BrokenSurface:
    """A body of the second simulation: the walls that were fitted before it broke, the endplates that it has since.

    Attributes:
        whole: the body as scanned.
        plates: its endplates after the fracture; its front bulges as far as its box grew.
    """

    whole: FittedSurface
    plates: BodySurfaces

    def distance(self, points: FloatArray) -> FloatArray:
        """Signed distance of straight points ``(..., 3)``; exact near the surface only."""
        own, box = self.plates, self.plates.box
        at = np.stack([points[..., 0] - own.r_mm[0], points[..., 1] - own.a_mm[0]], axis=-1)
        upper, lower = sample_linear(own.upper_mm, at), sample_linear(own.lower_mm, at)
        s = points[..., 2]
        plates = np.maximum((s - upper) / _slope(own.upper_mm, at), (lower - s) / _slope(own.lower_mm, at))
        share = 2.0 * (s - 0.5 * (upper + lower)) / np.maximum(upper - lower, 1.0)
        r, a, _ = np.moveaxis(self.whole.local(points), -1, 0)
        front = box.a_ant - self.whole.middle[0]
        bulge = front - self.whole.front_mm
        side = np.exp(-0.5 * ((points[..., 0] - own.middle_r_mm) / (0.3 * (box.r_right - box.r_left))) ** 2)
        push = bulge * side * np.exp(-0.5 * (share / 0.6) ** 2) * np.exp(-0.5 * ((a - front) / 5.0) ** 2)
        return self.whole.join(plates, r, a - push, share)


def _slope(plate: FloatArray, at: FloatArray) -> FloatArray:
    """How much longer a path along s to an endplate is than the straight one, over a step at most threefold."""
    rise = np.hypot(*np.gradient(gaussian_filter(plate, 1.0)))
    return np.sqrt(1.0 + np.minimum(sample_linear(rise, at), 3.0) ** 2)


def fit_surface(volume: StraightenedVolume, box: BodyBox, body: LocalizedBody) -> FittedSurface | None:
    """The surface of an annotated body; ``body``: as the body network found it, for its plane and its tilt."""
    if body.shape is None:
        return None
    middle_s = 0.5 * (box.s_inf + box.s_sup)
    plane = body.plane.at(middle_s)
    middle = (0.5 * (box.a_post + box.a_ant), middle_s)
    half_depth, half_width = 0.5 * (box.a_ant - box.a_post), 0.5 * (box.r_right - box.r_left)
    r = np.arange(-np.ceil(half_width / 2.0) - 2, np.ceil(half_width / 2.0) + 3) * _STEP_MM
    a = np.arange(-np.ceil(half_depth / 2.0) - 2, np.ceil(half_depth / 2.0) + 3) * _STEP_MM
    rho = (np.abs(r[None]) / (0.9 * half_width)) ** 2 + (a[:, None] / (0.9 * half_depth)) ** 2
    points = body.shape.landmarks - np.array(middle)
    # The traced landmarks tell how hollow an endplate is along the plane; across it, its usual form.
    rim = _RIM_MM * np.clip((r[None] / (0.9 * half_width)) ** 4, 0.0, 1.0)
    upper = _plate_form(points[:3], a, box.s_sup - middle_s) + rim
    lower = _plate_form(points[3:], a, box.s_inf - middle_s) - rim
    read = (np.abs(r[None]) <= 3.0) & (np.abs(a[:, None]) <= 3.0)
    inside = rho < 1.1
    hu = _Sampler(volume, plane, middle)
    upper = upper + _offsets(_fall(hu.along_s(r, a, upper, 1.0)), inside, read, wraps=False)
    lower = lower - _offsets(_fall(hu.along_s(r, a, lower, -1.0)), inside, read, wraps=False)
    form = _wall_form(half_width, half_depth)
    at_s = np.interp(_LEVELS, [-1.0, 1.0], [box.s_inf - middle_s, box.s_sup - middle_s])
    behind = np.abs(np.abs(_ANGLES + 0.5 * np.pi) - np.radians(48.0)) < np.radians(27.0)
    free = ~(behind[None] & (_LEVELS[:, None] > -0.35))
    axis_points = np.abs(_ANGLES[:, None] - np.array([-np.pi, -0.5 * np.pi, 0.0, 0.5 * np.pi])[None]).min(1) < 0.1
    read = axis_points[None] & (np.abs(_LEVELS[:, None]) < 0.3)
    radius = form + _offsets(_fall(hu.outward(form, at_s)), free, read, wraps=True)
    return FittedSurface(plane, middle, r, a, upper, lower, radius, half_depth)


def _plate_form(points: FloatArray, a: FloatArray, at_middle: float) -> FloatArray:
    """``(a, 1)``: a parabola through three landmarks, straight beyond them, moved to the reader's endplate."""
    curve = continue_parabola(points, np.append(a, 0.0))
    return np.asarray(curve[:-1] + at_middle - curve[-1])[:, None]


def _wall_form(half_width: float, half_depth: float) -> FloatArray:
    """``(levels, angles)``: a superellipse with a waist, flat or hollow behind."""
    x, y = np.cos(_ANGLES), np.sin(_ANGLES)
    round_ = (np.abs(x / half_width) ** EXPONENT + np.abs(y / half_depth) ** EXPONENT) ** (-1.0 / EXPONENT)
    hollow = np.where(y < 0.0, 1.2 * np.exp(-((x * round_ / 7.0) ** 2)), 0.0)
    rims = np.where(y < 0.0, 0.03, 0.1)[None] * _LEVELS[:, None] ** 2
    return np.asarray((round_ - 0.5 * hollow)[None] * (1.0 + rims))


@dataclass(frozen=True)
class _Sampler:
    volume: StraightenedVolume
    plane: MidPlane
    middle: tuple[float, float]

    def at(self, r: FloatArray, a: FloatArray, s: FloatArray) -> FloatArray:
        points = self.plane.straight(r, a + self.middle[0], s + self.middle[1])
        values = sample_linear(np.asarray(self.volume.hu), self.volume.straight_to_ijk_points(points))
        return np.asarray(np.clip(values, _LOWEST_HU, _HIGHEST_HU))

    def along_s(self, r: FloatArray, a: FloatArray, form: FloatArray, sign: float) -> FloatArray:
        """HU ``(a, r, samples)`` outward through an endplate, 0.5 mm apart, from 1 mm before the first offset on."""
        steps = np.arange(_OFFSETS_MM[0] - 1.0, _OFFSETS_MM[-1] + 1.25, 0.5)
        s = form[..., None] + sign * steps
        return self.at(r[None, :, None] + 0.0 * s, a[:, None, None] + 0.0 * s, s)

    def outward(self, form: FloatArray, s: FloatArray) -> FloatArray:
        """HU ``(levels, angles, samples)`` outward through the wall."""
        steps = np.arange(_OFFSETS_MM[0] - 1.0, _OFFSETS_MM[-1] + 1.25, 0.5)
        radius = form[..., None] + steps
        return self.at(
            radius * np.cos(_ANGLES)[None, :, None],
            radius * np.sin(_ANGLES)[None, :, None],
            s[:, None, None] + 0.0 * radius,
        )


def _fall(hu: FloatArray) -> FloatArray:
    """Fall of HU over 2 mm around each offset, in 100 HU, ``(..., offsets)``."""
    return np.asarray((hu[..., :-4] - hu[..., 4:]) / 100.0)


def _offsets(fall: FloatArray, counts: np.ndarray, read: np.ndarray, *, wraps: bool) -> FloatArray:
    """Offsets ``(m, n)`` in mm by semi-global matching along four directions, refined by a parabola."""
    form = _FORM + np.where(read, _READER, 0.0)
    cost = np.where(counts[..., None], -fall, 0.0) + form[..., None] * _OFFSETS_MM**2
    total = np.zeros_like(cost)
    for axis in (0, 1):
        moved = np.moveaxis(cost, axis, 0)
        out = np.moveaxis(total, axis, 0)
        for step in (1, -1):
            ordered = moved[::step]
            if wraps and axis == 1:
                ordered = np.concatenate([ordered, ordered])
            path = np.empty_like(ordered)
            path[0] = ordered[0]
            for index in range(1, len(ordered)):
                before = path[index - 1]
                least = before.min(axis=-1, keepdims=True)
                up = np.pad(before, ((0, 0), (1, 0)), constant_values=np.inf)[:, :-1] + _SMOOTHNESS
                down = np.pad(before, ((0, 0), (0, 1)), constant_values=np.inf)[:, 1:] + _SMOOTHNESS
                best = np.minimum(np.minimum(before, least + 4.0 * _SMOOTHNESS), np.minimum(up, down))
                path[index] = ordered[index] + best - least
            out += path[len(path) - len(moved) :][::step]
    best = np.clip(total.argmin(axis=-1), 1, total.shape[-1] - 2)[..., None]
    low, mid, high = (np.take_along_axis(total, best + k, -1)[..., 0] for k in (-1, 0, 1))
    curve = np.maximum(low - 2.0 * mid + high, 1e-6)
    fine = np.clip(0.5 * (low - high) / curve, -0.5, 0.5)
    return np.asarray(_OFFSETS_MM[best[..., 0]] + 0.5 * fine)


def annotated_bodies(case: StraightCase, found: list[LocalizedBody]) -> list[tuple[ReferenceVertebra, FittedSurface]]:
    """The fitted surface of every complete annotated body that the body network found too."""
    fitted = []
    for vertebra in case.reference.vertebrae:
        box = vertebra.box
        if box is None or not vertebra.complete:
            continue
        near = min(found, key=lambda body: abs(body.span.middle_mm - 0.5 * (box.s_inf + box.s_sup)), default=None)
        if near is None or abs(near.span.middle_mm - 0.5 * (box.s_inf + box.s_sup)) > 6.0:
            continue
        surface = fit_surface(case.volume, box, near)
        if surface is not None:
            fitted.append((vertebra, surface))
    return fitted
