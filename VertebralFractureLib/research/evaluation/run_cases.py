"""Run ``vertebral-fracture detect`` on each case in a process of its own, as a user would, and read what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import VertebralFractureLib
from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.cli.exit_codes import BAD_INPUT, DONE, NOT_EVALUABLE_CODE
from VertebralFractureLib.cli.output_folder import REPORT_FILE
from VertebralFractureLib.options import AUTOMATIC
from VertebralFractureLib.research.datasets import ReferenceSpine, read_annotation
from VertebralFractureLib.research.datasets.content_keys import file_sha256, key_of
from VertebralFractureLib.research.evaluation.compare import Comparison, compare
from VertebralFractureLib.research.evaluation.image_measures import canal_noise_hu, vessel_hu
from VertebralFractureLib.result import SpineReport, report_from_json
from VertebralFractureLib.volume import read_volume
from VertebralFractureLib.weights import read_manifest, weights_folder


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
    is_kept: bool = False
    """Whether an earlier run of the same program and weights on the same volume gave the answer."""


def run_cases(cases: Iterable[Case], folder: Path, device: str = AUTOMATIC) -> Iterator[CaseResult]:
    """Run the cases one after the other; results stay in ``folder/<identifier>`` for looking at.

    An answer of an earlier run is kept where volume, weights, device and the program's own code are the same; truth and
    grades are read anew every time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    code = code_key()
    weights: dict[Path | None, str] = {}
    for case in cases:
        if case.weights_folder not in weights:
            weights[case.weights_folder] = key_of(read_manifest(case.weights_folder or weights_folder()))
        key = key_of([file_sha256(case.volume), weights[case.weights_folder], device, code])
        yield run_case(case, folder / case.identifier, device, key)


def code_key() -> str:
    """A key of the program's own code without its research part: another version answers for itself."""
    package = Path(VertebralFractureLib.__file__).parent
    sources = [path for path in sorted(package.rglob("*.py")) if "research" not in path.relative_to(package).parts]
    return key_of([[path.relative_to(package).as_posix(), file_sha256(path)] for path in sources])


def run_case(case: Case, output: Path, device: str = AUTOMATIC, key: str = "") -> CaseResult:
    """Run one case, or take the answer that an earlier run left under the same ``key``, and compare."""
    record_path = output.with_name(f"{case.identifier}.done.json")
    kept = _kept_record(record_path, output, key)
    if kept is not None:
        return _result(case, output, **kept, is_kept=True)
    record_path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "VertebralFractureLib.cli", "detect", str(case.volume)]
    command += ["--out", str(output), "--progress", "none", "--device", device]
    if case.weights_folder is not None:
        command += ["--weights", str(case.weights_folder)]
    started = time.monotonic()
    said_path = output.with_name(f"{case.identifier}.log")
    with said_path.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        exit_code, peak = _wait(process)
    wall_s = time.monotonic() - started
    write_file(record_path, json.dumps({"key": key, "exit_code": exit_code, "wall_s": wall_s, "peak_memory_mb": peak}))
    return _result(case, output, exit_code, wall_s, peak)


def _kept_record(path: Path, output: Path, key: str) -> dict[str, Any] | None:
    """Exit code, time and memory of an earlier run under the same key; None where there is none or its files are gone.

    A run that somebody broke off or that failed for a reason of its own is not kept.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not key or content.pop("key") != key or content["exit_code"] not in (DONE, BAD_INPUT, NOT_EVALUABLE_CODE):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    is_there = content["exit_code"] == BAD_INPUT or (output / REPORT_FILE).is_file()
    return content if is_there else None


def _result(
    case: Case,
    output: Path,
    exit_code: int,
    wall_s: float,
    peak_memory_mb: float | None,
    *,
    is_kept: bool = False,
) -> CaseResult:
    """The answer that lies in ``output`` beside the truth as it is now."""
    lines = output.with_name(f"{case.identifier}.log").read_text(encoding="utf-8").strip().splitlines()
    truth = read_annotation(case.annotation)
    report = None
    if exit_code in (DONE, NOT_EVALUABLE_CODE):
        report = report_from_json((output / REPORT_FILE).read_text(encoding="utf-8"))
    message = (report.reason or "") if report is not None else (lines[-1] if lines else "")
    comparison = None if report is None else compare(report, truth)
    return CaseResult(case, truth, exit_code, message, wall_s, peak_memory_mb, report, comparison, is_kept=is_kept)


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
