"""The header of a NRRD file (.nrrd, .nhdr), after http://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.image_header import (
    Encoding,
    ImageHeader,
    checked_numbers,
    checked_size,
    checked_spacing,
    checked_whole_number,
    damaged_file,
    read_sizes,
    required_field,
)
from VertebralFractureLib.volume.sitk_bridge import LPS_TO_RAS, require_scalar_volume
from VertebralFractureLib.volume.stored_file import StoredFile

_HEADER_BYTES = 1 << 20
MOST_PARTS = 4096
_SIGNED = {"signed char": "i1", "int8": "i1", "int8_t": "i1", "char": "i1"}
_TYPES = {
    **_SIGNED,
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_ENCODINGS = {
    "raw": Encoding.RAW,
    **dict.fromkeys(("gzip", "gz"), Encoding.DEFLATE),
    **dict.fromkeys(("text", "txt", "ascii"), Encoding.TEXT),
}
_TO_LPS = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}
"""Other spaces ("scanner-xyz", none) name no side of the patient; they are taken as LPS, as SimpleITK does."""


@dataclass(frozen=True)
class _Axes:
    """The axes of the array, the fastest first; the ones in space are those with a direction."""

    sizes: tuple[int, ...]
    kinds: tuple[str, ...]
    directions: tuple[FloatArray | None, ...]


def read_nrrd_header(file: StoredFile) -> ImageHeader:
    """Read and check the header of a NRRD file.

    Raises:
        UnreadableVolume: when it is damaged, contradicts itself, names files outside its folder, or is not a scalar 3D
            image.
        OSError: when the file cannot be read.
    """
    name = file.name
    with file.open() as reader:
        fields, listed, ends_at = _read_fields(reader, name)
    sizes = read_sizes(fields, name, "dimension", "sizes")
    axes = _Axes(sizes, _kinds(fields, name, len(sizes)), _directions(fields, name, len(sizes)))
    size, matrix = _grid(fields, name, axes)
    voxel_type = _voxel_type(fields, name)
    encoding = _ENCODINGS.get(required_field(fields, name, "encoding").lower())
    if encoding is None:
        raise UnreadableVolume(
            f"'{name}' is written in an encoding ({fields['encoding'][:20]}) that is not read; save it as raw or gzip."
        )
    parts, offset = _parts(file, fields, listed), ends_at
    if "data file" in fields:
        offset = 0
    skipped = checked_whole_number(name, "byte skip", fields.get("byte skip", "0"))
    lines = checked_whole_number(name, "line skip", fields.get("line skip", "0"))
    if lines or skipped < -1 or (skipped == -1 and encoding is not Encoding.RAW):
        raise UnreadableVolume(f"'{name}' skips a part of its voxels' file in a way that is not read; save it again.")
    if skipped and encoding is Encoding.DEFLATE:
        raise UnreadableVolume(f"'{name}' skips a part of its compressed voxels, which is not read; save it again.")
    start = None if skipped == -1 else offset + skipped
    return ImageHeader(file, size, voxel_type, LPS_TO_RAS @ matrix, parts, start, encoding)


def _read_fields(reader: BinaryIO, name: str) -> tuple[dict[str, str], list[str], int]:
    """The fields by name, the lines after ``data file: LIST``, and the offset of what follows the empty line."""
    fields: dict[str, str] = {}
    listed: list[str] = []
    read = 0
    first = True
    while True:
        line = reader.readline(_HEADER_BYTES)
        read += len(line)
        if read > _HEADER_BYTES:
            raise damaged_file(name, "its header does not end")
        text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if first and not re.fullmatch(r"NRRD\d{4}", text.rstrip()):
            raise damaged_file(name, "it does not begin as a NRRD file")
        if not text:
            # The end of a detached header; in a file with voxels an empty line stands before them.
            if not line and "data file" not in fields:
                raise damaged_file(name, "its header does not end")
            return fields, listed, read
        if first or text.startswith("#"):
            first = False
        elif "data file" in fields and fields["data file"].split()[:1] == ["LIST"]:
            listed.append(text)
        elif ":=" not in text:
            key, colon, value = text.partition(":")
            key = " ".join(key.lower().split())
            key = {"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}.get(key, key)
            if not colon or key in fields:
                raise damaged_file(name, "its header has a field twice, or a line that is no field")
            fields[key] = value.strip()


def _kinds(fields: dict[str, str], name: str, dimension: int) -> tuple[str, ...]:
    kinds = tuple(fields["kinds"].lower().split()) if "kinds" in fields else ("???",) * dimension
    if len(kinds) != dimension:
        raise damaged_file(name, f"it has {dimension} axes and {len(kinds)} kinds of axes")
    return kinds


def _directions(fields: dict[str, str], name: str, dimension: int) -> tuple[FloatArray | None, ...]:
    """The step along each axis in the file's own space; None for one that does not lie in space."""
    if "space directions" not in fields:
        if "space" in fields or "space dimension" in fields:
            raise damaged_file(name, "its header has no field 'space directions'")
        spacings = required_field(fields, name, "spacings").split()
        if len(spacings) != dimension:
            raise damaged_file(name, f"it has {dimension} axes and {len(spacings)} spacings")
        in_space = [index for index, word in enumerate(spacings) if word.lower() != "nan"][:3]
        steps = checked_spacing(
            name, checked_numbers(name, "spacing", [spacings[index] for index in in_space], len(in_space))
        )
        return tuple(
            np.eye(3)[in_space.index(index)] * steps[in_space.index(index)] if index in in_space else None
            for index in range(dimension)
        )
    found = [match[0] for match in re.finditer(r"none|\([^()]*\)|[^\s()]+", fields["space directions"])]
    if len(found) != dimension:
        raise damaged_file(name, f"it has {dimension} axes and {len(found)} directions")
    return tuple(None if word == "none" else _vector(name, "space directions", word) for word in found)


