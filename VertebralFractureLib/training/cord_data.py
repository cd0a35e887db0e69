"""Training samples for the canal network: real scans and phantoms as axial stacks, sampled and augmented on the fly.

What lies beyond the annotated ends of a real canal is neither canal nor background: such slices are left out, except
far beyond, where no canal can be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from VertebralFractureLib.cord.axial_stack import IN_PLANE_MM, OUTSIDE_HU, SLICE_MM, AxialStack, axial_stack
from VertebralFractureLib.cord.canal_network import CHANNELS, log_probabilities, normalized
from VertebralFractureLib.reference import ReferenceSpine
from VertebralFractureLib.volume import CTVolume

FloatArray = NDArray[np.float64]

STACK_MM = 2.0
"""Slices of the cached stacks; the network's own distance is reached by interpolation, at any phase."""
WINDOW = 112
_SIGMA_PIXELS = 1.25
_BEYOND_MM = 45.0
_LABELLED, _NONE, _UNKNOWN = 1, 0, -1


@dataclass(frozen=True)
class CordCase:
    """One volume to train on: R and A of the canal at every slice ``(n, 2)``, and ``state``, what is known there."""

    name: str
    stack: AxialStack
    centre_ras: FloatArray
    state: NDArray[np.int8]


def cord_case(name: str, ct: CTVolume, reference: ReferenceSpine) -> CordCase:
    """Resample ``ct`` and read the canal's position off the reference at every slice."""
    stack = axial_stack(ct, slice_mm=STACK_MM)
    # Whole numbers halve the memory of a training set, and CT noise is far above half a unit.
    stack = replace(stack, hu=np.rint(stack.hu.astype(np.float32)).clip(-1024, 3071).astype(np.int16))
    line = reference.centerline
    arc = np.arange(0.0, line.length_mm, 0.5)
    points = line.positions_ras(arc)
    rising = np.concatenate([[True], points[1:, 2] > np.maximum.accumulate(points[:, 2])[:-1] + 1e-6])
    arc, points = arc[rising], points[rising]
    heights = stack.heights_mm
    centre = np.stack([np.interp(heights, points[:, 2], points[:, axis]) for axis in (0, 1)], axis=1)
    at = np.interp(heights, points[:, 2], arc)
    state = np.full(len(heights), _LABELLED, dtype=np.int8)
    for low, high in reference.uncertain_mm:
        state[(at >= low) & (at <= high)] = _UNKNOWN
    state[(heights < points[0, 2] - 2.0) | (heights > points[-1, 2] + 2.0)] = _UNKNOWN
    state[(heights < points[0, 2] - _BEYOND_MM) | (heights > points[-1, 2] + _BEYOND_MM)] = _NONE
    return CordCase(name, stack, centre, state)


def save_case(case: CordCase, path: Path) -> None:
    np.savez(
        path,
        hu=case.stack.hu,
        origin=np.array(case.stack.origin_ras),
        extent=np.array(case.stack.extent_s_mm),
        centre=case.centre_ras,
        state=case.state,
    )


def load_case(name: str, path: Path) -> CordCase:
    with np.load(path, allow_pickle=False) as content:
        r, a, s = (float(value) for value in content["origin"])
        low, high = (float(value) for value in content["extent"])
        stack = AxialStack(content["hu"], (r, a, s), (IN_PLANE_MM, IN_PLANE_MM, STACK_MM), (low, high))
        return CordCase(name, stack, content["centre"], content["state"])


@dataclass(frozen=True)
class CordBatch:
    """``slices`` ``(n, CHANNELS, h, w)`` normalized; ``target`` ``(n, 2)`` pixel (i, j) of the canal; ``present``."""

    slices: torch.Tensor
    target: torch.Tensor
    present: torch.Tensor


