"""A small network that tells of every vertebra in a straightened spine whether its head end is up.

It has the pictures that levels are judged by, six coarse slices per vertebra: pedicles rise from the upper half of a
body, spinous processes and ribs slope down, and bodies grow towards the feet. Imports torch: import this module inside
functions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from VertebralFractureLib.vertebrae.level_input import CHANNELS, ROWS_PER_CELL
from VertebralFractureLib.weights import Weights, build_network

_WIDTH = 64


def _squeeze(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=(1, 2, 2), padding=1), nn.GroupNorm(4, outputs), nn.SiLU()
    )


class _Residual(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(_WIDTH, _WIDTH, 3, padding=dilation, dilation=dilation),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Conv1d(_WIDTH, _WIDTH, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(x + self.body(x))


class UprightNetwork(nn.Module):
    """``(n, 3, cells * 6, 28, 32)`` and ``(n, cells)`` relative spacing to log-odds ``(n, cells)`` of head up."""

    def __init__(self) -> None:
        super().__init__()
        self.sections = nn.Sequential(_squeeze(CHANNELS, 16), _squeeze(16, 24), _squeeze(24, 32))
        self.reduce = nn.Sequential(nn.Dropout(0.2), nn.Conv1d(32 * 4 * 4 * ROWS_PER_CELL, _WIDTH, 1), nn.SiLU())
        self.size = nn.Conv1d(1, _WIDTH, 1)
        self.along = nn.Sequential(*[_Residual(dilation) for dilation in (1, 2, 4, 8, 1)])
        self.head = nn.Conv1d(_WIDTH, 1, 1)

    def forward(self, x: torch.Tensor, spacing: torch.Tensor) -> torch.Tensor:
        features = self.sections(x)
        count, width, rows = features.shape[:3]
        cells = features.reshape(count, width, rows // ROWS_PER_CELL, ROWS_PER_CELL, -1)
        flat = cells.permute(0, 1, 3, 4, 2).flatten(1, 3)
        return torch.as_tensor(self.head(self.along(self.reduce(flat) + self.size(spacing[:, None])))[:, 0])


@dataclass(frozen=True)
class UprightModel:
    """The network, ready to run."""

    network: UprightNetwork

    @staticmethod
    def from_weights(weights: Weights, device: str = "cpu") -> UprightModel:
        """Build the network on ``device``, by its name in torch; raises as ``build_network`` does."""
        return UprightModel(build_network(UprightNetwork, weights).to(device))

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device
