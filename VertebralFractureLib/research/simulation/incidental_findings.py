"""What a scan may show besides fractures: osteophytes, bridges, sclerosis, metal, cement, motion, its acquisition.

Everything here is drawn with the same chance whether a spine holds a fracture or not, so that none of it says anything
about one; it works in place on a float32 volume of 1 mm voxels in straight space.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from VertebralFractureLib.cpr import OUTSIDE_HU
from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.simulation.endplate_findings import DISC_HU, add_endplate_findings
from VertebralFractureLib.research.simulation.straight_grid import StraightGrid, ramp, relative_distance, within_body
from VertebralFractureLib.types import BoolArray, Float32Array

_CHANCES = {"osteophytes": 0.25, "bridge": 0.10, "bone_loss": 0.35, "metal": 0.03, "motion": 0.06, "cut": 0.12}
CEMENT_CHANCE = 0.02
"""Of each body; a cemented body is a treated one, and its grade is nobody's to tell."""
_NODE_CHANCE, _ISLAND_CHANCE, _LUCENT_CHANCE = 0.05, 0.015, 0.02
_WORN_DISC_CHANCE = 0.04
"""Of each body, and of each disc: sclerosis and lucency that come without a loss of height."""


def add_findings(
    hu: Float32Array,
    inside: BoolArray,
    origin_mm: tuple[float, float, float],
    boxes: Sequence[BodyBox],
    rng: np.random.Generator,
) -> list[int]:
    """Draw findings into the volume, in place.

    Args:
        hu, inside: ``[k, j, i]`` along (s, a, r).
        origin_mm: straight (r, a, s) of voxel (0, 0, 0).
        boxes: where the bodies are now, caudal to cranial.
        rng: decides what is drawn.

    Returns:
        Indices of the cemented bodies.
    """
    grid = StraightGrid.of(hu.shape, origin_mm)
    drawn = {name: bool(rng.random() < chance) for name, chance in _CHANCES.items()}
    if boxes and drawn["bone_loss"]:
        _lose_bone(hu, grid, boxes, rng)
    for box in boxes:
        _foci(hu, grid, box, rng)
    for lower, upper in pairwise(boxes):
        if drawn["osteophytes"] and rng.random() < 0.5:
            _osteophyte(hu, grid, lower, upper, float(rng.uniform(0.25, 0.85)), rng)
        if rng.random() < _WORN_DISC_CHANCE:
            degenerated_disc(hu, grid, lower, upper, rng)
    if drawn["bridge"] and len(boxes) >= 4:
        start = int(rng.integers(0, len(boxes) - 3))
        run = boxes[start : start + int(rng.integers(4, 8))]
        for lower, upper in pairwise(run):
            _osteophyte(hu, grid, lower, upper, 1.0, rng)
    if boxes and drawn["metal"]:
        start = int(rng.integers(0, len(boxes)))
        _screws(hu, grid, boxes[start : start + int(rng.integers(2, 5))], rng)
    cemented = [index for index in range(len(boxes)) if rng.random() < CEMENT_CHANCE]
    for index in cemented:
        _cement(hu, grid, boxes[index], rng)
    add_endplate_findings(hu, grid, boxes, rng.spawn(1)[0])
    if drawn["motion"]:
        _motion(hu, grid, rng)
    if drawn["cut"]:
        _cut(hu, inside, grid, rng)
    return cemented


def _lose_bone(hu: Float32Array, grid: StraightGrid, boxes: Sequence[BodyBox], rng: np.random.Generator) -> None:
    """Trabecular bone of another density in every body, the cortex left as it is."""
    factor = np.float32(rng.uniform(0.45, 1.15))
    for box in boxes:
        rows = grid.rows(box.s_inf, box.s_sup)
        values = hu[rows]
        spongy = np.clip(values, 0.0, 350.0) * (values < 450.0)
        hu[rows] = values + within_body(grid, rows, box, 1.5) * (factor - 1.0) * spongy


def _foci(hu: Float32Array, grid: StraightGrid, box: BodyBox, rng: np.random.Generator) -> None:
    """A Schmorl node in its sclerosis, a bone island, or a lucent hemangioma."""
    if rng.random() < _NODE_CHANCE:
        schmorl_node(hu, grid, box, rng)
    for chance, sizes, change in (
        (_ISLAND_CHANCE, (2.0, 5.0), (300.0, 900.0)),
        (_LUCENT_CHANCE, (4.0, 9.0), (-130.0, -50.0)),
    ):
        if rng.random() < chance:
            place = rng.uniform([box.s_inf, box.a_post, box.r_left], [box.s_sup, box.a_ant, box.r_right])
            rows = grid.rows(box.s_inf, box.s_sup)
            away = relative_distance(grid, rows, place, rng.uniform(*sizes, 3))
            hu[rows] += within_body(grid, rows, box, 0.5) * np.float32(rng.uniform(*change)) * ramp(1.25 - away, 0.5)


