"""A volume as an uncompressed ``.nrrd`` that is written slab by slab, so that whoever writes it is never busy for long.

The header names the axes' steps in RAS mm, which NRRD knows as a space of its own; a sheared grid keeps its shear.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import DTypeLike

from VertebralFractureLib.types import FloatArray

_TYPES = {"int16": "short", "float32": "float"}


def nrrd_header(shape_kji: tuple[int, int, int], dtype: DTypeLike, ijk_to_ras: FloatArray) -> bytes:
    """What stands before the voxels, which follow as ``[k, j, i]`` in this machine's byte order.

    Fields as in http://teem.sourceforge.net/nrrd/format.html.

    Raises:
        ValueError: when the type is neither int16 nor float32.
    """
    name = np.dtype(dtype).name
    if name not in _TYPES:
        raise ValueError(f"A volume is handed over as int16 or float32, not as {name}.")
    columns = [_vector(ijk_to_ras[:3, axis]) for axis in range(4)]
    lines = (
        "NRRD0004",
        f"type: {_TYPES[name]}",
        "dimension: 3",
        "space: right-anterior-superior",
        f"sizes: {' '.join(str(size) for size in reversed(shape_kji))}",
        f"space directions: {' '.join(columns[:3])}",
        "kinds: domain domain domain",
        f"endian: {sys.byteorder}",
        "encoding: raw",
        f"space origin: {columns[3]}",
    )
    return ("\n".join(lines) + "\n\n").encode("ascii")


def _vector(values: FloatArray) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"
