"""Draw what surrounds the spine: air, skin, fat, muscle, lungs, vessels, organs, bowel and the table.

It is drawn on a coarse grid and interpolated, because none of its edges is ever measured; the proportions are rounded
from sectional anatomy and only have to give the same neighborhood of the spine as a patient has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.raster import Raster, noise_texture, stretch
from VertebralFractureLib.research.phantom.skeleton import Skeleton
from VertebralFractureLib.types import Float32Array as Field
from VertebralFractureLib.types import FloatArray

_COARSE_MM = 2.6
_SOFT_EDGE_MM = 3.0
_PROFILE_LEVELS = ("S3", "L5", "L3", "T12", "T8", "T4", "T1", "C6", "C3")
_HALF_WIDTHS_MM = (185.0, 172.0, 152.0, 150.0, 158.0, 165.0, 190.0, 66.0, 64.0)
_DEPTHS_MM = (205.0, 195.0, 190.0, 205.0, 220.0, 205.0, 150.0, 125.0, 130.0)


@dataclass(frozen=True)
class Torso:
    """Where the body's outline and the spine lie at each height ``z`` (RAS mm, ascending), all in RAS mm."""

    z: FloatArray
    canal_x: FloatArray
    canal_y: FloatArray
    back_y: FloatArray
    half_width: FloatArray
    half_depth: FloatArray
    level_z: dict[str, float]

    def middle(self) -> tuple[FloatArray, FloatArray]:
        """Center (x, y) of the outline at each z."""
        count = 60
        smooth = np.convolve(
            np.pad(self.canal_x, count, mode="edge"), np.ones(2 * count + 1) / (2 * count + 1), "valid"
        )
        return smooth, self.back_y + self.half_depth

    def chest(self) -> tuple[FloatArray, FloatArray]:
        """Half axes of the rib cage at each z."""
        top = self.level_z["T1"]
        narrow = np.clip((top + 12.0 - self.z) / 110.0, 0.0, 1.0) ** 0.5
        return 48.0 + 86.0 * narrow, 38.0 + 55.0 * narrow


def torso_of(skeleton: Skeleton, options: PhantomOptions) -> Torso:
    """The outline of this patient: the back is flat on the table, its distance from the canal follows the fat."""
    points = skeleton.centerline.positions_ras(np.arange(-120.0, skeleton.centerline.length_mm + 160.0, 2.0))
    z = np.arange(points[0, 2], points[-1, 2], 2.0)
    order = np.argsort(points[:, 2])
    canal_x = np.interp(z, points[order, 2], points[order, 0])
    canal_y = np.interp(z, points[order, 2], points[order, 1])
    level_z = {vertebra.level: float(vertebra.center_ras[2]) for vertebra in skeleton.vertebrae}
    level_z.setdefault("T12", level_z["T11"])
    level_z.setdefault("L5", level_z["L4"])
    knots = np.array([level_z[level] for level in _PROFILE_LEVELS])
    size = options.size_factor / 1.12
    half_width = np.interp(z, knots, np.array(_HALF_WIDTHS_MM)) * size + (options.fat_mm - 18.0) * 0.9
    half_depth = 0.5 * np.interp(z, knots, np.array(_DEPTHS_MM)) * size + (options.fat_mm - 18.0) * 0.9
    count = 50
    smooth = np.convolve(np.pad(canal_y, count, mode="edge"), np.ones(2 * count + 1) / (2 * count + 1), "valid")
    back = np.minimum(smooth, canal_y) - 46.0 - 0.75 * options.fat_mm
    return Torso(z, canal_x, canal_y, back, half_width, half_depth, level_z)


def draw_torso(raster: Raster, torso: Torso, options: PhantomOptions, rng: np.random.Generator) -> None:
    """Fill the whole grid."""
    spacing = np.linalg.norm(raster.ijk_to_ras[:3, :3], axis=0)
    counts = np.array(raster.hu.shape[::-1])
    coarse = [
        np.linspace(0.0, n - 1.0, max(int(np.ceil(n * step / _COARSE_MM)), 2))
        for n, step in zip(counts, spacing, strict=True)
    ]
    i, j, k = coarse[0][None, None, :], coarse[1][None, :, None], coarse[2][:, None, None]
    matrix = raster.ijk_to_ras
    x, y, z = (
        (matrix[n, 0] * i + matrix[n, 1] * j + matrix[n, 2] * k + matrix[n, 3]).astype(np.float32) for n in range(3)
    )
    values = _soft_tissue(x, y, z, torso, options, rng)
    for axis, positions in ((2, coarse[0]), (1, coarse[1]), (0, coarse[2])):
        values = stretch(values, axis, positions, raster.hu.shape[axis])
    raster.hu[:] = values


