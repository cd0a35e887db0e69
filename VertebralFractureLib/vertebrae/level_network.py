"""From six coarse slices of every vertebra to the log-odds of its level, and of the region that it looks like.

Each slice is squeezed by convolutions and the six slices of a vertebra become one vector. From that vector alone the
region is judged (neck, ribs, lumbar, sacrum): evidence that no neighbor shares. Convolutions from vertebra to vertebra
then count up and down the column for the level. Imports torch: import this module inside functions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from VertebralFractureLib.vertebrae.level_input import CHANNELS, LEVEL_CLASSES, REGIONS, ROWS_PER_CELL
from VertebralFractureLib.weights import Weights, build_network


def _squeeze(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=(1, 2, 2), padding=1), nn.GroupNorm(4, outputs), nn.SiLU()
    )


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(x + self.body(x))


class ColumnNetwork(nn.Module):
    """What every network of a column shares: features of each cell by itself, and then along the column.

    Subclasses add their heads after it. The input is the picture ``(n, 3, cells * 6, 28, 32)`` and the relative spacing
    ``(n, cells)``.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.sections = nn.Sequential(_squeeze(CHANNELS, 16), _squeeze(16, 24), _squeeze(24, 32))
        self.reduce = nn.Sequential(nn.Dropout(0.2), nn.Conv1d(32 * 4 * 4 * ROWS_PER_CELL, width, 1), nn.SiLU())
        self.size = nn.Conv1d(1, width, 1)
        self.along = nn.Sequential(*[_Residual(width, dilation) for dilation in (1, 2, 4, 8, 1)])

    def read_cells(self, x: torch.Tensor) -> torch.Tensor:
        """Features ``(n, width, cells)`` of each cell by itself."""
        features = self.sections(x)
        count, width, rows = features.shape[:3]
        cells = features.reshape(count, width, rows // ROWS_PER_CELL, ROWS_PER_CELL, -1)
        return torch.as_tensor(self.reduce(cells.permute(0, 1, 3, 4, 2).flatten(1, 3)))

    def join_cells(self, own: torch.Tensor, spacing: torch.Tensor) -> torch.Tensor:
        """Features ``(n, width, cells)`` of each cell in its column, from those of ``read_cells``."""
        return torch.as_tensor(self.along(own + self.size(spacing[:, None])))


class LevelNetwork(ColumnNetwork):
    """Picture and relative spacing of a column to logits ``(n, 25 + 4, cells)``.

    The first 25 are of ``LEVEL_CLASSES``, the last four of ``REGIONS``.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__(width)
        self.head = nn.Conv1d(width, len(LEVEL_CLASSES), 1)
        self.region = nn.Sequential(
            nn.Conv1d(width, width // 2, 1), nn.SiLU(), nn.Dropout(0.1), nn.Conv1d(width // 2, len(REGIONS), 1)
        )

    def forward(self, x: torch.Tensor, spacing: torch.Tensor) -> torch.Tensor:
        own = self.read_cells(x)
        return torch.cat([self.head(self.join_cells(own, spacing)), self.region(own)], dim=1)


@dataclass(frozen=True)
class LevelModel:
    """The level network, ready to run."""

    network: LevelNetwork

    @staticmethod
    def from_weights(weights: Weights, device: str = "cpu") -> LevelModel:
        """Build the network on ``device``, by its name in torch."""
        network = build_network(lambda: LevelNetwork(int(weights.config["width"])), weights)
        return LevelModel(network.to(device))

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device
