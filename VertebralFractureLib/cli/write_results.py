"""Write scene, report, table and pictures of one detection, corrected or not, into a folder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.export.page import report_to_html
from VertebralFractureLib.export.picture import draw_overview
from VertebralFractureLib.export.scene import packing_result
from VertebralFractureLib.export.table import COMMA, TableStyle, write_table
from VertebralFractureLib.pipeline import Detection
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.result import CorrectedReport, SpineReport, agreement, corrected_to_json
from VertebralFractureLib.result.deidentification import deidentify_corrected, deidentify_volume


def write_results(
    detection: Detection,
    folder: Path,
    progress: StageProgress,
    *,
    corrected: CorrectedReport | None = None,
    identifiers: bool = False,
    table_style: TableStyle = COMMA,
) -> SpineReport:
    """Write all files, each compared with what was meant; the report that was written, with the time of the pictures.

    The time to pack the scene itself cannot be inside the scene, so ``timings_s["scene"]`` ends before that.

    Args:
        corrected: the detection's report with a reader's corrections; None where there are none.
        identifiers: keep the input's name and the series UID.
        table_style: for which spreadsheets ``vertebrae.csv`` is written.

    Raises:
        OSError, OutputRefused: when the disk refuses.
        Cancelled: from ``progress``.
    """
    started = time.monotonic()
    progress(0.0)
    corrected = corrected or CorrectedReport(detection.report)
    ct = detection.ct
    if not identifiers:
        corrected, ct = deidentify_corrected(corrected), deidentify_volume(ct)
    with packing_result(ct, detection.spine, folder / "scene.mrb") as scene:
        overview = draw_overview(corrected.shown, ct, detection.spine)
        write_file(folder / "overview.png", overview)
        counted = agreement(corrected.shown)
        notes = () if corrected.correction.is_empty else (counted.sentence,)
        page = report_to_html(corrected.shown, ct, detection.spine, overview, notes)
        write_file(folder / "report.html", page)
        progress(0.3)
        corrected = _timed(corrected, time.monotonic() - started)
        scene.write(corrected)
    progress(0.9)
    write_file(folder / "report.json", corrected_to_json(corrected))
    write_table(corrected.shown, folder / "vertebrae.csv", table_style)
    progress(1.0)
    return corrected.shown


def _timed(corrected: CorrectedReport, elapsed_s: float) -> CorrectedReport:
    """With the time of the pictures in the report that is shown."""
    model = corrected.model
    timings = {**model.timings_s, "scene": elapsed_s, "total": model.timings_s["total"] + elapsed_s}
    timed = replace(model, timings_s=timings)
    if model is corrected.detected:
        return replace(corrected, detected=timed)
    return replace(corrected, rescored=timed)