def _vector(name: str, what: str, word: str) -> FloatArray:
    if not (word.startswith("(") and word.endswith(")")):
        raise damaged_file(name, f"its {what} are no vectors")
    return checked_numbers(name, what, word[1:-1].split(","), 3)


def _grid(fields: dict[str, str], name: str, axes: _Axes) -> tuple[tuple[int, int, int], FloatArray]:
    """The sizes along i, j, k and the 4x4 matrix to LPS mm."""
    in_space = [index for index, direction in enumerate(axes.directions) if direction is not None]
    others = [index for index in range(len(axes.sizes)) if index not in in_space and axes.sizes[index] != 1]
    if others:
        times = [axes.sizes[index] for index in others if axes.kinds[index] in ("time", "list") or index == 3]
        count = axes.sizes[others[0]]
        require_scalar_volume([2, 2, 2, times[0]] if times else [2, 2, 2], 1 if times else count)
    if len(in_space) != 3:
        require_scalar_volume([axes.sizes[index] for index in in_space], 1)
        raise damaged_file(name, f"{len(in_space)} of its axes lie in space")
    size = checked_size(name, [axes.sizes[index] for index in in_space])
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([direction for direction in axes.directions if direction is not None], axis=1)
    checked_spacing(name, np.linalg.norm(matrix[:3, :3], axis=0))
    if "space origin" in fields:
        matrix[:3, 3] = _vector(name, "space origin", fields["space origin"])
    space = fields.get("space", "left-posterior-superior").lower().removesuffix("-time")
    signs = np.array(_TO_LPS.get(space, (1.0, 1.0, 1.0)))
    matrix[:3] *= (signs * _mm_per_unit(fields, name))[:, None]
    return size, matrix


def _mm_per_unit(fields: dict[str, str], name: str) -> float:
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) - {""}
    known = {"mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3}
    if len(units) > 1 or not units <= set(known):
        raise UnreadableVolume(f"'{name}' gives its geometry in units that are not read; save it in millimeters.")
    return known[units.pop()] if units else 1.0


def _voxel_type(fields: dict[str, str], name: str) -> np.dtype[np.generic]:
    word = " ".join(required_field(fields, name, "type").lower().split())
    if word not in _TYPES:
        raise damaged_file(name, "its type of voxels is not known")
    endian = fields.get("endian", "").lower()
    matters = _TYPES[word][1:] != "1" and _ENCODINGS.get(fields.get("encoding", "").lower()) is not Encoding.TEXT
    if endian not in ("little", "big", "") or (not endian and matters):
        raise damaged_file(name, "it does not say the order of its bytes")
    return np.dtype({"little": "<", "big": ">", "": "="}[endian] + _TYPES[word])


def _parts(file: StoredFile, fields: dict[str, str], listed: list[str]) -> tuple[StoredFile, ...]:
    """The files of the voxels: this one, the one that it names, a list, or a pattern with numbers."""
    if "data file" not in fields:
        return (file,)
    words = required_field(fields, file.name, "data file").split()
    if words[0] == "LIST":
        names = listed
    elif len(words) in (4, 5) and re.fullmatch(r"[^%]*%0?\d{0,2}d[^%]*", words[0]):
        first, last, step = (checked_whole_number(file.name, "data file", word) for word in words[1:4])
        if step == 0 or not 0 <= (last - first) // step < MOST_PARTS:
            raise damaged_file(file.name, "its pattern of files has no end")
        names = [words[0] % number for number in range(first, last + (1 if step > 0 else -1), step)]
    else:
        names = [fields["data file"]]
    return named_parts(file, names)


def named_parts(file: StoredFile, names: list[str]) -> tuple[StoredFile, ...]:
    """The files that a header names, which lie beside it or below.

    Raises:
        UnreadableVolume: when there are none, too many, or one is missing or lies elsewhere.
    """
    if not 1 <= len(names) <= MOST_PARTS:
        raise damaged_file(file.name, f"it names {len(names)} files of voxels")
    found = [file.beside(name.strip()) for name in names]
    if any(part is None for part in found):
        raise damaged_file(file.name, "the file with its voxels is missing")
    return tuple(part for part in found if part is not None)
