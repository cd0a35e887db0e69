"""Volumes that hold no spine: a head above the skull base, legs, a trunk's front, a table, noise, an MR contrast.

They teach and test the answer "no spine here". Each kind holds something that could pass for a canal: the marrow of a
long bone, a calcified vessel, the rings of the skull and the jaw. Proportions are rounded from sectional anatomy.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.types import BoolArray
from VertebralFractureLib.types import Float32Array as Field
from VertebralFractureLib.volume import CTVolume

NO_SPINE_KINDS = ("head", "legs", "trunk_front", "table", "noise", "mr")
_STREAM = 30303
_AIR = -1000.0
_RANGE_HU = (-1024, 3071)


def make_no_spine(kind: str, seed: int, spacing_mm: tuple[float, float, float] = (2.0, 2.0, 4.0)) -> CTVolume:
    """Draw one volume; the same arguments always give the same volume.

    Raises:
        ValueError: for a kind that is not in ``NO_SPINE_KINDS``.
    """
    if kind not in NO_SPINE_KINDS:
        raise ValueError(f"Unknown kind '{kind}'; use one of {', '.join(NO_SPINE_KINDS)}.")
    rng = np.random.default_rng([_STREAM, NO_SPINE_KINDS.index(kind), seed])
    wide, deep = (240.0, 260.0) if kind == "head" else (400.0, 300.0)
    high = float(rng.uniform(130.0, 190.0) if kind == "head" else rng.uniform(160.0, 340.0))
    shape = tuple(int(size / step) for size, step in zip((high, deep, wide), spacing_mm[::-1], strict=True))
    z = ((np.arange(shape[0]) - 0.5 * (shape[0] - 1)) * spacing_mm[2]).astype(np.float32)[:, None, None]
    y = ((np.arange(shape[1]) - 0.5 * (shape[1] - 1)) * spacing_mm[1]).astype(np.float32)[None, :, None]
    x = ((np.arange(shape[2]) - 0.5 * (shape[2] - 1)) * spacing_mm[0]).astype(np.float32)[None, None, :]
    hu = np.full(shape, _AIR, dtype=np.float32)
    if kind == "head":
        _draw_head(hu, x, y, z, rng)
    elif kind == "legs":
        for side in (-1.0, 1.0) if rng.random() < 0.7 else (0.0,):
            _draw_leg(hu, x - np.float32(95.0 * side), y, z, rng)
    elif kind in ("trunk_front", "mr"):
        _draw_trunk_front(hu, x, y, z, rng)
    elif kind == "noise":
        hu += np.float32(rng.uniform(300.0, 1300.0))
    if kind == "table" or (kind != "noise" and rng.random() < 0.7):
        _draw_table(hu, x, y, -0.42 * deep, rng)
    if kind == "mr":
        # Fat bright, bone and air dark, with a coil's bias over the depth: the inverse of a CT's contrast.
        hu = np.where(hu < -500.0, 0.0, 300.0 - 0.9 * hu).astype(np.float32)
        hu *= (0.7 + 0.6 * (y - y.min()) / (y.max() - y.min())).astype(np.float32)
    level = rng.uniform(80.0, 500.0) if kind == "noise" else np.exp(rng.uniform(np.log(6.0), np.log(45.0)))
    hu += np.float32(level) * rng.standard_normal(shape, dtype=np.float32)
    matrix = np.diag([*spacing_mm, 1.0])
    matrix[:3, 3] = x.min(), y.min(), z.min()
    voxels = np.round(np.clip(hu, *_RANGE_HU)).astype(np.int16)
    return CTVolume(voxels, matrix, f"no-spine-{kind}-{seed}", {"modality": "MR" if kind == "mr" else "CT"})


def _oval(x: Field, y: Field, z: Field, half: tuple[float, float, float], power: float = 2.0) -> Field:
    """Below 1 inside an ellipsoid about the origin; ``half`` of 1e9 makes a cylinder."""
    a, b, c = (np.float32(value) for value in half)
    return np.asarray(np.abs(x / a) ** power + np.abs(y / b) ** power + np.abs(z / c) ** power, dtype=np.float32)


def _fill(hu: Field, inside: BoolArray, value: float) -> None:
    np.copyto(hu, np.float32(value), where=np.broadcast_to(inside, hu.shape))


def _draw_head(hu: Field, x: Field, y: Field, z: Field, rng: np.random.Generator) -> None:
    """From the vertex down to the upper jaw; what lies below is outside the volume."""
    wide, deep, high = rng.uniform(66, 78), rng.uniform(82, 98), 0.5 * float(z.max() - z.min()) + rng.uniform(10, 30)
    z = z - np.float32(z.max() - high + rng.uniform(2.0, 14.0))
    skull = rng.uniform(5.0, 9.0)
    _fill(hu, _oval(x, y, z, (wide + 6, deep + 6, high + 6)) < 1, rng.uniform(-60, 40))
    _fill(hu, _oval(x, y, z, (wide, deep, high)) < 1, rng.uniform(700, 1300))
    _fill(hu, _oval(x, y, z, (wide - skull, deep - skull, high - skull)) < 1, rng.uniform(28, 40))
    for side in (-1.0, 1.0):
        _fill(hu, _oval(x - np.float32(12 * side), y, z, (6, 26, 18)) < 1, 8.0)
        petrous = _oval(x - np.float32(0.62 * side * wide), y + 12, z + np.float32(0.5 * high), (20, 10, 12))
        _fill(hu, petrous < 1, 1100.0)
        _fill(hu, petrous < rng.uniform(0.1, 0.35), -600.0)
        eye = _oval(x - np.float32(32 * side), y - np.float32(0.8 * deep), z + np.float32(0.45 * high), (16, 16, 16))
        _fill(hu, eye < 1.5, 350.0)
        _fill(hu, eye < 1, 15.0)
    nose = _oval(x, y - np.float32(0.72 * deep), z + np.float32(0.75 * high), (18, 26, 26))
    _fill(hu, nose < 1.3, 500.0)
    _fill(hu, nose < 1.0, -900.0)
    jaw = _oval(x, y - np.float32(0.45 * deep), z + np.float32(0.95 * high), (38, 46, 1e9))
    below = z < np.float32(-0.78 * high)
    _fill(hu, (jaw < 1) & (jaw > 0.72) & (y > 0.2 * deep) & below, rng.uniform(900, 2200))
    _fill(hu, (jaw <= 0.72) & (y > 0.2 * deep) & below, 50.0)


def _draw_leg(hu: Field, x: Field, y: Field, z: Field, rng: np.random.Generator) -> None:
    """Thigh, knee and shank in a row along z; the marrow lies in its cortical ring like a cord in its canal."""
    x = x - np.float32(rng.normal(0.0, 0.06)) * z
    y = y - np.float32(rng.normal(0.0, 0.1)) * z - np.float32(rng.uniform(-20.0, 20.0))
    knee = np.float32(rng.uniform(z.min() - 60.0, z.max() + 60.0))
    soft = rng.uniform(48.0, 78.0)
    _fill(hu, _oval(x, y, z, (soft + rng.uniform(4, 25), soft + rng.uniform(4, 25), 1e9)) < 1, -100.0)
    _fill(hu, _oval(x, y, z, (soft, soft, 1e9)) < 1, rng.uniform(40, 65))
    near = np.exp(-(((z - knee) / 32.0) ** 2))
    shaft, wall = rng.uniform(12.0, 17.0), rng.uniform(3.0, 7.0)
    marrow = rng.uniform(-90.0, 60.0)
    for reach, bend, end in ((shaft, 5.0, z > knee), (0.9 * shaft, -3.0, z <= knee)):
        ring = np.hypot(x / (1.0 + 0.35 * near), y - np.float32(bend)) / (reach + 22.0 * near)
        _fill(hu, (ring < 1) & end, rng.uniform(900, 1500))
        thin = 1.0 - (wall * (1.0 - near) + 1.8 * near) / (reach + 22.0 * near)
        _fill(hu, (ring < thin) & end, marrow)
        _fill(hu, (ring < thin) & end & (near > 0.3), rng.uniform(90, 260))
    fibula = np.hypot(x - 24, y + 18)
    _fill(hu, (fibula < 7) & (z < knee - 25), 1100.0)
    _fill(hu, (fibula < 3) & (z < knee - 25), 0.0)
    patella = _oval(x, y - np.float32(48.0), z - knee - 8, (20, 9, 20))
    _fill(hu, patella < 1, 500.0)
    for place in rng.uniform(-0.55, 0.55, (2, 2)) * soft:
        _draw_vessel(hu, x - np.float32(place[0]), y - np.float32(place[1]), rng, rng.uniform(3.0, 5.0))


def _draw_trunk_front(hu: Field, x: Field, y: Field, z: Field, rng: np.random.Generator) -> None:
    """The front of an abdomen: organs, bowel with gas and contrast agent, calcified vessels, and no bone."""
    wide, deep = rng.uniform(120, 180), rng.uniform(90, 125)
    outline = _oval(x, y, z, (wide, deep, 1e9), 2.4)
    _fill(hu, outline < 1, rng.uniform(-115, -90))
    _fill(hu, (outline < 0.78) & (outline > 0.62), rng.uniform(45, 60))
    _fill(hu, _oval(x - 55, y - 10, z - 40, (70, 62, 90)) < 1, rng.uniform(50, 120))
    for _ in range(int(rng.integers(10, 22))):
        place = rng.uniform(-0.65, 0.65, 2) * (wide, deep)
        length = rng.uniform(20, 90)
        loop = _oval(
            x - np.float32(place[0]), y - np.float32(place[1]), z - np.float32(rng.uniform(z.min(), z.max())),
            (rng.uniform(10, 24), rng.uniform(10, 24), length),
        )  # fmt: skip
        _fill(hu, loop < 1, rng.uniform(20, 60))
        _fill(hu, loop < rng.uniform(0.3, 0.75), float(rng.choice([-950.0, 20.0, 350.0])))
    for _ in range(int(rng.integers(2, 5))):
        place = rng.uniform(-0.45, 0.45, 2) * (wide, deep)
        lean = rng.normal(0.0, 0.15, 2)
        along = z.astype(np.float32)
        _draw_vessel(
            hu, x - np.float32(place[0]) - np.float32(lean[0]) * along,
            y - np.float32(place[1]) - np.float32(lean[1]) * along, rng, rng.uniform(6.0, 14.0),
        )  # fmt: skip


def _draw_vessel(hu: Field, x: Field, y: Field, rng: np.random.Generator, radius_mm: float) -> None:
    distance = np.hypot(x, y)
    if rng.random() < 0.5:
        angle = np.arctan2(y, x)
        calcified = np.cos(angle - rng.uniform(0, 6.3)) > rng.uniform(-1.2, 0.6)
        _fill(hu, (distance < radius_mm + 2.0) & calcified, rng.uniform(300, 900))
    _fill(hu, distance < radius_mm, float(rng.choice([45.0, 160.0, 300.0])))


def _draw_table(hu: Field, x: Field, y: Field, top_mm: float, rng: np.random.Generator) -> None:
    sag = np.float32(top_mm) + np.float32(rng.uniform(0.0, 6e-4)) * x**2
    shell = np.abs(y - sag + np.float32(rng.uniform(5.0, 12.0)))
    thick = np.float32(rng.uniform(1.5, 3.5))
    reach = np.abs(x) < np.float32(rng.uniform(150.0, 230.0))
    free = hu < -500.0
    core = np.float32(rng.uniform(15.0, 40.0))
    _fill(hu, free & reach & (y < sag) & (y > sag - core), rng.uniform(-960, -850))
    _fill(hu, free & reach & ((shell < thick) | (np.abs(y - sag + core) < thick)), rng.uniform(-300, 200))
