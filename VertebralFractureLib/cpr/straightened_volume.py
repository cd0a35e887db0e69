"""``StraightenedVolume``: the compact, straightened CT with its own geometry and the map both ways.

Straightened coordinates are RAS-like: ``(r, a, s)`` in mm, r to the patient's right, a anterior of the canal's center,
s along the centerline. ``ReformatFrame`` holds the curve of frames that ties it to the patient's RAS.
"""

from __future__ import annotations

import errno
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.cpr.frame import ReformatFrame
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray


@dataclass(frozen=True)
class StraightenedVolume:
    """A volume resampled along the spine.

    Attributes:
        hu: float32 ``[k, j, i]`` with i along +r, j along +a, k along +s; outside the field of view the value is
            ``OUTSIDE_HU`` and ``inside`` is False.
        inside: bool, same shape.
        origin_mm: straightened coordinates (r, a, s) of voxel (0, 0, 0).
        spacing_mm: along (r, a, s).
        frame: the map between straightened coordinates and the patient's RAS.
    """

    hu: Float32Array
    inside: BoolArray
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    frame: ReformatFrame

    @property
    def ijk_to_straight(self) -> FloatArray:
        """4x4 from ``(i, j, k, 1)`` to straightened coordinates in mm."""
        matrix = np.diag([*self.spacing_mm, 1.0])
        matrix[:3, 3] = self.origin_mm
        return matrix

    def straight_to_ijk_points(self, points_straight: FloatArray) -> FloatArray:
        """Map ``(..., 3)`` straightened coordinates (r, a, s) to continuous voxel indices (i, j, k)."""
        return np.asarray((points_straight - np.array(self.origin_mm)) / np.array(self.spacing_mm))

    def axis_mm(self, axis: str) -> FloatArray:
        """Voxel-center coordinates along ``"r"``, ``"a"`` or ``"s"``."""
        index = "ras".index(axis)
        count = self.hu.shape[2 - index]
        return self.origin_mm[index] + self.spacing_mm[index] * np.arange(count, dtype=np.float64)


OUTSIDE_HU = -1024.0


# What numpy lets through of zipfile, and of Python's own parser, which reads the headers of arrays.
_NO_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, MemoryError),
    *(SyntaxError, tokenize.TokenError, KeyError, TypeError),
)


def save_straightened(spine: StraightenedVolume, path: Path) -> None:
    """Write ``spine`` to an ``.npz`` and compare; HU are rounded to int16.

    Not compressed, which would take longer than to score it.

    Raises:
        OSError: when the disk refuses, or does not give back what was written.
    """
    frame = spine.frame
    arrays = {
        "hu": np.round(spine.hu).clip(-32768, 32767).astype(np.int16),
        "inside": spine.inside,
        "origin_mm": np.array(spine.origin_mm),
        "spacing_mm": np.array(spine.spacing_mm),
        "kind": np.array(frame.kind),
        "s_mm": frame.s_mm,
        "origin_ras": frame.origin_ras,
        "right_ras": frame.right_ras,
        "anterior_ras": frame.anterior_ras,
    }

    def compare(written: Path) -> None:
        try:
            with np.load(written, allow_pickle=False) as again:
                same = all(np.array_equal(again[name], values) for name, values in arrays.items())
        except (ValueError, *_NO_ARCHIVE):
            same = False
        if not same:
            raise OSError(errno.EIO, "the disk does not hold what was written", str(path))

    with atomic_write(path, compare) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_straightened(path: Path) -> StraightenedVolume:
    """Read what ``save_straightened`` wrote.

    Raises:
        OSError: when the file cannot be opened.
        ValueError: when it is not such a file, or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return _straightened(content)
    except _NO_ARCHIVE as error:
        raise ValueError(f"'{path.name}' is no straightened volume: {error}") from error


def _straightened(content: Mapping[str, NDArray[Any]]) -> StraightenedVolume:
    frame = ReformatFrame(
        str(content["kind"]), content["s_mm"], content["origin_ras"], content["right_ras"], content["anterior_ras"]
    )
    r, a, s = (float(value) for value in content["origin_mm"])
    step_r, step_a, step_s = (float(value) for value in content["spacing_mm"])
    hu = content["hu"].astype(np.float32)
    return StraightenedVolume(hu, content["inside"], (r, a, s), (step_r, step_a, step_s), frame)
