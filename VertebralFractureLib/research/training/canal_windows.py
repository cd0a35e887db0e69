"""Windows cut from an axial stack as a scanner might have shown them: rotated, tilted, scaled, flipped, cut, shifted.

The geometry of a window is drawn once (``WindowGeometry``); image, canal position and walls all follow from it, so that
truth and image cannot part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from VertebralFractureLib.canal.axial_stack import IN_PLANE_MM, OUTSIDE_HU, SLICE_MM
from VertebralFractureLib.canal.network import CHANNELS
from VertebralFractureLib.research.training.canal_cases import LABELED, STACK_MM, CanalCase
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.sampling import sample_tensor

WINDOW = 96
HALF_WINDOW = 0.5 * (WINDOW - 1)
_LARGEST_TURN_WITH_WALLS_DEG = 12.0
_CUT_PIXELS = 12
_ADULT_BODIES, _SMALL_BODIES = (0.7, 1.4), (1.4, 1.85)
"""How many times smaller than it is a body is shown; the small ones are of the size of a child of three to ten."""
_SHARE_OF_SMALL_BODIES = 0.2


@dataclass(frozen=True)
class WindowGeometry:
    """From window pixels to stack pixels ``p = focus + matrix @ (q - HALF_WINDOW)``, in slices that are ``step_rows``
    apart, shifted by ``shear`` pixels and tilted by ``tilt`` rows per pixel about ``pivot``.

    ``scale_xy`` are stack pixels per window pixel along both axes, negative for a flip; ``turn_deg`` is between them.
    """

    focus: FloatArray
    matrix: FloatArray
    scale_xy: tuple[float, float]
    turn_deg: float
    step_rows: float
    shear: FloatArray
    tilt: FloatArray
    pivot: FloatArray
    first_row: int
    last_row: int

    def to_window(self, place: FloatArray) -> FloatArray:
        """Window pixel (i, j) of a stack pixel (i, j)."""
        return np.asarray(np.linalg.solve(self.matrix, place - self.focus) + HALF_WINDOW)

    def walls_in_window(self, walls_mm: FloatArray) -> FloatArray:
        """Walls ``(8,)`` as they measure in the window; unknown where the window is rotated too far for a box."""
        if abs(self.turn_deg) > _LARGEST_TURN_WITH_WALLS_DEG:
            return np.full(8, np.nan)
        ends = walls_mm.reshape(2, 2, 2) / np.array(self.scale_xy)[None, :, None]
        flipped = np.array(self.scale_xy) < 0.0
        ends[:, flipped] = ends[:, flipped, ::-1]
        return np.asarray(ends.reshape(8))


@dataclass(frozen=True)
class Window:
    """``hu`` ``(CHANNELS, WINDOW, WINDOW)``, the canal's pixel (i, j), whether it is there, walls ``(8,)`` in mm."""

    hu: torch.Tensor
    target: FloatArray
    present: bool
    walls_mm: FloatArray


def window_at(case: CanalCase, row: int, random: np.random.Generator) -> Window:
    """A window around a random place near the canal, or clear of it."""
    labeled = bool(case.state[row] == LABELED)
    size = np.array(case.stack.hu.shape[:0:-1], dtype=np.float64)
    center = (case.center_ras[row] - np.array(case.stack.origin_ras[:2])) / IN_PLANE_MM
    beside = not labeled or random.random() < 0.3
    # Uniform over the window, so that the network cannot learn that a canal is in the middle.
    focus = random.uniform(0.0, size) if beside else center + random.uniform(-0.42, 0.42, 2) * WINDOW
    geometry = _random_geometry(focus, center if labeled else focus, row, len(case.state), random)
    hu = sampled(case.stack.hu, row, geometry)
    target = geometry.to_window(center)
    reach = float(np.abs(target - HALF_WINDOW).max()) - 0.5 * WINDOW
    present = labeled and reach < -1.0
    if labeled and -1.0 <= reach < 8.0:
        # The canal touches the window's edge, where neither answer would be right: cut it off with some margin.
        _cut_beyond(hu, target)
    elif present:
        _crop_field_of_view(hu, target, random)
    walls = geometry.walls_in_window(case.walls_mm[row]) if present else np.full(8, np.nan)
    return Window(hu, target, present, walls)


def window_of_no_ct(case: CanalCase, random: np.random.Generator) -> Window:
    """Something with no canal in it: noise, a uniform body, a scan seen from the side, or one with reversed grays."""
    kind = int(random.integers(4))
    if kind == 0:
        hu = _noise_window(random)
    elif kind == 1:
        hu = _disk_window(random)
    else:
        volume = case.stack.hu
        if kind == 2:
            volume = np.moveaxis(volume, int(random.integers(1, 3)), 0)
        row = int(random.integers(len(volume)))
        focus = random.uniform(0.0, volume.shape[:0:-1])
        hu = sampled(volume, row, _random_geometry(focus, focus, row, len(volume), random))
        if kind == 3:
            hu = 150.0 - hu
    return Window(hu, np.zeros(2), False, np.full(8, np.nan))


