"""``Skeleton``: the chain of vertebrae, each a rigid frame in RAS, and the canal's centerline behind their bodies.

The chain is stacked endplate on endplate: the angle of each disc is chosen for the wanted curvature, and what a wedge
fracture adds is only partly taken up by its discs, so that kyphosis follows the fracture as in a patient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr.frame import smooth_along
from VertebralFractureLib.research.phantom.level_sizes import LEVEL_SIZES, LORDOSIS_SHARE, spine_levels
from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.vertebra_shape import (
    SchmorlNode,
    VertebraShape,
    fractured_shape,
    intact_shape,
)
from VertebralFractureLib.types import FloatArray

_SMALLEST_GAP_MM = 0.7
_CANAL_SMOOTHING_MM = 7.0
_CANAL_ABOVE_AXIS_MM = (6.0, 18.0, 30.0)
"""The canal goes on through the atlas to the great foramen."""
_CHEST = tuple(f"T{n}" for n in range(5, 14))


@dataclass(frozen=True)
class PlacedVertebra:
    """A vertebra in the patient: ``center_ras`` (3,), ``axes_ras`` (3, 3) with rows r, a, s; disc heights in mm."""

    shape: VertebraShape
    intact: VertebraShape
    center_ras: FloatArray
    axes_ras: FloatArray
    disc_below_mm: float
    disc_above_mm: float

    @property
    def level(self) -> str:
        return self.shape.level

    def to_ras(self, points_local: FloatArray) -> FloatArray:
        """Map ``(n, 3)`` local (r, a, s) mm to RAS mm."""
        return np.asarray(self.center_ras + np.asarray(points_local, dtype=np.float64) @ self.axes_ras)


@dataclass(frozen=True)
class Skeleton:
    """Every vertebra caudal to cranial, S3 to C3, and the whole canal's centerline."""

    vertebrae: tuple[PlacedVertebra, ...]
    centerline: Centerline

    def find(self, level: str) -> PlacedVertebra:
        """The vertebra of that name; KeyError where this spine has none."""
        for vertebra in self.vertebrae:
            if vertebra.level == level:
                return vertebra
        raise KeyError(level)


