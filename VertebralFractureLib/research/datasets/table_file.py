"""Rows of a CSV that somebody else wrote: UTF-8, each column once, every row as long as its header.

Commas or, as spreadsheets of many countries write them, semicolons between the cells.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from VertebralFractureLib.checked_json import read_text_file, show_value
from VertebralFractureLib.errors import RefusedContent

_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How files of Excel and OpenDocument begin (a zip archive), and those of Excel before 2007."""


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV by column, without those that are empty.

    Raises:
        OSError: when the file cannot be read.
        RefusedContent: a ``ValueError``, when it is no such table; the sentence names the row, counted from 1 below the
            header.
    """
    _refuse_spreadsheet(path)
    text = read_text_file(path)
    first = text.split("\n", 1)[0]
    delimiter = ";" if ";" in first and "," not in first else ","
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if line]
    except csv.Error as error:
        raise RefusedContent(f"The table '{path.name}' is no CSV: {error}.") from error
    if not lines:
        return []
    header, *rows = lines
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise RefusedContent(f"The table '{path.name}' has the column {show_value(twice)} twice; leave the right one.")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise RefusedContent(
                f"The table '{path.name}', row {number}, has {len(row)} cells; the header has {len(header)} columns."
            )
    return [dict(zip(header, row, strict=True)) for row in rows]


def _refuse_spreadsheet(path: Path) -> None:
    """Check by its first bytes that the file is no Excel or OpenDocument table.

    Raises:
        OSError: when the file cannot be read.
        RefusedContent: otherwise.
    """
    if not path.is_file():
        return
    with path.open("rb") as stream:
        if stream.read(4) in _SPREADSHEETS:
            raise RefusedContent(f"'{path.name}' is a spreadsheet; save its sheet as CSV (UTF-8) and give that file.")
