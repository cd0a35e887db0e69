"""The array types and the point that every step speaks of, defined once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]
ByteArray = NDArray[np.uint8]

Point = tuple[float, float, float]
"""A point or a vector in mm; RAS where its name ends so."""
