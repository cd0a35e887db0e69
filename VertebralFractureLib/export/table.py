"""One row per vertebra, cranial first as a radiologist reads, with the disclaimer and the versions in every row."""

from __future__ import annotations

import csv
import io

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.vertebrae.columns import VERTEBRA_COLUMNS

COLUMNS = (
    *(column.name for column in VERTEBRA_COLUMNS),
    *("scan_status", "input", "software_version", "disclaimer"),
)


def report_to_csv(report: SpineReport) -> str:
    """The report's vertebrae as CSV text; a scan that is not evaluable keeps one row that says so."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    common = {
        "scan_status": report.status,
        "input": report.input.name,
        "software_version": report.software.version,
        "disclaimer": RESEARCH_USE_ONLY,
    }
    for vertebra in reversed(report.vertebrae):
        cells = {column.name: column.cell(vertebra) for column in VERTEBRA_COLUMNS}
        rounded = {name: round(cell, 4) if isinstance(cell, float) else cell for name, cell in cells.items()}
        writer.writerow({**rounded, **common})
    if not report.vertebrae:
        writer.writerow({"status": report.status, "reason": report.reason, **common})
    return stream.getvalue()
