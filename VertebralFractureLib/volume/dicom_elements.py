"""Walk through the data elements of a DICOM file, for what SimpleITK does not show: nested sequences.

Values are not decoded here: an ``Element`` says where its value lies. Only little-endian files that are not deflated
are understood; nearly all are (DICOM PS3.5, chapters 7 and 10).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from VertebralFractureLib.errors import UnreadableVolume

PIXEL_DATA = 0x7FE00010
_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_TYPES = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_EXPLICIT, _IMPLICIT = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2"
_BIG_ENDIAN, _DEFLATED = b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
_DEEPEST = 24
"""Sequences in sequences: more than any standard object has, and far from the interpreter's limit."""

Content = bytes | mmap.mmap


class NoDataSet(ValueError):
    """The bytes are no little-endian DICOM data set, or end too early.

    Attributes:
        is_other_order: a data set that is big-endian or deflated, which is not understood here and may be whole.
    """

    def __init__(self, is_other_order: bool = False) -> None:
        super().__init__()
        self.is_other_order = is_other_order


class NestedTooDeep(NoDataSet):
    """Sequences lie in sequences as no standard object has them; libraries run out of stack on them."""


@dataclass(frozen=True)
class Element:
    """One data element: its value lies at ``content[start:end]``."""

    tag: int
    kind: bytes
    start: int
    end: int
    undefined_length: bool = False