def schmorl_node(hu: Float32Array, grid: StraightGrid, box: BodyBox, rng: np.random.Generator) -> None:
    """Disc that broke through an endplate, none to 6 mm deep, in a dense focus that may fill half of the body."""
    height, depth, width = box.s_sup - box.s_inf, box.a_ant - box.a_post, box.r_right - box.r_left
    from_above = rng.random() < 0.6
    where = rng.uniform([0.2, 0.2], [0.85, 0.8])
    place = np.array(
        [box.s_sup if from_above else box.s_inf, box.a_post + where[0] * depth, box.r_left + where[1] * width]
    )
    rows = grid.rows(box.s_inf, box.s_sup)
    size = rng.uniform([0.2, 0.15, 0.15], [0.6, 0.5, 0.45]) * (height, depth, width)
    texture = 1.0 + 0.2 * np.sin(0.8 * grid.s[rows] + float(rng.uniform(0.0, 6.3))) * np.sin(
        0.6 * grid.a + 0.7 * grid.r
    )
    dense = ramp(1.3 - relative_distance(grid, rows, place, size), 0.6) * texture * within_body(grid, rows, box, 0.0)
    hu[rows] += np.float32(rng.uniform(80.0, 450.0)) * dense
    if rng.random() < 0.6:
        opening = rng.uniform([1.5, 2.5, 2.5], [6.0, 6.0, 6.0])
        open_share = ramp(1.2 - relative_distance(grid, rows, place, opening), 0.4)
        hu[rows] += open_share * (np.float32(DISC_HU) - hu[rows])


def degenerated_disc(
    hu: Float32Array, grid: StraightGrid, lower: BodyBox, upper: BodyBox, rng: np.random.Generator
) -> None:
    """Osteochondrosis: both endplates beside a disc are dense, in front or over the whole depth."""
    reach, from_front = float(rng.uniform(2.0, 7.0)), float(rng.uniform(0.3, 1.3))
    density = np.float32(rng.uniform(80.0, 350.0))
    for box, away in ((lower, lower.s_sup - grid.s), (upper, grid.s - upper.s_inf)):
        rows = grid.rows(box.s_inf, box.s_sup)
        in_front = ramp(from_front - (box.a_ant - grid.a) / (box.a_ant - box.a_post), 0.25)
        hu[rows] += density * ramp(1.2 - away[rows] / reach, 0.5) * in_front * within_body(grid, rows, box, 0.0)


def _osteophyte(
    hu: Float32Array, grid: StraightGrid, lower: BodyBox, upper: BodyBox, reach: float, rng: np.random.Generator
) -> None:
    """Bone in front of the disc, from both corners towards its middle; ``reach`` 1 joins them."""
    front = 0.5 * (lower.a_ant + upper.a_ant)
    middle, half = 0.5 * (lower.s_sup + upper.s_inf), 0.5 * (upper.s_inf - lower.s_sup) + 4.0
    thick, wide = float(rng.uniform(2.0, 5.5)), float(rng.uniform(5.0, 14.0))
    side = float(rng.uniform(-10.0, 10.0))
    rows = grid.rows(middle - half - 3.0, middle + half + 3.0)
    along = np.abs(grid.s[rows] - middle) / half
    grown = ramp(along - (1.0 - reach), 0.25) * ramp(1.25 - along, 0.25)
    outline = front - 1.0 + thick * np.sqrt(np.clip(1.0 - along**2, 0.15, 1.0))
    depth = ramp(np.minimum(grid.a - front + 3.0, outline - grid.a), 1.5)
    bone = grown * depth * np.exp(-0.5 * ((grid.r - side) / wide) ** 2)
    density = np.float32(rng.uniform(220.0, 600.0))
    hu[rows] = np.where(bone * density > hu[rows], hu[rows] + bone * (density - hu[rows]), hu[rows])


def _screws(hu: Float32Array, grid: StraightGrid, boxes: Sequence[BodyBox], rng: np.random.Generator) -> None:
    """Pedicle screws with their streaks, and the rods that join them."""
    side = float(rng.uniform(11.0, 16.0))
    for box in boxes:
        level = box.s_inf + 0.6 * (box.s_sup - box.s_inf)
        rows = grid.rows(level - 12.0, level + 12.0)
        away = grid.s[rows] - level
        angle = np.arctan2(grid.a - 5.0, grid.r)
        distance = np.sqrt((grid.a - 5.0) ** 2 + grid.r**2)
        waves = np.sin(int(rng.integers(6, 14)) * angle + float(rng.uniform(0.0, 6.3)))
        hu[rows] += np.float32(rng.uniform(80.0, 350.0)) * waves * np.exp(-distance / 30.0 - (away / 3.5) ** 2)
        tip = box.a_post + float(rng.uniform(0.5, 0.8)) * (box.a_ant - box.a_post)
        for sign in (-1.0, 1.0):
            radius = np.sqrt(away**2 + (grid.r - sign * side) ** 2)
            hu[rows] = np.where((radius < 2.8) & (grid.a < tip), np.float32(2800.0), hu[rows])
    rows = grid.rows(boxes[0].s_inf, boxes[-1].s_sup)
    for sign in (-1.0, 1.0):
        rod = np.sqrt((grid.a + 20.0) ** 2 + (grid.r - sign * side) ** 2) < 3.0
        hu[rows] = np.where(rod, np.float32(2800.0), hu[rows])


