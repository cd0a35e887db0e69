"""The header of a MetaImage file (.mha, .mhd), after https://itk.org/Wiki/ITK/MetaIO/Documentation."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.image_header import (
    Encoding,
    ImageHeader,
    checked_numbers,
    checked_scale,
    checked_size,
    checked_spacing,
    checked_whole_number,
    damaged_file,
    read_sizes,
    required_field,
)
from VertebralFractureLib.volume.nrrd_file import MOST_PARTS, named_parts
from VertebralFractureLib.volume.sitk_bridge import LPS_TO_RAS
from VertebralFractureLib.volume.stored_file import StoredFile

_HEADER_BYTES = 1 << 20
_UNIT_TOLERANCE = 1e-3
"""Axes are written with few decimals at times; a longer or shorter one would hide a second spacing."""
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_SAME = {
    "Position": "Offset",
    "Origin": "Offset",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}
"""Names that mean the same field."""


def read_metaimage_header(file: StoredFile) -> ImageHeader:
    """Read and check the header of a MetaImage file.

    Raises:
        UnreadableVolume: when it is damaged, contradicts itself, names files outside its folder, or is not a scalar 3D
            image.
        OSError: when the file cannot be read.
    """
    name = file.name
    with file.open() as reader:
        fields, listed, ends_at = _read_fields(reader, name)
    sizes = read_sizes(fields, name, "NDims", "DimSize")
    channels = checked_whole_number(name, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    size = checked_size(name, sizes, channels)
    kind = _TYPES.get(required_field(fields, name, "ElementType"))
    if kind is None:
        raise damaged_file(name, "its type of voxels is not known")
    order = ">" if _is_true(fields, name, "BinaryDataByteOrderMSB", False) else "<"
    encoding = Encoding.RAW if _is_true(fields, name, "BinaryData", True) else Encoding.TEXT
    if _is_true(fields, name, "CompressedData", False):
        encoding = Encoding.DEFLATE
    slope, intercept = checked_scale(
        name,
        *(
            float(checked_numbers(name, key, [fields.get(key, default)], 1)[0])
            for key, default in (("ElementToIntensityFunctionSlope", "1"), ("ElementToIntensityFunctionOffset", "0"))
        ),
    )
    data = required_field(fields, name, "ElementDataFile")
    skipped = checked_whole_number(name, "HeaderSize", fields.get("HeaderSize", "0"))
    if data.upper() == "LOCAL":
        if skipped:
            raise damaged_file(name, "it gives the length of its header twice")
        skipped = ends_at
    parts = (file,) if data.upper() == "LOCAL" else _parts(file, data, listed, size[2])
    if skipped < -1 or (skipped == -1 and encoding is not Encoding.RAW):
        raise damaged_file(name, "its field 'HeaderSize' has no meaning")
    return ImageHeader(
        file,
        size,
        np.dtype(order + kind),
        LPS_TO_RAS @ _to_lps(fields, name, len(sizes)),
        parts,
        None if skipped == -1 else skipped,
        encoding,
        slope,
        intercept,
    )


def _read_fields(reader: BinaryIO, name: str) -> tuple[dict[str, str], list[str], int]:
    """The fields by name, the lines after ``ElementDataFile = LIST``, and the offset of what follows that field."""
    fields: dict[str, str] = {}
    read = 0
    while "ElementDataFile" not in fields:
        line = reader.readline(_HEADER_BYTES)
        read += len(line)
        if not line or read > _HEADER_BYTES:
            raise damaged_file(name, "its header does not end")
        text = line.decode("utf-8", "surrogateescape").strip()
        if not text:
            continue
        key, equals, value = text.partition("=")
        key = _SAME.get(key.strip(), key.strip())
        if not equals or key in fields:
            raise damaged_file(name, "its header has a field twice, or a line that is no field")
        fields[key] = value.strip()
    if not fields["ElementDataFile"].upper().startswith("LIST"):
        return fields, [], read
    return fields, reader.read(_HEADER_BYTES).decode("utf-8", "surrogateescape").split("\n"), read


def _is_true(fields: dict[str, str], name: str, key: str, default: bool) -> bool:
    word = fields.get(key, str(default)).lower()
    if word not in ("true", "false", "1", "0"):
        raise damaged_file(name, f"its field '{key}' is neither true nor false")
    return word in ("true", "1")


def _to_lps(fields: dict[str, str], name: str, dimension: int) -> FloatArray:
    spacing = fields.get("ElementSpacing") or fields.get("ElementSize")
    if not spacing:
        raise UnreadableVolume(
            f"'{name}' does not say how far apart its voxels are (ElementSpacing); export the series again with it."
        )
    steps = checked_spacing(name, checked_numbers(name, "ElementSpacing", spacing.split(), dimension)[:3])
    axes = np.eye(dimension)
    if "TransformMatrix" in fields:
        numbers = checked_numbers(name, "TransformMatrix", fields["TransformMatrix"].split(), dimension * dimension)
        # Each row of the file is the direction of one axis.
        axes = numbers.reshape(dimension, dimension).T
    if np.any(np.abs(np.linalg.norm(axes[:3, :3], axis=0) - 1.0) > _UNIT_TOLERANCE):
        raise damaged_file(name, "its axes (TransformMatrix) are not of length 1, so it gives two spacings")
    matrix = np.eye(4)
    matrix[:3, :3] = axes[:3, :3] * steps
    if "Offset" in fields:
        matrix[:3, 3] = checked_numbers(name, "Offset", fields["Offset"].split(), dimension)[:3]
    return matrix


def _parts(file: StoredFile, data: str, listed: list[str], slices: int) -> tuple[StoredFile, ...]:
    """The files of the voxels: one, a list, or a pattern with numbers."""
    words = data.split()
    if words[0].upper() == "LIST":
        if words[1:] not in ([], ["2"], ["2D"]):
            raise UnreadableVolume(f"'{file.name}' lists its files in a way that is not read; save it as one file.")
        return named_parts(file, [line for line in listed if line.strip()])
    if "%" not in data:
        return named_parts(file, [data])
    numbers = [checked_whole_number(file.name, "ElementDataFile", word) for word in words[1:]]
    # As MetaIO reads it: the pattern, the first number, the last one and the step.
    first, last, step = [*numbers, *(1, slices, 1)[len(numbers) :]][:3]
    if len(numbers) > 3 or step < 1 or not re.fullmatch(r"[^%]*%0?\d{0,2}d[^%]*", words[0]):
        raise damaged_file(file.name, "its pattern of files is no pattern")
    if not 0 <= (last - first) // step < MOST_PARTS:
        raise damaged_file(file.name, "its pattern of files has no end")
    return named_parts(file, [words[0] % number for number in range(first, last + 1, step)])
