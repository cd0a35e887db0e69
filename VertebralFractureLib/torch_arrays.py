"""NumPy arrays to PyTorch tensors and back, also where PyTorch was built against another NumPy.

Slicer on a Mac brings NumPy 2, and PyTorch stops at 2.2 there, which was built against NumPy 1: ``torch.from_numpy``
and ``Tensor.numpy`` then fail with "Numpy is not available", while the buffer protocol works everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """A tensor of the array's shape and type; it shares memory with an array that is contiguous and writable."""
    import torch

    whole = np.require(array, requirements=["C", "W"])
    dtype = getattr(torch, whole.dtype.name)
    if whole.size == 0:
        return torch.empty(whole.shape, dtype=dtype)
    return torch.frombuffer(whole, dtype=dtype).reshape(whole.shape)


def to_array(tensor: torch.Tensor) -> NDArray[Any]:
    """An array of the tensor's shape and type; it shares memory with a tensor on the CPU where PyTorch allows that."""
    import torch

    values = tensor.detach().cpu()
    try:
        shared: NDArray[Any] = values.numpy()
        return shared
    except RuntimeError:
        array: NDArray[Any] = np.empty(tuple(values.shape), dtype=str(values.dtype).removeprefix("torch."))
        if array.size > 0:
            torch.frombuffer(array, dtype=values.dtype).reshape(array.shape).copy_(values)
        return array
