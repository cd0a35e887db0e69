"""The fracture network: shared encoder ``F_rep``, convolutional sequence model ``F_seq`` and series pooling ``F_agg``.

All three are one module, so that the series' loss reaches the encoder (end to end); 2.5D is the same network with the
sagittal slabs of a patch as channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from VertebralFractureLib.fracture.patches import CODE_LENGTH

GRADES = 3
HEIGHTS = 3
_DILATIONS = (1, 2, 4, 8, 1)


@dataclass(frozen=True)
class NetworkOptions:
    """What the network is built from; stored with the weights.

    Attributes:
        dimensions: 3 for a 3D encoder, 2 for the 2.5D one.
        patch_shape: samples (s, a, r) of one patch.
        channels: of the encoder's stages, each of which halves the patch.
        features: length of a patch's representation.
        uses_sequence: False for the patch-wise variant, which sees no neighbors.
        halves_right: a 3D stage halves the patch from right to left too; False for a few thick slabs.
        uses_position: False for the variant without the positional encoding.
    """

    dimensions: int
    patch_shape: tuple[int, int, int]
    channels: tuple[int, int, int] = (12, 24, 48)
    features: int = 64
    uses_sequence: bool = True
    halves_right: bool = True
    uses_position: bool = True

    @staticmethod
    def from_config(config: dict[str, Any]) -> NetworkOptions:
        tuples = {key: tuple(config[key]) for key in ("patch_shape", "channels")}
        return NetworkOptions(**{**config, **tuples})


class PatchEncoder(nn.Module):
    """``F_rep``: patches ``(n, 2, S, A, R)`` to representations ``(n, features)``.

    The last map is flattened and not averaged: where an endplate lies in the patch is what a height is.
    """

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.dimensions = options.dimensions
        convolution: Any = nn.Conv3d if options.dimensions == 3 else nn.Conv2d
        halving = [2, 2, 2 if options.halves_right else 1][: options.dimensions]
        size = list(options.patch_shape[: options.dimensions])
        inputs = 2 if options.dimensions == 3 else options.patch_shape[2] + 1
        layers: list[nn.Module] = []
        for index, outputs in enumerate(options.channels):
            layers += [convolution(inputs, outputs, 3, halving, 1), nn.GroupNorm(4, outputs), nn.ReLU()]
            if index > 0:
                layers += [convolution(outputs, outputs, 3, 1, 1), nn.GroupNorm(4, outputs), nn.ReLU()]
            inputs, size = outputs, [-(-n // step) for n, step in zip(size, halving, strict=True)]
        flat = inputs
        for n in size:
            flat *= n
        self.layers = nn.Sequential(*layers)
        self.project = nn.Sequential(nn.Linear(flat, options.features), nn.LayerNorm(options.features), nn.ReLU())

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        if self.dimensions == 2:
            slabs = patches[:, 0].permute(0, 3, 1, 2)
            patches = torch.cat([slabs, patches[:, 1].mean(dim=-1)[:, None]], dim=1)
        features: torch.Tensor = self.project(self.layers(patches).flatten(1))
        return features


class SequenceBlock(nn.Module):
    """One dilated residual layer of ``F_seq``; normalized position by position, so that length does not matter."""

    def __init__(self, features: int, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(features, features, 3, padding=dilation, dilation=dilation)
        self.norm = nn.LayerNorm(features)
        self.mix = nn.Conv1d(features, features, 1)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        normed = self.norm(self.convolution(sequence).transpose(1, 2)).transpose(1, 2)
        mixed: torch.Tensor = self.mix(torch.relu(normed))
        return sequence + mixed


class FractureNetwork(nn.Module):
    """``F_agg(F_seq(F_rep(X_i), L_i))``."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.options = options
        self.encoder = PatchEncoder(options)
        self.position = nn.Linear(CODE_LENGTH, options.features)
        self.dropout = nn.Dropout(0.1)
        dilations = _DILATIONS if options.uses_sequence else ()
        self.sequence = nn.Sequential(*[SequenceBlock(options.features, dilation) for dilation in dilations])
        self.head = nn.Conv1d(options.features, GRADES + HEIGHTS, 1)
        self.pooling = nn.Parameter(torch.tensor([0.0, 1.0, 0.0]))

    def forward(
        self, patches: torch.Tensor, code: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The answer for ``b`` series of ``t`` patches.

        Args:
            patches: ``(b, t, 2, S, A, R)``.
            code: ``(b, t, CODE_LENGTH)``, from ``encode_positions``.
            valid: ``(b, t)`` 1 where the position counts for the series' score, else 0.

        Returns:
            Logits ``(b, t, 3)`` of a Genant grade of at least 1, 2 and 3; anterior, middle and posterior height
            ``(b, t, 3)`` in units of 20 mm (an auxiliary task); and the series' logits ``(b,)``.
        """
        series, count = patches.shape[:2]
        features = self.encoder(patches.flatten(0, 1)).reshape(series, count, -1)
        return self.answer(features, code, valid)

    def answer(
        self, features: torch.Tensor, code: torch.Tensor, valid: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``F_seq`` and ``F_agg`` on the encoder's representations ``(b, t, features)``."""
        if self.options.uses_position:
            features = features + self.position(code)
        states = self.dropout(features).transpose(1, 2)
        answer = self.head(self.sequence(states)).transpose(1, 2).float()
        logits = answer[..., :GRADES]
        return logits, answer[..., GRADES:], self.aggregate(logits[..., 0], valid)

    def aggregate(self, logits: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """``F_agg``: log-sum-exp over the valid positions with a learned sharpness, then a learned line.

        A smooth maximum, so that one fractured vertebra is enough; Pinheiro and Collobert 2015 use the same form.
        """
        sharpness = 0.5 + nn.functional.softplus(self.pooling[0])
        masked = torch.where(valid > 0, sharpness * logits, torch.full_like(logits, -30.0))
        return self.pooling[1] * torch.logsumexp(masked, dim=1) / sharpness + self.pooling[2]
