"""Give GDCM a copy of a DICOM file that it reads right, where it reads the file itself wrong or not at all.

GDCM inverts MONOCHROME1, which in a CT concerns the display alone; it refuses classes that it does not know; and it
stops at a decimal comma. The copy differs from the file in these elements only, and lives as long as the block.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from VertebralFractureLib.private_folders import private_folder
from VertebralFractureLib.volume.dicom_elements import (
    Element,
    NoDataSet,
    open_content,
    read_top_level,
    value_of,
)

CT_CLASS, ENHANCED_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
CT_CLASSES = (CT_CLASS, ENHANCED_CT_CLASS, "1.2.840.10008.5.1.4.1.1.2.2")
"""With the legacy converted enhanced CT."""
KNOWN_CLASSES = (
    *CT_CLASSES,
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary capture, and its multi-frame kinds
    "1.2.840.10008.5.1.4.1.1.7.1",
    "1.2.840.10008.5.1.4.1.1.7.2",
    "1.2.840.10008.5.1.4.1.1.7.3",
    "1.2.840.10008.5.1.4.1.1.7.4",
)
"""Classes of which GDCM applies rescale slope and intercept."""
_CLASS_OF_FILE, _CLASS, _GROUP_LENGTH = 0x00020002, 0x00080016, 0x00020000
_PHOTOMETRIC, _FRAME_GROUPS = 0x00280004, 0x52009230
_DECIMALS = (0x00180050, 0x00200032, 0x00200037, 0x00280030, 0x00281052, 0x00281053)

_QUIET = threading.Lock()


@contextmanager
def mended_copy(path: Path) -> Iterator[Path | None]:
    """A temporary copy of the file that GDCM reads right; None where the file is no little-endian DICOM image.

    Raises:
        OSError: when the file cannot be read, or no temporary file written.
    """
    content = _mended(path)
    if content is None:
        yield None
        return
    with private_folder(Path(tempfile.gettempdir())) as folder:
        copy = Path(folder) / "mended.dcm"
        copy.write_bytes(content)
        yield copy


def _mended(path: Path) -> bytes | None:
    with open_content(path) as content:
        try:
            elements, explicit = read_top_level(content)
        except NoDataSet:
            return None
        if _CLASS not in elements or 0x00280010 not in elements:
            return None
        changes: list[tuple[Element, bytes]] = []
        sop_class = value_of(content, elements[_CLASS]).strip(b"\0 ").decode("latin-1")
        if sop_class not in KNOWN_CLASSES:
            known = ENHANCED_CT_CLASS if _FRAME_GROUPS in elements else CT_CLASS
            both = (elements[tag] for tag in (_CLASS_OF_FILE, _CLASS) if tag in elements)
            changes.extend((element, _even(known.encode(), b"\0")) for element in both)
        photometric = elements.get(_PHOTOMETRIC)
        if photometric is not None and value_of(content, photometric).strip(b"\0 ") == b"MONOCHROME1":
            changes.append((photometric, _even(b"MONOCHROME2", b" ")))
        for tag in _DECIMALS:
            if b"," in (value := value_of(content, elements.get(tag))):
                changes.append((elements[tag], value.replace(b",", b".")))
        if _GROUP_LENGTH in elements and _CLASS_OF_FILE in elements:
            grown = sum(len(value) - (e.end - e.start) for e, value in changes if e.tag == _CLASS_OF_FILE)
            length = elements[_GROUP_LENGTH]
            number = int.from_bytes(value_of(content, length), "little") + grown
            changes.append((length, number.to_bytes(4, "little")))
        parts, done = [], 0
        for element, value in sorted(changes, key=lambda change: change[0].start):
            # The length stands in the two bytes before the value, or in four where types are not named.
            size = 2 if (explicit or element.tag >> 16 == 2) else 4
            parts += [content[done : element.start - size], len(value).to_bytes(size, "little"), value]
            done = element.end
        return b"".join([*parts, content[done:]])


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding * (len(value) % 2)


@contextmanager
def silent_library() -> Iterator[None]:
    """Keep what libraries write to standard error from the user, such as a line for every 12-bit JPEG image."""
    with _QUIET:
        try:
            kept = os.dup(2)
        except OSError:  # A program without a console may have closed it.
            yield
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
