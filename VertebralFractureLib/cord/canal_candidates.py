"""Candidates: a few places per axial slice where the canal may be, each with its probability and sub-pixel position.

A candidate's probability is the mass of the network's softmax around a peak, so that a canal whose centre the network
places loosely is still one candidate with its full probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from VertebralFractureLib.cord.axial_stack import AxialStack
from VertebralFractureLib.cord.canal_network import CHANNELS, CanalNetwork, log_probabilities, normalized
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.torch_arrays import to_array, to_tensor

FloatArray = NDArray[np.float64]

CANDIDATES_PER_SLICE = 5
_HALF_WINDOW = 5
_PEAK_WINDOW = 5
_SLICES_PER_BATCH = 8
_SHARE_OF_RIVALS = 0.05


@dataclass(frozen=True)
class CanalCandidates:
    """Per slice up to ``CANDIDATES_PER_SLICE`` places, most probable first.

    Attributes:
        heights_mm: ``(n,)`` RAS S of the slices, ascending and equidistant.
        position_mm: ``(n, c, 2)`` RAS R and A.
        probability: ``(n, c)``; 0 where there is no further candidate.
        spread_mm: ``(n, c)`` standard deviation of the position, per axis.
    """

    heights_mm: FloatArray
    position_mm: FloatArray
    probability: FloatArray
    spread_mm: FloatArray


def canal_candidates(
    network: CanalNetwork, stack: AxialStack, progress: StageProgress | None = None
) -> CanalCandidates:
    """Run the network over all slices.

    Raises:
        Cancelled: from ``progress``.
    """
    slices = normalized(to_tensor(stack.hu))
    count = len(slices)
    offsets = torch.arange(CHANNELS) - CHANNELS // 2
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    with torch.inference_mode():
        for start in range(0, count, _SLICES_PER_BATCH):
            rows = torch.arange(start, min(start + _SLICES_PER_BATCH, count))
            neighbours = (rows[:, None] + offsets).clamp(0, count - 1)
            pixels, none = log_probabilities(network(slices[neighbours]))
            position, mass, spread_pixels = _peaks(pixels.exp())
            found.append((position, _against_none(mass, none.exp()[:, None]), spread_pixels))
            if progress is not None:
                progress((start + len(rows)) / count)
    index, probability, spread = (to_array(torch.cat(parts)).astype(np.float64) for parts in zip(*found, strict=True))
    spacing = np.array(stack.spacing_mm[:2])
    return CanalCandidates(
        stack.heights_mm, np.array(stack.origin_ras[:2]) + index * spacing, probability, spread * spacing[0]
    )


def _against_none(mass: torch.Tensor, none: torch.Tensor) -> torch.Tensor:
    """Probability of a place against "no canal here", with little regard to other places: the path chooses among those.

    A shoulder or rib that takes half of the softmax must not end the canal's path at the last slices.
    """
    return mass / (mass + none + _SHARE_OF_RIVALS * (1.0 - mass) + 1e-9)


def _peaks(probability: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions (i, j) ``(n, c, 2)``, masses ``(n, c)`` and spreads ``(n, c)`` in pixels of the highest peaks."""
    n = len(probability)
    # Peaks are sought on every second pixel, which is far finer than the windows, and a quarter of the work.
    smooth = functional.avg_pool2d(probability[:, None], 4, 2, 1)
    smooth = functional.avg_pool2d(smooth, 3, 1, 1)
    width = smooth.shape[3]
    is_peak = smooth == functional.max_pool2d(smooth, _PEAK_WINDOW, 1, _PEAK_WINDOW // 2)
    _, flat = torch.topk((smooth * is_peak)[:, 0].flatten(1), CANDIDATES_PER_SLICE, dim=1)
    row, column = 2 * (flat // width), 2 * (flat % width)
    reach = torch.arange(-_HALF_WINDOW, _HALF_WINDOW + 1)
    padded = functional.pad(probability, (_HALF_WINDOW,) * 4)
    rows = (row[:, :, None, None] + reach[:, None] + _HALF_WINDOW).expand(-1, -1, len(reach), len(reach))
    columns = (column[:, :, None, None] + reach + _HALF_WINDOW).expand(-1, -1, len(reach), len(reach))
    window = padded[torch.arange(n)[:, None, None, None], rows, columns]
    mass = window.sum(dim=(2, 3))
    share = window / mass.clamp(min=1e-9)[:, :, None, None]
    di = (share * reach).sum(dim=(2, 3))
    dj = (share * reach[:, None]).sum(dim=(2, 3))
    variance = (share * (reach - di[..., None, None]) ** 2).sum(dim=(2, 3))
    variance = variance + (share * (reach[:, None] - dj[..., None, None]) ** 2).sum(dim=(2, 3))
    taken = is_peak[:, 0].flatten(1).gather(1, flat)
    position = torch.stack([column + di, row + dj], dim=2)
    return position, torch.where(taken, mass, torch.zeros_like(mass)).clamp(max=1.0), (variance / 2.0).sqrt()
