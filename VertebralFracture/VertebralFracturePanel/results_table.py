"""The report as rows of a ``QTableWidget``, cranial first; each grade is a word and a color.

The table only shows: the truth stays in the scene's nodes, from which the report was read.
"""

from __future__ import annotations

from typing import Any

import qt

from VertebralFractureLib.report import ReportedVertebra, SpineReport, is_suspected
from VertebralFractureLib.report.palette import group_of

COLUMNS = ("Level", "Probability", "Grade", "Shape", "Height loss", "Status")
_NONE = "–"


def tableRow(vertebra: ReportedVertebra, threshold: float) -> tuple[str, ...]:
    """The words of one row, in the order of ``COLUMNS``."""
    status = vertebra.status.replace("_", " ")
    if is_suspected(vertebra, threshold):
        status = "fracture suspected"
    elif vertebra.reason:
        status = f"{status}: {vertebra.reason}"
    grade = _NONE
    if vertebra.grade is not None:
        grade = f"{vertebra.grade}{' (borderline)' if vertebra.borderline else ''}"
    return (
        vertebra.label,
        _NONE if vertebra.fracture_probability is None else f"{vertebra.fracture_probability:.2f}",
        grade,
        vertebra.shape or _NONE,
        _NONE if vertebra.height_loss is None else f"{vertebra.height_loss:.0%}",
        status,
    )


def showReport(table: Any, report: SpineReport | None) -> None:
    """Fill ``table`` (``QTableWidget``) with ``report``, or empty it."""
    vertebrae = [] if report is None else list(reversed(report.vertebrae))
    table.setRowCount(len(vertebrae))
    table.setColumnCount(len(COLUMNS))
    table.setHorizontalHeaderLabels(list(COLUMNS))
    for row, vertebra in enumerate(vertebrae):
        for column, words in enumerate(tableRow(vertebra, report.scan.decision_threshold)):
            table.setItem(row, column, _item(words, vertebra if column == COLUMNS.index("Grade") else None))
    table.resizeColumnsToContents()


def _item(words: str, colored: ReportedVertebra | None) -> Any:
    item = qt.QTableWidgetItem(words)
    item.setToolTip(words)
    item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
    if colored is not None:
        red, green, blue = (round(255 * share) for share in group_of(colored).color)
        isLight = 0.299 * red + 0.587 * green + 0.114 * blue > 140
        item.setBackground(qt.QBrush(qt.QColor(red, green, blue)))
        item.setForeground(qt.QBrush(qt.QColor(0, 0, 0) if isLight else qt.QColor(255, 255, 255)))
    return item
