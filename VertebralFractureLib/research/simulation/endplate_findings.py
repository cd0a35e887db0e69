"""What makes an endplate hard to see or to trust: lines, gas, a broken corner, a fused disc, metastases.

None of it changes a height. Everything is drawn with the same chance whether a body is fractured or not, from a stream
of random numbers of its own, in place on a float32 volume of 1 mm voxels in straight space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.simulation.noise_texture import blurred
from VertebralFractureLib.research.simulation.straight_grid import StraightGrid, ramp, relative_distance, within_body
from VertebralFractureLib.types import Float32Array

GAS_HU = -650.0
"""Gas in a cleft of a few millimeters, as a CT shows it."""
DISC_HU = 70.0
_SOFT_HU = 55.0
_LINE_CHANCE, _CLEFT_CHANCE, _LIMBUS_CHANCE = 0.04, 0.015, 0.015
_VACUUM_CHANCE, _FUSED_CHANCE = 0.04, 0.02
_DENSE_SPINE_CHANCE, _LYTIC_SPINE_CHANCE, _STRUCK_SHARE = 0.04, 0.03, 0.3
"""Of each body, of each disc, and of each spine; in a spine with metastases of each body."""
Drawing = Callable[[Float32Array, StraightGrid, BodyBox, np.random.Generator], None]


def add_endplate_findings(
    hu: Float32Array, grid: StraightGrid, boxes: Sequence[BodyBox], rng: np.random.Generator
) -> None:
    """Draw findings at and beside endplates into the volume, in place.

    Args:
        hu: ``[k, j, i]`` along (s, a, r).
        boxes: where the bodies are now, caudal to cranial.
        rng: of this alone; ``Generator.spawn`` gives one without taking from its parent.
    """
    is_dense, is_lytic = rng.random(2) < (_DENSE_SPINE_CHANCE, _LYTIC_SPINE_CHANCE)
    for box in boxes:
        chances: tuple[tuple[float, Drawing], ...] = (
            (_LINE_CHANCE, draw_sclerotic_line),
            (_CLEFT_CHANCE, draw_vacuum_cleft),
            (_LIMBUS_CHANCE, draw_limbus),
            (_STRUCK_SHARE * is_dense, draw_dense_metastases),
            (_STRUCK_SHARE * is_lytic, draw_lytic_metastasis),
        )
        for chance, draw in chances:
            if rng.random() < chance:
                draw(hu, grid, box, rng)
    for lower, upper in pairwise(boxes):
        if upper.s_inf - lower.s_sup < 1.0:
            continue
        if rng.random() < _VACUUM_CHANCE:
            draw_vacuum_disc(hu, grid, lower, upper, rng)
        if rng.random() < _FUSED_CHANCE:
            draw_fused_disc(hu, grid, lower, upper, rng)


def draw_sclerotic_line(hu: Float32Array, grid: StraightGrid, box: BodyBox, rng: np.random.Generator) -> None:
    """A dense line along an endplate, 2 to 6 mm deep: a healed impression, or growth that once stood still."""
    rows = grid.rows(box.s_inf, box.s_sup)
    depth = float(rng.uniform(2.0, min(6.0, 0.4 * (box.s_sup - box.s_inf))))
    wave = np.float32(rng.uniform(0.0, 1.2)) * np.sin((grid.a - box.a_post) / 5.0 + float(rng.uniform(0.0, 6.3)))
    level = box.s_sup - depth if rng.random() < 0.6 else box.s_inf + depth
    start, stop = rng.uniform([-0.1, 0.6], [0.4, 1.1]) * (box.a_ant - box.a_post) + box.a_post
    along = ramp(np.minimum(grid.a - np.float32(start), np.float32(stop) - grid.a), 3.0)
    line = np.exp(-0.5 * ((grid.s[rows] - np.float32(level) - wave) / np.float32(rng.uniform(0.6, 1.2))) ** 2)
    hu[rows] += np.float32(rng.uniform(100.0, 350.0)) * line * along * within_body(grid, rows, box, 0.5)


def draw_vacuum_cleft(hu: Float32Array, grid: StraightGrid, box: BodyBox, rng: np.random.Generator) -> None:
    """Gas in a horizontal cleft inside the body, with a dense rim (Kuemmell)."""
    height, depth, width = box.s_sup - box.s_inf, box.a_ant - box.a_post, box.r_right - box.r_left
    corner = np.array([box.s_inf, box.a_post, box.r_left])
    place = corner + rng.uniform([0.45, 0.4, 0.4], [0.8, 0.75, 0.6]) * (height, depth, width)
    size = np.array([rng.uniform(0.8, 2.2), rng.uniform(0.2, 0.4) * depth, rng.uniform(0.2, 0.4) * width])
    rows = grid.rows(box.s_inf, box.s_sup)
    inside = within_body(grid, rows, box, 1.0)
    rim = ramp(1.6 - relative_distance(grid, rows, place, size + 1.5), 0.6)
    hu[rows] += np.float32(rng.uniform(0.0, 200.0)) * rim * inside
    gas = ramp(1.15 - relative_distance(grid, rows, place, size), 0.3) * inside
    hu[rows] += gas * (np.float32(GAS_HU) - hu[rows])


def draw_limbus(hu: Float32Array, grid: StraightGrid, box: BodyBox, rng: np.random.Generator) -> None:
    """A front corner that lies apart: a cleft of disc behind it, both sides of the cleft dense."""
    corner = float(rng.uniform(4.0, min(9.0, 0.45 * (box.s_sup - box.s_inf))))
    side = float(rng.uniform(0.25, 0.75)) * (box.r_right - box.r_left) + box.r_left
    from_end = box.s_sup - grid.s if rng.random() < 0.75 else grid.s - box.s_inf
    rows = grid.rows(box.s_inf - 1.0, box.s_sup + 1.0)
    lean = np.float32(rng.uniform(0.7, 1.4))
    across = (from_end[rows] + lean * (box.a_ant - grid.a) - corner) / np.float32(np.hypot(1.0, lean))
    near = np.exp(-0.5 * ((grid.r - np.float32(side)) / np.float32(rng.uniform(5.0, 10.0))) ** 2)
    near = near * ramp(np.minimum(grid.r - box.r_left, box.r_right - grid.r) + 1.0, 2.0)
    near = near * ramp(from_end[rows] + 1.0, 1.0)
    near = near * ramp(np.minimum(box.a_ant + 1.0 - grid.a, 0.25 * (grid.a - box.a_post)), 1.0)
    rim = np.exp(-0.5 * ((np.abs(across) - 2.5) / 1.0) ** 2)
    hu[rows] += np.float32(rng.uniform(80.0, 300.0)) * rim * near
    cleft = ramp(np.float32(rng.uniform(0.8, 1.6)) - np.abs(across), 0.6) * near
    hu[rows] += cleft * (np.float32(DISC_HU) - hu[rows])


def draw_dense_metastases(hu: Float32Array, grid: StraightGrid, box: BodyBox, rng: np.random.Generator) -> None:
    """Blastic metastases: one to four cloudy foci, or the whole body dense; its height stays."""
    rows = grid.rows(box.s_inf, box.s_sup)
    inside = within_body(grid, rows, box, 0.0)
    cloud = _cloud(grid, rows, rng)
    if rng.random() < 0.25:
        hu[rows] += np.float32(rng.uniform(200.0, 700.0)) * cloud * inside
        return
    low = np.array([box.s_inf, box.a_post, box.r_left])
    high = np.array([box.s_sup, box.a_ant, box.r_right])
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(0.12, 0.4, 3) * (high - low)
        focus = ramp(1.2 - relative_distance(grid, rows, rng.uniform(low, high), size), 0.5)
        hu[rows] += np.float32(rng.uniform(200.0, 900.0)) * focus * cloud * inside


def draw_lytic_metastasis(hu: Float32Array, grid: StraightGrid, box: BodyBox, rng: np.random.Generator) -> None:
    """Soft tissue in the place of bone, through an endplate or a wall in one of two; its height stays."""
    low = np.array([box.s_inf, box.a_post, box.r_left])
    high = np.array([box.s_sup, box.a_ant, box.r_right])
    rows = grid.rows(box.s_inf - 2.0, box.s_sup + 2.0)
    cortex = -2.0 if rng.random() < 0.5 else 2.0
    place = low + rng.uniform(0.15, 0.85, 3) * (high - low)
    size = rng.uniform(0.15, 0.45, 3) * (high - low)
    lobes = 1.0 + 0.25 * (_cloud(grid, rows, rng) - 1.0)
    share = ramp(1.1 * lobes - relative_distance(grid, rows, place, size), 0.25) * within_body(grid, rows, box, cortex)
    hu[rows] += share * (np.float32(_SOFT_HU) - _without_noise(hu[rows]))


def draw_vacuum_disc(
    hu: Float32Array, grid: StraightGrid, lower: BodyBox, upper: BodyBox, rng: np.random.Generator
) -> None:
    """Gas in a degenerated disc: a band of up to half its height, in front, in the middle or over its whole depth."""
    gap = upper.s_inf - lower.s_sup
    middle = 0.5 * (lower.s_sup + upper.s_inf) + float(rng.uniform(-0.15, 0.15)) * gap
    half = max(float(rng.uniform(0.12, 0.3)) * gap, 0.5)
    rows = grid.rows(lower.s_sup - 1.0, upper.s_inf + 1.0)
    start, stop = np.sort(rng.uniform(0.05, 0.95, 2))
    stop = max(float(stop), float(start) + 0.3)
    a_post, depth = 0.5 * (lower.a_post + upper.a_post), 0.5 * (lower.a_ant + upper.a_ant - lower.a_post - upper.a_post)
    left, right = max(lower.r_left, upper.r_left), min(lower.r_right, upper.r_right)
    along = (grid.a - a_post - 0.5 * (float(start) + stop) * depth) / np.float32(0.5 * (stop - float(start)) * depth)
    lens = np.float32(half) * np.sqrt(np.clip(1.0 - along**2, 0.05, 1.0))
    band = ramp(lens + 0.5 - np.abs(grid.s[rows] - np.float32(middle)), 0.5)
    band = band * ramp(np.minimum(grid.a - a_post - float(start) * depth, a_post + stop * depth - grid.a), 2.0)
    band = band * ramp(np.minimum(grid.r - left, right - grid.r) - float(rng.uniform(2.0, 0.3 * (right - left))), 2.0)
    band = np.clip(band * (0.4 + 0.8 * _cloud(grid, rows, rng)), 0.0, 1.0)
    hu[rows] += band.astype(np.float32) * (np.float32(GAS_HU) - hu[rows])


def draw_fused_disc(
    hu: Float32Array, grid: StraightGrid, lower: BodyBox, upper: BodyBox, rng: np.random.Generator
) -> None:
    """Two bodies grown together: spongy bone in the place of the disc, its endplates gone over most of the depth."""
    reach = 2.5
    rows = grid.rows(lower.s_sup - reach, upper.s_inf + reach)
    bone = [_spongy_hu(hu, grid, box) for box in (lower, upper)]
    start = float(rng.uniform(-0.3, 0.35))
    a_post, a_ant = 0.5 * (lower.a_post + upper.a_post), 0.5 * (lower.a_ant + upper.a_ant)
    left, right = max(lower.r_left, upper.r_left), min(lower.r_right, upper.r_right)
    grown = ramp(np.minimum(grid.a - a_post - start * (a_ant - a_post), a_ant - grid.a), 3.0)
    grown = grown * ramp(np.minimum(grid.r - left, right - grid.r), 3.0)
    grown = grown * ramp(np.minimum(grid.s[rows] - lower.s_sup + reach, upper.s_inf + reach - grid.s[rows]), 1.5)
    density = np.float32(0.5 * (bone[0] + bone[1]) + rng.uniform(0.0, 60.0))
    texture = density * (0.85 + 0.15 * _cloud(grid, rows, rng))
    hu[rows] += np.float32(rng.uniform(0.75, 1.0)) * grown * (texture - _without_noise(hu[rows]))


def _without_noise(values: Float32Array) -> Float32Array:
    """The part, smooth in the plane across s: noise stays where tissue is replaced by what is smooth too."""
    return blurred(blurred(values, 0.8, 1), 0.8, 2)


def _spongy_hu(hu: Float32Array, grid: StraightGrid, box: BodyBox) -> float:
    """Median of a body's middle, HU."""
    rows = grid.rows(box.s_inf + 4.0, box.s_sup - 4.0)
    a, r = grid.a[0, :, 0], grid.r[0, 0, :]
    columns = np.ix_((a > box.a_post + 5.0) & (a < box.a_ant - 5.0), (r > box.r_left + 6.0) & (r < box.r_right - 6.0))
    part = hu[rows][:, columns[0], columns[1]]
    return float(np.median(part)) if part.size else 150.0


def _cloud(grid: StraightGrid, rows: slice, rng: np.random.Generator) -> Float32Array:
    """Around 1, from about 0.5 to 1.5, over several mm."""
    phase = rng.uniform(0.0, 6.3, 3)
    wave = np.sin(0.8 * grid.s[rows] + phase[0]) * np.sin(0.6 * grid.a + 0.7 * grid.r + phase[1])
    return np.asarray(1.0 + 0.3 * wave + 0.2 * np.sin(1.1 * grid.a - 0.5 * grid.r + phase[2]), dtype=np.float32)
