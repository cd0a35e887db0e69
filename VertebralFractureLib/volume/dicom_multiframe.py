"""Where the frames of an enhanced (multi-frame) CT lie, which SimpleITK does not report.

GDCM gives frames in the order of the file and, when they are out of order or uneven, a spacing of 1 mm without a word.
The positions are therefore read here from the file's own bytes: the functional groups hold nothing else under these
tags (DICOM PS3.3 C.7.6.16.2).
"""

from __future__ import annotations

import mmap
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.dicom_series import DicomSlice


def read_frames(file: DicomSlice) -> list[DicomSlice]:
    """One header for each frame of a multi-frame file, in the order of the file.

    Raises:
        UnreadableVolume: when a frame has no position of its own, or frames differ in orientation, pixel spacing, or
            rescale slope and intercept.
        OSError: when the file cannot be read.
    """
    with file.path.open("rb") as reader, mmap.mmap(reader.fileno(), 0, access=mmap.ACCESS_READ) as content:
        positions = _decimal_strings(content, 0x0020, 0x0032)
        orientations = _decimal_strings(content, 0x0020, 0x0037)
        spacings = _decimal_strings(content, 0x0028, 0x0030)
        intercepts = _decimal_strings(content, 0x0028, 0x1052)
        slopes = _decimal_strings(content, 0x0028, 0x1053)
    if len(positions) != file.frames or any(position.size != 3 for position in positions):
        raise _refused(file.path, "does not say where each of its frames lies")
    orientation = _the_only_one(file.path, "orientation", orientations, 6).reshape(2, 3)
    row_step, column_step = _the_only_one(file.path, "pixel spacing", spacings, 2)
    for values in (intercepts, slopes):
        if values:
            _the_only_one(file.path, "rescale slope or intercept", values, 1)
    axes = np.stack([orientation[0] * column_step, orientation[1] * row_step], axis=1)
    return [replace(file, position_lps=position, axes_lps=axes, frames=1) for position in positions]


def read_frame_thickness_mm(file: DicomSlice) -> float | None:
    """The largest slice thickness that the functional groups of a multi-frame file give; None where they give none.

    An enhanced CT has no (0018,0050) at its top level: it stands in the Pixel Measures (DICOM PS3.3 C.7.6.16.2.1).
    """
    with file.path.open("rb") as reader, mmap.mmap(reader.fileno(), 0, access=mmap.ACCESS_READ) as content:
        thicknesses = [float(value[0]) for value in _decimal_strings(content, 0x0018, 0x0050) if value.size == 1]
    return max(thicknesses, default=None)


def _refused(path: Path, why: str) -> UnreadableVolume:
    return UnreadableVolume(f"The multi-frame DICOM file '{path.name}' {why}; export it as one image per slice.")


def _the_only_one(path: Path, what: str, values: list[FloatArray], size: int) -> FloatArray:
    if not values or values[0].size != size:
        raise _refused(path, f"has no {what}")
    if any(value.size != size or np.max(np.abs(value - values[0])) > 1e-4 for value in values):
        raise _refused(path, f"has frames of different {what}")
    return values[0]


def _decimal_strings(content: mmap.mmap, group: int, element: int) -> list[FloatArray]:
    """All values of a tag of type DS anywhere in a little-endian file, with or without the type in the bytes."""
    tag = re.escape(group.to_bytes(2, "little") + element.to_bytes(2, "little"))
    found = []
    for match in re.finditer(tag + rb"(?:DS(..)|(..)\x00\x00)", content, re.DOTALL):
        length = int.from_bytes(match.group(1) or match.group(2), "little")
        text = content[match.end() : match.end() + length]
        if 0 < length <= 128 and re.fullmatch(rb"[-+0-9.eE \\\x00]+", text):
            parts = text.replace(b"\0", b" ").split(b"\\")
            found.append(np.array([float(part) for part in parts], dtype=np.float64))
    return found
