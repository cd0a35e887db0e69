"""A small fully convolutional network that sees where a spinal canal runs with its vertebral bodies in front of it.

Per cell of 12 mm it gives how likely a canal passes there in the standard position, front along +j and the body's axis
along k, and how far from that position it is. It was shown crops in every other position as well, where it has to say
no: an array is turned until it says yes. At 3 mm it cannot tell head from feet; ``upright_network`` does. Imports
torch: import this module inside functions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from VertebralFractureLib.fast_networks import shorten
from VertebralFractureLib.volume.hu_windows import ORIENTATION_NETWORK_BONE, ORIENTATION_NETWORK_WIDE
from VertebralFractureLib.weights import Weights, build_network

VOXEL_MM = 3.0
CELL_VOXELS = 4
"""Voxels per cell of the answer, along each axis."""
MULTIPLE = 8
"""The sides of the input are multiples of it."""
OUTPUTS = 8
"""Logit of the canal; front (i, j, k); the body's axis (i, j, k); and one that was tried for mirror images, in vain."""


def _block(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


class OrientationNetwork(nn.Module):
    """``(n, 2, k, j, i)`` of 3 mm, from ``normalize_orientation``, to ``(n, OUTPUTS, k / 4, j / 4, i / 4)``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(2, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm3d(16), nn.ReLU(inplace=True)
        )
        self.fine = _block(16, 32)
        self.cells = nn.Sequential(_block(32, 48), _block(48, 48))
        self.around = nn.Sequential(_block(48, 64), _block(64, 64, 2))
        self.joined = _block(112, 48)
        self.head = nn.Conv3d(48, OUTPUTS, 1)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        cells = self.cells(nn.functional.max_pool3d(self.fine(self.stem(volume)), 2))
        around = self.around(nn.functional.max_pool3d(cells, 2))
        wide = nn.functional.interpolate(around, scale_factor=2.0, mode="nearest")
        return torch.as_tensor(self.head(self.joined(torch.cat([wide, cells], dim=1))))


def normalize_orientation(hu: torch.Tensor) -> torch.Tensor:
    """From HU ``(n, k, j, i)`` to the network's two channels: bone stretched, and everything from air to bone."""
    return torch.stack([ORIENTATION_NETWORK_BONE.normalize(hu), ORIENTATION_NETWORK_WIDE.normalize(hu)], dim=1)


@dataclass(frozen=True)
class OrientationModel:
    """The network, ready to run."""

    network: OrientationNetwork

    @staticmethod
    def from_weights(weights: Weights, device: str = "cpu") -> OrientationModel:
        """Build the network on ``device``, by its name in torch; raises as ``build_network`` does."""
        return OrientationModel(shorten(build_network(OrientationNetwork, weights).to(device)))

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device