class CordSampler:
    """Makes a batch from a step's seed; ``share_of_phantoms`` of the samples come from phantoms when there are any."""

    def __init__(
        self,
        scans: Sequence[CordCase],
        phantoms: Sequence[CordCase],
        batch_size: int = 12,
        share_of_phantoms: float = 0.3,
    ) -> None:
        if not scans and not phantoms:
            raise ValueError("There is nothing to train on: give scans or phantoms.")
        self._groups = [group for group in (list(scans), list(phantoms)) if group]
        self._share = share_of_phantoms if len(self._groups) == 2 else 0.0
        self._batch_size = batch_size

    def __call__(self, seed: int) -> CordBatch:
        random = np.random.default_rng(seed)
        samples = [self._sample(random) for _ in range(self._batch_size)]
        slices = torch.stack([sample[0] for sample in samples])
        target = torch.tensor(np.array([sample[1] for sample in samples]), dtype=torch.float32)
        return CordBatch(normalized(slices), target, torch.tensor([sample[2] for sample in samples]))

    def _sample(self, random: np.random.Generator) -> tuple[torch.Tensor, FloatArray, bool]:
        group = self._groups[1 if random.random() < self._share else 0]
        while True:
            case = group[random.integers(len(group))]
            if random.random() < 0.06:
                return _not_a_ct_of_a_spine(case, random), np.zeros(2), False
            row = int(random.integers(len(case.state)))
            if case.state[row] != _UNKNOWN:
                return _augmented_window(case, row, random)


def _augmented_window(case: CordCase, row: int, random: np.random.Generator) -> tuple[torch.Tensor, FloatArray, bool]:
    """A window of ``WINDOW`` pixels around a random place near the canal, or clear of it, and where the canal is."""
    labelled = case.state[row] == _LABELLED
    size = np.array(case.stack.hu.shape[:0:-1], dtype=np.float64)
    centre = (case.centre_ras[row] - np.array(case.stack.origin_ras[:2])) / IN_PLANE_MM
    beside = not labelled or random.random() < 0.2
    # Uniform over the window, so that the network cannot learn that a canal is in the middle.
    focus = random.uniform(0.0, size) if beside else centre + random.uniform(-0.42, 0.42, 2) * WINDOW
    matrix = _random_affine(random)
    shear = random.normal(0.0, 0.25, 2) if random.random() < 0.5 else np.zeros(2)
    step = SLICE_MM * random.uniform(0.85, 1.2) * random.choice([-1.0, 1.0]) / STACK_MM
    window = _sampled(case.stack.hu, row, step, focus, matrix, shear, _random_ends(row, len(case.state), random))
    target = np.linalg.solve(matrix, centre - focus) + 0.5 * (WINDOW - 1)
    reach = np.abs(target - 0.5 * (WINDOW - 1)).max() - 0.5 * WINDOW
    present = bool(labelled and reach < -1.0)
    window = _augmented_intensities(window, random)
    if labelled and -1.0 <= reach < 8.0:
        # The canal touches the window's edge, where neither answer would be right: cut it off with some margin.
        window = _cut_beyond(window, target)
    elif present:
        window = _cropped_field_of_view(window, target, random)
    return window, target, present


def _random_ends(row: int, count: int, random: np.random.Generator) -> tuple[int, int]:
    """First and last slice that may be used: now and then the scan starts or ends near ``row``."""
    if random.random() > 0.12:
        return 0, count - 1
    below, above = (int(value) for value in random.integers(0, 6, 2))
    return max(row - below, 0), min(row + above, count - 1)


def _random_affine(random: np.random.Generator) -> FloatArray:
    """From window pixels to stack pixels: rotation, scale, anisotropy and flips."""
    turn = random.normal(0.0, 10.0) if random.random() < 0.8 else random.uniform(-30.0, 30.0)
    turn += random.choice([0.0, 90.0, 180.0, 270.0], p=[0.94, 0.02, 0.02, 0.02])
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    scale = math.exp(random.uniform(math.log(0.72), math.log(1.3)))
    flip = np.diag([random.choice([-1.0, 1.0]), random.choice([-1.0, 1.0], p=[0.03, 0.97])])
    stretch = np.diag([math.exp(random.normal(0.0, 0.06)), 1.0])
    return np.asarray(scale * np.array([[cosine, -sine], [sine, cosine]]) @ stretch @ flip)


