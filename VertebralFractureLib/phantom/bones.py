"""Draw one vertebra: disc, canal with its contents, posterior elements, and the body.

Order matters and is fixed in ``draw_spine``: soft parts first, then arches that leave the canal free, bodies last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.phantom.level_sizes import LEVEL_SIZES
from VertebralFractureLib.phantom.options import PhantomOptions
from VertebralFractureLib.phantom.raster import Raster, capsule, shells
from VertebralFractureLib.phantom.skeleton import PlacedVertebra, Skeleton

Field = NDArray[np.float32]
_CONUS_LEVELS = ("L2", "L3", "L4", "L5", "L6", "S1", "S2", "S3")


def draw_spine(raster: Raster, skeleton: Skeleton, options: PhantomOptions, rng: np.random.Generator) -> None:
    """Draw every vertebra that meets the grid."""
    disc_hu = rng.uniform(65.0, 100.0)
    contrast = {"none": 0.0, "arterial": 6.0, "portal": 14.0}[options.contrast]
    factors = [_Bone(vertebra, options, rng) for vertebra in skeleton.vertebrae]
    for bone in factors:
        _draw_soft(raster, bone, disc_hu + rng.normal(0.0, 6.0), contrast)
    for bone in factors:
        _draw_arch(raster, bone)
    for bone in factors:
        _draw_body(raster, bone)


class _Bone:
    """A vertebra with the densities that this patient's bone has at its level."""

    def __init__(self, vertebra: PlacedVertebra, options: PhantomOptions, rng: np.random.Generator) -> None:
        self.vertebra = vertebra
        level = vertebra.level
        regional = {"C": 1.45, "T": 1.12, "L": 0.97, "S": 0.95}[level[0]]
        self.trabecular = options.trabecular_hu * regional * rng.normal(1.0, 0.06)
        self.cortical = options.cortical_hu * rng.normal(1.0, 0.05)
        self.wall_mm = rng.uniform(0.7, 1.0)
        self.plate_mm = rng.uniform(0.7, 1.05)
        self.texture_seed = int(rng.integers(2**31))
        self.texture = options.trabecular_hu * rng.uniform(0.12, 0.22) + 8.0
        self.scale = options.size_factor
        self.gas = rng.random() < 0.25 * options.degeneration and level[0] == "L"
        self.sclerosis = rng.uniform(40.0, 220.0) if vertebra.shape.fracture else 0.0
        self.degeneration = options.degeneration


def _draw_soft(raster: Raster, bone: _Bone, disc_hu: float, contrast: float) -> None:
    vertebra, shape = bone.vertebra, bone.vertebra.shape
    half = 0.5 * shape.plane[0]
    low_s = -half - 0.5 * vertebra.disc_below_mm - 3.0
    high_s = half + 0.5 * vertebra.disc_above_mm + 3.0
    side = max(shape.half_width + 3.0, shape.canal_half_width + 11.0)
    back = shape.canal_a - shape.canal_half_depth - 4.0
    found = raster.local(vertebra, (-side, back, low_s), (side, shape.half_depth + 4.0, high_s))
    if found is None:
        return
    window, r, a, s = found
    behind = a - shape.canal_a
    fat = (np.hypot(r / (shape.canal_half_width + 8.0), behind / (shape.canal_half_depth + 2.5)) - 1.0) * 12.0
    raster.paint(window, raster.cover(fat), -55.0)
    extent = np.maximum(low_s + 1.0 - s, s - high_s + 1.0)
    disc = np.maximum(shape.side_distance(r, a, np.full_like(s, half)) - 0.7 - 1.2 * bone.degeneration, extent)
    raster.paint(window, raster.cover(disc), disc_hu)
    if bone.gas:
        middle = half + 0.5 * vertebra.disc_above_mm
        thin = np.maximum(np.abs(s - middle) - 0.9, (np.hypot(r / 13.0, (a - 2.0) / 9.0) - 1.0) * 9.0)
        raster.paint(window, raster.cover(thin), -450.0)
    oval = np.hypot(r / shape.canal_half_width, behind / shape.canal_half_depth)
    smaller = min(shape.canal_half_width, shape.canal_half_depth)
    clip = np.maximum(low_s - s, s - high_s)
    raster.paint(window, raster.cover(np.maximum((oval - 1.0) * smaller, clip)), -25.0)
    sac = (
        np.hypot(r / (0.84 * shape.canal_half_width), (behind - 0.4) / (0.84 * shape.canal_half_depth)) - 1.0
    ) * smaller
    raster.paint(window, raster.cover(np.maximum(sac, clip)), 14.0 + contrast * 0.5)
    if vertebra.level not in _CONUS_LEVELS:
        cord = (np.hypot(r / 4.6, behind / 3.6) - 1.0) * 4.0
        raster.paint(window, raster.cover(np.maximum(cord, clip)), 38.0 + contrast * 0.5)


