"""Read JSON text from elsewhere: what Python's ``json`` lets pass and no report can hold is refused in a sentence.

Python takes NaN, Infinity and 1e999, whole numbers of any length, a key twice, text that cannot be written again, and
any depth up to a crash of the caller. Each would become a wrong answer or a traceback far from where it came in.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from VertebralFractureLib.errors import RefusedContent

LARGEST_FILE_BYTES = 16_000_000
"""A corrected report of a whole spine holds three reports of 0.1 MB each."""
DEEPEST = 32
"""Levels of lists and objects; a corrected report has 8, Slicer's markups 7."""
MOST_VALUES = 2_000_000
LONGEST_TEXT = 100_000
LONGEST_NUMBER = 40
"""Characters of a written number; a double needs 24."""
_LARGEST_WHOLE = 2**53
"""Beyond it, two whole numbers can be one double."""
_SHOWN = 60


def read_text_file(path: Path, most_bytes: int = LARGEST_FILE_BYTES) -> str:
    """The text of a regular file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: when the file cannot be read.
        RefusedContent: when it is a pipe, a device or a folder, larger than ``most_bytes``, or no UTF-8.
    """
    # Opened without waiting: a named pipe that nobody writes to would hold the program for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RefusedContent(f"'{path.name}' is no regular file; copy its content into one.")
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise RefusedContent(f"'{path.name}' is larger than {most_bytes // 1_000_000} MB, which no such file is.")
    return decode_text(content, f"'{path.name}'")


def decode_text(content: bytes, name: str) -> str:
    """The text of UTF-8 bytes.

    Args:
        name: what the bytes are, for the sentence of the error.

    Raises:
        RefusedContent: when they are no UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedContent(f"{name} is no text in UTF-8 (byte {error.start}); save it as UTF-8.") from error


def parse_json(text: str, *, most_characters: int = LARGEST_FILE_BYTES) -> Any:
    """The value of JSON text: finite numbers, whole numbers that a double holds, each key once, at most 32 levels deep.

    Raises:
        RefusedContent: with a sentence that says what it holds, where, and what is allowed.
    """
    if len(text) > most_characters:
        raise RefusedContent(f"the text is longer than {most_characters:,} characters")
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_int=_whole, parse_float=_number
        )
    except json.JSONDecodeError as error:
        raise RefusedContent(f"it is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except RecursionError:
        raise RefusedContent(f"its lists and objects are nested more than {DEEPEST} levels deep") from None
    _check_depth_and_count(value)
    return value


def show_value(value: object) -> str:
    """A value as a sentence quotes it: short, on one line, printable."""
    if isinstance(value, dict):
        return f"an object with {len(value)} entries"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else "null"
    if isinstance(value, str):
        shown = ascii(value[:_SHOWN])
        return f"{shown[:-1]}...{shown[-1]}" if len(value) > _SHOWN else shown
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: "a, b or c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1) if len(keys) < 1000 else "one of many"
        raise RefusedContent(f"the key {show_value(twice)} stands twice in one object; leave the right one")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise RefusedContent(f"it holds {name}, which is no number of JSON; unknown is null")


def _whole(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER or abs(int(digits)) > _LARGEST_WHOLE:
        raise RefusedContent(f"the whole number {digits[:20]}... is too large; at most 2 to the power 53 is allowed")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits) if len(digits) <= LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise RefusedContent(f"the number {digits[:20]} is too large or too long for a double")
    return value


def _check_depth_and_count(value: Any) -> None:
    """Level by level and not by recursion, so that no depth can end the program."""
    level, count = [value], 0
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, str):
                _check_text(one)
            elif isinstance(one, dict):
                for key in one:
                    _check_text(key)
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
        count += len(level)
        if count > MOST_VALUES:
            raise RefusedContent(f"it holds more than {MOST_VALUES:,} values")
        if not below:
            return
        level = below
    raise RefusedContent(f"its lists and objects are nested more than {DEEPEST} levels deep")


def _check_text(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise RefusedContent(f"a text in it is longer than {LONGEST_TEXT:,} characters")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise RefusedContent("a text in it holds half of a character (a lone surrogate)") from None
