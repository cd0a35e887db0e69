"""A small network that tells of every vertebra in a straightened spine whether its head end is up.

It has the pictures that levels are judged by, six coarse slices per vertebra: pedicles rise from the upper half of a
body, spinous processes and ribs slope down, and bodies grow towards the feet. Imports torch: import this module inside
functions only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from VertebralFractureLib.vertebrae.level_network import ColumnNetwork
from VertebralFractureLib.weights import Weights, build_network

_WIDTH = 64


class UprightNetwork(ColumnNetwork):
    """Picture and relative spacing of a column to log-odds ``(n, cells)`` of head up."""

    def __init__(self) -> None:
        super().__init__(_WIDTH)
        self.head = nn.Conv1d(_WIDTH, 1, 1)

    def forward(self, x: torch.Tensor, spacing: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.head(self.join_cells(self.read_cells(x), spacing))[:, 0])


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