def _draw_arch(raster: Raster, bone: _Bone) -> None:
    vertebra, shape, size = bone.vertebra, bone.vertebra.shape, LEVEL_SIZES[bone.vertebra.level]
    scale, half = bone.scale, 0.5 * bone.vertebra.intact.plane[0]
    reach = size.transverse_mm * scale + 7.0
    spinous = size.spinous_mm * scale
    drop = np.tan(np.radians(size.spinous_drop_deg))
    rear = shape.canal_a - shape.canal_half_depth - 2.5
    low_s = -half - max(16.0, spinous * 0.75 * drop * 0.8 + 9.0)
    high_s = half + vertebra.disc_above_mm + 7.0
    found = raster.local(vertebra, (-reach, rear - spinous - 6.0, low_s), (reach, -0.3 * shape.half_depth, high_s))
    if found is None:
        return
    window, r, a, s = found
    x = np.abs(r)
    thoracic = vertebra.level[0] == "T"
    high = half * (0.45 if thoracic else 0.3)
    pedicle_x = shape.canal_half_width + 0.5 * size.pedicle_width_mm * scale * 0.8
    tall = half * (0.52 if thoracic else 0.6)
    wide = 0.5 * size.pedicle_width_mm * scale
    pedicle = (np.hypot((x - pedicle_x) / wide, (s - high) / tall) - 1.0) * min(wide, tall)
    pedicle = np.maximum(pedicle, shape.canal_a - 4.0 - a)
    parts = [pedicle]
    corner = np.array([pedicle_x + 1.0, shape.canal_a - 3.5])
    tip = np.array([0.0, rear])
    along = tip - corner
    t = np.clip(((x - corner[0]) * along[0] + (a - corner[1]) * along[1]) / float(along @ along), 0.0, 1.0)
    plate = (
        np.hypot(x - corner[0] - t * along[0], a - corner[1] - t * along[1]) - (3.0 if thoracic else 3.4) * scale**0.5
    )
    plate = np.maximum(plate, np.maximum(-half * (0.95 if thoracic else 0.85) - s, s - half * 0.55))
    parts.append(plate.astype(np.float32))
    behind = rear - a
    sag = s + behind * drop * 0.75 + half * 0.15
    blade = np.maximum(x - (1.6 + 1.0 * (behind > 0.8 * spinous)), np.abs(sag) - half * (0.34 if thoracic else 0.62))
    parts.append(np.maximum(blade, np.maximum(behind - spinous, -behind - 1.0)).astype(np.float32))
    transverse = size.transverse_mm * scale
    backward = (13.0 if thoracic else 3.0) * scale
    end = np.array([transverse, shape.canal_a - backward, high + (3.0 if thoracic else 0.0)])
    if vertebra.level[0] != "S":
        root = np.array([pedicle_x, shape.canal_a - 3.0, high - 1.0])
        parts.append(capsule(x, a, s, root, end, 4.6 if thoracic else 3.2))
    facet_x = shape.canal_half_width + (1.0 if thoracic else 3.5) * scale
    upper = np.array([facet_x + 2.0, shape.canal_a - 4.5, half + vertebra.disc_above_mm * 0.6 + 3.0])
    lower = np.array([facet_x - 1.5, shape.canal_a - 10.0, -half - vertebra.disc_below_mm * 0.6 - 4.0])
    radius = (3.4 if thoracic else 4.8) * scale**0.5
    parts.append(capsule(x, a, s, np.array([facet_x + 1.0, shape.canal_a - 6.0, 0.0]), upper, radius))
    if vertebra.level not in ("S1", "S2", "S3"):
        parts.append(capsule(x, a, s, np.array([facet_x, shape.canal_a - 9.0, 0.0]), lower, radius))
    distance = parts[0]
    for part in parts[1:]:
        blend = np.maximum(2.0 - np.abs(distance - part), 0.0)
        distance = np.minimum(distance, part) - blend * blend * 0.125
    smaller = min(shape.canal_half_width, shape.canal_half_depth)
    canal = (np.hypot(r / shape.canal_half_width, (a - shape.canal_a) / shape.canal_half_depth) - 1.0) * smaller
    distance = np.maximum(distance, -canal).astype(np.float32)
    whole, inside = shells(raster, distance, 1.5)
    raster.paint(window, whole, bone.cortical * 1.05)
    raster.paint(window, inside, bone.trabecular * 1.1 + 60.0)


