"""Corrections from files and options, so that a batch can be corrected and run again without a window."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from VertebralFractureLib.errors import UnusableCorrection
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline import Detection, detect, reader_centerline
from VertebralFractureLib.progress import CancelToken, ProgressListener
from VertebralFractureLib.result import EVALUABLE, CorrectedReport, Correction, correction_from_json, edits
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.types import Point

_SHIFTS = {"+1": 1, "-1": -1}


def read_correction(correction_file: Path | None, centerline_file: Path | None) -> Correction:
    """The corrections of both files; the curve of ``centerline_file`` replaces another one.

    Raises:
        UnusableCorrection: when a file is missing or holds no such thing.
    """
    correction = Correction()
    if correction_file is not None:
        try:
            correction = correction_from_json(_text(correction_file))
        except ValueError as error:
            raise UnusableCorrection(f"'{correction_file.name}' cannot be used: {error}") from error
    if centerline_file is not None:
        correction = edits.set_centerline(correction, read_curve(centerline_file))
    return correction


def read_curve(path: Path) -> tuple[Point, ...]:
    """Control points, RAS mm, caudal to cranial, of Slicer's markups (.mrk.json) or of the centerline of a report.json.

    Raises:
        UnusableCorrection: when the file is missing, or holds fewer than two points.
    """
    try:
        content = json.loads(_text(path))
        points = _markups_points(content) if "markups" in content else _points(content["centerline"]["points_ras"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UnusableCorrection(
            f"'{path.name}' holds no centerline; use a curve that Slicer saved (.mrk.json), or a report.json."
        ) from error
    heights = sorted(set(points), key=lambda point: point[2])
    if len(heights) < 2:
        raise UnusableCorrection(f"The curve in '{path.name}' has fewer than two points; draw a longer one.")
    return tuple(heights)


def with_corrections(
    detection: Detection,
    correction: Correction,
    levels: Sequence[str],
    *,
    models: Models | None = None,
    options: DetectionOptions,
    listener: ProgressListener | None = None,
    token: CancelToken | None = None,
) -> tuple[Detection, CorrectedReport]:
    """Apply a reader's corrections to a detection; it is scored again where the centerline was corrected.

    Args:
        levels: "L1=T12" relabels a vertebra that is shown as L1, "+1" and "-1" shift all levels.

    Raises:
        UnusableCorrection: when a name does not fit.
        Cancelled: when ``token`` was set.
    """
    corrected = CorrectedReport(detection.report, correction)
    if correction.centerline_ras is not None:
        line = reader_centerline(correction.centerline_ras)
        detection = detect(
            detection.ct, models=models, centerline=line, options=options, listener=listener, token=token
        )
        corrected = corrected.scored_again(detection.report)
    for name in levels:
        if corrected.shown.status != EVALUABLE:
            break
        try:
            corrected = corrected.corrected_by(_relabel(corrected.correction, corrected.shown, name))
        except ValueError as error:
            raise UnusableCorrection(f"--levels {name}: {error}") from error
    return detection, corrected


def _relabel(correction: Correction, shown: SpineReport, name: str) -> Correction:
    if name in _SHIFTS:
        return edits.shift_levels(correction, shown, _SHIFTS[name])
    old, equals, new = name.partition("=")
    labels = [vertebra.label for vertebra in shown.vertebrae]
    if not equals or old not in labels:
        raise ValueError(f"say OLD=NEW with one of these as OLD: {', '.join(reversed(labels))}.")
    return edits.pin_level(correction, shown, labels.index(old), new)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableCorrection(f"'{path.name}' cannot be read; check the path.") from error


def _markups_points(content: dict[str, Any]) -> tuple[Point, ...]:
    """Slicer writes LPS unless the file says RAS."""
    markup = content["markups"][0]
    sign = 1.0 if markup.get("coordinateSystem", "LPS") in ("RAS", "0", 0) else -1.0
    placed = [
        point["position"] for point in markup["controlPoints"] if point.get("positionStatus", "defined") == "defined"
    ]
    return tuple((sign * float(x), sign * float(y), float(z)) for x, y, z in placed)


def _points(values: list[list[float]]) -> tuple[Point, ...]:
    return tuple((float(r), float(a), float(s)) for r, a, s in values)
