"""What an image file says of its voxels, checked, and the voxels themselves: exactly as many as it says, or none.

Every format is parsed by ourselves, because the libraries that read them believe what a header says: a content that is
too short was filled up with whatever lay in memory, a spacing of zero became 1 mm, a long list of sizes ended in a
crash.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.types import ByteArray, FloatArray
from VertebralFractureLib.volume.compressed_stream import LARGEST_RATIO, read_plain_blocks, read_unpacked_blocks
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.memory_limit import require_memory
from VertebralFractureLib.volume.sitk_bridge import compact_hu, require_scalar_volume, require_valid_geometry
from VertebralFractureLib.volume.stored_file import StoredFile

_MOST_VOXELS = 1 << 31
"""Beyond the largest CTs that exist (2,000 slices of 1,024 x 1,024)."""
_MOST_AXES = 8
_MOST_TEXT_BYTES_PER_VOXEL = 32
_SKIPPED_BYTES = 1 << 20


class Encoding(Enum):
    """How the voxels are written."""

    RAW = "as they are"
    DEFLATE = "gzip or zlib"
    GZIP_FILE = "the whole file with its header in gzip"
    TEXT = "decimal numbers"


@dataclass(frozen=True)
class ImageHeader:
    """Where the voxels of a checked scalar 3D image are, and what they mean.

    Attributes:
        file: the header's own file.
        size_ijk: voxels along i, j and k.
        voxel_type: with the byte order of the file.
        ijk_to_ras: 4x4, to RAS mm.
        parts: the files that hold the voxels, one after the other, each the same share of whole slices.
        offset_bytes: where they begin in each (unpacked, where the whole file is gzip); None when they are what the
            file ends with.
        slope: to Hounsfield units; 1 where the file says nothing.
        intercept: Hounsfield units; 0 where the file says nothing.
    """

    file: StoredFile
    size_ijk: tuple[int, int, int]
    voxel_type: np.dtype[np.generic]
    ijk_to_ras: FloatArray
    parts: tuple[StoredFile, ...]
    offset_bytes: int | None = 0
    encoding: Encoding = Encoding.RAW
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Bytes of the voxels, unpacked."""
        return math.prod(self.size_ijk) * self.voxel_type.itemsize


def damaged_file(name: str, why: str) -> UnreadableVolume:
    """The refusal of a file whose content and header cannot both be true.

    Args:
        why: completes "because ...".
    """
    return UnreadableVolume(
        f"'{name}' is damaged, cut off, or not what its ending says: {why}; copy or export the file again."
    )


def checked_size(name: str, sizes: Sequence[int], components: int = 1) -> tuple[int, int, int]:
    """The sizes along i, j, k of an image that is scalar and 3D, or 4D with one time point.

    Raises:
        UnreadableVolume: when it is anything else, or larger than any CT.
    """
    if not 1 <= len(sizes) <= _MOST_AXES or min(sizes) < 1:
        raise damaged_file(name, "its sizes are no sizes of an image")
    kept = list(sizes)
    while len(kept) > 3 and kept[-1] == 1:
        kept.pop()
    require_scalar_volume([*kept[:3], *([math.prod(kept[3:])] if len(kept) > 3 else [])], components)
    i, j, k = kept[:3]
    if i * j * k > _MOST_VOXELS:
        raise UnreadableVolume(
            f"'{name}' says that it holds {i} x {j} x {k} voxels, more than any CT; check where it comes from."
        )
    return i, j, k


def checked_numbers(name: str, what: str, words: Sequence[str], count: int) -> FloatArray:
    """So many finite numbers.

    Raises:
        UnreadableVolume: for any other count, and for what is no finite number.
    """
    try:
        values = np.array([float(word) for word in words], dtype=np.float64)
    except ValueError:
        values = np.array([math.nan])
    if values.size != count or not np.all(np.isfinite(values)):
        raise damaged_file(name, f"its {what} is not {count} finite numbers")
    return values


