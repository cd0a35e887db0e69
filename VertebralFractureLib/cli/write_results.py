"""Write ``scene.mrb``, ``report.json``, ``vertebrae.csv`` and ``overview.png`` of one detection into a folder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from VertebralFractureLib.pipeline import Detection
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.report import SpineReport, report_to_csv, report_to_json
from VertebralFractureLib.report.overview import write_overview
from VertebralFractureLib.scene import new_scene, save_mrb, write_scene


def write_results(detection: Detection, folder: Path, progress: StageProgress) -> SpineReport:
    """Write the four files; the report that was written, with the time of the picture in it, is returned.

    The time to pack the scene itself cannot be inside the scene, so ``timings_s["scene"]`` ends before that.

    Raises:
        OSError, OutputRefused: when the disk refuses.
        Cancelled: from ``progress``.
    """
    started = time.monotonic()
    progress(0.0)
    write_overview(detection.report, detection.ct, detection.spine, folder / "overview.png")
    progress(0.3)
    elapsed = time.monotonic() - started
    timings = detection.report.timings_s
    report = replace(detection.report, timings_s={**timings, "scene": elapsed, "total": timings["total"] + elapsed})
    scene = new_scene()
    write_scene(report, detection.ct, detection.spine, scene)
    progress(0.5)
    save_mrb(scene, folder / "scene.mrb")
    progress(0.9)
    (folder / "report.json").write_text(report_to_json(report), encoding="utf-8")
    (folder / "vertebrae.csv").write_text(report_to_csv(report), encoding="utf-8")
    progress(1.0)
    return report