def _blend(hu: Field, distance: Field, value: float | Field) -> None:
    cover = np.clip(0.5 - distance / _SOFT_EDGE_MM, 0.0, 1.0)
    hu += cover * (value - hu)


def _oval(x: Field, y: Field, half_x: Field | float, half_y: Field | float, power: float = 2.0) -> Field:
    """About the signed distance to a (super)ellipse."""
    rho = (np.abs(x / half_x) ** power + np.abs(y / half_y) ** power) ** (1.0 / power)
    return np.asarray((rho - 1.0) * np.minimum(half_x, half_y), dtype=np.float32)


def _soft_tissue(
    x: Field, y: Field, z: Field, torso: Torso, options: PhantomOptions, rng: np.random.Generator
) -> Field:
    def at(values: FloatArray) -> Field:
        return np.interp(z, torso.z, values).astype(np.float32)

    middle_x, middle_y = torso.middle()
    mx, my, half_x, half_y = at(middle_x), at(middle_y), at(torso.half_width), at(torso.half_depth)
    cx, cy = x - at(torso.canal_x), y - at(torso.canal_y)
    fat, muscle = options.fat_mm, rng.uniform(40.0, 58.0)
    enhance = {"none": 0.0, "arterial": 25.0, "portal": 55.0}[options.contrast]
    skin = _oval(x - mx, y - my, half_x, half_y, 2.5)
    hu = np.full(np.broadcast(x, y, z).shape, -1000.0, dtype=np.float32)
    if options.table:
        table = float(torso.back_y.min()) - 14.0
        _blend(hu, np.maximum(np.abs(y - table) - 9.0, np.abs(x - float(middle_x.mean())) - 235.0), -820.0)
        _blend(hu, np.maximum(np.abs(y - table - 9.0) - 1.2, np.abs(x - float(middle_x.mean())) - 235.0), 40.0)
    _blend(hu, skin, 20.0)
    _blend(hu, skin + 2.0, -102.0)
    _blend(hu, skin + fat, muscle)
    zl = torso.level_z
    chest = [at(values) for values in torso.chest()]
    inside = np.maximum(_oval(x - mx, y - my - 4.0, chest[0], chest[1], 2.2), z - (zl["T1"] + 8.0))
    _blend(hu, np.maximum(inside - 15.0, skin + 4.0), muscle - 8.0)
    front = np.clip((y - my) / 90.0, -1.0, 1.0)
    dome = zl["T12"] + (zl["T9"] - zl["T12"]) * (0.5 + 0.5 * front) + 12.0 * np.cos((x - mx) / 45.0)
    belly_wall = skin + fat + 13.0
    _blend(hu, np.maximum(np.maximum(belly_wall, z - dome), -cy - 12.0 + 22.0 * (np.abs(cx) < 60.0)), -104.0)
    _abdomen(hu, x - mx, y - my, z, cx, cy, dome, belly_wall, zl, muscle, enhance, rng)
    mediastinum = np.minimum(
        _oval(cx, cy - 16.0, 31.0, 38.0), np.abs(cx + 4.0) - (26.0 + 0.12 * np.maximum(cy - 40.0, 0.0))
    )
    heart = np.sqrt((cx + 22.0) ** 2 + (cy - 95.0) ** 2 + (z - zl["T8"]) ** 2) - 52.0
    mediastinum = np.minimum(mediastinum, heart)
    lung = np.maximum(np.maximum(inside, -mediastinum), np.maximum(dome - z, -cy - 32.0))
    vessels = np.clip(noise_texture(hu.shape, (9.0 / _COARSE_MM,) * 3, rng) - 1.9, 0.0, 1.0) * 700.0
    _blend(
        hu, lung, vessels + rng.uniform(-890.0, -800.0) + 40.0 * noise_texture(hu.shape, (14.0 / _COARSE_MM,) * 3, rng)
    )
    _blend(
        hu,
        np.maximum(np.maximum(_oval(cx + 3.0, cy - 52.0, 22.0, 24.0), dome - z), z - zl["T1"]),
        -60.0 + 60.0 * noise_texture(hu.shape, (20.0 / _COARSE_MM,) * 3, rng),
    )
    _blend(hu, np.maximum(np.maximum(_oval(cx - 2.0, cy - 50.0, 9.0, 8.0), zl["T5"] - z), z - zl["C3"]), -990.0)
    aorta_y = 44.0 + 2.0 * np.clip((z - zl["L3"]) / 100.0, -1.0, 1.0)
    blood = {"none": 42.0, "arterial": 290.0, "portal": 150.0}[options.contrast]
    aorta = np.maximum(_oval(cx + 13.0, cy - aorta_y, 11.5, 11.5), np.maximum(z - zl["T4"], zl["L4"] - z))
    _blend(hu, aorta, blood)
    cava = np.maximum(_oval(cx - 16.0, cy - 48.0, 12.0, 9.0), np.maximum(z - zl["T10"], zl["L5"] - z))
    _blend(hu, cava, 45.0 + 0.9 * enhance)
    back = np.maximum(_oval(np.abs(cx) - 24.0, cy + 30.0, 25.0, 21.0, 2.4), skin + 0.7 * fat)
    infiltration = (0.15 + 0.006 * max(options.age_years - 40.0, 0.0)) * 150.0
    _blend(
        hu, back, muscle - infiltration * np.clip(noise_texture(hu.shape, (9.0 / _COARSE_MM,) * 3, rng) - 0.2, 0.0, 1.2)
    )
    hu += np.where(hu > -300.0, 7.0, 0.0) * noise_texture(hu.shape, (12.0 / _COARSE_MM,) * 3, rng)
    return hu


