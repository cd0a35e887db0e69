"""One detection beside Slicer: the volume goes out through a temporary folder, the result is read back from there.

A job runs once. Its state is one of ``READY``, ``RUNNING``, ``DONE``, ``FAILED`` and ``CANCELLED``, and it removes its
folder itself.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import VertebralFractureLib
from VertebralFractureLib.report import SpineReport, report_from_json
from VertebralFractureLib.spine import SpineVolume
from VertebralFractureLib.spine.spine_file import load_spine
from VertebralFractureLib.volume import CTVolume, write_volume
from VertebralFracturePanel.signal import Signal
from VertebralFracturePanel.worker_process import WorkerProcess

READY, RUNNING, DONE, FAILED, CANCELLED = "ready", "running", "done", "failed", "cancelled"
WORKER_MODULE = "VertebralFractureLib.worker"
LIBRARY_FOLDER = Path(VertebralFractureLib.__file__).resolve().parent.parent


class DetectionJob:
    """Signals: ``progressed(stage, fraction)`` and, once, ``ended()``."""

    def __init__(self, ct: CTVolume, createProcess: Callable[[], Any] = WorkerProcess) -> None:
        self.progressed = Signal()
        self.ended = Signal()
        self.state = READY
        self.error = ""
        self.report: SpineReport | None = None
        self.spine: SpineVolume | None = None
        self._ct = ct
        self._answer: dict[str, Any] = {}
        self._process = createProcess()
        self._process.messageReceived.connect(self._onMessage)
        self._process.ended.connect(self._onProcessEnded)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> None:
        """Write the volume and start the worker."""
        self._folder = tempfile.TemporaryDirectory(prefix="VertebralFracture-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        # Not compressed by name: .nrrd keeps a sheared grid, which NIfTI would not.
        write_volume(self._ct, folder / "input.nrrd")
        request = {
            "input": str(folder / "input.nrrd"),
            "output": str(folder / "result"),
            "stop_when_input_closes": True,
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        self.state = RUNNING
        self._process.start(WORKER_MODULE, [str(folder / "request.json")], LIBRARY_FOLDER)

    def cancel(self) -> None:
        """End the worker; does nothing when the job is not running."""
        if self.state == RUNNING:
            self.state = CANCELLED
            self._process.stop()

    def wait(self) -> None:
        """Block until the job has ended."""
        if self.state == RUNNING:
            self._process.wait()

    def _onMessage(self, message: dict[str, Any]) -> None:
        if "stage" in message:
            if self.state == RUNNING:
                self.progressed.emit(message["stage"], float(message["fraction"]))
        else:
            self._answer = message

    def _onProcessEnded(self, exitCode: int) -> None:
        if self.state == RUNNING:
            self._readResult(exitCode)
        if self._folder is not None:
            self._folder.cleanup()
        self.ended.emit()

    def _readResult(self, exitCode: int) -> None:
        self.state = FAILED
        if "done" not in self._answer:
            unexplained = f"The detection ended without an answer (exit code {exitCode}).\n\n{self._process.log}"
            self.error = self._answer.get("error") or unexplained.strip()
            return
        try:
            reportPath = Path(self._answer["report"])
            report = report_from_json(reportPath.read_text(encoding="utf-8"))
            spinePath = reportPath.with_name("spine.npz")
            self.spine = load_spine(spinePath) if spinePath.is_file() else None
        except (OSError, ValueError, KeyError) as error:
            self.error = f"The result of the detection cannot be read: {error}."
            return
        # The worker knows the temporary file's name only.
        self.report = replace(report, input=replace(report.input, name=self._ct.name))
        self.state = DONE
