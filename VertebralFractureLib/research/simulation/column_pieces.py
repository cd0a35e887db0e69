"""The pieces that a deformed body is put together from, column by column: the endplates' ends and the core between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.types import Float32Array, FloatArray

LOWER, CORE, UPPER = "lower", "core", "upper"
_SEAM_MM = 3.0


@dataclass(frozen=True)
class Piece:
    """A piecewise linear map: source arc lengths and, per column, how far above their target they lie."""

    source: list[float]
    shift: list[FloatArray]

    def target(self, index: int) -> FloatArray:
        return np.asarray(self.source[index] - self.shift[index])

    def source_of(self, s: Float32Array) -> Float32Array:
        """Source of every target; each column's knots are made strictly ascending first, shifts go on beyond them."""
        targets = [self.target(index) for index in range(len(self.source))]
        for index in range(1, len(targets)):
            targets[index] = np.maximum(targets[index], targets[index - 1] + 0.15)
        narrow = [target.astype(np.float32) for target in targets]
        u = s + (np.float32(self.source[0]) - narrow[0])
        for low in range(len(self.source) - 1):
            share = (s - narrow[low]) / (narrow[low + 1] - narrow[low])
            step = np.float32(self.source[low + 1] - self.source[low])
            u = np.where(share > 0.0, np.float32(self.source[low]) + share * step, u)
        return np.asarray(np.where(s > narrow[-1], s + (np.float32(self.source[-1]) - narrow[-1]), u))


@dataclass(frozen=True)
class Seams:
    """Where, per column, the lower endplate's piece ends and the upper one's begins, and how soft both seams are."""

    lower_mm: FloatArray
    upper_mm: FloatArray
    width_mm: float

    @staticmethod
    def of(floor: FloatArray, roof: FloatArray, from_middle_mm: tuple[float, float]) -> Seams:
        """``floor`` and ``roof``: where the endplates' pieces may end at the nearest."""
        middle, room = 0.5 * (floor + roof), np.maximum(0.5 * (roof - floor), 0.0)
        low, high = (np.minimum(distance + 0.5 * _SEAM_MM, room) for distance in from_middle_mm)
        return Seams(middle - low, middle + high, _SEAM_MM)

    @property
    def first_mm(self) -> float:
        return float(min(self.lower_mm.min(), self.upper_mm.min() - self.width_mm))

    @property
    def last_mm(self) -> float:
        return float(max(self.upper_mm.max(), self.lower_mm.max() + self.width_mm))

    def shares(self, s: Float32Array) -> dict[str, Float32Array]:
        """Of the lower piece, the core and the upper piece at every target; their sum is 1."""
        lower = 1.0 - smooth((s - self.lower_mm) / self.width_mm)
        upper = smooth((s - self.upper_mm) / self.width_mm + 1.0)
        core = (1.0 - lower) * (1.0 - upper)
        total = lower + core + upper
        pairs = ((LOWER, lower), (CORE, core), (UPPER, upper))
        return {which: np.asarray(share / total, dtype=np.float32) for which, share in pairs}


def smooth(share: FloatArray) -> FloatArray:
    """0 up to 0, 1 from 1 on, smooth between."""
    share = np.clip(share, 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share))
