"""Where the networks run: chosen when torch is there to ask, and never by a program that must not load it."""

from __future__ import annotations

from VertebralFractureLib.errors import DeviceMissing
from VertebralFractureLib.options import AUTOMATIC, CPU, CUDA

_OF_THE_CARD = ("cuda", "cudnn", "cublas")


def usable_device(wanted: str) -> str:
    """``CPU`` or ``CUDA`` for one of ``options.DEVICES``.

    Raises:
        DeviceMissing: when an NVIDIA card is wanted and torch sees none.
    """
    if wanted == CPU:
        return CPU
    import torch

    if torch.cuda.is_available():
        # As exact as on the CPU: the short floats of the card's own defaults would move probabilities.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        return CUDA
    if wanted == AUTOMATIC:
        return CPU
    raise DeviceMissing("PyTorch sees no NVIDIA card (CUDA) on this computer; choose automatic or cpu.")


def is_of_the_card(error: RuntimeError) -> bool:
    """Whether it is the card that failed (its memory, its driver) and not the program."""
    return any(word in f"{type(error).__module__} {error}".lower() for word in _OF_THE_CARD)