def checked_whole_number(name: str, what: str, word: str) -> int:
    """A whole number of at most 18 digits.

    Raises:
        UnreadableVolume: for anything else.
    """
    digits = word.strip().removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise damaged_file(name, f"its {what} is not a whole number")
    return int(word)


def required_field(fields: Mapping[str, str], name: str, key: str) -> str:
    """What the header says of ``key``.

    Raises:
        UnreadableVolume: when it says nothing.
    """
    if not fields.get(key):
        raise damaged_file(name, f"its header has no field '{key}'")
    return fields[key]


def read_sizes(fields: Mapping[str, str], name: str, dimension: str, sizes: str) -> tuple[int, ...]:
    """The voxels along each axis, the fastest first, by the header's names of the two fields that say it.

    Raises:
        UnreadableVolume: when one is missing, holds no whole numbers, or they contradict each other.
    """
    axes = checked_whole_number(name, dimension, required_field(fields, name, dimension))
    words = required_field(fields, name, sizes).split()[: 2 * _MOST_AXES + 1]
    found = tuple(checked_whole_number(name, sizes, word) for word in words)
    if len(found) != axes:
        raise damaged_file(name, f"it has {axes} axes and {len(found)} sizes")
    return found


def checked_spacing(name: str, spacing: FloatArray) -> FloatArray:
    """Distances between voxels, each above 0 mm.

    Raises:
        UnreadableVolume: when one is zero, negative or not finite; nothing is put in its place.
    """
    if not np.all(np.isfinite(spacing)) or np.any(spacing <= 0.0):
        shown = " x ".join(f"{value:g}" for value in spacing)
        raise UnreadableVolume(
            f"'{name}' gives a distance between its voxels of {shown} mm, which is no distance; "
            "export the series again with its geometry."
        )
    return spacing


def checked_scale(name: str, slope: float, intercept: float) -> tuple[float, float]:
    """A slope above 0 and an intercept to Hounsfield units.

    Raises:
        UnreadableVolume: for any other slope, with which the values mean nothing.
    """
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope <= 0.0:
        raise UnreadableVolume(
            f"'{name}' gives a slope of {slope:g} and an intercept of {intercept:g} for its values, with which they "
            "are no Hounsfield units; export the series again."
        )
    return slope, intercept


def read_image(header: ImageHeader) -> CTVolume:
    """The voxels of the file as Hounsfield units.

    Raises:
        UnreadableVolume: when the content is not exactly what the header says, needs more memory than is free, or
            changes while it is read.
        OSError: when a file cannot be read.
    """
    name = header.file.name
    count = math.prod(header.size_ijk)
    matrix = require_valid_geometry(header.ijk_to_ras)
    is_integer = np.issubdtype(header.voxel_type, np.integer)
    is_plain = header.slope == 1.0 and header.intercept == 0.0
    converted = 0 if is_plain and header.voxel_type in (np.int16, np.float32) else 2 if is_plain and is_integer else 4
    before = [part.size_bytes for part in header.parts]
    _require_content(header, before)
    require_memory(name, header.size_bytes + converted * count)
    try:
        content = _read_text(header) if header.encoding is Encoding.TEXT else _read_bytes(header)
    except (EOFError, zlib.error) as error:
        raise damaged_file(name, "its compressed voxels are cut off or wrong") from error
    if [part.size_bytes for part in header.parts] != before:
        raise UnreadableVolume(f"'{name}' was changed while it was read; wait until it is complete and try again.")
    i, j, k = header.size_ijk
    values = content.view(header.voxel_type).reshape(k, j, i)
    return CTVolume(_scaled(values, header.slope, header.intercept), matrix)