@contextmanager
def open_content(path: Path) -> Iterator[mmap.mmap]:
    """The bytes of a file, mapped and not read.

    Raises:
        UnreadableVolume: when the file is empty.
        OSError: when it cannot be read.
    """
    with path.open("rb") as reader:
        try:
            content = mmap.mmap(reader.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise UnreadableVolume(f"'{path.name}' is an empty file; copy or export it again.") from error
        with content:
            yield content


def read_top_level(content: Content) -> tuple[dict[int, Element], bool]:
    """The elements of the first group and of the data set up to its pixels, by tag.

    Returns:
        The elements, and whether the data set names its types (explicit VR).

    Raises:
        NoDataSet: when there is none in little-endian order, or it is damaged.
    """
    elements: dict[int, Element] = {}
    start, explicit = 0, True
    if content[128:132] == b"DICM":
        start = 132
        while content[start : start + 2] == b"\x02\x00":
            element = _element_at(content, start, len(content), True, 0)
            elements[element.tag] = element
            start = element.end
        syntax = value_of(content, elements.get(0x00020010)).strip(b"\0 ")
        if syntax in (_BIG_ENDIAN, _DEFLATED):
            raise NoDataSet(is_other_order=True)
        explicit = syntax != _IMPLICIT
    else:
        explicit = content[4:6].isalpha() and content[4:6].isupper()
    for element in _walk(content, start, len(content), explicit, 0):
        if element.tag <= PIXEL_DATA:
            elements[element.tag] = element
        if element.tag >= PIXEL_DATA:
            break
    return elements, explicit


def item_ends(content: Content, pixels: Element) -> list[int]:
    """Where each part of compressed pixels ends; the first one is a table of offsets, which may be empty.

    Raises:
        NoDataSet: when there is none, or the last one is cut off.
    """
    ends = [stop for _, stop in _item_ranges(content, pixels.start, len(content), True, 1)]
    if len(ends) < 2:
        raise NoDataSet
    return ends


def read_items(content: Content, sequence: Element | None, explicit: bool) -> list[dict[int, Element]]:
    """The items of a sequence, each as its elements by tag; none where there is no such sequence.

    Raises:
        NoDataSet: when the sequence is damaged.
    """
    if sequence is None:
        return []
    explicit = explicit and sequence.kind != b"UN"
    return [
        {element.tag: element for element in _walk(content, start, end, explicit, 1)}
        for start, end in _item_ranges(content, sequence.start, sequence.end, explicit, 1)
    ]


def require_shallow(content: Content, elements: Iterable[Element], explicit: bool, depth: int = 0) -> None:
    """Look into all sequences, whatever they are, for how deep they lie in each other.

    Raises:
        NestedTooDeep: where that is deeper than any standard object has it.
    """
    if depth > _DEEPEST:
        raise NestedTooDeep
    for element in elements:
        if element.tag == PIXEL_DATA or content[element.start : element.start + 4] != b"\xfe\xff\x00\xe0":
            continue
        inside = explicit and element.kind != b"UN"
        try:
            for start, end in _item_ranges(content, element.start, element.end, inside, depth + 1):
                require_shallow(content, _walk(content, start, end, inside, depth + 1), inside, depth + 1)
        except NestedTooDeep:
            raise
        except NoDataSet:
            # A maker's own sequence may be anything, and bytes may begin like one by chance.
            continue


def value_of(content: Content, element: Element | None) -> bytes:
    """The bytes of the element's value; none where there is no element."""
    return b"" if element is None else content[element.start : element.end]


def text_of(content: Content, elements: Mapping[int, Element], tag: int) -> str:
    """The value of an element of text without its padding."""
    return value_of(content, elements.get(tag)).decode("latin-1").replace("\0", "").strip()


def _walk(content: Content, start: int, end: int, explicit: bool, depth: int) -> Iterator[Element]:
    while start + 8 <= end:
        element = _element_at(content, start, end, explicit, depth)
        if element.tag in (_END_OF_ITEM, _END_OF_SEQUENCE):
            return
        yield element
        start = element.end + 8 if element.undefined_length else element.end


def _element_at(content: Content, start: int, end: int, explicit: bool, depth: int) -> Element:
    tag = _number(content, start, 2) << 16 | _number(content, start + 2, 2)
    kind, at = b"", start + 8
    length = _number(content, start + 4, 4)
    if explicit and tag >> 16 != 0xFFFE:
        kind = content[start + 4 : start + 6]
        if not (kind.isalpha() and kind.isupper()):
            raise NoDataSet
        if kind in _LONG_TYPES:
            length, at = _number(content, start + 8, 4), start + 12
        else:
            length = _number(content, start + 6, 2)
    if length == _UNDEFINED:
        if tag == PIXEL_DATA and depth == 0:
            return Element(tag, kind, at, end, True)
        inside = explicit and kind != b"UN"
        return Element(tag, kind, at, _end_of_items(content, at, end, inside, depth + 1), True)
    if at + length > end:
        if tag == PIXEL_DATA and depth == 0:
            return Element(tag, kind, at, end)
        raise NoDataSet
    return Element(tag, kind, at, at + length)


def _item_ranges(content: Content, start: int, end: int, explicit: bool, depth: int) -> Iterator[tuple[int, int]]:
    """Where the content of each item of a sequence lies."""
    while start + 8 <= end:
        tag = _number(content, start, 2) << 16 | _number(content, start + 2, 2)
        if tag == _END_OF_SEQUENCE:
            return
        if tag != _ITEM:
            raise NoDataSet
        length, start = _number(content, start + 4, 4), start + 8
        if length == _UNDEFINED:
            stop = _end_of_elements(content, start, end, explicit, depth)
            yield start, stop
            start = stop + 8
        else:
            if start + length > end:
                raise NoDataSet
            yield start, start + length
            start += length


def _end_of_items(content: Content, start: int, end: int, explicit: bool, depth: int) -> int:
    """Where the delimiter of a sequence of undefined length lies."""
    if depth > _DEEPEST:
        raise NestedTooDeep
    for _, stop in _item_ranges(content, start, end, explicit, depth):
        start = stop
    # The last item of undefined length has a delimiter of its own.
    if _number(content, start, 2) << 16 | _number(content, start + 2, 2) == _END_OF_ITEM:
        start += 8
    if _number(content, start, 2) << 16 | _number(content, start + 2, 2) != _END_OF_SEQUENCE:
        raise NoDataSet
    return start


def _end_of_elements(content: Content, start: int, end: int, explicit: bool, depth: int) -> int:
    """Where the delimiter of an item of undefined length lies."""
    if depth > _DEEPEST:
        raise NestedTooDeep
    while start + 8 <= end:
        if _number(content, start, 2) << 16 | _number(content, start + 2, 2) == _END_OF_ITEM:
            return start
        element = _element_at(content, start, end, explicit, depth)
        start = element.end + 8 if element.undefined_length else element.end
    raise NoDataSet


def _number(content: Content, start: int, size: int) -> int:
    part = content[start : start + size]
    if len(part) < size:
        raise NoDataSet
    return int.from_bytes(part, "little")
