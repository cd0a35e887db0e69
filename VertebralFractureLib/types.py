"""What every step speaks of, defined once: array types, the point, states as words, and metadata of a field."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]
ByteArray = NDArray[np.uint8]

Point = tuple[float, float, float]
"""A point or a vector in mm; RAS where its name ends so."""


class Word(str, Enum):
    """A state that is written as its value: in JSON, tables and messages alike, in every version of Python."""

    def __str__(self) -> str:
        return str(self.value)


def about(
    text: str,
    *,
    least: float | None = None,
    most: float | None = None,
    pattern: str | None = None,
    count: int | None = None,
) -> dict[str, Any]:
    """Metadata of a field: what it means, the range of its numbers, the form of its text, how many items it holds."""
    known = {"about": text, "least": least, "most": most, "pattern": pattern, "count": count}
    return {key: value for key, value in known.items() if value is not None}
