"""One row per vertebra, cranial first as a radiologist reads, with the disclaimer and the versions in every row.

A spreadsheet reads a CSV file as its country writes numbers: with commas between cells and 0.5, or with semicolons and
0,5. No file is right for both, so there are two styles; each is right where it is at home, and programs read the first
without being told anything. No cell is computed: what would begin like a formula gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.plain_text import no_formula, one_line
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.vertebrae.columns import VERTEBRA_COLUMNS

COLUMNS = (
    *(column.name for column in VERTEBRA_COLUMNS),
    *("scan_status", "input", "software_version", "disclaimer"),
)
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class TableStyle:
    """How a country's spreadsheets write a table: what stands between two cells, and before the decimals."""

    name: str
    separator: str
    decimal: str


COMMA = TableStyle("comma", ",", ".")
SEMICOLON = TableStyle("semicolon", ";", ",")
TABLE_STYLES = {style.name: style for style in (COMMA, SEMICOLON)}


def report_to_csv(report: SpineReport, style: TableStyle = COMMA) -> str:
    """The report's vertebrae as CSV text; a scan that is not evaluable keeps one row that says so."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n", delimiter=style.separator)
    writer.writeheader()
    common = {
        "scan_status": report.status,
        "input": report.input.name,
        "software_version": report.software.version,
        "disclaimer": RESEARCH_USE_ONLY,
    }
    rows = [
        {column.name: column.cell(vertebra) for column in VERTEBRA_COLUMNS} for vertebra in reversed(report.vertebrae)
    ]
    for row in rows or [{"status": report.status, "reason": report.reason}]:
        writer.writerow({name: _cell(value, style) for name, value in {**row, **common}.items()})
    return stream.getvalue()


def write_table(report: SpineReport, path: Path, style: TableStyle = COMMA) -> None:
    """Write ``report_to_csv`` into a file that spreadsheets and programs open right, and compare it.

    A byte order mark tells spreadsheets that the file is UTF-8; it is written where there is a letter to which that
    matters, because it is in the way of programs that do not expect it.

    Raises:
        OSError: when the file cannot be written.
    """
    text = report_to_csv(report, style)
    write_file(path, text if text.isascii() else _BYTE_ORDER_MARK + text)


def _cell(value: object, style: TableStyle) -> object:
    if isinstance(value, float):
        return str(round(value, 4)).replace(".", style.decimal)
    return no_formula(one_line(value)) if isinstance(value, str) else value
