"""What scanners and patients add to a window's Hounsfield units: kernel, thickness, scale, noise, metal, cement, table.

Every change works on the pixels alone and leaves the place of the canal untouched.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

_AIR_HU = -500.0
_KERNELS = ((0.25, 0.5, 0.25), (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9))
_WHOLE_TURN = 2.0 * math.pi


def with_random_intensities(hu: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """``(CHANNELS, h, w)`` HU in, the same with the marks of another scanner and patient out."""
    if random.random() < 0.10:
        hu = _with_table_or_arm(hu, random)
    if random.random() < 0.03:
        hu = _with_cement(hu, random)
    hu = _with_kernel(hu, random)
    if random.random() < 0.25:
        hu = _with_thick_slices(hu, random)
    hu = _with_other_scale(hu, random)
    if random.random() < 0.65:
        hu = _with_noise(hu, random)
    if random.random() < 0.05:
        hu = _with_metal(hu, random)
    return hu


def _blurred(hu: torch.Tensor, kernel: tuple[float, ...]) -> torch.Tensor:
    weights, pad = torch.tensor(kernel), len(kernel) // 2
    rows = functional.conv2d(hu[:, None], weights[None, None, :, None], padding=(pad, 0))
    return functional.conv2d(rows, weights[None, None, None, :], padding=(0, pad))[:, 0]


def _with_kernel(hu: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """A soft kernel blurs, a bone or lung kernel overshoots at edges."""
    chance = random.random()
    if chance < 0.3:
        return _blurred(hu, _KERNELS[int(random.random() < 0.4)])
    if chance < 0.45:
        return hu + float(random.uniform(0.2, 0.9)) * (hu - _blurred(hu, _KERNELS[0]))
    return hu


def _with_thick_slices(hu: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    share = float(random.uniform(0.2, 0.66))
    mixed = 0.5 * (torch.roll(hu, 1, 0) + torch.roll(hu, -1, 0))
    return torch.cat([hu[:1], ((1 - share) * hu + share * mixed)[1:-1], hu[-1:]])


def _with_other_scale(hu: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Tube voltage and contrast stretch what is above water; a wrong rescale shifts or stretches everything."""
    hu = torch.where(hu > 0, hu * (1.0 + float(random.normal(0.0, 0.12))), hu)
    if random.random() < 0.22:
        return hu * float(random.uniform(0.8, 1.25)) + float(random.uniform(-260.0, 260.0))
    return hu + float(random.normal(0.0, 25.0))


def _with_noise(hu: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    body = (hu > -900.0).float()
    sigma = math.exp(random.uniform(math.log(5.0), math.log(100.0)))
    generator = torch.Generator().manual_seed(int(random.integers(2**31)))
    noise = torch.randn(hu.shape, generator=generator)
    if random.random() < 0.5:
        noise = 2.0 * functional.avg_pool2d(noise[:, None], 3, 1, 1)[:, 0]
    if random.random() < 0.3:
        # Photon starvation draws streaks from side to side.
        noise = noise + torch.randn((hu.shape[0], hu.shape[1], 1), generator=generator)
    return hu + body * sigma * noise


def _offsets(hu: torch.Tensor, i0: float, j0: float) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = hu.shape[1:]
    j, i = torch.meshgrid(torch.arange(height) - j0, torch.arange(width) - i0, indexing="ij")
    return i.float(), j.float()


def _with_metal(hu: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """One rod, or a pair like pedicle screws, with dark and bright rays around each."""
    i0, j0 = (float(value) for value in random.uniform(0.2, 0.8, 2) * hu.shape[1:])
    apart = float(random.uniform(9.0, 15.0))
    for side in (-apart, apart) if random.random() < 0.5 else (0.0,):
        i, j = _offsets(hu, i0 + side, j0)
        radius, angle = torch.hypot(i, j), torch.atan2(j, i)
        rays = torch.cos(int(random.integers(2, 7)) * angle + float(random.uniform(0.0, _WHOLE_TURN)))
        hu = hu + float(random.uniform(100.0, 600.0)) * rays * torch.exp(-radius / float(random.uniform(6.0, 20.0)))
        hu = torch.where(radius < float(random.uniform(1.0, 4.0)), torch.full_like(hu, 3000.0), hu)
    return hu


def _with_cement(hu: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """A cloud of bone cement somewhere in the soft parts or bone."""
    i, j = _offsets(hu, *(float(value) for value in random.uniform(0.25, 0.75, 2) * hu.shape[1:]))
    wobble = 1.0 + 0.35 * torch.cos(3.0 * torch.atan2(j, i) + float(random.uniform(0.0, _WHOLE_TURN)))
    inside = torch.hypot(i, j) < float(random.uniform(3.0, 9.0)) * wobble
    return torch.where(inside & (hu > _AIR_HU), torch.full_like(hu, float(random.uniform(800.0, 2200.0))), hu)


def _with_table_or_arm(hu: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """In the air around the body: the table's shells behind it, or an arm with its bone beside it."""
    air = functional.avg_pool2d(hu[:, None], 5, 1, 2)[:, 0] < -900.0
    height, width = hu.shape[1:]
    if random.random() < 0.5:
        i, j = _offsets(hu, 0.5 * width, float(random.uniform(0.0, 0.35)) * height)
        top = j - float(random.uniform(0.0, 1.5e-3)) * i**2
        shell = (top.abs() < 1.0) | ((top + float(random.uniform(6.0, 20.0))).abs() < 1.0)
        return torch.where(air & shell, torch.full_like(hu, float(random.uniform(-300.0, 250.0))), hu)
    i, j = _offsets(hu, float(random.choice([0.0, 1.0])) * width, float(random.uniform(0.1, 0.9)) * height)
    distance, arm, bone = torch.hypot(i, j), float(random.uniform(18.0, 32.0)), float(random.uniform(5.0, 9.0))
    limb = torch.where(distance < bone, 1000.0, torch.where(distance < arm, 50.0, hu))
    limb = torch.where(distance < bone - float(random.uniform(1.0, 3.0)), float(random.uniform(-80.0, 60.0)), limb)
    return torch.where(air & (distance < arm), limb, hu)
