"""Draw the ribs, the wings of the sacrum and the iliac bones: the landmarks by which levels are counted.

A rib is a row of short rods along a smooth curve from the head at the vertebra round the chest, so that only the small
boxes around the rods are ever computed.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.research.phantom.level_sizes import LEVEL_SIZES
from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.raster import Raster, capsule
from VertebralFractureLib.research.phantom.skeleton import PlacedVertebra, Skeleton
from VertebralFractureLib.research.phantom.torso import Torso
from VertebralFractureLib.types import Float32Array as Field
from VertebralFractureLib.types import FloatArray

_ROD_MM = 5.0
_UNIT = np.eye(3)


def draw_ribs(
    raster: Raster, skeleton: Skeleton, torso: Torso, options: PhantomOptions, rng: np.random.Generator
) -> None:
    """Both ribs of every thoracic level."""
    last = f"T{options.thoracic_count}"
    for vertebra in skeleton.vertebrae:
        length = LEVEL_SIZES[vertebra.level].rib_length_mm * options.size_factor
        if length <= 0.0:
            continue
        if vertebra.level == last:
            length = rng.uniform(35.0, 110.0)
        for side in (-1.0, 1.0):
            own = length * rng.uniform(0.95, 1.05)
            if vertebra.level == last and options.last_rib_mm is not None:
                own = options.last_rib_mm[0 if side > 0.0 else 1]
            points = rib_curve(vertebra, side, own, torso, options)
            if len(points) > 1:
                radius = 4.8 * options.size_factor / 1.12 * options.rib_thickness
                draw_rod(raster, points, radius, options, options.rib_density)


def rib_curve(
    vertebra: PlacedVertebra, side: float, length_mm: float, torso: Torso, options: PhantomOptions
) -> FloatArray:
    """Points ``(n, 3)`` RAS mm along a rib's axis, from its head, ``length_mm`` long at most."""
    shape, size = vertebra.shape, LEVEL_SIZES[vertebra.level]
    number = int(vertebra.level[1:])
    half = 0.5 * vertebra.intact.plane[0]
    head_s = half + 0.5 * vertebra.disc_above_mm - 2.0 if 2 <= number <= 10 else 0.35 * half
    transverse = size.transverse_mm * options.size_factor
    tubercle_a = shape.canal_a - (8.0 if number <= 10 else 2.0)
    near = vertebra.to_ras(
        np.array(
            [
                [side * (shape.half_width + 1.5), -0.72 * shape.half_depth, head_s],
                [
                    side * (0.55 * shape.half_width + 0.5 * transverse),
                    0.5 * (tubercle_a - shape.half_depth) - 1.0,
                    head_s - 2.0,
                ],
                [side * (transverse + 3.0), tubercle_a, head_s - 5.0],
                [side * (transverse + 24.0), tubercle_a - 9.0, head_s - 13.0],
            ]
        )
    )
    z0 = float(near[-1, 2])
    drop = 12.0 + 9.0 * min(number, 9)
    angles = np.radians(np.array([-35.0, -5.0, 25.0, 50.0, 72.0]))
    shares = np.array([0.2, 0.42, 0.64, 0.82, 1.0])
    z = z0 - drop * shares
    chest = [np.interp(z, torso.z, axis) for axis in torso.chest()]
    middle = [np.interp(z, torso.z, axis) for axis in torso.middle()]
    far = np.stack(
        [middle[0] + side * (chest[0] + 4.0) * np.cos(angles), middle[1] + 4.0 + (chest[1] + 4.0) * np.sin(angles), z],
        axis=1,
    )
    points = np.concatenate([near, far])
    curve = Centerline(points, np.ones(len(points)))
    return curve.positions_ras(np.arange(0.0, min(length_mm, curve.length_mm), _ROD_MM))


def draw_rod(raster: Raster, points: FloatArray, radius: float, options: PhantomOptions, density: float = 1.0) -> None:
    """A bent rod along ``(n, 3)`` RAS mm points: a dense wall with marrow inside, both times ``density``."""
    pieces = []
    for start, end in pairwise(points):
        around = radius + 2.0
        window = raster.window(np.array([np.minimum(start, end) - around, np.maximum(start, end) + around]))
        if window is not None:
            x, y, z = raster.coordinates(window, start, _UNIT)
            pieces.append((window, capsule(x, y, z, np.zeros(3), end - start, radius)))
    for window, distance in pieces:
        raster.paint(window, raster.cover(distance), options.cortical_hu * 1.1 * density)
    for window, distance in pieces:
        raster.paint(window, raster.cover(distance + 1.4), (options.trabecular_hu + 40.0) * density)


