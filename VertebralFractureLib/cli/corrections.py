"""Corrections from files and options, so that a batch can be corrected and run again without a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.canal.reader_curve import refuse_foreign_curve
from VertebralFractureLib.checked_json import parse_json, read_text_file, show_value
from VertebralFractureLib.checked_record import value_from_content
from VertebralFractureLib.doubts import Doubt
from VertebralFractureLib.errors import RefusedContent, UnusableCorrection
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.orientation.rotations import axes_of_curve
from VertebralFractureLib.pipeline import Detection, detect, reader_centerline
from VertebralFractureLib.progress import CancelToken, ProgressListener
from VertebralFractureLib.result import EVALUABLE, CorrectedReport, Correction, edits, report_from_json
from VertebralFractureLib.result.consistency import check_curve_points
from VertebralFractureLib.result.made_for import MadeFor, judge_origin, refuse_levels_without_room
from VertebralFractureLib.result.report import MOST_POINTS, MOST_VERTEBRAE, SpineReport
from VertebralFractureLib.result.report_json import correction_with_scan_from_json
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import about_point

_SHIFTS = {"+1": 1, "-1": -1}
_CURVES = ("Curve", "Fiducial", "Line")
"""Markups whose control points, in their order of height, are a curve; a closed curve, a plane or an angle is none."""


def read_correction(
    correction_file: Path | None, centerline_file: Path | None, levels: Sequence[str] = ()
) -> tuple[Correction, MadeFor | None]:
    """The corrections of both files, and the scan that they say they were made for; None where they say nothing.

    The curve of ``centerline_file`` replaces another one.

    Args:
        levels: as for ``with_corrections``; what can be wrong with them without a scan is refused here.

    Raises:
        UnusableCorrection: when a file is missing or holds no such thing.
    """
    _check_levels(levels)
    correction, made_for = Correction(), None
    if correction_file is not None:
        correction, made_for = _read(correction_file, correction_with_scan_from_json)
    if centerline_file is not None:
        correction = edits.set_centerline(correction, read_curve(centerline_file))
    return correction, made_for


def read_curve(path: Path) -> tuple[Point, ...]:
    """Control points, RAS mm, caudal to cranial, of Slicer's markups (.mrk.json) or of the centerline of a report.json.

    Raises:
        UnusableCorrection: when the file is missing, or holds no curve.
    """
    points: tuple[Point, ...] = _read(path, _curve_from_json)
    return points


def _curve_from_json(text: str) -> tuple[Point, ...]:
    content = parse_json(text)
    if isinstance(content, dict) and "markups" in content:
        points = _order(_markups_points(content["markups"]))
    elif isinstance(content, dict) and "schema" in content:
        points = report_from_json(text).centerline.points_ras
    elif isinstance(content, dict) and isinstance(content.get("centerline"), dict):
        # A reference annotation, which holds the curve as a report does.
        limits = about_point("the canal", up_to=MOST_POINTS)
        points = value_from_content(tuple[Point, ...], content["centerline"].get("points_ras"), "points_ras", limits)
    else:
        raise RefusedContent("it holds no centerline; use a curve that Slicer saved (.mrk.json), or a report.json")
    check_curve_points(points, "the curve")
    return points


def _order(points: Sequence[Point]) -> tuple[Point, ...]:
    """Points without repeats, caudal to cranial; in the order of the file where the curve does not run along S."""
    once = list(dict.fromkeys(points))
    reach = [max(p[axis] for p in once) - min(p[axis] for p in once) for axis in range(3)] if once else [0.0]
    return tuple(sorted(once, key=lambda point: point[2]) if reach[-1] == max(reach) else once)


def with_corrections(
    detection: Detection,
    correction: Correction,
    levels: Sequence[str],
    *,
    made_for: MadeFor | None = None,
    curve_name: str = "the correction",
    models: Models | None = None,
    options: DetectionOptions,
    listener: ProgressListener | None = None,
    token: CancelToken | None = None,
) -> tuple[Detection, CorrectedReport]:
    """Apply a reader's corrections to a detection; it is scored again where the centerline was corrected.

    Args:
        levels: "L1=T12" relabels a vertebra that is shown as L1, "+1" and "-1" shift all levels.
        made_for: the scan that the corrections were made for, where they say so.
        curve_name: of the file with the corrected centerline.

    Raises:
        UnusableCorrection: when the corrections are of another scan, or a name does not fit.
        Cancelled: when ``token`` was set.
    """
    corrected = CorrectedReport(detection.report, correction)
    doubts = () if correction.is_empty else judge_origin(made_for, correction, corrected)
    if correction.centerline_ras is not None:
        line = reader_centerline(correction.centerline_ras)
        lies_along = np.array_equal(axes_of_curve(line.points_ras), np.eye(3))
        if detection.evidence is not None and lies_along:
            refuse_foreign_curve(detection.ct, detection.evidence, line, curve_name)
        detection = detect(
            detection.ct,
            models=models,
            centerline=line,
            evidence=detection.evidence,
            options=options,
            listener=listener,
            token=token,
        )
        corrected = corrected.scored_again(detection.report)
        doubts = judge_origin(made_for, correction, corrected)
    if doubts:
        corrected = _with_doubts(corrected, doubts)
    for name in levels:
        if corrected.shown.status != EVALUABLE:
            break
        try:
            corrected = corrected.corrected_by(_relabel(corrected.correction, corrected.shown, name))
        except ValueError as error:
            raise UnusableCorrection(f"--levels {name}: {error}") from error
    return detection, corrected


def _with_doubts(corrected: CorrectedReport, doubts: Sequence[Doubt]) -> CorrectedReport:
    """With doubts about the scan in both answers of the model, where they stay with the file."""

    def doubtful(report: SpineReport) -> SpineReport:
        return replace(report, doubts=(*report.doubts, *doubts))

    again = corrected.rescored
    return replace(
        corrected, detected=doubtful(corrected.detected), rescored=None if again is None else doubtful(again)
    )


def _relabel(correction: Correction, shown: SpineReport, name: str) -> Correction:
    if name in _SHIFTS:
        return edits.shift_levels(correction, shown, _SHIFTS[name])
    old, equals, new = name.partition("=")
    labels = [vertebra.label for vertebra in shown.vertebrae]
    if not equals or old not in labels:
        raise ValueError(f"say OLD=NEW with one of these as OLD: {', '.join(reversed(labels))}.")
    pinned = edits.pin_level(correction, shown, labels.index(old), new)
    refuse_levels_without_room(shown, pinned)
    return pinned


def _check_levels(levels: Sequence[str]) -> None:
    """Refuse what no scan can make right, before anything is read.

    Raises:
        UnusableCorrection: for one vertebra twice, and for more words than a spine has vertebrae.
    """
    seen: dict[str, str] = {}
    if len(levels) > MOST_VERTEBRAE:
        raise UnusableCorrection(f"--levels names {len(levels)} vertebrae; at most {MOST_VERTEBRAE} are allowed.")
    for name in levels:
        old, _, new = name.partition("=")
        if new and old in seen:
            raise UnusableCorrection(f"--levels names {old} twice, as {seen[old]} and as {new}; say it once.")
        seen[old] = new


def _read(path: Path, read: Callable[[str], Any]) -> Any:
    """What ``read`` makes of the file's text.

    Raises:
        UnusableCorrection: when the file cannot be read, or not be used.
    """
    try:
        return read(read_text_file(path))
    except OSError as error:
        raise UnusableCorrection(f"'{path.name}' cannot be read; check the path.") from error
    except ValueError as error:
        raise UnusableCorrection(f"'{path.name}' cannot be used: {str(error).rstrip('.')}.") from error


def _markups_points(markups: Any) -> tuple[Point, ...]:
    """The placed points of the one curve in a file of Slicer's markups, RAS mm.

    Slicer writes LPS unless the file says RAS; another word is no coordinate system that can be guessed.
    """
    if not isinstance(markups, list) or not markups or not all(isinstance(one, dict) for one in markups):
        raise RefusedContent("'markups' holds no markups; save a curve from Slicer as .mrk.json")
    curves = [one for one in markups if one.get("type", "Curve") in _CURVES]
    if len(curves) != 1:
        raise RefusedContent(
            f"it holds {len(curves)} curves among {len(markups)} markups; save the one curve along the canal alone"
        )
    markup = curves[0]
    system = markup.get("coordinateSystem", "LPS")
    if system not in ("LPS", "RAS", "0", "1", 0, 1) or isinstance(system, bool):
        raise RefusedContent(f"'coordinateSystem' holds {show_value(system)}; allowed is 'LPS' or 'RAS'")
    units = markup.get("coordinateUnits", "mm")
    if units not in ("mm", ["mm", "mm", "mm"], [None], None):
        raise RefusedContent(f"'coordinateUnits' holds {show_value(units)}; allowed is 'mm'")
    sign = 1.0 if system in ("RAS", "0", 0) else -1.0
    listed_points = markup.get("controlPoints")
    if not isinstance(listed_points, list) or not all(isinstance(one, dict) for one in listed_points):
        raise RefusedContent("'controlPoints' holds no points; save a curve from Slicer as .mrk.json")
    placed = [one.get("position") for one in listed_points if one.get("positionStatus", "defined") == "defined"]
    points = value_from_content(tuple[Point, ...], placed, "controlPoints", about_point("positions", up_to=MOST_POINTS))
    return tuple((sign * x, sign * y, z) for x, y, z in points)
