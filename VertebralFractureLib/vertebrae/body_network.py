"""A small U-Net from the sagittal picture to three maps: body, upper-endplate edge, lower-endplate edge.

Edges are maps of their own because fused or bridged vertebrae have one connected body mask but still two edges each.
Imports torch: import this module inside functions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from VertebralFractureLib.vertebrae.body_input import CHANNELS
from VertebralFractureLib.weights import Weights, build_network

MAPS = 3
"""Body, upper edge, lower edge."""


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.GroupNorm(4, outputs),
        nn.SiLU(),
    )


class BodyNetwork(nn.Module):
    """``(n, 8, rows, 96)`` to logits ``(n, 3, rows, 96)``; rows a multiple of 8."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (width, 2 * width, 3 * width, 4 * width)
        self.down = nn.ModuleList(
            [_block(CHANNELS, widths[0]), _block(widths[0], widths[1]), _block(widths[1], widths[2])]
        )
        self.bottom = nn.Sequential(
            _block(widths[2], widths[3]),
            nn.Conv2d(widths[3], widths[3], 3, padding=(4, 1), dilation=(4, 1)),
            nn.SiLU(),
        )
        self.up = nn.ModuleList(
            [
                _block(widths[3] + widths[2], widths[2]),
                _block(widths[2] + widths[1], widths[1]),
                _block(widths[1] + widths[0], widths[0]),
            ]
        )
        self.head = nn.Conv2d(widths[0], MAPS, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], dim=1))
        return torch.as_tensor(self.head(x))


@dataclass(frozen=True)
class BodyModel:
    """The body network, ready to run.

    Attributes:
        edge_outward_mm: how far inside the reader's endplate these weights mark it, measured on their training scans.
    """

    network: BodyNetwork
    edge_outward_mm: float

    @staticmethod
    def from_weights(weights: Weights, device: str = "cpu") -> BodyModel:
        """Build the network on ``device``, by its name in torch."""
        network = build_network(lambda: BodyNetwork(int(weights.config["width"])), weights)
        return BodyModel(network.to(device), float(weights.config["edge_outward_mm"]))

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device
