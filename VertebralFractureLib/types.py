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
    form: str | None = None,
    longest: int | None = None,
    count: int | None = None,
    up_to: int | None = None,
) -> dict[str, Any]:
    """Metadata of a field: what it means, and what it may hold. Schema, reader and documents follow from it.

    Args:
        least, most: range of its numbers; of a list, of all numbers in it.
        pattern: form of its text, as a regular expression, and ``form`` in words.
        longest: characters of its text.
        count: how many items it holds; ``up_to``: how many at most.
    """
    known = {"about": text, "least": least, "most": most, "pattern": pattern, "form": form, "longest": longest}
    known |= {"count": count, "up_to": up_to}
    return {key: value for key, value in known.items() if value is not None}
