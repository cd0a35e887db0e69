"""A ``ReferenceSpine`` in a JSON file: ``<id>.json`` beside ``<id>.nii.gz``; phantoms write what readers annotate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.checked_json import parse_json, read_text_file, show_value
from VertebralFractureLib.checked_record import name_row, value_from_content
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.research.datasets.reference_spine import (
    BodyBox,
    ReferenceSpine,
    ReferenceVertebra,
    Source,
)
from VertebralFractureLib.result.consistency import check_curve_points
from VertebralFractureLib.result.report import MOST_POINTS
from VertebralFractureLib.types import Point, about
from VertebralFractureLib.vertebrae.vertebra import (
    LANDMARK_COUNT,
    LONGEST_CURVE_MM,
    TALLEST_MM,
    Shape,
    about_level,
    about_point,
)

_PARTS = ("ant", "mid", "post")


_MM = about("mm along the frame of the centerline", least=-LONGEST_CURVE_MM, most=2 * LONGEST_CURVE_MM)
_HEIGHT = about("mm", least=0.1, most=TALLEST_MM)
_SIDES = ("s_inf", "s_sup", "a_post", "a_ant", "r_left", "r_right")
_SHAPES = about("shape", pattern="|".join(Shape), form=f"one of {', '.join(Shape)}")
_TABLE = about("where the grade comes from", pattern="table", form="table")
_GRADE = about("grade", least=0, most=3)
_SOURCE = about("where it comes from", pattern="|".join(Source), form=f"one of {', '.join(Source)}")
_CONFIDENCE = about("how sure the level is", pattern="certain|probable|unknown", form="certain, probable or unknown")


def read_annotation(path: Path) -> ReferenceSpine:
    """Read one annotation; fields that it does not know are ignored.

    Raises:
        OSError: when the file cannot be read.
        RefusedContent: a ``ValueError``, when it is not such an annotation, with the row and the field that is wrong.
    """
    path = Path(path)
    try:
        content = _object(parse_json(read_text_file(path)), "the file")
        identifier = value_from_content(str, content.get("id"), "id", about("of the scan", longest=255))
        line = _object(content.get("centerline"), "'centerline'")
        curve = about_point("the canal", up_to=MOST_POINTS)
        points = value_from_content(tuple[Point, ...], line.get("points_ras"), "points_ras", curve)
        check_curve_points(points, "'points_ras'")
        uncertain = [_range(item, row) for row, item in enumerate(_list(line.get("uncertain_ranges", ()), "ranges"))]
        rows = _list(content.get("vertebrae"), "'vertebrae'")
        vertebrae = tuple(_vertebra(item, f"'vertebrae', {name_row(row, item)}") for row, item in enumerate(rows))
        line_by = _source(line, "source")
        unplaced = value_from_content(
            Mapping[str, int], content.get("unplaced_grades") or {}, "unplaced_grades", _GRADE
        )
        acquisition = value_from_content(
            Mapping[str, str], content.get("acquisition") or {}, "acquisition", about("of the header", longest=255)
        )
    except RefusedContent as error:
        raise RefusedContent(f"{path.name} is not a reference annotation: {str(error).rstrip('.')}.") from error
    centerline = Centerline(np.array(points), np.ones(len(points)))
    return ReferenceSpine(identifier, centerline, vertebrae, tuple(uncertain), line_by, unplaced, acquisition)


def _vertebra(item: Any, row: str) -> ReferenceVertebra:
    try:
        content = _object(item, "the row")
        heights = _object(content.get("heights_mm") or {}, "'heights_mm'")
        sources = _object(content.get("sources") or {}, "'sources'")
        flags = content.get("flags")
        center = content.get("center_ras", content.get("centre_ras"))
        landmarks = about_point("of the endplates", count=LANDMARK_COUNT)
        ant, mid, post = (value_from_content(float | None, heights.get(name), name, _HEIGHT) for name in _PARTS)
        confidence = content.get("level_confidence")
        return ReferenceVertebra(
            level=value_from_content(str | None, content.get("level"), "level", about_level("of the vertebra")),
            complete=value_from_content(bool, content.get("complete"), "complete"),
            center_ras=value_from_content(Point, center, "center_ras", about_point("of the body")),
            box=_box(content.get("body_box")),
            heights_mm=(ant, mid, post),
            grade=value_from_content(int | None, content.get("genant_visual"), "genant_visual", _GRADE),
            shape=value_from_content(str | None, content.get("shape"), "shape", _SHAPES),
            flags=value_from_content(tuple[str, ...], [] if flags is None else flags, "flags"),
            level_certain=value_from_content(str | None, confidence, "level_confidence", _CONFIDENCE) == "certain",
            landmarks_ras=value_from_content(
                tuple[Point, ...] | None, content.get("landmarks_ras"), "landmarks_ras", landmarks
            ),
            center_by=_source(sources, "center"),
            heights_by=_source(sources, "heights"),
            level_by=_source(sources, "level"),
            grade_by_table=value_from_content(str | None, sources.get("grade"), "grade", _TABLE) is not None,
        )
    except RefusedContent as error:
        raise RefusedContent(f"{row}, {error}") from None


def _source(content: Mapping[str, Any], name: str) -> Source:
    word = value_from_content(str | None, content.get(name), name, _SOURCE)
    return Source.GIVEN if word is None else Source(word)


def _box(box: Any) -> BodyBox | None:
    """The box; None where there is none, or where one of its sides is not known."""
    if box is None:
        return None
    content = _object(box, "'body_box'")
    sides = {name: value_from_content(float | None, content.get(name), name, _MM) for name in _SIDES}
    known = {name: side for name, side in sides.items() if side is not None}
    if len(known) < len(_SIDES):
        return None
    for low, high in zip(_SIDES[::2], _SIDES[1::2], strict=True):
        if known[low] >= known[high]:
            raise RefusedContent(
                f"'body_box': {low} is {known[low]:g} and {high} is {known[high]:g}; {low} is the lesser"
            )
    return BodyBox(**known)


def _range(item: Any, row: int) -> tuple[float, float]:
    ends = list(_list(item, "a range"))[:2]
    low, high = value_from_content(tuple[float, float], ends, f"uncertain_ranges, row {row + 1}", _MM)
    return low, high


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RefusedContent(f"{name} holds {show_value(value)}; allowed is an object")
    return value


def _list(value: Any, name: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise RefusedContent(f"{name} holds {show_value(value)}; allowed is a list")
    return value


def reference_to_json(reference: ReferenceSpine) -> dict[str, Any]:
    """What ``read_annotation`` reads, as plain data; RAS mm."""
    return {
        "id": reference.identifier,
        "centerline": {
            "points_ras": np.round(reference.centerline.points_ras, 4).tolist(),
            "uncertain_ranges": [list(extent) for extent in reference.uncertain_mm],
            "source": reference.centerline_by.value,
        },
        "unplaced_grades": dict(reference.unplaced_grades),
        "acquisition": dict(reference.acquisition),
        "vertebrae": [
            {
                "level": vertebra.level,
                "level_confidence": "certain" if vertebra.level_certain else "probable",
                "complete": vertebra.complete,
                "center_ras": list(vertebra.center_ras),
                "body_box": None if vertebra.box is None else asdict(vertebra.box),
                "heights_mm": dict(zip(_PARTS, vertebra.heights_mm, strict=True)),
                "genant_visual": vertebra.grade,
                "shape": vertebra.shape,
                "flags": list(vertebra.flags),
                "landmarks_ras": vertebra.landmarks_ras,
                "sources": {
                    "center": vertebra.center_by.value,
                    "heights": vertebra.heights_by.value,
                    "level": vertebra.level_by.value,
                    **({"grade": "table"} if vertebra.grade_by_table else {}),
                },
            }
            for vertebra in reference.vertebrae
        ],
    }