def _sampled(
    hu: NDArray[np.generic],
    row: int,
    step: float,
    focus: FloatArray,
    matrix: FloatArray,
    shear: FloatArray,
    ends: tuple[int, int] | None = None,
) -> torch.Tensor:
    """``(CHANNELS, WINDOW, WINDOW)``; neighbours are ``step`` rows apart and shifted by ``shear`` pixels per row."""
    count, height, width = hu.shape
    first, last = ends or (0, count - 1)
    half = 0.5 * (WINDOW - 1)
    axis = np.linspace(-half, half, WINDOW, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1) @ matrix.T.astype(np.float32) + focus.astype(np.float32)
    corners = grid[[0, 0, -1, -1], [0, -1, 0, -1]]
    low = np.floor(np.clip(corners.min(0) - 8, 0, [width - 2, height - 2])).astype(int)
    high = np.ceil(np.clip(corners.max(0) + 9, low + 2, [width, height])).astype(int)
    planes, shifts = [], []
    for channel in range(CHANNELS):
        z = min(max(row + (channel - CHANNELS // 2) * step, float(first)), float(last))
        k = min(int(z), count - 2) if count > 1 else 0
        pair = hu[k : k + 2, low[1] : high[1], low[0] : high[0]].astype(np.float32)
        planes.append(pair[0] * (1.0 - (z - k)) + pair[-1] * (z - k))
        shifts.append((z - row) * shear)
    source = torch.from_numpy(np.stack(planes)).float()[:, None]
    extent = torch.from_numpy(np.maximum(high - low - 1, 1).astype(np.float32))
    shift = torch.from_numpy((np.array(shifts) - low).astype(np.float32))[:, None, None, :]
    where = (torch.from_numpy(grid)[None] + shift) / (0.5 * extent) - 1.0
    # Zeros outside stand for OUTSIDE_HU: the source is raised by it before, the window lowered after.
    source = source - OUTSIDE_HU
    return (
        functional.grid_sample(source, where, mode="bilinear", padding_mode="zeros", align_corners=True)[:, 0]
        + OUTSIDE_HU
    )


def _augmented_intensities(window: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    if random.random() < 0.35:
        kernel = [0.25, 0.5, 0.25] if random.random() < 0.6 else [1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9]
        weights = torch.tensor(kernel, dtype=torch.float32)
        pad = len(kernel) // 2
        blurred = functional.conv2d(window[:, None], weights[None, None, :, None], padding=(pad, 0))
        window = functional.conv2d(blurred, weights[None, None, None, :], padding=(0, pad))[:, 0]
    if random.random() < 0.2:
        # Thick slices: the neighbours run into each other.
        share = random.uniform(0.2, 0.5)
        mixed = 0.5 * (torch.roll(window, 1, 0) + torch.roll(window, -1, 0))
        window = torch.cat([window[:1], ((1 - share) * window + share * mixed)[1:-1], window[-1:]])
    body = (window > -900.0).float()
    change = 1.0 + random.normal(0.0, 0.12)
    window = torch.where(window > 0, window * change, window) + body * random.normal(0.0, 25.0)
    if random.random() < 0.6:
        sigma = math.exp(random.uniform(math.log(5.0), math.log(90.0)))
        generator = torch.Generator().manual_seed(int(random.integers(2**31)))
        noise = torch.randn(window.shape, generator=generator)
        if random.random() < 0.5:
            noise = 2.0 * functional.avg_pool2d(noise[:, None], 3, 1, 1)[:, 0]
        if random.random() < 0.3:
            streak = torch.randn((window.shape[0], window.shape[1], 1), generator=generator)
            noise = noise + streak
        window = window + body * sigma * noise
    if random.random() < 0.04:
        window = _with_metal(window, random)
    return window


def _with_metal(window: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """A bright rod with dark and bright rays around it, somewhere in the window."""
    i0, j0 = random.uniform(0.2 * WINDOW, 0.8 * WINDOW, 2)
    j, i = torch.meshgrid(torch.arange(WINDOW) - j0, torch.arange(WINDOW) - i0, indexing="ij")
    radius, angle = torch.hypot(i, j), torch.atan2(j, i)
    rays = torch.cos(random.integers(2, 7) * angle + random.uniform(0.0, 6.3))
    window = window + random.uniform(100.0, 600.0) * rays * torch.exp(-radius / random.uniform(6.0, 20.0))
    return torch.where(radius < random.uniform(1.0, 4.0), torch.full_like(window, 3000.0), window)


def _cut_beyond(window: torch.Tensor, target: FloatArray) -> torch.Tensor:
    """Blank the side of the window at which the canal lies."""
    offset = target - 0.5 * (WINDOW - 1)
    axis = int(np.abs(offset).argmax())
    blank = window.clone()
    part = blank if axis == 1 else blank.transpose(1, 2)
    if offset[axis] > 0:
        part[:, -12:] = OUTSIDE_HU
    else:
        part[:, :12] = OUTSIDE_HU
    return blank


def _cropped_field_of_view(window: torch.Tensor, target: FloatArray, random: np.random.Generator) -> torch.Tensor:
    """Now and then cut one or two sides off, never nearer than 24 mm to the canal's centre, with any padding value."""
    padding = float(random.choice([OUTSIDE_HU, -1000.0, 0.0, -2000.0], p=[0.7, 0.15, 0.1, 0.05]))
    for axis in (0, 1):
        if random.random() > 0.2:
            continue
        part = window if axis == 1 else window.transpose(1, 2)
        keep = 12.0 + random.exponential(18.0)
        if random.random() < 0.5:
            part[:, : max(int(target[axis] - keep), 0)] = padding
        else:
            part[:, min(int(target[axis] + keep) + 1, WINDOW) :] = padding
    return window


def _not_a_ct_of_a_spine(case: CordCase, random: np.random.Generator) -> torch.Tensor:
    """Something with no canal in it: noise, a uniform body, a scan seen from the side, or one with reversed grays."""
    kind = int(random.integers(4))
    if kind == 0:
        noise = torch.from_numpy(random.normal(0.0, 1.0, (CHANNELS, WINDOW, WINDOW)).astype(np.float32))
        for _ in range(int(random.integers(4))):
            noise = 2.0 * functional.avg_pool2d(noise[:, None], 3, 1, 1)[:, 0]
        return noise * float(random.uniform(20.0, 600.0)) + float(random.uniform(-1000.0, 600.0))
    if kind == 1:
        j, i = np.mgrid[:WINDOW, :WINDOW] - random.uniform(0.3, 0.7, 2)[:, None, None] * WINDOW
        a, b = random.uniform(8.0, 70.0, 2)
        level = (i / a) ** 2 + (j / b) ** 2
        disk = np.where(level < 1.0, random.uniform(-100.0, 300.0), -1000.0)
        disk = np.where((level > 0.8) & (level < 1.0) & (random.random() < 0.6), random.uniform(200.0, 1200.0), disk)
        grain = random.normal(0.0, random.uniform(0.0, 40.0), (CHANNELS, WINDOW, WINDOW))
        return torch.from_numpy((disk + grain).astype(np.float32))
    hu = case.stack.hu
    if kind == 2:
        side = np.moveaxis(hu, int(random.integers(1, 3)), 0)
        row = int(random.integers(2, max(len(side) - 2, 3)))
        focus = random.uniform(0.0, side.shape[:0:-1])
        return _sampled(side, row, 2.0, focus, _random_affine(random), np.zeros(2))
    row = int(random.integers(len(hu)))
    window = _sampled(hu, row, 2.0, random.uniform(0.0, hu.shape[:0:-1]), _random_affine(random), np.zeros(2))
    return 150.0 - window


def canal_loss(network: torch.nn.Module, batch: CordBatch, device: torch.device) -> torch.Tensor:
    """Cross-entropy between the network's softmax and a Gaussian around the canal's centre, or "none"."""
    pixels, none = log_probabilities(network(batch.slices.to(device)))
    axis = torch.arange(pixels.shape[1], device=device, dtype=torch.float32)
    target = batch.target.to(device)
    across = torch.softmax(-0.5 * ((axis - target[:, :1]) / _SIGMA_PIXELS) ** 2, dim=1)
    along = torch.softmax(-0.5 * ((axis - target[:, 1:]) / _SIGMA_PIXELS) ** 2, dim=1)
    where = -torch.einsum("nj,nji,ni->n", along, pixels, across)
    return torch.where(batch.present.to(device), where, -none).mean()
