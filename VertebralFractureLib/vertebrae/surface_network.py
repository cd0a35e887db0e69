"""A small 3D U-Net from a body's block to its signed distance, and to how far off that may be.

Columns of two by two voxels in (a, r) are channels of one, so that the finest stage works on a quarter of the block.
Imports torch: import this module inside functions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from VertebralFractureLib.vertebrae.surface_input import CHANNELS
from VertebralFractureLib.weights import Weights, build_network

_MAPS = 2
"""Distance and its scale."""
LEAST_SCALE_MM = 0.1


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
        nn.Conv3d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
    )


class SurfaceNetwork(nn.Module):
    """``(n, 2, 56, 56, 48)`` to ``(n, 2, 56, 56, 48)``: signed distance in mm, negative inside, and its scale in mm."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (width, 2 * width, 3 * width)
        self.down = nn.ModuleList(
            [_block(4 * CHANNELS, widths[0]), _block(widths[0], widths[1]), _block(widths[1], widths[2])]
        )
        self.narrow = nn.ModuleList([nn.Conv3d(widths[2], widths[1], 1), nn.Conv3d(widths[1], widths[0], 1)])
        self.up = nn.ModuleList([_block(widths[1], widths[1]), _block(widths[0], widths[0])])
        self.head = nn.Conv3d(widths[0], 4 * _MAPS, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.down[0](_fold(x))
        middle = self.down[1](nn.functional.max_pool3d(fine, 2))
        coarse = self.down[2](nn.functional.max_pool3d(middle, 2))
        middle = self.up[0](middle + _grow(self.narrow[0](coarse)))
        fine = self.up[1](fine + _grow(self.narrow[1](middle)))
        maps = _unfold(self.head(fine))
        distance, scale = maps[:, :1], nn.functional.softplus(maps[:, 1:]) + LEAST_SCALE_MM
        return torch.cat([distance, scale], dim=1)


def _fold(x: torch.Tensor) -> torch.Tensor:
    n, c, k, j, i = x.shape
    folded = x.view(n, c, k, j // 2, 2, i // 2, 2).permute(0, 1, 4, 6, 2, 3, 5)
    return folded.reshape(n, 4 * c, k, j // 2, i // 2)


def _unfold(x: torch.Tensor) -> torch.Tensor:
    n, c, k, j, i = x.shape
    unfolded = x.view(n, c // 4, 2, 2, k, j, i).permute(0, 1, 4, 5, 2, 6, 3)
    return unfolded.reshape(n, c // 4, k, 2 * j, 2 * i)


def _grow(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)


@dataclass(frozen=True)
class SurfaceModel:
    """The surface network, ready to run.

    Attributes:
        network: it.
        landmark_outward_mm: how far outside the surface the reader's endplates lie at the anterior, middle and
            posterior landmarks (negative: inside), measured on the scans that trained these weights.
    """

    network: nn.Module
    landmark_outward_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @staticmethod
    def from_weights(weights: Weights, device: str = "cpu") -> SurfaceModel:
        """Build the network on ``device``, by its name in torch."""
        network = build_network(lambda: SurfaceNetwork(int(weights.config["width"])), weights)
        # The layout in which 3D convolutions are fastest on a CPU.
        network = network.to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        anterior, middle, posterior = (float(value) for value in weights.config["landmark_outward_mm"])
        return SurfaceModel(network, (anterior, middle, posterior))

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device
