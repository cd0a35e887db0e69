"""Run ``vertebral-fracture detect`` on each case in a process of its own, as a user would, and read what it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from VertebralFractureLib.research.datasets import ReferenceSpine, read_annotation
from VertebralFractureLib.research.evaluation.compare import Comparison, compare
from VertebralFractureLib.research.evaluation.image_measures import canal_noise_hu, vessel_hu
from VertebralFractureLib.result import SpineReport, report_from_json
from VertebralFractureLib.volume import read_volume


@dataclass(frozen=True)
class Case:
    """A volume, its truth, and the weights to judge it with (None: those that ship).

    ``characteristics``: what a table says of patient and scan; ``seen_by``: weights that were trained on the patient.
    """

    identifier: str
    patient: str
    volume: Path
    annotation: Path
    weights_folder: Path | None = None
    characteristics: Mapping[str, str] = field(default_factory=dict)
    seen_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseResult:
    """What the command answered; ``report`` and ``comparison`` are None when it refused the input.

    ``noise_hu`` and ``vessel_hu`` are the scan's own, measured along the true centerline by ``with_image_measures``.
    """

    case: Case
    truth: ReferenceSpine
    exit_code: int
    message: str
    wall_s: float
    peak_memory_mb: float | None
    report: SpineReport | None
    comparison: Comparison | None
    noise_hu: float | None = None
    vessel_hu: float | None = None


def run_cases(cases: Iterable[Case], folder: Path) -> Iterator[CaseResult]:
    """Run the cases one after the other; results stay in ``folder/<identifier>`` for looking at."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        yield run_case(case, folder / case.identifier)


def run_case(case: Case, output: Path) -> CaseResult:
    """Run one case and compare."""
    command = [sys.executable, "-m", "VertebralFractureLib.cli", "detect", str(case.volume)]
    command += ["--out", str(output), "--progress", "none"]
    if case.weights_folder is not None:
        command += ["--weights", str(case.weights_folder)]
    started = time.monotonic()
    said_path = output.with_name(f"{case.identifier}.log")
    with said_path.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        exit_code, peak = _wait(process)
    wall_s = time.monotonic() - started
    lines = said_path.read_text(encoding="utf-8").strip().splitlines()
    truth = read_annotation(case.annotation)
    report = None
    if exit_code in (0, 3):
        report = report_from_json((output / "report.json").read_text(encoding="utf-8"))
    message = (report.reason or "") if report is not None else (lines[-1] if lines else "")
    comparison = None if report is None else compare(report, truth)
    return CaseResult(case, truth, exit_code, message, wall_s, peak, report, comparison)


def with_image_measures(results: Iterable[CaseResult]) -> list[CaseResult]:
    """The results with each scan's noise and the density of its vessels, for when all cases have run.

    A child starts with the peak memory of its parent in its books, so this process must stay small until then.
    """
    return [result if result.report is None else _measured(result) for result in results]


def _measured(result: CaseResult) -> CaseResult:
    ct, line = read_volume(result.case.volume), result.truth.centerline
    return replace(result, noise_hu=canal_noise_hu(ct, line), vessel_hu=vessel_hu(ct, line))


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, float | None]:
    """Exit code and peak resident memory in MB of the child; the latter only where the system tells."""
    if not hasattr(os, "wait4"):
        return process.wait(), None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return process.returncode, usage.ru_maxrss * unit / 1e6
