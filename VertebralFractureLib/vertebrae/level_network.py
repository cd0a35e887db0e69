"""A 3D-to-1D network: from the coarse straight volume to the log-odds of every level at every 4 mm along the canal.

The cross section is squeezed to a vector per row, then dilated 1D convolutions look about 20 cm up and down. Imports
torch: import this module inside functions only.
"""

from __future__ import annotations

import torch
from torch import nn

from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES


def _squeeze(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride=(1, 2, 2), padding=1), nn.GroupNorm(4, outputs), nn.SiLU()
    )


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.GroupNorm(4, width),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(x + self.body(x))


class LevelNetwork(nn.Module):
    """``(n, 2, rows, 28, 32)`` to logits ``(n, 25, rows)`` over ``LEVEL_CLASSES``."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.sections = nn.Sequential(_squeeze(2, 16), _squeeze(16, 24), _squeeze(24, 32))
        self.reduce = nn.Sequential(nn.Dropout(0.2), nn.Conv1d(32 * 4 * 4, width, 1), nn.SiLU())
        self.along = nn.Sequential(*[_Residual(width, dilation) for dilation in (1, 2, 4, 8, 16, 2)])
        self.head = nn.Conv1d(width, len(LEVEL_CLASSES), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sections = self.sections(x)
        flat = sections.permute(0, 1, 3, 4, 2).flatten(1, 3)
        return torch.as_tensor(self.head(self.along(self.reduce(flat))))
