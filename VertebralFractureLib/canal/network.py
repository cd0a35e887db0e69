"""``CanalNetwork``: for every axial slice, how probable each pixel is the canal's center, against "no canal here".

One softmax runs over all pixels of a slice and one constant more, logit 0, that stands for "none": the network must
speak up for a canal from local evidence, so the answer does not depend on how much of the body is in the field of view.
A second head says, for a center at each pixel, how far the canal and the vertebra in front of it reach from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from VertebralFractureLib.fast_networks import shorten
from VertebralFractureLib.weights import Weights, build_network

CHANNELS = 5
"""Neighboring slices that the network sees, ``SLICE_MM`` apart, the middle one being judged."""
BOX_SIDES = 8
"""Canal, then vertebra, each as (lowest R, highest R, lowest A, highest A) in mm from the canal's center."""
BOX_PIXELS = 2
"""Pixels of the input per value of the box map, along each axis."""
_BOX_SCALE_MM = 20.0


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class CanalNetwork(nn.Module):
    """A U-Net on 4 mm features with 2 mm input and output.

    Input ``(n, CHANNELS, h, w)`` normalized by ``hu_windows.CANAL_NETWORK``, h and w multiples of 16. Output: logits
    ``(n, h, w)``, and the boxes ``(n, BOX_SIDES, h / 2, w / 2)`` in mm that hold where the canal's center is at that
    pixel.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 40, 64, 64)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.down = nn.ModuleList()
        inputs = CHANNELS * 4
        for depth, width in enumerate(self.widths):
            self.down.append(_Block(inputs, width, 2 if depth == len(self.widths) - 1 else 1))
            inputs = width
        self.up = nn.ModuleList()
        for width in reversed(self.widths[:-1]):
            self.up.append(_Block(inputs + width, width))
            inputs = width
        self.head = nn.Conv2d(inputs, 4, 3, padding=1)
        self.box_head = nn.Conv2d(inputs, BOX_SIDES, 3, padding=1)
        nn.init.constant_(self.head.bias, -6.0)  # type: ignore[arg-type]

    def forward(self, slices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = functional.pixel_unshuffle(slices, 2)
        kept = []
        for depth, block in enumerate(self.down):
            if depth:
                features = functional.max_pool2d(features, 2)
            features = block(features)
            kept.append(features)
        kept.pop()
        for block in self.up:
            wide = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([wide, kept.pop()], dim=1))
        logits = functional.pixel_shuffle(self.head(features), 2)[:, 0]
        return logits, _BOX_SCALE_MM * self.box_head(features).float()


def compute_log_probabilities(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From logits ``(n, h, w)`` to log-probabilities of the pixels ``(n, h, w)`` and of "none" ``(n,)``."""
    flat = logits.flatten(1).float()
    total = torch.logsumexp(torch.cat([flat, torch.zeros_like(flat[:, :1])], dim=1), dim=1)
    return (flat - total[:, None]).view_as(logits), -total


def network_from_weights(weights: Weights) -> CanalNetwork:
    """The network in evaluation mode, in the memory layout that is fastest on a CPU.

    Raises:
        WeightsDamaged: when tensors and configuration do not fit each other.
    """
    network = build_network(lambda: CanalNetwork(tuple(int(width) for width in weights.config["widths"])), weights)
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


@dataclass(frozen=True)
class CanalModel:
    """The canal network, ready to run, with the configuration that its weights were stored with."""

    network: CanalNetwork
    config: Mapping[str, Any]

    @staticmethod
    def from_weights(weights: Weights, device: str = "cpu") -> CanalModel:
        """Build the network on ``device``, by its name in torch.

        Raises:
            WeightsDamaged: when tensors and configuration do not fit each other.
        """
        return CanalModel(shorten(network_from_weights(weights).to(device)), weights.config)