def _cement(hu: Float32Array, grid: StraightGrid, box: BodyBox, rng: np.random.Generator) -> None:
    """One or two irregular clouds of bone cement inside a body."""
    rows = grid.rows(box.s_inf, box.s_sup)
    height, depth, width = box.s_sup - box.s_inf, box.a_ant - box.a_post, box.r_right - box.r_left
    for sign in (-1.0, 1.0) if rng.random() < 0.6 else (0.0,):
        share = rng.uniform([0.3, 0.35, 0.15], [0.48, 0.48, 0.25])
        middle = (box.s_inf + 0.5 * height, box.a_post + 0.55 * depth, box.r_left + (0.5 + 0.22 * sign) * width)
        away = (
            ((grid.s[rows] - middle[0]) / (share[0] * height)) ** 2
            + ((grid.a - middle[1]) / (share[1] * depth)) ** 2
            + ((grid.r - middle[2]) / (share[2] * width)) ** 2
        )
        rim = 0.8 + 0.25 * np.sin(0.9 * grid.s[rows] + float(rng.uniform(0.0, 6.3))) * np.sin(0.7 * grid.a + grid.r)
        hu[rows] = np.where(away < rim, np.float32(rng.uniform(1200.0, 2400.0)), hu[rows])


def _motion(hu: Float32Array, grid: StraightGrid, rng: np.random.Generator) -> None:
    """A breath: over some 20 to 60 mm the content lies twice, a few mm apart."""
    first = float(rng.uniform(grid.s[0, 0, 0], grid.s[-1, 0, 0]))
    rows = grid.rows(first, first + float(rng.uniform(20.0, 60.0)))
    moved = np.roll(hu[rows], (int(rng.integers(-3, 4)), int(rng.integers(-2, 3))), axis=(1, 2))
    hu[rows] += np.float32(rng.uniform(0.3, 0.5)) * (moved - hu[rows])


def _cut(hu: Float32Array, inside: BoolArray, grid: StraightGrid, rng: np.random.Generator) -> None:
    """The field of view ends at an oblique plane somewhere in the outer thirds of the volume."""
    low, high = float(grid.s[0, 0, 0]), float(grid.s[-1, 0, 0])
    share = float(rng.uniform(0.15, 0.33))
    slope = np.float32(rng.uniform(-0.4, 0.4))
    plane = grid.s - slope * grid.a + 0.0 * grid.r
    outside = plane < low + share * (high - low) if rng.random() < 0.5 else plane > high - share * (high - low)
    inside &= ~outside
    hu[outside] = OUTSIDE_HU


def reacquired(
    hu: Float32Array, inside: BoolArray, slice_mm: float, rng: np.random.Generator
) -> tuple[Float32Array, float]:
    """The volume as another scanner would have taken it, and the thickness of its slices then.

    Thicker slices (averaged, then interpolated between), a smoother or a sharper kernel, another calibration, noise.
    """
    volume = torch.from_numpy(hu)[None, None]
    if slice_mm < 2.6 and rng.random() < 0.4:
        width = int(rng.choice([3, 5]))
        volume, slice_mm = _thick_slices(volume, width, int(rng.integers(width))), float(width)
    kernel = rng.random()
    if kernel < 0.4:
        smooth = torch.nn.functional.avg_pool3d(volume, (1, 3, 3), 1, (0, 1, 1), count_include_pad=False)
        volume = smooth if kernel < 0.25 else volume + float(rng.uniform(0.4, 1.2)) * (volume - smooth)
    values = volume[0, 0].numpy() * np.float32(rng.uniform(0.9, 1.12)) + np.float32(rng.uniform(-20.0, 30.0))
    if rng.random() < 0.6:
        noise = rng.standard_normal(values.shape, dtype=np.float32)
        noise[1:] += noise[:-1]
        values = values + np.float32(rng.uniform(5.0, 40.0) / 1.4) * noise
    return np.where(inside, values, np.float32(OUTSIDE_HU)), slice_mm


def _thick_slices(volume: torch.Tensor, width: int, phase: int) -> torch.Tensor:
    """Means of ``width`` voxels along s, one per ``width``, and linear interpolation back."""
    count = volume.shape[2]
    mean = torch.nn.functional.avg_pool3d(volume, (width, 1, 1), 1, (width // 2, 0, 0), count_include_pad=False)
    coarse = mean[:, :, phase::width]
    where = (torch.arange(count, dtype=torch.float32) - phase) / width
    where = where.clamp(0.0, coarse.shape[2] - 1.0)
    low = where.floor().long().clamp(max=max(coarse.shape[2] - 2, 0))
    share = (where - low)[None, None, :, None, None]
    high = (low + 1).clamp(max=coarse.shape[2] - 1)
    return coarse[:, :, low] * (1.0 - share) + coarse[:, :, high] * share