def _draw_body(raster: Raster, bone: _Bone) -> None:
    vertebra, shape = bone.vertebra, bone.vertebra.shape
    spur = shape.osteophyte_mm * 1.6 + 2.5
    half = 0.5 * bone.vertebra.intact.plane[0] + 4.0
    side, deep = shape.half_width + spur, shape.half_depth + spur + shape.retropulsion_mm
    found = raster.local(vertebra, (-side, -deep, -half), (side, deep, half))
    if found is None:
        return
    window, r, a, s = found
    distance, plates = shape.body_distance(r, a, s)
    shell = np.where(plates > distance - 0.8, bone.plate_mm, bone.wall_mm).astype(np.float32)
    whole, inside = shells(raster, distance, shell)
    raster.paint(window, whole, bone.cortical)
    raster.paint(window, inside, _marrow(bone, r, a, s, distance, plates))


def _marrow(bone: _Bone, r: Field, a: Field, s: Field, distance: Field, plates: Field) -> Field:
    """HU inside a body: density, its grain, denser below the endplates, the basivertebral vein, a broken band."""
    shape = bone.vertebra.shape
    grain = _grain(bone.texture_seed, r, a, s)
    hu = bone.trabecular + bone.texture * grain + 0.35 * bone.trabecular * np.exp(np.minimum(plates, 0.0) / 2.2)
    hu = hu + 0.15 * bone.trabecular * np.exp(np.minimum(distance, 0.0) / 2.0)
    vein = np.exp(-((r / 5.0) ** 2) - (s / 2.6) ** 2 - ((a + shape.half_depth) / 7.0) ** 2)
    hu = hu - (0.6 * bone.trabecular + 30.0) * vein
    if bone.sclerosis > 0.0:
        upper, lower = shape.endplates(r, a)
        depth = upper - s if shape.upper_share >= 0.4 else s - lower
        hu = hu + bone.sclerosis * np.exp(-(((depth - 4.0) / 2.6) ** 2)) + 0.2 * bone.sclerosis
    return np.asarray(hu, dtype=np.float32)


def _grain(seed: int, r: Field, a: Field, s: Field) -> Field:
    """Bone texture of standard deviation near 1: a few millimetres across, drawn out along s as trabeculae are."""
    rng = np.random.default_rng(seed)
    total = np.zeros(r.shape, dtype=np.float32)
    for _ in range(7):
        length = rng.uniform(2.2, 7.0)
        direction = rng.normal(size=3) * np.array([1.0, 1.0, 0.4])
        wave = direction / np.linalg.norm(direction) * (2.0 * np.pi / length)
        total += np.sin(
            r * np.float32(wave[0]) + a * np.float32(wave[1]) + s * np.float32(wave[2]) + rng.uniform(0, 6.28)
        )
    return total * np.float32(0.53)
