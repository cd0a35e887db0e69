"""The vertebrae as rows of a ``QTableWidget``, cranial first; each grade is a word and a color.

The table only shows: the truth stays in the scene's nodes, from which the report was read.
"""

from __future__ import annotations

import qt

from VertebralFractureLib.export.palette import Color, group_of, probability_color
from VertebralFractureLib.result import SpineReport, is_suspected
from VertebralFractureLib.result.words import (
    STATUS_WORDS,
    describe_density,
    describe_doubts,
    describe_expected,
    describe_grade,
    describe_reason,
    describe_trabecular_reason,
)
from VertebralFractureLib.vertebrae.vertebra import Assessment, Status, Vertebra

COLUMNS = ("Level", "Probability", "Grade", "Heights", "Finding", "Reader")
HEADERS = ("Level", "Prob.", "Grade", "Heights", "Finding", "Reader")
NONE = "–"
_ASSESSMENT_WORDS = {
    Assessment.CONFIRMED: "agrees",
    Assessment.REJECTED: "no\nfracture",
    Assessment.NOT_EVALUABLE: "cannot\njudge",
}
_GRADE_WORDS = ("none", "mild", "moderate", "severe")
_WIDEST = ("T12", "0.00", "2 moderate", "loss 100%", None, "fracture")
"""The longest line of each column that does not break; the finding takes what is left."""
_WIDEST_WORD = "suspected;"
"""Of a finding, in bold type: a column that is narrower cuts words."""
_FITTING = "VertebralFractureIsFitting"
_CELL_MARGIN = 14
"""Pixels that Qt's styles leave beside the words of a cell, both sides together."""
_HEADER_TIPS = (
    "Level, or position from the lowest vertebra where it cannot be known.",
    "Probability of a fracture, 0 to 1.",
    "Genant grade 0 to 3 from networks and heights together, its range, and the shape.",
    "Anterior, middle and posterior height in mm, and the largest loss.",
    "What the model says, or why it says nothing.",
    "The reader's own assessment, kept apart from the model's answer.",
)


def tableRow(vertebra: Vertebra, threshold: float) -> tuple[str, ...]:
    """The words of one row, in the order of ``COLUMNS``."""
    return (
        vertebra.label,
        NONE if vertebra.fracture_probability is None else f"{vertebra.fracture_probability:.2f}",
        _gradeWords(vertebra),
        _heightWords(vertebra),
        _findingWords(vertebra, threshold),
        _readerWords(vertebra),
    )


def hoverText(vertebra: Vertebra, threshold: float) -> str:
    """Heights, and why it is shown as it is, for the tool tip of a row."""
    lines = [f"{vertebra.label}: {STATUS_WORDS[vertebra.status]}, {_findingWords(vertebra, threshold)}"]
    if vertebra.fracture_probability is not None:
        uncertainty = "" if vertebra.uncertainty is None else f" ± {vertebra.uncertainty:.2f}"
        lines.append(f"Probability {vertebra.fracture_probability:.2f}{uncertainty}; suspected from {threshold:.2f}")
    if vertebra.heights_mm is not None:
        heights = vertebra.heights_mm
        lines.append(
            f"Heights: anterior {heights.anterior:.1f}, middle {heights.middle:.1f}, "
            f"posterior {heights.posterior:.1f} mm"
            + ("" if vertebra.height_sd_mm is None else f", each ± {vertebra.height_sd_mm:.1f}")
        )
    if vertebra.expected_heights_mm is not None:
        lines.append(f"Expected from the rest of the spine: {describe_expected(vertebra.expected_heights_mm)} mm")
    if vertebra.grade is not None:
        words = f"Grade {describe_grade(vertebra)}, {_GRADE_WORDS[vertebra.grade]}"
        loss = "" if vertebra.height_loss is None else f", height loss {vertebra.height_loss:.0%}"
        if vertebra.height_loss_sd is not None:
            loss += f" ± {vertebra.height_loss_sd:.0%}"
        if vertebra.area_loss is not None:
            loss += f", area loss {vertebra.area_loss:.0%}"
        lines.append(words + (f", {vertebra.shape}" if vertebra.shape else "") + loss)
    if vertebra.network_probability is not None:
        heights_alone = "not known" if vertebra.morphometric_grade is None else f"grade {vertebra.morphometric_grade}"
        lines.append(f"Networks alone {vertebra.network_probability:.2f}; heights alone {heights_alone}")
    if vertebra.doubts:
        lines.append(f"In doubt: {describe_doubts(vertebra)}")
    if vertebra.level is not None:
        lines.append(f"Level labeled with probability {vertebra.level_probability:.2f}")
    if vertebra.trabecular_hu is not None:
        lines.append(f"Trabecular bone: {vertebra.trabecular_hu:.0f} HU")
    elif vertebra.trabecular_reason is not None:
        lines.append(f"Trabecular bone: no HU, {describe_trabecular_reason(vertebra)}")
    if vertebra.model is not None:
        lines.append(f"The model's own answer: {vertebra.model.label}, {_modelWords(vertebra.model)}")
    if vertebra.reader.who or vertebra.reader.when:
        lines.append(f"Judged by {vertebra.reader.who or 'a reader'} {vertebra.reader.when or ''}".rstrip())
    if vertebra.reader.comment:
        lines.append(f"Reader: {vertebra.reader.comment}")
    return "\n".join(lines)


