"""Make a trained network fast on the processor that runs it, with no other answer than rounding gives.

Where the processor multiplies bfloat16 in hardware, the networks whose answers are averaged over many pixels run in it;
their sums stay in single precision, and what it moves is measured in docs/results/speed.md. Imports torch inside its
functions only.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

Network = TypeVar("Network", bound="nn.Module")


def shorten(network: Network) -> Network:
    """The network, changed in place: its batch normalizations folded, and in bfloat16 where that is faster."""
    import torch

    fold_batch_norms(network)
    put_channels_last(network)
    device = next(network.parameters()).device
    return network.to(torch.bfloat16) if multiplies_short_floats(device.type) else network


def put_channels_last(network: nn.Module) -> None:
    """Store the weights in the layout in which convolutions are fastest on a CPU."""
    import torch

    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.dim() in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.dim()])


def fold_batch_norms(network: nn.Module) -> None:
    """Make each batch normalization that follows a convolution a part of its weights.

    What a trained network subtracts and multiplies is the same for every input; what is left of the layer does nothing.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    convolutions, norms = (nn.Conv2d, nn.Conv3d), (nn.BatchNorm2d, nn.BatchNorm3d)
    for module in network.modules():
        for (name, layer), (follower, norm) in pairwise(list(module.named_children())):
            if isinstance(layer, convolutions) and isinstance(norm, norms):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, follower, nn.Identity())


def multiplies_short_floats(device: str) -> bool:
    """Whether the device has instructions for bfloat16: processors with AVX512-BF16 or AMX.

    Elsewhere it would be put together from other ones, slower than single precision. On a graphics card nothing is
    shortened: it was not measured there.
    """
    import torch

    if device != "cpu":
        return False
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in asked)


def like_network(pictures: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """The input on the device, with the precision and in the layout of the network that is to read it."""
    import torch

    layout = torch.channels_last_3d if pictures.dim() == 5 else torch.channels_last
    return pictures.to(next(network.parameters())).contiguous(memory_format=layout)
