"""One row per vertebra, cranial first as a radiologist reads, with the notice and the versions in every row's file."""

from __future__ import annotations

import csv
import io

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.result.report import FROM_READER, ReportedVertebra, SpineReport

COLUMNS = (
    "label",
    "level",
    "level_probability",
    "status",
    "reason",
    "fracture_probability",
    "uncertainty",
    "grade",
    "shape",
    "severity",
    "height_anterior_mm",
    "height_middle_mm",
    "height_posterior_mm",
    "height_loss",
    "borderline",
    "height_sd_mm",
    "height_loss_sd",
    "trabecular_hu",
    "trabecular_reason",
    "center_r_mm",
    "center_a_mm",
    "center_s_mm",
    "origin",
    "model_level",
    "model_grade",
    "reader_verdict",
    "reader_fracture",
    "reader_grade",
    "reader_comment",
    "scan_status",
    "input",
    "software_version",
    "notice",
)


def report_to_csv(report: SpineReport) -> str:
    """The report's vertebrae as CSV text; a scan that is not evaluable keeps one row that says so."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    common = {
        "scan_status": report.status,
        "input": report.input.name,
        "software_version": report.software.version,
        "notice": RESEARCH_USE_ONLY,
    }
    for vertebra in reversed(report.vertebrae):
        writer.writerow({**_row(vertebra), **common})
    if not report.vertebrae:
        writer.writerow({"status": report.status, "reason": report.reason, **common})
    return stream.getvalue()


def _row(vertebra: ReportedVertebra) -> dict[str, object]:
    heights = vertebra.heights_mm
    told = vertebra.model if vertebra.model or vertebra.origin == FROM_READER else vertebra
    values: dict[str, object] = {
        "label": vertebra.label,
        "level": vertebra.level,
        "level_probability": vertebra.level_probability,
        "status": vertebra.status,
        "reason": vertebra.reason,
        "fracture_probability": vertebra.fracture_probability,
        "uncertainty": vertebra.uncertainty,
        "grade": vertebra.grade,
        "shape": vertebra.shape,
        "severity": vertebra.severity,
        "height_anterior_mm": None if heights is None else heights.anterior,
        "height_middle_mm": None if heights is None else heights.middle,
        "height_posterior_mm": None if heights is None else heights.posterior,
        "height_loss": vertebra.height_loss,
        "borderline": vertebra.borderline,
        "height_sd_mm": vertebra.height_sd_mm,
        "height_loss_sd": vertebra.height_loss_sd,
        "trabecular_hu": vertebra.trabecular_hu,
        "trabecular_reason": vertebra.trabecular_reason,
        "center_r_mm": vertebra.center_ras[0],
        "center_a_mm": vertebra.center_ras[1],
        "center_s_mm": vertebra.center_ras[2],
        "origin": vertebra.origin,
        "model_level": None if told is None else told.level,
        "model_grade": None if told is None else told.grade,
        "reader_verdict": vertebra.reader.verdict,
        "reader_fracture": vertebra.reader.fracture,
        "reader_grade": vertebra.reader.grade,
        "reader_comment": vertebra.reader.comment,
    }
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
