"""``HuWindow``: which Hounsfield units a network or a picture tells apart, and how they become its numbers.

A network was trained on the numbers of its window, so a window belongs to its weights and is no setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from VertebralFractureLib.types import Float32Array, FloatArray

if TYPE_CHECKING:
    import torch

    Values = TypeVar("Values", Float32Array, FloatArray, torch.Tensor)


@dataclass(frozen=True)
class HuWindow:
    """HU below ``low`` and above ``high`` are cut off; the others become ``(hu - center) / scale``; all in HU."""

    low: float
    high: float
    center: float
    scale: float

    @staticmethod
    def of_display(width: float, level: float) -> HuWindow:
        """The window of a picture, as viewers define it: 0 is black, 1 is white, ``level`` lies in the middle."""
        return HuWindow(level - 0.5 * width, level + 0.5 * width, level - 0.5 * width, width)

    @property
    def width(self) -> float:
        return self.high - self.low

    @property
    def level(self) -> float:
        """The middle of the window."""
        return 0.5 * (self.low + self.high)

    def clip(self, hu: Values) -> Values:
        """A copy of floating-point HU without what lies beyond the window."""
        return hu.clip(self.low, self.high)

    def normalize(self, hu: Values) -> Values:
        """Normalize floating-point HU, an array or a tensor of any shape; one copy is made, in the same precision."""
        values = self.clip(hu)
        values -= self.center
        values /= self.scale
        return values


CANAL_NETWORK = HuWindow(low=-300.0, high=900.0, center=100.0, scale=300.0)
"""Bone and soft tissue stretched; air and metal cut off."""
ORIENTATION_NETWORK_BONE = HuWindow(low=-200.0, high=800.0, center=100.0, scale=300.0)
ORIENTATION_NETWORK_WIDE = HuWindow(low=-1000.0, high=300.0, center=-350.0, scale=500.0)
"""The two channels of the orientation network: bone against soft tissue, and lung, fat, table and air."""
VERTEBRA_NETWORKS = HuWindow(low=-260.0, high=1000.0, center=100.0, scale=300.0)
"""Bodies and levels: -1.2 is fat and air, 3 is cortex and metal."""
FRACTURE_NETWORKS = HuWindow(low=-150.0, high=850.0, center=150.0, scale=250.0)
"""Trabecular bone around 0."""
BONE_DISPLAY = HuWindow.of_display(width=1000.0, level=400.0)
"""Slicer's preset "CT-Bone": what the views show."""
OVERVIEW_DISPLAY = HuWindow.of_display(width=1400.0, level=350.0)
"""The overview picture, in which contrast medium and cement must still differ from bone."""
