"""Draw one vertebra: disc, canal with its contents, posterior elements, and the body.

Order matters and is fixed in ``draw_spine``: soft parts first, then arches that leave the canal free, bodies last.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.research.phantom.arch import draw_arch
from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.raster import Raster, noise_texture, oval, shells
from VertebralFractureLib.research.phantom.skeleton import PlacedVertebra, Skeleton
from VertebralFractureLib.types import Float32Array as Field

_BLOOM = 0.3
"""A cortical plate thinner than a voxel looks as if it began further out, by this share of the voxel at half its
height; the bone is drawn smaller by as much, so that the true surface is the one that a reader sees."""
_CONUS_LEVELS = ("L2", "L3", "L4", "L5", "L6", "S1", "S2", "S3")


def draw_spine(raster: Raster, skeleton: Skeleton, options: PhantomOptions, rng: np.random.Generator) -> None:
    """Draw every vertebra that meets the grid."""
    disc_hu = rng.uniform(70.0, 112.0)
    contrast = {"none": 0.0, "arterial": 6.0, "portal": 14.0}[options.contrast]
    factors = [_Bone(vertebra, options, rng) for vertebra in skeleton.vertebrae]
    for bone in factors:
        _draw_soft(raster, bone, disc_hu + rng.normal(0.0, 6.0), contrast)
    for bone in factors:
        draw_arch(raster, bone.vertebra, bone.scale, bone.cortical * 1.25, bone.trabecular * 1.2 + 80.0)
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
        self.plate_mm = rng.uniform(0.5, 0.95)
        self.texture_seed = int(rng.integers(2**31))
        self.texture = options.trabecular_hu * rng.uniform(0.12, 0.22) + 8.0
        self.scale = options.size_factor
        self.gas = rng.random() < 0.25 * options.degeneration and level[0] == "L"
        self.sclerosis = rng.uniform(15.0, 130.0) if vertebra.shape.fracture else 0.0
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
    fat = (oval(r / (shape.canal_half_width + 8.0), behind / (shape.canal_half_depth + 2.5)) - 1.0) * 12.0
    raster.paint(window, raster.cover(fat), -55.0)
    extent = np.maximum(low_s + 1.0 - s, s - high_s + 1.0)
    disc = np.maximum(shape.side_distance(r, a, np.full_like(s, half)) - 0.7 - 1.2 * bone.degeneration, extent)
    raster.paint(window, raster.cover(disc), disc_hu)
    if bone.gas:
        middle = half + 0.5 * vertebra.disc_above_mm
        thin = np.maximum(np.abs(s - middle) - 0.9, (oval(r / 13.0, (a - 2.0) / 9.0) - 1.0) * 9.0)
        raster.paint(window, raster.cover(thin), -450.0)
    tube = oval(r / shape.canal_half_width, behind / shape.canal_half_depth)
    smaller = min(shape.canal_half_width, shape.canal_half_depth)
    clip = np.maximum(low_s - s, s - high_s)
    raster.paint(window, raster.cover(np.maximum((tube - 1.0) * smaller, clip)), -25.0)
    sac = (oval(r / (0.84 * shape.canal_half_width), (behind - 0.4) / (0.84 * shape.canal_half_depth)) - 1.0) * smaller
    raster.paint(window, raster.cover(np.maximum(sac, clip)), 14.0 + contrast * 0.5)
    if vertebra.level not in _CONUS_LEVELS:
        cord = (oval(r / 4.6, behind / 3.6) - 1.0) * 4.0
        raster.paint(window, raster.cover(np.maximum(cord, clip)), 38.0 + contrast * 0.5)


def _draw_body(raster: Raster, bone: _Bone) -> None:
    vertebra, shape = bone.vertebra, bone.vertebra.shape
    reach = shape.osteophyte_mm * 1.6 + 2.5
    half = 0.5 * bone.vertebra.intact.plane[0] + 4.0
    side, deep = shape.half_width + reach, shape.half_depth + reach + shape.retropulsion_mm
    found = raster.local(vertebra, (-side, -deep, -half), (side, deep, half))
    if found is None:
        return
    window, r, a, s = found
    distance, plates = shape.body_distance(r, a, s)
    distance += min(_BLOOM * raster.edge_mm, 0.4)
    k_mm, j_mm, i_mm = np.linalg.norm(raster.ijk_to_ras[:3, :3], axis=0)[::-1].tolist()
    rng = np.random.default_rng(bone.texture_seed)
    texture = noise_texture(r.shape, (4.0 / k_mm, 2.0 / j_mm, 2.0 / i_mm), rng)
    texture += 0.6 * noise_texture(r.shape, (9.0 / k_mm, 7.0 / j_mm, 7.0 / i_mm), rng)
    shell = np.where(plates > distance - 0.8, bone.plate_mm, bone.wall_mm).astype(np.float32)
    whole, inside = shells(raster, distance, shell)
    raster.paint(window, whole, bone.cortical)
    raster.paint(window, inside, _marrow(bone, texture, r, a, s, distance, plates))


def _marrow(bone: _Bone, texture: Field, r: Field, a: Field, s: Field, distance: Field, plates: Field) -> Field:
    """HU inside a body: density and texture, denser below the endplates, the basivertebral vein, a fracture's band."""
    shape = bone.vertebra.shape
    hu = bone.trabecular + bone.texture * texture + 0.35 * bone.trabecular * np.exp(np.minimum(plates, 0.0) / 2.2)
    hu = hu + 0.15 * bone.trabecular * np.exp(np.minimum(distance, 0.0) / 2.0)
    vein = np.exp(-((r / 5.0) ** 2) - (s / 2.6) ** 2 - ((a + shape.half_depth) / 7.0) ** 2)
    hu = hu - (0.6 * bone.trabecular + 30.0) * vein
    if bone.sclerosis > 0.0:
        upper, lower = shape.endplates(r, a)
        depth = upper - s if shape.upper_share >= 0.4 else s - lower
        hu = hu + bone.sclerosis * np.exp(-(((depth - 4.0) / 2.6) ** 2)) + 0.2 * bone.sclerosis
    return np.asarray(hu, dtype=np.float32)