def _require_content(header: ImageHeader, sizes: Sequence[int]) -> None:
    """Compare the lengths of the files with what the header says, before memory is taken."""
    name, needed = header.file.name, header.size_bytes
    if not header.parts or header.size_ijk[2] % len(header.parts):
        raise damaged_file(name, f"its {header.size_ijk[2]} slices do not divide into {len(header.parts)} files")
    share = needed // len(header.parts)
    packed = header.encoding in (Encoding.DEFLATE, Encoding.GZIP_FILE)
    for size in sizes:
        held = size if header.encoding is Encoding.GZIP_FILE else max(0, size - (header.offset_bytes or 0))
        if header.encoding is Encoding.RAW and held < share:
            raise damaged_file(name, f"it should hold {share} bytes of voxels and holds {held}")
        if packed and held * LARGEST_RATIO < share:
            raise damaged_file(name, f"{held} compressed bytes cannot hold {share} bytes of voxels")
        if header.encoding is Encoding.TEXT and held > _MOST_TEXT_BYTES_PER_VOXEL * math.prod(header.size_ijk):
            raise damaged_file(name, "it holds more numbers than its header says")


def _read_bytes(header: ImageHeader) -> ByteArray:
    """Exactly the bytes of the voxels; a surplus that is no plane of voxels (padding, a line end) is left.

    Raises:
        EOFError, zlib.error: when they are cut off or wrong.
        UnreadableVolume: when there are more than the header says.
    """
    content = np.empty(header.size_bytes, dtype=np.uint8)
    share = content.size // len(header.parts)
    # A header with a plane too few along an axis looks whole, but every row is shifted against the next.
    plane_bytes = content.size // max(header.size_ijk)
    for number, part in enumerate(header.parts):
        target = content[number * share : (number + 1) * share]
        filled = 0
        for block in _blocks(header, part, share):
            # Compressed blocks are read on to the end even when there is enough: the checksum stands there.
            piece = np.frombuffer(block, dtype=np.uint8)
            taken = piece[: max(0, target.size - filled)]
            target[filled : filled + taken.size] = taken
            filled += piece.size
            if filled - target.size >= plane_bytes:
                raise damaged_file(header.file.name, "it holds more voxels than its header says")
        if filled < target.size:
            raise EOFError
    return content


def _blocks(header: ImageHeader, part: StoredFile, share: int) -> Iterator[bytes]:
    """The content from the first voxel on."""
    skipped = part.size_bytes - share if header.offset_bytes is None else header.offset_bytes
    with part.open() as reader:
        if header.encoding is Encoding.GZIP_FILE:
            blocks = read_unpacked_blocks(reader)
        else:
            # Read, not sought: what is unpacked from an archive on the way may not be able to seek.
            while skipped > 0 and (block := reader.read(min(skipped, _SKIPPED_BYTES))):
                skipped -= len(block)
            blocks = read_unpacked_blocks(reader) if header.encoding is Encoding.DEFLATE else read_plain_blocks(reader)
        for block in blocks:
            if skipped < len(block):
                yield block[skipped:]
            skipped = max(0, skipped - len(block))


def _read_text(header: ImageHeader) -> ByteArray:
    numbers: list[str] = []
    for part in header.parts:
        numbers.extend(b"".join(_blocks(header, part, 0)).decode("ascii", "replace").split())
    count = math.prod(header.size_ijk)
    values = checked_numbers(header.file.name, "list of voxels", numbers, count)
    if np.issubdtype(header.voxel_type, np.integer):
        limits = np.iinfo(str(header.voxel_type))
        if np.any(values != np.round(values)) or values.min() < limits.min or values.max() > limits.max:
            raise damaged_file(header.file.name, "its voxels are not of the type that its header says")
    with np.errstate(over="ignore"):
        return values.astype(header.voxel_type).view(np.uint8)


def _scaled(values: NDArray[np.generic], slope: float, intercept: float) -> NDArray[np.generic]:
    if slope == 1.0 and intercept == 0.0:
        # The buffer belongs to nobody else: voxels that are right already need no copy.
        with np.errstate(over="ignore", invalid="ignore"):
            return values if values.dtype in (np.int16, np.float32) else compact_hu(values)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values.astype(np.float32)
        scaled *= np.float32(slope)
        scaled += np.float32(intercept)
    return scaled