def _abdomen(
    hu: Field, x: Field, y: Field, z: Field, cx: Field, cy: Field, dome: Field, wall: Field,
    zl: dict[str, float], muscle: float, enhance: float, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Liver, spleen, kidneys, psoas and bowel; x and y from the body's middle, cx and cy from the canal."""
    below = z - dome
    liver = np.sqrt(((x - 68.0) / 78.0) ** 2 + ((y - 8.0) / 88.0) ** 2 + ((z - zl["T12"]) / 82.0) ** 2)
    _blend(hu, np.maximum((liver - 1.0) * 75.0, np.maximum(below + 3.0, wall)), 58.0 + enhance)
    spleen = np.sqrt(((x + 98.0) / 36.0) ** 2 + ((y + 30.0) / 46.0) ** 2 + ((z - zl["T12"]) / 52.0) ** 2)
    _blend(hu, np.maximum((spleen - 1.0) * 36.0, np.maximum(below + 3.0, wall)), 50.0 + 1.1 * enhance)
    for side in (-1.0, 1.0):
        kidney = np.sqrt(
            ((cx - side * 58.0) / 27.0) ** 2 + ((cy - 22.0) / 27.0) ** 2 + ((z - zl["L2"] - 8.0) / 54.0) ** 2
        )
        _blend(hu, (kidney - 1.0) * 27.0, 34.0 + 2.2 * enhance)
        down = np.clip((zl["L1"] - z) / (zl["L1"] - zl["L5"]), 0.0, 1.6)
        psoas = np.maximum(
            _oval(cx - side * (30.0 + 10.0 * down), cy - 26.0 + 6.0 * down, 3.0 + 17.0 * down, 8.0 + 14.0 * down),
            z - zl["L1"],
        )
        _blend(hu, psoas, muscle)
        iliacus = np.maximum(_oval(cx - side * 75.0, cy - 12.0, 20.0, 42.0), z - zl["L5"])
        _blend(hu, iliacus, muscle - 5.0)
    for _ in range(26):
        center = (rng.uniform(-105.0, 105.0), rng.uniform(10.0, 75.0), rng.uniform(zl["S3"] - 40.0, zl["L1"]))
        size = rng.uniform(13.0, 27.0)
        long = rng.uniform(0.7, 1.6, 3)
        loop = np.sqrt(sum(((part - c) * f) ** 2 for part, c, f in zip((x, y, z), center, long, strict=True))) - size
        loop = np.maximum(loop, np.maximum(34.0 - cy, wall))
        _blend(hu, loop, rng.uniform(15.0, 45.0) + 0.5 * enhance)
        if rng.random() < 0.4:
            _blend(hu, np.maximum(loop + 3.5, center[1] + rng.uniform(-5.0, 8.0) - y), -920.0)