def _random_geometry(
    focus: FloatArray, pivot: FloatArray, row: int, count: int, random: np.random.Generator
) -> WindowGeometry:
    turn = random.normal(0.0, 9.0) if random.random() < 0.75 else random.uniform(-30.0, 30.0)
    turn += random.choice([0.0, 90.0, 180.0, 270.0], p=[0.92, 0.025, 0.03, 0.025])
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    sizes = _SMALL_BODIES if random.random() < _SHARE_OF_SMALL_BODIES else _ADULT_BODIES
    scale = math.exp(random.uniform(*np.log(sizes)))
    across = math.exp(random.normal(0.0, 0.06))
    if random.random() < 0.08:
        # Headers with a wrong lateral spacing: the canal must still be found, for its box to tell.
        across = math.exp(random.uniform(math.log(0.42), math.log(2.4)))
    scales = (
        scale * across * float(random.choice([-1.0, 1.0])),
        scale * float(random.choice([-1.0, 1.0], p=[0.08, 0.92])),
    )
    matrix = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag(scales)
    shear = random.normal(0.0, 0.25, 2) if random.random() < 0.5 else np.zeros(2)
    tilt = random.normal(0.0, 0.2, 2).clip(-0.45, 0.45) if random.random() < 0.35 else np.zeros(2)
    step = SLICE_MM * random.uniform(0.85, 1.2) * random.choice([-1.0, 1.0]) / STACK_MM
    first, last = 0, count - 1
    if random.random() < 0.12:
        below, above = (int(value) for value in random.integers(0, 6, 2))
        first, last = max(row - below, 0), min(row + above, count - 1)
    return WindowGeometry(focus, matrix, scales, turn, step, shear, tilt, pivot, first, last)


def sampled(hu: NDArray[np.generic], row: int, geometry: WindowGeometry) -> torch.Tensor:
    """Read ``(CHANNELS, WINDOW, WINDOW)`` HU from the stack ``[k, j, i]`` around ``row``; outside is ``OUTSIDE_HU``."""
    count, height, width = hu.shape
    axis = np.linspace(-HALF_WINDOW, HALF_WINDOW, WINDOW, dtype=np.float32)
    place = np.stack(np.meshgrid(axis, axis), axis=-1) @ geometry.matrix.T.astype(np.float32)
    place = place + geometry.focus.astype(np.float32)
    steps = (np.arange(CHANNELS, dtype=np.float32) - CHANNELS // 2) * np.float32(geometry.step_rows)
    z = row + steps[:, None, None] + (place - geometry.pivot.astype(np.float32)) @ geometry.tilt.astype(np.float32)
    z = np.clip(z, geometry.first_row, geometry.last_row)
    shift = steps[:, None, None, None] * geometry.shear.astype(np.float32)
    where = np.concatenate([place[None] + shift, z[..., None]], axis=-1)
    # A plane's extremes lie at its corners.
    flat = where[:, :: WINDOW - 1, :: WINDOW - 1].reshape(-1, 3)
    low = np.clip(np.floor(flat.min(0)), 0, [width - 1, height - 1, count - 1]).astype(int)
    high = np.clip(np.ceil(flat.max(0)) + 1, low + 1, [width, height, count]).astype(int)
    source = torch.from_numpy(hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]].astype(np.float32))
    # Zeros outside stand for OUTSIDE_HU: the source is raised by it before, the window lowered after.
    raised = (source - OUTSIDE_HU)[None, None]
    values = sample_tensor(raised, (where - low.astype(np.float32))[None], beyond="zeros")
    return values[0, 0] + OUTSIDE_HU


def _cut_beyond(hu: torch.Tensor, target: FloatArray) -> None:
    """Blank the side of the window at which the canal lies."""
    offset = target - HALF_WINDOW
    axis = int(np.abs(offset).argmax())
    part = hu if axis == 1 else hu.transpose(1, 2)
    if offset[axis] > 0:
        part[:, -_CUT_PIXELS:] = OUTSIDE_HU
    else:
        part[:, :_CUT_PIXELS] = OUTSIDE_HU


def _crop_field_of_view(hu: torch.Tensor, target: FloatArray, random: np.random.Generator) -> None:
    """Now and then cut one or two sides off, never nearer than 24 mm to the canal's center, with any padding value."""
    padding = float(random.choice([OUTSIDE_HU, -1000.0, 0.0, -2000.0], p=[0.7, 0.15, 0.1, 0.05]))
    for axis in (0, 1):
        if random.random() > 0.25:
            continue
        part = hu if axis == 1 else hu.transpose(1, 2)
        keep = 12.0 + random.exponential(15.0)
        if random.random() < 0.5:
            part[:, : max(int(target[axis] - keep), 0)] = padding
        else:
            part[:, min(int(target[axis] + keep) + 1, WINDOW) :] = padding


def _noise_window(random: np.random.Generator) -> torch.Tensor:
    noise = torch.from_numpy(random.normal(0.0, 1.0, (CHANNELS, WINDOW, WINDOW)).astype(np.float32))
    for _ in range(int(random.integers(4))):
        noise = 2.0 * functional.avg_pool2d(noise[:, None], 3, 1, 1)[:, 0]
    return noise * float(random.uniform(20.0, 600.0)) + float(random.uniform(-1000.0, 600.0))


def _disk_window(random: np.random.Generator) -> torch.Tensor:
    j, i = np.mgrid[:WINDOW, :WINDOW] - random.uniform(0.3, 0.7, 2)[:, None, None] * WINDOW
    a, b = random.uniform(8.0, 70.0, 2)
    level = (i / a) ** 2 + (j / b) ** 2
    disk = np.where(level < 1.0, random.uniform(-100.0, 300.0), -1000.0)
    disk = np.where((level > 0.8) & (level < 1.0) & (random.random() < 0.6), random.uniform(200.0, 1200.0), disk)
    noise = random.normal(0.0, random.uniform(0.0, 40.0), (CHANNELS, WINDOW, WINDOW))
    return torch.from_numpy((disk + noise).astype(np.float32))