def build_skeleton(options: PhantomOptions, rng: np.random.Generator) -> Skeleton:
    """The spine of these options, with the middle of its chain at the origin of RAS."""
    levels = spine_levels(options.thoracic_count, options.lumbar_count, to_skull=options.to_skull)
    intact = [_intact(level, options, rng) for level in levels]
    intact = _with_schmorl_nodes(intact, options, rng)
    breaks = {item.level: item for item in options.fractures}
    shapes = [fractured_shape(item, breaks[item.level], rng) if item.level in breaks else item for item in intact]
    discs = [_disc_mm(level, options, rng) for level in levels]
    tilt = _sagittal_tilts(levels, intact, shapes, discs, options, rng)
    bend, twist = _coronal_angles(levels, options, rng)
    axes = [_axes(*angles) for angles in zip(tilt, bend, twist, strict=True)]
    centers = [np.zeros(3)]
    for n in range(1, len(levels)):
        between = axes[n - 1][2] + axes[n][2]
        below = _rim_s(shapes[n - 1])[0] * axes[n - 1][2]
        above = -_rim_s(shapes[n])[1] * axes[n][2]
        centers.append(centers[-1] + below + discs[n] * between / np.linalg.norm(between) + above)
    middle = centers[len(centers) // 2]
    placed = tuple(
        PlacedVertebra(shapes[n], intact[n], centers[n] - middle, axes[n], discs[n], discs[min(n + 1, len(discs) - 1)])
        for n in range(len(levels))
    )
    return Skeleton(placed, _canal(placed))


def _intact(level: str, options: PhantomOptions, rng: np.random.Generator) -> VertebraShape:
    sacral = level.startswith("S")
    return intact_shape(level, LEVEL_SIZES[level], options.size_factor, 0.0 if sacral else options.degeneration, rng)


def _with_schmorl_nodes(
    shapes: list[VertebraShape], options: PhantomOptions, rng: np.random.Generator
) -> list[VertebraShape]:
    able = [n for n, item in enumerate(shapes) if item.level[0] in "TL"]
    result = list(shapes)
    for _ in range(options.schmorl_nodes):
        n = int(rng.choice(able))
        shape = result[n]
        side = float(rng.choice([-1.0, 1.0])) * min(rng.uniform(7.0, 10.0), 0.7 * shape.half_width)
        node = SchmorlNode(bool(rng.random() < 0.45), side, float(rng.uniform(-0.4, 0.2)) * shape.half_depth,
                  float(rng.uniform(3.0, 4.5)), float(rng.uniform(2.0, 5.0)))  # fmt: skip
        result[n] = replace(shape, schmorl_nodes=(*shape.schmorl_nodes, node))
    return result


def _disc_mm(level: str, options: PhantomOptions, rng: np.random.Generator) -> float:
    """Distance of the rims at the disc below this level."""
    normal = LEVEL_SIZES[level].disc_below_mm * options.size_factor
    if level in ("S1", "S2", "S3"):
        return normal
    return float(max(normal * (1.0 - 0.65 * options.degeneration * rng.uniform(0.0, 1.0)), 1.3))


def _rim_s(shape: VertebraShape) -> tuple[float, float]:
    """The s of the upper and lower rim (mean of front and back), where the discs are attached."""
    at = np.array([0.9 * shape.half_depth, -0.9 * shape.half_depth], dtype=np.float32)
    upper, lower = shape.endplates(np.zeros(2, dtype=np.float32), at)
    return float(upper.mean()), float(lower.mean())


def _rim_slopes(shape: VertebraShape) -> tuple[float, float]:
    """Angles in radians by which the upper and the lower rim rise towards the front."""
    at = np.array([0.9 * shape.half_depth, -0.9 * shape.half_depth], dtype=np.float32)
    upper, lower = shape.endplates(np.zeros(2, dtype=np.float32), at)
    run = 1.8 * shape.half_depth
    return float(np.arctan((upper[0] - upper[1]) / run)), float(np.arctan((lower[0] - lower[1]) / run))


def _sagittal_tilts(
    levels: tuple[str, ...],
    intact: list[VertebraShape],
    shapes: list[VertebraShape],
    discs: list[float],
    options: PhantomOptions,
    rng: np.random.Generator,
) -> list[float]:
    """Forward lean of each vertebra's s axis, radians; chest and pelvis lie about equally deep on the table."""
    thoracic = sum(level.startswith("T") for level in levels)
    tilt = [np.radians(options.sacral_slope_deg - 26.0)]
    for n in range(1, len(levels)):
        below = levels[n - 1]
        if below in LORDOSIS_SHARE and levels[n][0] == "L":
            wanted = -options.lordosis_deg * LORDOSIS_SHARE[below]
        elif levels[n][0] == "S":
            wanted = 13.0
        elif levels[n][0] == "T" and below[0] == "T":
            wanted = options.kyphosis_deg / (thoracic - 1)
        elif levels[n][0] == "C":
            wanted = -3.5
        else:
            wanted = 0.0
        angle = np.radians(wanted + rng.normal(0.0, 0.8))
        disc = angle + _rim_slopes(intact[n - 1])[0] - _rim_slopes(intact[n])[1]
        extra = -_rim_slopes(shapes[n - 1])[0] + _rim_slopes(intact[n - 1])[0]
        extra += _rim_slopes(shapes[n])[1] - _rim_slopes(intact[n])[1]
        disc -= 0.35 * extra
        most = max(discs[n] - _SMALLEST_GAP_MM, 0.2) / shapes[n].half_depth
        disc = float(np.clip(disc, -most, most))
        tilt.append(tilt[-1] - _rim_slopes(shapes[n - 1])[0] + disc + _rim_slopes(shapes[n])[1])
    trunk = [angle for level, angle in zip(levels, tilt, strict=True) if level[0] == "L" or level in _CHEST]
    lean = float(np.mean(trunk)) - np.radians(rng.normal(0.0, 2.0))
    return [angle - lean for angle in tilt]


def _coronal_angles(
    levels: tuple[str, ...], options: PhantomOptions, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Lean to the right and axial rotation of each vertebra, radians."""
    count = len(levels)
    position = np.arange(count) - 2.0
    period = rng.uniform(11.0, 20.0)
    start = rng.uniform(0.0, period)
    wave = 2.0 * np.pi * (position - start) / period
    fade = np.clip(position / 3.0, 0.0, 1.0) * np.clip((count - 3.0 - position) / 4.0, 0.0, 1.0)
    cobb = np.radians(options.scoliosis_deg)
    bend = 0.5 * cobb * np.sin(wave) * fade + np.radians(rng.normal(0.0, 1.2)) + np.radians(rng.normal(0.0, 0.5, count))
    twist = (
        0.45 * cobb * np.cos(wave) * fade + np.radians(rng.normal(0.0, 2.0)) + np.radians(rng.normal(0.0, 0.7, count))
    )
    return bend, twist


def _axes(tilt: float, bend: float, twist: float) -> FloatArray:
    s = np.array([np.sin(bend), np.sin(tilt) * np.cos(bend), np.cos(tilt) * np.cos(bend)])
    right = np.array([np.cos(twist), np.sin(twist), 0.0])
    right -= (right @ s) * s
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(s, right), s])


def _canal(vertebrae: tuple[PlacedVertebra, ...]) -> Centerline:
    points = []
    for vertebra in vertebrae:
        upper, lower = _rim_s(vertebra.shape)
        local = [[0.0, vertebra.shape.canal_a, share] for share in (0.6 * lower, 0.6 * upper)]
        points.append(vertebra.to_ras(np.array(local)))
    if vertebrae[-1].level == "C2":
        top = _rim_s(vertebrae[-1].shape)[0]
        beyond = [[0.0, vertebrae[-1].shape.canal_a, top + above] for above in _CANAL_ABOVE_AXIS_MM]
        points.append(vertebrae[-1].to_ras(np.array(beyond)))
    rough = np.concatenate(points)
    first = Centerline(rough, np.ones(len(rough)))
    fine = first.positions_ras(np.arange(0.0, first.length_mm, 1.0))
    smooth = smooth_along(fine, _CANAL_SMOOTHING_MM)[::5]
    return Centerline(smooth, np.ones(len(smooth)))


def crop_centerline(centerline: Centerline, low_ras: FloatArray, high_ras: FloatArray) -> Centerline:
    """The stretch whose points lie between two RAS corners, a point about every 5 mm."""
    s = np.arange(0.0, centerline.length_mm, 0.5)
    points = centerline.positions_ras(s)
    inside = np.all((points >= low_ras) & (points <= high_ras), axis=1)
    first, last = s[inside][0], s[inside][-1]
    steps = max(round((last - first) / 5.0), 2)
    cut = centerline.positions_ras(np.linspace(first, last, steps + 1))
    return Centerline(cut, np.ones(len(cut)))
