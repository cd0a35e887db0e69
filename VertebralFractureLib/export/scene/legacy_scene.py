"""The report of a scene of schema 1 that has no report node: its table, markups and attributes hold what was found.

Nothing else reads a view. What is gathered here is the JSON of a report of schema 1, which ``report_from_content``
brings to this version as it does with a file. Table cells keep six significant digits in a saved scene; control points
and attributes keep double precision.
"""

from __future__ import annotations

import math
from typing import Any

from VertebralFractureLib.checked_json import parse_json
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.export.scene.scene_nodes import ATTRIBUTE_PREFIX, SceneNodes
from VertebralFractureLib.result import SpineReport
from VertebralFractureLib.result.migration import SCHEMA_1, check_schema
from VertebralFractureLib.result.report_json import report_from_content

_CONFIDENCE_MEASUREMENT = "canal confidence"
_LANDMARK_COUNT = 6
_THE_SCAN = 0
"""In column ``order`` of the row that says why a scan could not be judged."""
_BOX_PARTS = tuple(
    f"box_{part}_{axis}" for part in ("center", "right", "anterior", "superior", "size") for axis in ("r", "a", "s")
)
_DIRECT = (
    "level",
    "level_probability",
    "label",
    "status",
    "reason",
    "fracture_probability",
    "uncertainty",
    "grade",
    "shape",
    "severity",
    "height_loss",
    "trabecular_hu",
    "detection_confidence",
)
_SINCE_REVISION_4 = ("height_sd_mm", "height_loss_sd", "trabecular_reason")

Cells = dict[str, Any]


def report_of_legacy_nodes(nodes: SceneNodes) -> SpineReport:
    """The uncorrected report that the nodes of a result of schema 1 hold.

    Raises:
        ValueError: when the nodes are not of schema 1 or are damaged, or a newer version wrote them.
    """
    table = nodes.table
    schema = _attribute(table, "schema")
    check_schema(schema, int(table.GetAttribute(ATTRIBUTE_PREFIX + "revision") or 1))
    if schema != SCHEMA_1:
        raise ValueError("its report was deleted from the scene. Undo that, or detect again.")
    scan = parse_json(_attribute(table, "scan"))
    if not isinstance(scan, dict):
        raise RefusedContent("The result's table holds no scan in its attribute 'VertebralFracture.scan'.")
    device = table.GetAttribute(ATTRIBUTE_PREFIX + "device") or None
    weights = parse_json(_attribute(table, "weightsSha256"))
    return report_from_content(
        {
            "schema": SCHEMA_1,
            "revision": 4,
            "software": {"version": _attribute(table, "softwareVersion"), "weights_sha256": weights, "device": device},
            "input": parse_json(_attribute(table, "input")),
            "status": _attribute(table, "status"),
            "reason": _attribute(table, "reason") or None,
            "scan": {"bone_density": None, **scan},
            "centerline": _centerline(nodes.centerline),
            "sequence": _sequence(nodes.sequence),
            "vertebrae": _vertebrae(table, _landmarks(nodes.landmarks)),
            "timings_s": parse_json(_attribute(table, "timingsS")),
            "peak_memory_mb": parse_json(_attribute(table, "peakMemoryMb")),
            "correction": None,
        }
    )


def _attribute(table: Any, name: str) -> str:
    value = table.GetAttribute(ATTRIBUTE_PREFIX + name)
    if value is None:
        raise ValueError(f"The result's table has lost its attribute '{ATTRIBUTE_PREFIX}{name}'.")
    return str(value)


def _vertebrae(table: Any, landmarks: dict[int, list[list[float]]]) -> list[Cells]:
    rows = [row for row in reversed(_rows(table)) if row["order"] != _THE_SCAN]
    return [_vertebra(row, landmarks.get(index)) for index, row in enumerate(rows)]


def _vertebra(row: Cells, landmarks: list[list[float]] | None) -> Cells:
    heights = {part: row[f"height_{part}_mm"] for part in ("anterior", "middle", "posterior")}
    box = [row.get(part) for part in _BOX_PARTS]
    center, right, anterior, superior, size = (box[start : start + 3] for start in range(0, len(box), 3))
    axes = [right, anterior, superior]
    return {
        **{name: row[name] for name in _DIRECT},
        **{name: row.get(name) for name in _SINCE_REVISION_4},
        "label": row["label"] or "",
        "borderline": row["borderline"] == 1,
        "complete": row["complete"] == 1,
        "centre_ras": [row[f"center_{axis}_mm"] for axis in ("r", "a", "s")],
        "heights_mm": None if None in heights.values() else heights,
        "extent_mm": [row["lower_endplate_mm"], row["upper_endplate_mm"]],
        "landmarks_ras": landmarks,
        "box": None if None in box else {"center_ras": center, "axes_ras": axes, "size_mm": size},
        "reader": {
            **dict.fromkeys(("verdict", "fracture", "who", "when")),
            "grade": row["reader_grade"],
            "comment": row["reader_comment"] or "",
        },
        "origin": "model",
        "model": None,
    }


def _centerline(curve: Any) -> dict[str, Any]:
    """The curve's control points and their confidence; a point that a person added counts as certain."""
    if curve is None:
        return {"points_ras": [], "confidence": []}
    points = [list(curve.GetNthControlPointPositionWorld(n)) for n in range(curve.GetNumberOfControlPoints())]
    confidence = [1.0] * len(points)
    for index in range(curve.GetNumberOfMeasurements()):
        measurement = curve.GetNthMeasurement(index)
        values = measurement.GetControlPointValues()
        if measurement.GetName() == _CONFIDENCE_MEASUREMENT and values is not None:
            known = min(len(points), values.GetNumberOfValues())
            confidence[:known] = [values.GetValue(place) for place in range(known)]
    return {"points_ras": points, "confidence": confidence}


def _landmarks(node: Any) -> dict[int, list[list[float]]]:
    """Landmarks by the vertebra's index, which their description holds; one that lost a point is left out."""
    found: dict[int, list[list[float]]] = {}
    for place in range(0 if node is None else node.GetNumberOfControlPoints()):
        points = found.setdefault(int(node.GetNthControlPointDescription(place)), [])
        points.append(list(node.GetNthControlPointPositionWorld(place)))
    return {index: points for index, points in found.items() if len(points) == _LANDMARK_COUNT}


def _sequence(node: Any) -> dict[str, list[Any]]:
    rows = [] if node is None else _rows(node)
    columns = (("positions_mm", "position_mm"), ("probability", "probability"), ("uncertainty", "uncertainty"))
    return {key: [row[name] for row in rows] for key, name in columns}


class _Row(Cells):
    """The cells of one row by column; a column that is missing is named in the error."""

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"The table has no column '{name}'.")


def _rows(node: Any) -> list[_Row]:
    """Cells by column name, in the spelling of today; a missing number is None, and so is an empty text."""
    table = node.GetTable()
    rows = [_Row() for _ in range(table.GetNumberOfRows())]
    for place in range(table.GetNumberOfColumns()):
        column = table.GetColumn(place)
        name = column.GetName().replace("centre", "center")
        for index, row in enumerate(rows):
            row[name] = _value(column.GetValue(index), column.IsA("vtkIntArray"))
    return rows


def _value(stored: Any, is_whole: bool) -> Any:
    if isinstance(stored, str):
        return stored or None
    if is_whole:
        return None if stored == -1 else int(stored)
    return None if math.isnan(stored) else float(stored)