def setUpTable(table: qt.QTableWidget) -> None:
    """Columns, headers and widths; the finding takes the space that is left."""
    table.setColumnCount(len(COLUMNS))
    table.setHorizontalHeaderLabels(list(HEADERS))
    header = table.horizontalHeader()
    header.setDefaultAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)
    header.setMinimumSectionSize(30)
    header.setHighlightSections(False)
    for column, tip in enumerate(_HEADER_TIPS):
        table.horizontalHeaderItem(column).setToolTip(tip)
    _fitColumns(table)
    # With the panel the table becomes wider and narrower, and the columns with it.
    header.sectionResized.connect(lambda *_: _fitColumns(table))
    table.horizontalScrollBar().rangeChanged.connect(lambda *_: _fitColumns(table))


def _fitColumns(table: qt.QTableWidget) -> None:
    """Columns as wide as their longest line in the font of now, which the user can change while Slicer runs.

    Where no room is left for the words of the finding, the heights go, which the tool tip of each row tells too; where
    that is not enough, the table scrolls sideways.
    """
    if table.property(_FITTING):
        return  # The columns that are set here say so too.
    header = table.horizontalHeader()
    metrics, bold = table.fontMetrics(), table.font()
    bold.setBold(True)
    finding, heights = COLUMNS.index("Finding"), COLUMNS.index("Heights")
    needed = qt.QFontMetrics(bold).horizontalAdvance(_WIDEST_WORD) + _CELL_MARGIN
    widths = [
        0 if widest is None else max(metrics.horizontalAdvance(words) for words in (widest, title)) + _CELL_MARGIN
        for widest, title in zip(_WIDEST, HEADERS, strict=True)
    ]
    hidden = [COLUMNS.index("Reader")] if table.isColumnHidden(COLUMNS.index("Reader")) else []
    left = table.viewport().width() - sum(width for column, width in enumerate(widths) if column not in hidden)
    table.setProperty(_FITTING, True)
    table.setColumnHidden(heights, left < needed)
    left += widths[heights] if left < needed else 0
    header.setSectionResizeMode(finding, qt.QHeaderView.Fixed if left < needed else qt.QHeaderView.Stretch)
    widths[finding] = max(left, needed)
    for column, width in enumerate(widths):
        if table.columnWidth(column) != width and not table.isColumnHidden(column):
            table.setColumnWidth(column, width)
    table.setProperty(_FITTING, False)


def rowOf(report: SpineReport, index: int) -> int:
    """The row of vertebra ``index`` (caudal first), and the index of a row."""
    return len(report.vertebrae) - 1 - index