def draw_girdle(raster: Raster, torso: Torso, options: PhantomOptions) -> None:
    """Sternum, collar bones, shoulder blades and the heads of the upper arms, each as a few rods."""
    top, low = torso.level_z["T2"], torso.level_z["T9"]
    heights = np.array([top, torso.level_z["T5"], low, torso.level_z["T1"], torso.level_z["T7"]])
    middle = np.stack([np.interp(heights, torso.z, axis) for axis in torso.middle()], axis=1)
    front = np.interp(heights, torso.z, torso.chest()[1]) + 6.0
    sternum = np.array([[middle[n, 0], middle[n, 1] + front[n], heights[n]] for n in range(3)])
    for side in (-1.0, 1.0):
        draw_rod(raster, sternum + np.array([side * 8.0, 0.0, 0.0]), 6.5, options)
        x, y, z = float(middle[3, 0]), float(middle[3, 1]), float(heights[3])
        inner = np.array([x + side * 18.0, sternum[0, 1], top + 4.0])
        outer = np.array([x + side * 135.0, y - 8.0, z + 14.0])
        draw_rod(raster, np.stack([inner, 0.5 * (inner + outer) + np.array([0.0, 9.0, 2.0]), outer]), 5.5, options)
        head = np.array([x + side * 158.0, y - 12.0, z - 14.0])
        draw_rod(raster, np.stack([head, head + np.array([0.0, 0.0, -6.0])]), 22.0, options)
        for tip_x, tip_z in ((88.0, 0.15), (84.0, 0.55), (92.0, 1.0)):
            tip = np.array([x + side * tip_x, y - 88.0, z + (heights[4] - z) * tip_z])
            draw_rod(raster, np.stack([outer + np.array([-side * 8.0, -16.0, -24.0]), tip]), 3.4, options)


def draw_pelvis(raster: Raster, skeleton: Skeleton, options: PhantomOptions) -> None:
    """The wings of S1 to S3 and both iliac bones."""
    bone, marrow = options.cortical_hu, options.trabecular_hu + 10.0
    for level, reach in (("S1", 52.0), ("S2", 47.0), ("S3", 38.0)):
        vertebra = skeleton.find(level)
        shape, half = vertebra.shape, 0.5 * vertebra.intact.plane[0]
        wide = reach * options.size_factor
        low = shape.canal_a - shape.canal_half_depth - 12.0
        found = raster.local(vertebra, (-wide - 3.0, low, -half - 8.0), (wide + 3.0, shape.half_depth, half + 8.0))
        if found is None:
            continue
        window, r, a, s = found
        x = np.abs(r)
        outward = (x - shape.half_width * 0.8) / wide
        center_a = -0.45 * shape.half_depth - 14.0 * outward
        wing = np.maximum(np.abs(a - center_a) - (12.0 + 3.0 * outward), np.abs(s + 8.0 * outward + 1.0) - (half + 2.5))
        wing = np.maximum(np.maximum(wing, x - wide), shape.half_width * 0.6 - x)
        foramen = np.hypot(x - shape.half_width * 1.05, s + half) - 5.5
        _bone(raster, window, np.maximum(wing, -foramen).astype(np.float32), 1.3, bone, marrow)
    base, crest = skeleton.find("S1").center_ras, skeleton.find("L4").center_ras[2] - 8.0
    for side in (-1.0, 1.0):
        corners = base + np.array([[side * 40.0, -75.0, -85.0], [side * 160.0, 95.0, crest - base[2] + 6.0]])
        window_or_none = raster.window(corners)
        if window_or_none is None:
            continue
        x, y, z = raster.coordinates(window_or_none, base, _UNIT)
        x = x * side
        up = (z + 60.0) / (crest - base[2] + 60.0)
        axis = 58.0 * options.size_factor / 1.12 + 0.52 * (y + 45.0) + 26.0 * np.clip(up, 0.0, 1.0) ** 1.5
        plate = np.abs(x - axis) / 1.13 - (4.5 + 3.5 * np.clip(1.0 - np.abs(y + 42.0) / 30.0, 0.0, 1.0))
        arch = crest - base[2] - 0.0065 * (y - 15.0) ** 2
        rim = np.maximum(z - arch, np.maximum(-55.0 - y, y - 80.0))
        floor = -70.0 + 0.5 * np.abs(y + 20.0) - z
        _bone(
            raster,
            window_or_none,
            np.maximum(np.maximum(plate, rim), floor).astype(np.float32),
            1.6,
            bone * 1.15,
            marrow,
        )


def _bone(
    raster: Raster, window: tuple[slice, slice, slice], distance: Field, wall_mm: float, bone: float, marrow: float
) -> None:
    raster.paint(window, raster.cover(distance), bone)
    raster.paint(window, raster.cover(distance + wall_mm), marrow)


def draw_metal(raster: Raster, skeleton: Skeleton, options: PhantomOptions) -> None:
    """Pedicle screws, and cement inside bodies."""
    for vertebra in skeleton.vertebrae:
        shape = vertebra.shape
        side, deep, half = shape.half_width + 10.0, shape.half_depth, 0.5 * shape.plane[0]
        found = raster.local(vertebra, (-side, shape.canal_a - 26.0, -half), (side, deep, half + 4.0))
        if found is None:
            continue
        window, r, a, s = found
        if vertebra.level in options.cement_levels:
            blob = np.sqrt(((np.abs(r) - 5.0) / 9.0) ** 2 + ((a - 3.0) / 8.0) ** 2 + (s / (0.45 * half)) ** 2)
            raster.paint(window, raster.cover(((blob - 1.0) * 5.0).astype(np.float32)), 1700.0)
        if vertebra.level in options.screw_levels:
            lateral = shape.canal_half_width + 3.5
            start = np.array([lateral + 5.0, shape.canal_a - 19.0, 0.35 * half])
            end = np.array([0.45 * shape.half_width, 0.35 * deep, 0.2 * half])
            raster.paint(window, raster.cover(capsule(np.abs(r), a, s, start, end, 2.9)), 8000.0)
