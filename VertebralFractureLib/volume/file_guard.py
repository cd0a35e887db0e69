"""What keeps a file from hurting the process that reads it with a library: a look at its structure, time and memory.

Time and memory are limited in the process of ``separate_reader`` alone; elsewhere only the structure is looked at.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from VertebralFractureLib.volume.dicom_elements import (
    PIXEL_DATA,
    Content,
    Element,
    NestedTooDeep,
    NoDataSet,
    item_ends,
    open_content,
    read_top_level,
    require_shallow,
    value_of,
)

FILE_LIMIT_S = 60.0
"""So long a library may take for one file of any size; a larger one gets the time of a slow disk besides."""
_SLOWEST_BYTES_PER_S = 1_000_000
SPARE_BYTES = 1 << 30
"""Memory that a library may take beyond what the headers say."""
_JPEG = b"1.2.840.10008.1.2.4."
_ROWS, _COLUMNS, _SAMPLES, _FRAMES, _BITS = 0x00280010, 0x00280011, 0x00280002, 0x00280008, 0x00280100


@dataclass
class _Limits:
    """``log``: where the watch writes what hung, open as long as this process; None where nothing is limited."""

    log: BinaryIO | None = None


_limits = _Limits()


def limit_this_process(log: BinaryIO) -> None:
    """From here on each file has a time limit, after which the process ends itself, and memory is limited."""
    _limits.log = log
    watch(FILE_LIMIT_S)
    allow_memory(0)


def watch(seconds: float) -> None:
    """End this process in so many seconds, unless it is called again; a thread of C does, so no library prevents it."""
    if _limits.log is not None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=_limits.log)


def allow_memory(needed_bytes: int) -> None:
    """Let this process take so much memory more than now, and what a library needs to work; where the system can."""
    if _limits.log is None or sys.platform == "win32":
        return
    import resource

    # macOS knows no such limit, and says so in different ways.
    with suppress(OSError, ValueError):
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = taken + needed_bytes + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def is_damaged_dicom(path: Path) -> bool:
    """Whether a DICOM file is cut off, contradicts itself or is nested without end; False where it is no DICOM file.

    A big-endian or deflated data set is not looked into. Starts the file's time.

    Raises:
        UnreadableVolume: when the file is empty.
        OSError: when it cannot be read.
    """
    watch(FILE_LIMIT_S + path.stat().st_size / _SLOWEST_BYTES_PER_S)
    with open_content(path) as content:
        is_marked = content[128:132] == b"DICM"
        try:
            elements, explicit = read_top_level(content)
            require_shallow(content, elements.values(), explicit)
        except NestedTooDeep:
            return True
        except NoDataSet as reason:
            return is_marked and not reason.is_other_order
        pixels = elements.get(PIXEL_DATA)
        if pixels is None:
            return False
        syntax = value_of(content, elements.get(0x00020010)).strip(b"\0 ")
        if pixels.undefined_length:
            return _fragments_end_early(content, pixels, syntax)
        return _is_other_length(content, elements, pixels)


def holds_dicom_image(path: Path) -> bool:
    """Whether a marked DICOM file has pixels, which a library that reads nothing of it should have found.

    Raises:
        UnreadableVolume: when the file is empty.
        OSError: when it cannot be read.
    """
    with open_content(path) as content:
        try:
            return content[128:132] == b"DICM" and PIXEL_DATA in read_top_level(content)[0]
        except NoDataSet:
            return False


def _is_other_length(content: Content, elements: dict[int, Element], pixels: Element) -> bool:
    """Whether the pixels are fewer than the header says, or at least a row or a column more."""
    rows, columns, bits = (_number(content, elements.get(tag)) for tag in (_ROWS, _COLUMNS, _BITS))
    samples = _number(content, elements.get(_SAMPLES)) or 1
    frames = value_of(content, elements.get(_FRAMES)).strip(b"\0 ")
    if bits not in (8, 16, 32) or not rows or not columns:
        return False
    row = columns * samples * bits // 8
    expected = row * rows * (int(frames) if frames.isdigit() and len(frames) < 10 else 1)
    # A file whose header says a row or a column too few looks whole, but every row is shifted against the next.
    return not expected <= pixels.end - pixels.start < expected + max(2, min(row, row // columns * rows))


def _fragments_end_early(content: Content, pixels: Element, syntax: bytes) -> bool:
    """Whether a compressed image's parts are not all there, or its last one is no whole JPEG where it should be."""
    try:
        ends = item_ends(content, pixels)
    except NoDataSet:
        return True
    number = syntax.removeprefix(_JPEG)
    if number == syntax or len(number) != 2:
        # No JPEG: RLE, whose decoder compares lengths, or a kind of video that no CT is.
        return False
    return not content[max(pixels.start, ends[-1] - 64) : ends[-1]].rstrip(b"\0").endswith(b"\xff\xd9")


def _number(content: Content, element: Element | None) -> int:
    return int.from_bytes(value_of(content, element)[:2], "little")
