"""``SpineReport`` to JSON and back, without loss; the schema's name is checked before anything else is believed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.report.spine_report import (
    SCHEMA,
    InputIdentity,
    Point,
    ReaderVerdict,
    ReportedCenterline,
    ReportedSequence,
    ReportedVertebra,
    ScanResult,
    Software,
    SpineReport,
)
from VertebralFractureLib.vertebrae import Heights


def report_to_json(report: SpineReport) -> str:
    """The report as indented JSON text, numbers rounded to six decimals."""
    content = {"schema": SCHEMA, "notice": RESEARCH_USE_ONLY, **_rounded(asdict(report))}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def report_from_json(text: str) -> SpineReport:
    """Read what ``report_to_json`` wrote.

    Raises:
        ValueError: when the text is not a report of this schema.
    """
    try:
        content = json.loads(text)
        if content["schema"] != SCHEMA:
            raise ValueError(f"This report has the schema '{content['schema']}'; this version reads '{SCHEMA}'.")
        volume, scan, line, sequence = content["input"], content["scan"], content["centerline"], content["sequence"]
        return SpineReport(
            software=Software(**content["software"]),
            input=InputIdentity(
                **{**volume, "shape_kji": tuple(volume["shape_kji"]), "spacing_mm": tuple(volume["spacing_mm"])}
            ),
            status=content["status"],
            reason=content["reason"],
            scan=ScanResult(**{**scan, "fractured_levels": tuple(scan["fractured_levels"])}),
            centerline=ReportedCenterline(_points(line["points_ras"]), tuple(line["confidence"])),
            sequence=ReportedSequence(**{key: tuple(values) for key, values in sequence.items()}),
            vertebrae=tuple(_vertebra(item) for item in content["vertebrae"]),
            timings_s=content["timings_s"],
            peak_memory_mb=content["peak_memory_mb"],
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"This is not a VertebralFracture report: {error}.") from error


def _vertebra(item: dict[str, Any]) -> ReportedVertebra:
    heights, landmarks = item["heights_mm"], item["landmarks_ras"]
    return ReportedVertebra(
        **{
            **item,
            "centre_ras": tuple(item["centre_ras"]),
            "extent_mm": tuple(item["extent_mm"]),
            "heights_mm": None if heights is None else Heights(**heights),
            "landmarks_ras": None if landmarks is None else _points(landmarks),
            "reader": ReaderVerdict(**item["reader"]),
        }
    )


def _points(values: list[list[float]]) -> tuple[Point, ...]:
    return tuple((r, a, s) for r, a, s in values)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
