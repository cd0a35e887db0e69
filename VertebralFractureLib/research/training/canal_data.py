"""Batches for the canal network, drawn and augmented on the fly, and the loss they are judged by.

A batch is a pure function of its seed. Real scans, phantoms and volumes without a spine have fixed shares, however
many there are of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from VertebralFractureLib.canal.candidates import read_boxes
from VertebralFractureLib.canal.network import compute_log_probabilities
from VertebralFractureLib.research.training.canal_cases import UNKNOWN, CanalCase
from VertebralFractureLib.research.training.canal_intensities import with_random_intensities
from VertebralFractureLib.research.training.canal_windows import Window, window_at, window_of_no_ct
from VertebralFractureLib.volume.hu_windows import CANAL_NETWORK

_SIGMA_PIXELS = 1.25
_BOX_WEIGHT = 0.15
_BOX_UNIT_MM = 3.0
_SHARE_OF_NO_CT = 0.05
SHARE_OF_PHANTOMS, SHARE_WITHOUT_SPINE = 0.22, 0.08


@dataclass(frozen=True)
class CanalBatch:
    """``slices`` ``(n, CHANNELS, h, w)`` normalized; ``target`` ``(n, 2)`` pixel (i, j) of the canal; ``present``
    ``(n,)``; ``walls_mm`` ``(n, BOX_SIDES)``, NaN where unknown."""

    slices: torch.Tensor
    target: torch.Tensor
    present: torch.Tensor
    walls_mm: torch.Tensor


class CanalSampler:
    """Makes a batch from a step's seed.

    Raises:
        ValueError: when there are neither scans nor phantoms.
    """

    def __init__(
        self,
        scans: Sequence[CanalCase],
        phantoms: Sequence[CanalCase],
        without_spine: Sequence[CanalCase] = (),
        batch_size: int = 10,
    ) -> None:
        if not scans and not phantoms:
            raise ValueError("There is nothing to train on: give scans or phantoms.")
        weighted = [
            (list(scans), 1.0 - SHARE_OF_PHANTOMS - SHARE_WITHOUT_SPINE),
            (list(phantoms), SHARE_OF_PHANTOMS),
            (list(without_spine), SHARE_WITHOUT_SPINE),
        ]
        self._groups = [cases for cases, _ in weighted if cases]
        shares = np.array([share for cases, share in weighted if cases])
        self._shares = shares / shares.sum()
        self._batch_size = batch_size

    def __call__(self, seed: int) -> CanalBatch:
        random = np.random.default_rng(seed)
        windows = [self._window(random) for _ in range(self._batch_size)]
        slices = torch.stack([with_random_intensities(window.hu, random) for window in windows])
        return CanalBatch(
            CANAL_NETWORK.normalize(slices),
            torch.tensor(np.array([window.target for window in windows]), dtype=torch.float32),
            torch.tensor([window.present for window in windows]),
            torch.tensor(np.array([window.walls_mm for window in windows]), dtype=torch.float32),
        )

    def _window(self, random: np.random.Generator) -> Window:
        group = self._groups[random.choice(len(self._groups), p=self._shares)]
        while True:
            case = group[random.integers(len(group))]
            if random.random() < _SHARE_OF_NO_CT:
                return window_of_no_ct(case, random)
            row = int(random.integers(len(case.state)))
            if case.state[row] != UNKNOWN:
                return window_at(case, row, random)


def canal_loss(network: torch.nn.Module, batch: CanalBatch, device: torch.device) -> torch.Tensor:
    """Cross-entropy between the softmax and a Gaussian around the canal's center, or "none"; Huber for known walls."""
    logits, boxes = network(batch.slices.to(device))
    pixels, none = compute_log_probabilities(logits)
    axis = torch.arange(pixels.shape[1], device=device, dtype=torch.float32)
    target, present = batch.target.to(device), batch.present.to(device)
    across = torch.softmax(-0.5 * ((axis - target[:, :1]) / _SIGMA_PIXELS) ** 2, dim=1)
    along = torch.softmax(-0.5 * ((axis - target[:, 1:]) / _SIGMA_PIXELS) ** 2, dim=1)
    where = -torch.einsum("nj,nji,ni->n", along, pixels, across)
    return torch.where(present, where, -none).mean() + _BOX_WEIGHT * _box_loss(boxes, target, batch.walls_mm.to(device))


def _box_loss(boxes: torch.Tensor, target: torch.Tensor, walls_mm: torch.Tensor) -> torch.Tensor:
    """Mean over the walls that are known, of the boxes at the canal's center."""
    known = torch.isfinite(walls_mm)
    if not bool(known.any()):
        return boxes.sum() * 0.0
    read = read_boxes(boxes, target[:, None])[:, 0]
    loss = functional.smooth_l1_loss(read / _BOX_UNIT_MM, walls_mm.nan_to_num() / _BOX_UNIT_MM, reduction="none")
    return (loss * known).sum() / known.sum()
