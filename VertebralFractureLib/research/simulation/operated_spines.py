"""Draw an operation onto a CT: screws, hooks and rods with their streaks, cement, a cage, a taken arch, a lost body.

Everything lies along the canal's reference centerline and is simulated, not real: the sizes are those of implants
(rods of 5.5 mm, screws of 6 mm), the densities those that scanners store (up to 3071 HU, often clipped below).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import ReformatFrame, lay_frame
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.volume import CTVolume

Operation = Callable[[CTVolume, Centerline, np.random.Generator], CTVolume]

_STEP_MM = 0.5
_LEVEL_MM = 26.0
"""Distance of the levels that are operated on; a reference centerline does not tell where bodies begin."""
_SOFT_HU = 50.0


def fix_with_screws(ct: CTVolume, line: Centerline, rng: np.random.Generator) -> CTVolume:
    """Pedicle screws on both sides of three to six levels, joined by rods behind them."""
    return _fixed(ct, line, rng, hooks=False)


def fix_with_hooks(ct: CTVolume, line: Centerline, rng: np.random.Generator) -> CTVolume:
    """Long rods close to the arch with hooks under the laminae, as against scoliosis; no screw enters a body."""
    return _fixed(ct, line, rng, hooks=True)


def _fixed(ct: CTVolume, line: Centerline, rng: np.random.Generator, *, hooks: bool) -> CTVolume:
    frame = lay_frame(line)
    levels = int(rng.integers(5, 9)) if hooks else int(rng.integers(3, 7))
    low, high = _stretch(line, levels * _LEVEL_MM, rng)
    side = float(rng.uniform(9.0, 14.0)) if hooks else float(rng.uniform(13.0, 20.0))
    behind = float(rng.uniform(-22.0, -16.0)) if hooks else float(rng.uniform(-32.0, -22.0))
    metal: list[FloatArray] = []
    for sign in (-1.0, 1.0):
        s = np.arange(low, high, _STEP_MM)
        metal.append(_thick(np.stack([0.0 * s + sign * side, 0.0 * s + behind, s], axis=1), 2.75))
        for at in np.arange(low + 8.0, high, _LEVEL_MM):
            if hooks:
                a = np.arange(behind, -6.0, _STEP_MM)
                path = np.stack([np.linspace(sign * side, sign * 5.0, len(a)), a, 0.0 * a + at], axis=1)
                metal.append(_thick(path, 2.0))
            else:
                a = np.arange(behind, 30.0, _STEP_MM)
                r = np.interp(a, [behind, 0.0, 30.0], [sign * side, sign * 13.0, sign * 7.0])
                metal.append(_thick(np.stack([r, a, 0.0 * a + at], axis=1), 3.0))
    most = float(rng.choice([1800.0, 2500.0, 3071.0]))
    points = frame.straight_to_ras(np.concatenate(metal))
    hu = _streaked(ct, points, rng)
    return _with(ct, _painted(ct, hu, points, most))


def inject_cement(ct: CTVolume, line: Centerline, rng: np.random.Generator) -> CTVolume:
    """Clouds of cement in two bodies, one of them leaking to the side."""
    frame, hu = lay_frame(line), ct.hu.astype(np.float32)
    low, high = _stretch(line, 80.0, rng)
    for at in (low + 15.0, high - 15.0):
        center = np.array([rng.uniform(-5.0, 5.0), rng.uniform(18.0, 26.0), at])
        cloud = center + np.array([9.0, 9.0, 7.0]) * _ball(rng, 6000)
        if rng.random() < 0.5:
            leak = np.linspace(center, center + np.array([float(rng.choice([-18.0, 18.0])), -6.0, 4.0]), 200)
            cloud = np.concatenate([cloud, _thick(leak, 1.5)])
        hu = _painted(ct, hu, frame.straight_to_ras(cloud), float(rng.uniform(800.0, 2500.0)))
    return _with(ct, hu)


def place_cages(ct: CTVolume, line: Centerline, rng: np.random.Generator) -> CTVolume:
    """Titanium cages, walls of 2 mm around a graft, at three neighboring levels."""
    frame, hu = lay_frame(line), ct.hu.astype(np.float32)
    low, _ = _stretch(line, 3 * _LEVEL_MM, rng)
    for number in range(3):
        u = np.linspace(0.0, 2.0 * np.pi, 240)
        s = np.arange(-4.5, 4.5, _STEP_MM)
        ring = np.stack([np.tile(11.0 * np.cos(u), len(s)), 22.0 + np.tile(8.0 * np.sin(u), len(s))], axis=1)
        wall = np.column_stack([ring, np.repeat(s, len(u)) + low + 13.0 + _LEVEL_MM * number])
        hu = _painted(ct, hu, frame.straight_to_ras(_thick(wall, 1.0)), 2800.0)
    return _with(ct, hu)


def take_arch(ct: CTVolume, line: Centerline, rng: np.random.Generator) -> CTVolume:
    """A laminectomy: soft tissue instead of the arches and spinous processes over two to three levels."""
    low, high = _stretch(line, float(rng.uniform(50.0, 75.0)), rng)
    return _softened(ct, lay_frame(line), (0.0, -22.0, 0.5 * (low + high)), (12.0, 15.0, 0.5 * (high - low)), rng)


def destroy_body(ct: CTVolume, line: Centerline, rng: np.random.Generator) -> CTVolume:
    """Soft tissue instead of one body and its walls."""
    low, high = _stretch(line, 70.0, rng)
    half = (float(rng.uniform(17.0, 24.0)), float(rng.uniform(14.0, 18.0)), float(rng.uniform(10.0, 14.0)))
    return _softened(ct, lay_frame(line), (0.0, 23.0, 0.5 * (low + high)), half, rng)


OPERATIONS: dict[str, Operation] = {
    "screws and rods": fix_with_screws,
    "rods and hooks": fix_with_hooks,
    "cement in two bodies": inject_cement,
    "cages in three discs": place_cages,
    "arches taken": take_arch,
    "a body destroyed": destroy_body,
}


def _stretch(line: Centerline, length_mm: float, rng: np.random.Generator) -> tuple[float, float]:
    """Where to operate: a stretch of the curve, at least 20 mm from both ends where it is long enough."""
    length = min(length_mm, 0.7 * line.length_mm)
    first = float(rng.uniform(min(20.0, 0.1 * line.length_mm), line.length_mm - length - 0.1))
    return first, first + length


def _ball(rng: np.random.Generator, count: int) -> FloatArray:
    points = rng.normal(0.0, 1.0, (count, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1)[:, None] * rng.random((count, 1)) ** (1.0 / 3.0))


def _thick(path: FloatArray, radius_mm: float) -> FloatArray:
    """Points that fill a tube around a path."""
    near = np.arange(-radius_mm, radius_mm + 0.5 * _STEP_MM, _STEP_MM)
    offsets = np.stack(np.meshgrid(near, near, near, indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = offsets[np.linalg.norm(offsets, axis=1) <= radius_mm]
    return np.asarray((path[::2, None] + offsets[None]).reshape(-1, 3))


def _painted(ct: CTVolume, hu: Float32Array, points_ras: FloatArray, value: float) -> Float32Array:
    """The voxels that the points fill by a third or more take the value, others a part of it (partial volume)."""
    shape = np.array(ct.shape_kji)
    at = np.rint(ct.ras_to_ijk_points(points_ras)[:, ::-1]).astype(np.intp)
    at = at[np.all((at >= 0) & (at < shape), axis=1)]
    if len(at) == 0:
        return hu
    cells, count = np.unique(np.ravel_multi_index(tuple(at.T), ct.shape_kji), return_counts=True)
    filled = np.clip(3.0 * count / max(float(np.percentile(count, 90.0)), 1.0), 0.0, 1.0)
    flat = hu.reshape(-1).copy()
    flat[cells] = np.maximum(flat[cells], flat[cells] + filled * (value - flat[cells]))
    return np.asarray(flat.reshape(hu.shape), dtype=np.float32)


def _streaked(ct: CTVolume, metal_ras: FloatArray, rng: np.random.Generator) -> Float32Array:
    """Bright and dark rays in the plane of the slices around metal, within 60 mm of it."""
    hu = ct.hu.astype(np.float32)
    at = ct.ras_to_ijk_points(metal_ras)
    axial = int(np.abs(ct.ijk_to_ras[2, :3]).argmax())
    plane = [axis for axis in range(3) if axis != axial]
    strength, rays, phase = float(rng.uniform(60.0, 300.0)), int(rng.integers(5, 12)), float(rng.uniform(0.0, 6.3))
    spacing = np.array(ct.spacing_mm)
    size = np.array(ct.hu.shape[::-1])
    grid = np.meshgrid(*(np.arange(size[axis]) * spacing[axis] for axis in plane), indexing="ij")
    for index in range(int(size[axial])):
        own = at[np.abs(at[:, axial] - index) <= 0.5]
        if len(own) == 0:
            continue
        streaks = np.zeros(grid[0].shape)
        for side in np.array_split(own[np.argsort(own[:, plane[0]])], 2):
            if len(side) == 0:
                continue
            u, v = (grid[n] - side[:, axis].mean() * spacing[axis] for n, axis in enumerate(plane))
            streaks += strength * np.cos(rays * np.arctan2(v, u) + phase) * np.exp(-np.hypot(u, v) / 25.0)
        where: list[slice | int] = [slice(None)] * 3
        where[2 - axial] = index
        # The array's axes run k, j, i, those of the grid i before j before k.
        hu[tuple(where)] += (streaks.T * (hu[tuple(where)] > -900.0)).astype(np.float32)
    return np.asarray(np.clip(hu, -1024.0, 3071.0), dtype=np.float32)


def _softened(
    ct: CTVolume,
    frame: ReformatFrame,
    center: tuple[float, float, float],
    half_mm: tuple[float, float, float],
    rng: np.random.Generator,
) -> CTVolume:
    """Soft tissue with noise in a rounded box around a point in straightened coordinates."""
    steps = [np.arange(-half, half + 0.25, _STEP_MM) for half in half_mm]
    box = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    box = box[((np.abs(box) / np.array(half_mm)) ** 4).sum(axis=1) <= 1.0]
    shape = np.array(ct.shape_kji)
    at = np.rint(ct.ras_to_ijk_points(frame.straight_to_ras(box + np.array(center)))[:, ::-1]).astype(np.intp)
    at = np.unique(at[np.all((at >= 0) & (at < shape), axis=1)], axis=0)
    hu = ct.hu.astype(np.float32)
    hu[tuple(at.T)] = _SOFT_HU + rng.normal(0.0, 15.0, len(at)).astype(np.float32)
    return _with(ct, hu)


def _with(ct: CTVolume, hu: Float32Array) -> CTVolume:
    return replace(ct, hu=np.asarray(np.round(np.clip(hu, -1024.0, 3071.0)), dtype=np.int16))