def showReport(table: qt.QTableWidget, report: SpineReport | None) -> None:
    """Fill ``table``, which was set up, with ``report``, or empty it."""
    vertebrae = [] if report is None else list(reversed(report.vertebrae))
    table.setRowCount(len(vertebrae))
    # Room for the finding, as long as no reader has said anything.
    table.setColumnHidden(COLUMNS.index("Reader"), all(_readerWords(vertebra) == NONE for vertebra in vertebrae))
    _fitColumns(table)
    for row, vertebra in enumerate(vertebrae):
        threshold = report.scan.decision_threshold
        tip = hoverText(vertebra, threshold)
        for column, words in enumerate(tableRow(vertebra, threshold)):
            item = qt.QTableWidgetItem(words)
            item.setToolTip(tip)
            item.setData(qt.Qt.AccessibleDescriptionRole, tip)
            item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
            table.setItem(row, column, item)
        _color(table.item(row, COLUMNS.index("Grade")), group_of(vertebra, threshold).color)
        if vertebra.fracture_probability is not None:
            column = COLUMNS.index("Probability")
            color = probability_color(vertebra.fracture_probability, threshold)
            width = vertebra.fracture_probability * table.columnWidth(column)
            _fillToWidth(table.item(row, column), width, color)
        if is_suspected(vertebra, threshold):
            for column in ("Level", "Finding"):
                item = table.item(row, COLUMNS.index(column))
                font = item.font()
                font.setBold(True)
                item.setFont(font)
    table.resizeRowsToContents()


def _gradeWords(vertebra: Vertebra) -> str:
    if vertebra.status != Status.SCORED:
        return "excluded" if vertebra.status == Status.EXCLUDED_BY_READER else STATUS_WORDS[vertebra.status]
    if vertebra.grade is None:
        return "not measured"
    lines = [f"{vertebra.grade} {_GRADE_WORDS[vertebra.grade]}", *([str(vertebra.shape)] if vertebra.shape else [])]
    if vertebra.borderline:
        lines.append("borderline" if vertebra.grade_range is None else "{} to {}".format(*vertebra.grade_range))
    return "\n".join(lines)


def _heightWords(vertebra: Vertebra) -> str:
    heights = vertebra.heights_mm
    if heights is None:
        return NONE
    words = f"{heights.anterior:.0f} {heights.middle:.0f} {heights.posterior:.0f}"
    return words if vertebra.height_loss is None else f"{words}\nloss {vertebra.height_loss:.0%}"


def _findingWords(vertebra: Vertebra, threshold: float) -> str:
    words = describe_reason(vertebra) or ("not suspected" if vertebra.status == Status.SCORED else NONE)
    if is_suspected(vertebra, threshold):
        words = "fracture suspected"
    density = describe_density(vertebra)
    words += f"; {density}" if density else ""
    return words + (f"; in doubt: {describe_doubts(vertebra)}" if vertebra.doubts else "")


def _modelWords(model: Vertebra) -> str:
    if model.grade is None:
        return STATUS_WORDS[model.status]
    return f"grade {model.grade} ({_GRADE_WORDS[model.grade]})"


def _readerWords(vertebra: Vertebra) -> str:
    reader = vertebra.reader
    if reader.assessment in _ASSESSMENT_WORDS:
        return _ASSESSMENT_WORDS[reader.assessment]
    if reader.grade is not None:
        return f"grade {reader.grade}"
    return "note" if reader.comment else NONE


def isLight(color: Color) -> bool:
    """Whether black text is read more easily on it than white."""
    red, green, blue = (255 * component for component in color)
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140


def _color(item: qt.QTableWidgetItem, color: Color) -> None:
    red, green, blue = (round(255 * component) for component in color)
    item.setBackground(qt.QBrush(qt.QColor(red, green, blue)))
    item.setForeground(qt.QBrush(qt.QColor(0, 0, 0) if isLight(color) else qt.QColor(255, 255, 255)))


def _fillToWidth(item: qt.QTableWidgetItem, width: float, color: Color) -> None:
    """A bar behind the number: the cell is filled from its left edge on, where Qt lets a brush of an item begin."""
    full, empty = qt.QColor(*(round(255 * component) for component in color)), qt.QColor(0, 0, 0, 0)
    gradient = qt.QLinearGradient(0.0, 0.0, max(width, 1.0), 0.0)
    for position, shown in ((0.0, full), (0.99, full), (1.0, empty)):
        gradient.setColorAt(position, shown)
    item.setBackground(qt.QBrush(gradient))
