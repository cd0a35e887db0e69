"""The vertebrae and the probability along the spine as MRML tables with typed columns.

Slicer stores tables as text with six significant digits, without quoting, and loses empty cells at a row's start: the
first column is a number (1 is the most cranial vertebra; 0 stands for the scan itself), a missing number is NaN or -1
for a whole number, a missing text is empty, and quotes and line breaks become apostrophes and spaces.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from vtkmodules.vtkCommonCore import vtkDoubleArray, vtkIntArray, vtkStringArray

from VertebralFractureLib.export.scene.scene_nodes import ATTRIBUTE_PREFIX
from VertebralFractureLib.plain_text import one_line
from VertebralFractureLib.result.report import REVISION, SCHEMA, SpineReport, is_suspected
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.vertebrae.columns import VERTEBRA_COLUMNS, ColumnKind

_TEXT, _NUMBER, _WHOLE = ColumnKind.TEXT, ColumnKind.NUMBER, ColumnKind.WHOLE
_ORDER = ("order", _WHOLE)
_COLUMNS = (_ORDER, *((column.name, column.kind) for column in VERTEBRA_COLUMNS))
SHOWN_COLUMNS: tuple[tuple[str, ColumnKind], ...] = (("shown_grade", _WHOLE), ("shown_suspected", _WHOLE))
"""What follows from the threshold and the grading rule that the user chose."""
SEQUENCE_COLUMNS: tuple[tuple[str, ColumnKind], ...] = (
    ("position_mm", _NUMBER),
    ("probability", _NUMBER),
    ("uncertainty", _NUMBER),
)
_FORMER_ATTRIBUTES = ("input", "scan", "timingsS", "peakMemoryMb", "headline")
"""Of scenes of schema 1; the report holds what they said."""
_ARRAYS: dict[ColumnKind, Any] = {_TEXT: vtkStringArray, _NUMBER: vtkDoubleArray, _WHOLE: vtkIntArray}
_MISSING_WHOLE = -1
_ATTRIBUTE_LIMIT = 20000
"""Characters; the hashes of all weights take some 2000."""
_THE_SCAN = 0
_THRESHOLD = "threshold"
JUDGED_PROBABILITY = "judged_probability"

Cells = dict[str, Any]


def fill_vertebra_table(node: Any, report: SpineReport) -> None:
    """One row per vertebra, cranial first, in place of what was there; a scan without any: one row with the reason."""
    was_modifying = node.StartModify()
    node.RemoveAllColumns()
    vertebrae, reason = report.vertebrae, report.reason
    rows: list[Cells] = [
        {"order": place, **{column.name: column.cell(vertebra) for column in VERTEBRA_COLUMNS}}
        for place, vertebra in enumerate(reversed(vertebrae), start=1)
    ]
    if not rows and reason is not None:
        rows = [{"order": _THE_SCAN, "status": report.status, "reason": reason}]
    _fill(node, _COLUMNS, rows)
    show_in_vertebra_table(node, report)
    node.EndModify(was_modifying)


def write_run_attributes(table: Any, report: SpineReport) -> None:
    """Write on the table of a result which program and networks made it, and what is said of the scan."""
    values = {
        "schema": SCHEMA,
        "revision": str(REVISION),
        "softwareVersion": report.software.version,
        "weightsSha256": json.dumps(report.software.weights_sha256),
        "device": report.software.device or "",
        "status": str(report.status),
        "reason": report.reason or "",
        "impression": write_impression(report),
    }
    for name, value in values.items():
        table.SetAttribute(ATTRIBUTE_PREFIX + name, one_line(value, _ATTRIBUTE_LIMIT))
    for name in _FORMER_ATTRIBUTES:
        table.RemoveAttribute(ATTRIBUTE_PREFIX + name)


def show_in_vertebra_table(node: Any, shown: SpineReport) -> None:
    """Write grade and suspicion of the report as it is shown beside the model's own answer, which stays."""
    rows = [
        {"shown_grade": vertebra.grade, "shown_suspected": is_suspected(vertebra, shown.scan.decision_threshold)}
        for vertebra in reversed(shown.vertebrae)
    ]
    _replace_columns(node, SHOWN_COLUMNS, rows or [{}] * node.GetTable().GetNumberOfRows())


def fill_sequence_table(node: Any, report: SpineReport) -> None:
    """One row per position along the centerline, caudal first, in place of what was there."""
    sequence = report.sequence
    was_modifying = node.StartModify()
    node.RemoveAllColumns()
    values = zip(sequence.positions_mm, sequence.probability, sequence.uncertainty, strict=True)
    names = [name for name, _ in SEQUENCE_COLUMNS]
    _fill(node, SEQUENCE_COLUMNS, [dict(zip(names, row, strict=True)) for row in values])
    show_in_sequence_table(node, report)
    node.EndModify(was_modifying)


def show_in_sequence_table(node: Any, shown: SpineReport) -> None:
    """Write the columns that the chart draws: the threshold, and the probability where vertebrae were scored."""
    judged = dict(zip(shown.judged_sequence.positions_mm, shown.judged_sequence.probability, strict=True))
    positions = shown.sequence.positions_mm
    _replace_columns(node, ((_THRESHOLD, _NUMBER),), [{_THRESHOLD: shown.scan.decision_threshold}] * len(positions))
    rows = [{JUDGED_PROBABILITY: judged.get(position)} for position in positions]
    _replace_columns(node, ((JUDGED_PROBABILITY, _NUMBER),), rows)


def _fill(node: Any, columns: tuple[tuple[str, ColumnKind], ...], rows: Sequence[Cells]) -> None:
    node.SetUseColumnTitleAsColumnHeader(True)
    for name, kind in columns:
        array = _ARRAYS[kind]()
        array.SetName(name)
        for row in rows:
            array.InsertNextValue(_cell(row.get(name), kind))
        node.AddColumn(array)
        node.SetColumnTitle(name, name.replace("_", " "))
        if kind == _WHOLE:
            node.SetColumnNullValue(name, str(_MISSING_WHOLE))


def _replace_columns(node: Any, columns: tuple[tuple[str, ColumnKind], ...], rows: Sequence[Cells]) -> None:
    """Write values into columns that are added where they are missing; everything else stays."""
    table = node.GetTable()
    if any(table.GetColumnByName(name) is None for name, _ in columns):
        _fill(node, columns, rows)
        return
    for name, kind in columns:
        array = table.GetColumnByName(name)
        for index, row in enumerate(rows):
            array.SetValue(index, _cell(row.get(name), kind))
        array.Modified()
    table.Modified()


def _cell(value: Any, kind: ColumnKind) -> Any:
    if kind == _TEXT:
        return "" if value is None else " ".join(one_line(value).replace('"', "'").split())
    if kind == _WHOLE:
        return _MISSING_WHOLE if value is None else int(value)
    return math.nan if value is None else float(value)
