"""Make frozen dataclasses from plain values that come from elsewhere, by the types and the metadata of their fields.

Ranges, forms and counts stand in the fields' metadata (``vertebrae.vertebra.about``), where the JSON Schema takes them
from too. Nothing is converted that could hide a mistake: a number in quotes is no number, and true is none either.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from VertebralFractureLib.checked_json import listed, show_value
from VertebralFractureLib.errors import RefusedContent

LONGEST_TEXT = 10_000
"""Characters of a text whose field says nothing else."""
MOST_ENTRIES = 1_000
"""Items of a list, or entries of an object, whose field says nothing else."""
_Record = TypeVar("_Record")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_COUNTS = ("count", "up_to")


class _Misfit(Exception):
    """A value that does not fit; where it stands is put together on the way out."""

    def __init__(self, words: str, allowed: str = "") -> None:
        super().__init__(words)
        self.words, self.allowed = words, allowed
        self.path: list[str] = []

    def inside(self, name: str) -> _Misfit:
        self.path.insert(0, name)
        return self

    def or_null(self) -> _Misfit:
        """``null`` is allowed as well, where it is the value itself that does not fit and not a part of it."""
        if self.allowed and not self.path:
            self.allowed += ", or null"
        return self

    def __str__(self) -> str:
        words = f"{self.words}; allowed is {self.allowed}" if self.allowed else self.words
        return ", ".join([*self.path, words])


def record_from_content(record: type[_Record], content: Any) -> _Record:
    """A frozen dataclass from the plain values that ``asdict`` and JSON make of it.

    A text keeps line breaks and tabs; other control characters, which neither a scene nor a terminal may get, become
    spaces.

    Raises:
        RefusedContent: when a field is missing or unknown, or holds what its type or its metadata does not allow; the
            sentence names the row, the field, what it holds and what is allowed.
    """
    try:
        return typing.cast(_Record, _record(record, content))
    except _Misfit as misfit:
        raise RefusedContent(str(misfit)) from None


def value_from_content(hint: Any, content: Any, name: str, metadata: Mapping[str, Any] | None = None) -> Any:
    """One value as a field of type ``hint`` with this metadata would be read.

    Raises:
        RefusedContent: as ``record_from_content``; ``name`` is what the value is called.
    """
    try:
        return _value(hint, content, metadata or {})
    except _Misfit as misfit:
        raise RefusedContent(str(misfit.inside(f"'{name}'"))) from None


def _record(record: Any, content: Any) -> Any:
    if not isinstance(content, Mapping):
        raise _not(content, f"an object with the fields of a {record.__name__}")
    known = _fields(record)
    unknown = sorted(set(map(str, content)) - set(known))
    if unknown:
        raise _Misfit(f"there is no field {show_value(unknown[0])}; it has {listed(list(known))}")
    values = {}
    for name, (hint, metadata) in known.items():
        if name not in content:
            raise _Misfit(f"the field '{name}' is missing; what is unknown is null")
        try:
            values[name] = _value(hint, content[name], metadata)
        except _Misfit as misfit:
            raise misfit.inside(f"'{name}'") from None
    return record(**values)


def _value(hint: Any, value: Any, metadata: Mapping[str, Any]) -> Any:
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        known = next(part for part in parts if part is not type(None))
        if value is None:
            return None
        try:
            return _value(known, value, metadata)
        except _Misfit as misfit:
            raise misfit.or_null() from None
    if kind is tuple:
        return _items(parts, value, metadata)
    if kind is not None and issubclass(kind, Mapping):
        return _entries(parts[1], value, metadata)
    if is_dataclass(hint):
        return _record(hint, value)
    if issubclass(hint, Enum):
        return _word(hint, value)
    if hint is bool:
        if not isinstance(value, bool):
            raise _not(value, "true or false")
        return value
    if hint is str:
        return _text(value, metadata)
    return _number(hint, value, metadata)


def _items(parts: Sequence[Any], value: Any, metadata: Mapping[str, Any]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _not(value, "a list")
    inner = {key: one for key, one in metadata.items() if key not in _COUNTS}
    is_open = len(parts) == 2 and parts[1] is Ellipsis
    count = metadata.get("count") if is_open else len(parts)
    if count is not None and len(value) != count:
        raise _not(value, f"a list of {count}")
    if len(value) > metadata.get("up_to", max(MOST_ENTRIES, count or 0)):
        raise _not(value, f"a list of at most {metadata.get('up_to', MOST_ENTRIES)}")
    hints = [parts[0]] * len(value) if is_open else parts
    result = []
    for index, (hint, item) in enumerate(zip(hints, value, strict=True)):
        try:
            result.append(_value(hint, item, inner))
        except _Misfit as misfit:
            raise misfit.inside(name_row(index, item)) from None
    return tuple(result)


def _entries(hint: Any, value: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _not(value, "an object")
    if len(value) > MOST_ENTRIES:
        raise _not(value, f"an object with at most {MOST_ENTRIES} entries")
    result = {}
    for key, item in value.items():
        try:
            result[_text(key, {})] = _value(hint, item, metadata)
        except _Misfit as misfit:
            raise misfit.inside(show_value(key)) from None
    return result


def _word(hint: type[Enum], value: Any) -> Enum:
    words = [str(member.value) for member in hint]
    if not isinstance(value, str) or value not in words:
        raise _not(value, listed([f"'{word}'" for word in words]))
    return hint(value)


def _text(value: Any, metadata: Mapping[str, Any]) -> str:
    if not isinstance(value, str):
        raise _not(value, "a text")
    longest = metadata.get("longest", LONGEST_TEXT)
    if len(value) > longest:
        raise _not(value, f"a text of at most {longest:,} characters")
    pattern = metadata.get("pattern")
    if pattern is not None and re.fullmatch(pattern, value) is None:
        raise _not(value, metadata.get("form") or f"a text of the form {pattern}")
    return _UNPRINTABLE.sub(" ", value)


def _number(hint: Any, value: Any, metadata: Mapping[str, Any]) -> Any:
    least, most = metadata.get("least"), metadata.get("most")
    is_number = isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    inside = (
        is_number and math.isfinite(value) and (least is None or value >= least) and (most is None or value <= most)
    )
    if not inside:
        between = f" from {least:g} to {most:g}" if least is not None and most is not None else ""
        raise _not(value, f"a {'whole ' if hint is int else ''}number{between}")
    return hint(value)


def _not(value: Any, allowed: str) -> _Misfit:
    return _Misfit(f"it holds {show_value(value)}", allowed)


def name_row(index: int, item: Any) -> str:
    """A row as a sentence names it: by its number from 1 and its label, where it has one."""
    label = item.get("label") if isinstance(item, Mapping) else getattr(item, "label", None)
    named = isinstance(label, str) and label.isascii() and label.isalnum() and len(label) <= 8
    return f"row {index + 1} ({label})" if named else f"row {index + 1}"


@cache
def _fields(record: Any) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    hints = typing.get_type_hints(record)
    return {one.name: (hints[one.name], one.metadata) for one in fields(record)}
