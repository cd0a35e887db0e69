"""One detection from the click to the nodes, in steps so short that Slicer's window never stands still.

The volume goes out slab by slab into a temporary folder, a process of its own detects, the result is read in a thread
and becomes nodes one by one. All of it is one generator: each step says how many ms to wait before the next, and giving
up closes it, whose ``finally`` parts end the process and leave the scene as it was.
"""

from __future__ import annotations

import functools
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt

import VertebralFractureLib
from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.cpr.straightened_volume import load_straightened
from VertebralFractureLib.export.scene import SceneNodes, scene_steps
from VertebralFractureLib.export.scene.remove_result import remove_result
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.result import SpineReport, report_from_json
from VertebralFracturePanel.detect.acquisition_facts import acquisitionFacts
from VertebralFracturePanel.detect.progress_estimate import HANDOVER
from VertebralFracturePanel.detect.volume_export import UnusableVolume, exportOf
from VertebralFracturePanel.detect.volume_transfer import handOver
from VertebralFracturePanel.process.background import finished
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.process.worker_process import WorkerProcess

READY, RUNNING, DONE, FAILED, CANCELLED = "ready", "running", "done", "failed", "cancelled"
WORKER_MODULE = "VertebralFractureLib.worker"
LIBRARY_FOLDER = Path(VertebralFractureLib.__file__).resolve().parent.parent
WATCH_MS = 20

Steps = Generator[int, None, Any]


class RunFailed(Exception):
    """The detection gave no result; the message says why."""


class DetectionRun:
    """Runs once. Signals: ``progressed(stage, fraction)``, and ``ended()`` when ``state`` is final."""

    def __init__(
        self,
        volumeNode: Any,
        options: DetectionOptions | None = None,
        createProcess: Callable[[], WorkerProcess] = WorkerProcess,
    ) -> None:
        """
        Raises:
            UnusableVolume: when the node cannot be examined.
        """
        self.progressed = Signal()
        self.ended = Signal()
        self.state = READY
        self.error = ""
        self.nodes: SceneNodes | None = None
        self.volumeNode = volumeNode
        self._export = exportOf(volumeNode)
        self._options = options or DetectionOptions()
        self._process = createProcess()
        self._process.messageReceived.connect(self._onMessage)
        self._answer: dict[str, Any] = {}
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="VertebralFracture")
        self._steps = self._work()
        self._isInStep = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._onTimer)

    def start(self) -> None:
        """Begin; everything further happens in Slicer's event loop."""
        self.state = RUNNING
        self._timer.start(0)

    def wait(self) -> None:
        """Do all that is left without an event loop; Slicer's window stands still meanwhile, so this is for scripts."""
        self._timer.stop()
        while self.state == RUNNING:
            pause = self._step()
            if pause and not self._process.letRun(pause):
                time.sleep(pause / 1000)
        self._background.shutdown(wait=True)

    def cancel(self) -> None:
        """Give up: the state is final when this returns, and the process tree ends within a second."""
        if self.state == RUNNING:
            self.state = CANCELLED
            if not self._isInStep:
                self._end()

    def endNow(self) -> None:
        """``cancel`` for the moment in which the application ends: the process is gone when this returns."""
        self.cancel()
        self._process.kill()

    @property
    def isOver(self) -> bool:
        """Whether the worker process is gone too."""
        return self.state not in (READY, RUNNING) and self._process.isOver

    def release(self) -> None:
        """Give the Qt objects back on the thread that they belong to; call it once, when the run ``isOver``."""
        self._timer.deleteLater()
        self._process.release()

    def _onTimer(self) -> None:
        if self.state == RUNNING:
            pause = self._step()
            if self.state == RUNNING:
                self._timer.start(pause)

    def _step(self) -> int:
        """One step; gives the pause in ms before the next. What it does to the scene can lead to ``cancel``."""
        self._isInStep = True
        pause = 0
        try:
            pause = next(self._steps)
        except StopIteration as end:
            if self.state == RUNNING:
                self.nodes = end.value
                self.state = DONE
            elif self.volumeNode.GetScene() is not None:  # cancelled from within the last step
                remove_result(self.volumeNode.GetScene(), end.value)
        except (RunFailed, UnusableVolume) as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"A file could not be written or read: {error.strerror or error}.")
        except Exception as error:
            logging.exception("The detection met a defect of the program.")
            self._fail(f"The detection met a defect of the program: {error}.")
        finally:
            self._isInStep = False
        if self.state != RUNNING:
            self._end()
        return pause

    def _fail(self, error: str) -> None:
        if self.state == RUNNING:
            self.state = FAILED
            self.error = error

    def _end(self) -> None:
        self._timer.stop()
        self._steps.close()
        self._background.shutdown(wait=False)
        self.ended.emit()

    def _work(self) -> Steps:
        folder = Path(tempfile.mkdtemp(prefix="VertebralFracture-"))
        try:
            wrote = functools.partial(self.progressed.emit, HANDOVER)
            yield from handOver(self._export, folder / "input.nrrd", self._background, wrote)
            yield from self._detect(folder)
            report, spine = yield from finished(self._background.submit(readResult, self._answer, self._export.name))
            self.progressed.emit("scene", 0.1)
            writing = scene_steps(report, None, spine, self.volumeNode.GetScene(), self.volumeNode)
            return (yield from self._show(writing))
        finally:
            self._process.stop()
            self._background.submit(removeFolder, folder)

    def _detect(self, folder: Path) -> Steps:
        request = {
            "input": str(folder / "input.nrrd"),
            "output": str(folder / "result"),
            "stop_when_input_closes": True,
            "acquisition": acquisitionFacts(self.volumeNode),
            **self._options.to_request(),
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        self._process.start(WORKER_MODULE, [str(folder / "request.json")], LIBRARY_FOLDER)
        while not self._process.hasEnded:
            yield WATCH_MS
        if "done" not in self._answer:
            raise RunFailed(self._answer.get("error") or self._process.explanation)

    def _show(self, writing: Generator[float, None, SceneNodes]) -> Steps:
        try:
            while True:
                try:
                    fraction = next(writing)
                except StopIteration as end:
                    return end.value
                self.progressed.emit("scene", 0.1 + 0.9 * fraction)
                yield 0
        finally:
            writing.close()

    def _onMessage(self, message: dict[str, Any]) -> None:
        if "stage" in message:
            if self.state == RUNNING:
                self.progressed.emit(message["stage"], float(message["fraction"]))
        else:
            self._answer = message


def readResult(answer: dict[str, Any], name: str) -> tuple[SpineReport, StraightenedVolume | None]:
    """In a thread, so it gets plain data: a thread that held the run could be the one that deletes its Qt objects.

    Args:
        name: of the volume; the worker knows the temporary file's name only.
    """
    try:
        reportPath = Path(answer["report"])
        report = report_from_json(reportPath.read_text(encoding="utf-8"))
        spinePath = reportPath.with_name("spine.npz")
        spine = load_straightened(spinePath) if spinePath.is_file() else None
    except (OSError, ValueError, KeyError) as error:
        raise RunFailed(f"The result of the detection cannot be read: {error}.") from error
    return replace(report, input=replace(report.input, name=name)), spine


def removeFolder(folder: Path) -> None:
    """For a thread, because a process that was told to end may hold on to its files."""
    # Windows holds on to the files of a process for a moment after it was told to end.
    for _attempt in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
