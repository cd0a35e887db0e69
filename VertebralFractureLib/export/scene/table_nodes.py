"""The vertebrae and the probability along the spine as MRML tables with typed columns, and back.

Slicer stores tables as text with six significant digits, without quoting, and loses empty cells at a row's start: the
first column is a number (1 is the most cranial vertebra; 0 stands for the scan itself), a missing number is NaN or -1
for a whole number, a missing text is empty, and quotes and line breaks become apostrophes and spaces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import vtk

from VertebralFractureLib.result.report import (
    Point,
    ReaderVerdict,
    ReportedSequence,
    ReportedVertebra,
    SpineReport,
    is_suspected,
)
from VertebralFractureLib.vertebrae import Heights, OrientedBox

_TEXT, _NUMBER, _WHOLE = "string", "double", "int"
_BOX_PARTS = tuple(
    f"{place}_{axis}" for place in ("center", "right", "anterior", "superior", "size") for axis in ("r", "a", "s")
)
VERTEBRA_COLUMNS: tuple[tuple[str, str], ...] = (
    ("order", _WHOLE),
    ("label", _TEXT),
    ("level", _TEXT),
    ("level_probability", _NUMBER),
    ("status", _TEXT),
    ("reason", _TEXT),
    ("fracture_probability", _NUMBER),
    ("uncertainty", _NUMBER),
    ("grade", _WHOLE),
    ("shape", _TEXT),
    ("severity", _NUMBER),
    ("height_anterior_mm", _NUMBER),
    ("height_middle_mm", _NUMBER),
    ("height_posterior_mm", _NUMBER),
    ("height_loss", _NUMBER),
    ("borderline", _WHOLE),
    ("trabecular_hu", _NUMBER),
    ("center_r_mm", _NUMBER),
    ("center_a_mm", _NUMBER),
    ("center_s_mm", _NUMBER),
    ("lower_endplate_mm", _NUMBER),
    ("upper_endplate_mm", _NUMBER),
    ("complete", _WHOLE),
    ("detection_confidence", _NUMBER),
    ("reader_grade", _WHOLE),
    ("reader_comment", _TEXT),
)
_SINCE_REVISION_4: tuple[tuple[str, str], ...] = (
    ("height_sd_mm", _NUMBER),
    ("height_loss_sd", _NUMBER),
    ("trabecular_reason", _TEXT),
    *((f"box_{part}", _NUMBER) for part in _BOX_PARTS),
)
"""Absent from the scenes of earlier versions."""
SHOWN_COLUMNS: tuple[tuple[str, str], ...] = (("shown_grade", _WHOLE), ("shown_suspected", _WHOLE))
"""What follows from the threshold and the grading rule that the user chose; never read back."""
SEQUENCE_COLUMNS: tuple[tuple[str, str], ...] = (
    ("position_mm", _NUMBER),
    ("probability", _NUMBER),
    ("uncertainty", _NUMBER),
)
_ARRAYS = {_TEXT: vtk.vtkStringArray, _NUMBER: vtk.vtkDoubleArray, _WHOLE: vtk.vtkIntArray}
_MISSING_WHOLE = -1
_THE_SCAN = 0
_THRESHOLD = "threshold"
JUDGED_PROBABILITY = "judged_probability"

Cells = dict[str, Any]


def fill_vertebra_table(node: Any, report: SpineReport) -> None:
    """One row per vertebra, cranial first, in place of what was there; a scan without any: one row with the reason."""
    was_modifying = node.StartModify()
    node.RemoveAllColumns()
    vertebrae, reason = report.vertebrae, report.reason
    rows = [{**_cells(vertebra), "order": place} for place, vertebra in enumerate(reversed(vertebrae), start=1)]
    if not rows and reason is not None:
        rows = [{"order": _THE_SCAN, "status": "not_evaluable", "reason": reason}]
    _fill(node, (*VERTEBRA_COLUMNS, *_SINCE_REVISION_4), rows)
    show_in_vertebra_table(node, report)
    node.EndModify(was_modifying)


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


def read_sequence_table(node: Any) -> ReportedSequence:
    """What ``fill_sequence_table`` wrote."""
    rows = _rows(node, SEQUENCE_COLUMNS)
    positions, probability, uncertainty = (tuple(row[name] for row in rows) for name, _ in SEQUENCE_COLUMNS)
    return ReportedSequence(positions, probability, uncertainty)


def read_vertebra_table(node: Any, landmarks: dict[int, tuple[Point, ...]]) -> tuple[ReportedVertebra, ...]:
    """The vertebrae, caudal first; ``landmarks`` by the vertebra's place in that order.

    Raises:
        ValueError: when a column is missing.
    """
    known = [column for column in _SINCE_REVISION_4 if node.GetTable().GetColumnByName(column[0]) is not None]
    unknown: Cells = {name: None for name, _ in _SINCE_REVISION_4}
    rows = [
        {**unknown, **row} for row in reversed(_rows(node, (*VERTEBRA_COLUMNS, *known))) if row["order"] != _THE_SCAN
    ]
    return tuple(_vertebra(row, landmarks.get(index)) for index, row in enumerate(rows))


def _cells(vertebra: ReportedVertebra) -> Cells:
    heights = vertebra.heights_mm
    cells: Cells = {name: getattr(vertebra, name, None) for name, _ in (*VERTEBRA_COLUMNS, *_SINCE_REVISION_4)}
    if heights is not None:
        cells["height_anterior_mm"] = heights.anterior
        cells["height_middle_mm"] = heights.middle
        cells["height_posterior_mm"] = heights.posterior
    cells["center_r_mm"], cells["center_a_mm"], cells["center_s_mm"] = vertebra.center_ras
    cells["lower_endplate_mm"], cells["upper_endplate_mm"] = vertebra.extent_mm
    if vertebra.box is not None:
        numbers = (*vertebra.box.center_ras, *(part for axis in vertebra.box.axes_ras for part in axis))
        cells |= {f"box_{p}": v for p, v in zip(_BOX_PARTS, (*numbers, *vertebra.box.size_mm), strict=True)}
    cells["reader_grade"], cells["reader_comment"] = vertebra.reader.grade, vertebra.reader.comment
    return cells


def _vertebra(row: Cells, landmarks: tuple[Point, ...] | None) -> ReportedVertebra:
    heights = (row["height_anterior_mm"], row["height_middle_mm"], row["height_posterior_mm"])
    direct = {name: value for name, value in row.items() if name in ReportedVertebra.__dataclass_fields__}
    return ReportedVertebra(
        **{
            **direct,
            "label": row["label"] or "",
            "borderline": row["borderline"] == 1,
            "complete": row["complete"] == 1,
            "center_ras": (row["center_r_mm"], row["center_a_mm"], row["center_s_mm"]),
            "heights_mm": None if None in heights else Heights(*heights),
            "extent_mm": (row["lower_endplate_mm"], row["upper_endplate_mm"]),
            "landmarks_ras": landmarks,
            "box": _box([row[f"box_{part}"] for part in _BOX_PARTS]),
            "reader": ReaderVerdict(row["reader_grade"], row["reader_comment"] or ""),
        }
    )


def _box(numbers: list[float | None]) -> OrientedBox | None:
    known = [value for value in numbers if value is not None]
    if len(known) < len(_BOX_PARTS):
        return None
    center, right, anterior, superior, size = (
        (known[start], known[start + 1], known[start + 2]) for start in range(0, len(known), 3)
    )
    return OrientedBox(center, (right, anterior, superior), size)


def _fill(node: Any, columns: tuple[tuple[str, str], ...], rows: Sequence[Cells]) -> None:
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


def _replace_columns(node: Any, columns: tuple[tuple[str, str], ...], rows: Sequence[Cells]) -> None:
    """Write values into columns that are added where they are missing; everything else stays."""
    table = node.GetTable()
    if any(table.GetColumnByName(name) is None for name, _ in columns):
        _fill(node, columns, rows)
        return
    for name, kind in columns:
        array = table.GetColumnByName(name) or table.GetColumnByName(name.replace("center", "centre"))
        for index, row in enumerate(rows):
            array.SetValue(index, _cell(row.get(name), kind))
        array.Modified()
    table.Modified()


def _cell(value: Any, kind: str) -> Any:
    if kind == _TEXT:
        return "" if value is None else " ".join(str(value).replace('"', "'").split())
    if kind == _WHOLE:
        return _MISSING_WHOLE if value is None else int(value)
    return math.nan if value is None else float(value)


def _rows(node: Any, columns: tuple[tuple[str, str], ...]) -> list[Cells]:
    table = node.GetTable()
    values: dict[str, list[Any]] = {}
    for name, kind in columns:
        array = table.GetColumnByName(name) or table.GetColumnByName(name.replace("center", "centre"))
        if array is None:
            raise ValueError(f"The table '{node.GetName()}' has no column '{name}'.")
        values[name] = [_value(array.GetValue(row), kind) for row in range(table.GetNumberOfRows())]
    return [{name: values[name][row] for name, _ in columns} for row in range(table.GetNumberOfRows())]


def _value(stored: Any, kind: str) -> Any:
    if kind == _TEXT:
        return stored or None
    if kind == _WHOLE:
        return None if stored == _MISSING_WHOLE else int(stored)
    return None if math.isnan(stored) else float(stored)
