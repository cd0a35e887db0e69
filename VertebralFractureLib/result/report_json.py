"""``SpineReport`` to JSON and back, without loss; the schema's name is checked before anything else is believed.

A file of an older revision is migrated while it is read; one of a newer revision is refused, because what this version
does not know would be lost when it is saved again.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.result.migration import migrated
from VertebralFractureLib.result.report import (
    REVISION,
    SCHEMA,
    BoneDensity,
    InputIdentity,
    ModelAnswer,
    Point,
    ReaderVerdict,
    ReportedCenterline,
    ReportedSequence,
    ReportedVertebra,
    ScanResult,
    Software,
    SpineReport,
)
from VertebralFractureLib.vertebrae import Heights, OrientedBox


def report_to_json(report: SpineReport) -> str:
    """The report as indented JSON text, numbers rounded to six decimals; its ``correction`` is null."""
    return json_text(report_content(report))


def report_content(report: SpineReport) -> dict[str, Any]:
    """What ``report_to_json`` writes, as plain values."""
    content: dict[str, Any] = {"schema": SCHEMA, "revision": REVISION, "notice": RESEARCH_USE_ONLY}
    return {**content, **asdict(report), "correction": None}


def json_text(content: dict[str, Any], indent: int | None = 2) -> str:
    """JSON text with numbers rounded to six decimals; without ``indent`` it is for programs, and made much faster."""
    return json.dumps(_rounded(content), indent=indent, allow_nan=False) + "\n"


def report_from_json(text: str) -> SpineReport:
    """Read what ``report_to_json`` wrote, in this revision of the schema or an older one.

    Raises:
        ValueError: when the text is not a report of this schema, or was written by a newer version.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"This is not a VertebralFracture report: {error}.") from error
    return report_from_content(content)


def report_from_content(content: dict[str, Any]) -> SpineReport:
    """As ``report_from_json``, from plain values.

    Raises:
        ValueError: as ``report_from_json``.
    """
    try:
        content = migrated(content)
        volume, scan, line, sequence = content["input"], content["scan"], content["centerline"], content["sequence"]
        return SpineReport(
            software=Software(**content["software"]),
            input=InputIdentity(
                **{**volume, "shape_kji": tuple(volume["shape_kji"]), "spacing_mm": tuple(volume["spacing_mm"])}
            ),
            status=content["status"],
            reason=content["reason"],
            scan=scan_from_content(scan),
            centerline=ReportedCenterline(_points(line["points_ras"]), tuple(line["confidence"])),
            sequence=ReportedSequence(**{key: tuple(values) for key, values in sequence.items()}),
            vertebrae=tuple(_vertebra(item) for item in content["vertebrae"]),
            timings_s=content["timings_s"],
            peak_memory_mb=content["peak_memory_mb"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"This is not a VertebralFracture report: {error}.") from error


def scan_from_content(scan: dict[str, Any]) -> ScanResult:
    """The scan's answer from plain values; what an older revision did not know may be missing."""
    density = scan.get("bone_density")
    levels = tuple(scan["fractured_levels"])
    return ScanResult(
        **{**scan, "fractured_levels": levels, "bone_density": None if density is None else BoneDensity(**density)}
    )


def _vertebra(item: dict[str, Any]) -> ReportedVertebra:
    model = item["model"]
    return ReportedVertebra(
        **{
            **item,
            **_measured(item),
            "center_ras": tuple(item["center_ras"]),
            "extent_mm": tuple(item["extent_mm"]),
            "reader": ReaderVerdict(**item["reader"]),
            "box": box_from_content(item["box"]),
            "model": None if model is None else ModelAnswer(**{**model, **_measured(model)}),
        }
    )


def _measured(item: dict[str, Any]) -> dict[str, Any]:
    heights, landmarks = item["heights_mm"], item["landmarks_ras"]
    return {
        "heights_mm": None if heights is None else Heights(**heights),
        "landmarks_ras": None if landmarks is None else _points(landmarks),
    }


def box_from_content(box: dict[str, Any] | None) -> OrientedBox | None:
    """A box from plain values."""
    if box is None:
        return None
    center, size = _points([box["center_ras"], box["size_mm"]])
    right, anterior, superior = _points(box["axes_ras"])
    return OrientedBox(center, (right, anterior, superior), size)


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
