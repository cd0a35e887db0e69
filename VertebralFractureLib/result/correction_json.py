"""A corrected report as ``report.json`` and back: the shown report on top, and in ``correction`` all that it came from.

The edits alone are a file of their own as well, so that a batch can be corrected without a window.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from VertebralFractureLib.result.agreement import agreement, reader_fractures
from VertebralFractureLib.result.corrected_report import CorrectedReport
from VertebralFractureLib.result.correction import (
    AddedVertebra,
    Correction,
    DraggedLandmarks,
    GivenVerdict,
    LevelAnchor,
)
from VertebralFractureLib.result.report import Point, ReaderVerdict
from VertebralFractureLib.result.report_json import json_text, report_content, report_from_content

CORRECTION_SCHEMA = "vertebral-fracture-correction/1"


def corrected_to_json(corrected: CorrectedReport, indent: int | None = 2) -> str:
    """The text of ``report.json``; without a correction that of the report alone. ``indent`` as in ``json_text``."""
    content = report_content(corrected.shown)
    if not corrected.correction.is_empty:
        rescored = corrected.rescored
        content["correction"] = {
            "edits": asdict(corrected.correction),
            "agreement": {**asdict(agreement(corrected.shown)), "reader_fractures": reader_fractures(corrected.shown)},
            "detected": report_content(corrected.detected),
            "rescored": None if rescored is None else report_content(rescored),
        }
    return json_text(content, indent)


def corrected_from_json(text: str) -> CorrectedReport:
    """Read ``report.json``, corrected or not, of this revision of the schema or an older one.

    Raises:
        ValueError: when it is no report, or was written by a newer version.
    """
    try:
        content = json.loads(text)
        block = content.get("correction")
        if block is None:
            return CorrectedReport(report_from_content(content))
        rescored = block["rescored"]
        report_from_content(content)
        return CorrectedReport(
            report_from_content(block["detected"]),
            correction_from_content(block["edits"]),
            None if rescored is None else report_from_content(rescored),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"This is not a VertebralFracture report: {error}.") from error


def correction_to_json(correction: Correction, indent: int | None = 2) -> str:
    """The edits alone, for a file that ``detect --correction`` takes. ``indent`` as in ``json_text``."""
    return json_text({"schema": CORRECTION_SCHEMA, "edits": asdict(correction)}, indent)


def correction_from_json(text: str) -> Correction:
    """The edits of ``correction_to_json``, or those inside a corrected ``report.json``.

    Raises:
        ValueError: when the text is neither, or was written by a newer version.
    """
    try:
        content = json.loads(text)
        if content["schema"] == CORRECTION_SCHEMA:
            return correction_from_content(content["edits"])
        if str(content["schema"]).startswith("vertebral-fracture-correction/"):
            raise ValueError(
                f"These corrections have the schema '{content['schema']}' of a newer version; update VertebralFracture."
            )
        return corrected_from_json(text).correction
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"This file holds no corrections: {error}.") from error


def correction_from_content(content: dict[str, Any]) -> Correction:
    """A correction from plain values; ``KeyError`` or ``TypeError`` when they are not one."""
    line = content["centerline_ras"]
    return Correction(
        centerline_ras=None if line is None else _points(line),
        anchors_ras=_points(content["anchors_ras"]),
        levels=tuple(LevelAnchor(_point(one["at_ras"]), str(one["level"])) for one in content["levels"]),
        removed_ras=_points(content["removed_ras"]),
        added=tuple(AddedVertebra(_point(one["center_ras"]), float(one["height_mm"])) for one in content["added"]),
        landmarks=tuple(
            DraggedLandmarks(_point(one["at_ras"]), _points(one["landmarks_ras"])) for one in content["landmarks"]
        ),
        verdicts=tuple(
            GivenVerdict(_point(one["at_ras"]), ReaderVerdict(**one["verdict"])) for one in content["verdicts"]
        ),
    )


def _point(values: list[float]) -> Point:
    r, a, s = values
    return float(r), float(a), float(s)


def _points(values: list[list[float]]) -> tuple[Point, ...]:
    return tuple(_point(value) for value in values)
