"""A spine volume in one ``.npz`` file without pickle, for handing it from the worker to Slicer."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cpr.frame import ReformatFrame
from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume

# What numpy lets through of zipfile, and of Python's own parser, which reads the headers of arrays.
_NO_ARCHIVE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, MemoryError),
    *(SyntaxError, tokenize.TokenError, KeyError, TypeError),
)


def save_straightened(spine: StraightenedVolume, path: Path) -> None:
    """Write ``spine``; HU are rounded to int16. Not compressed, which would take longer than to score it."""
    frame = spine.frame
    np.savez(
        path,
        hu=np.round(spine.hu).clip(-32768, 32767).astype(np.int16),
        inside=spine.inside,
        origin_mm=np.array(spine.origin_mm),
        spacing_mm=np.array(spine.spacing_mm),
        kind=np.array(frame.kind),
        s_mm=frame.s_mm,
        origin_ras=frame.origin_ras,
        right_ras=frame.right_ras,
        anterior_ras=frame.anterior_ras,
    )


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
