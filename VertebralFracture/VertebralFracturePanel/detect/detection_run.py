"""One detection from the click to the nodes, in steps so short that Slicer's window never stands still.

The session beside Slicer detects, the result is read in a thread and becomes nodes one by one. All of it is one
generator: each step says how many ms to wait before the next, and giving up closes it, whose ``finally`` parts leave
the scene as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.cpr.straightened_volume import load_straightened
from VertebralFractureLib.export.scene import SceneNodes, scene_steps
from VertebralFractureLib.export.scene.result_folder import remove_result
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.result import SpineReport, report_from_json
from VertebralFracturePanel.process.event_loop_steps import finished, removeFolder
from VertebralFracturePanel.process.session_process import DETECT, OPEN, WATCH_MS, SessionProcess
from VertebralFracturePanel.process.signal import Signal

READY, RUNNING, DONE, FAILED, CANCELLED = "ready", "running", "done", "failed", "cancelled"

Steps = Generator[int, None, Any]


class RunFailed(Exception):
    """The detection gave no result; the message says why."""


class DetectionRun:
    """Runs once. Signals: ``progressed(stage, fraction)``, and ``ended()`` when ``state`` is final."""

    def __init__(self, volumeNode: Any, options: DetectionOptions | None, session: SessionProcess) -> None:
        self.progressed = Signal()
        self.ended = Signal()
        self.state = READY
        self.error = ""
        self.nodes: SceneNodes | None = None
        self.volumeNode = volumeNode
        self._options = options
        self._session = session
        self._answer: dict[str, Any] = {}
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="VertebralFracture")
        self._steps = self._work()
        self._isInStep = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._onTimer)

    def start(self) -> None:
        """Begin; everything further happens in Slicer's event loop.

        Raises:
            UnusableVolume, TorchMissing: with a sentence for the user; nothing has begun then.
        """
        self._session.start(self.volumeNode)
        self.state = RUNNING
        self._session.progressed.connect(self._onProgressed)
        self._session.failed.connect(self._onLost)
        self._session.ask(self.volumeNode, DETECT, self._onAnswer, self._options)
        self._timer.start(0)

    def wait(self) -> None:
        """Do all that is left without an event loop; Slicer's window stands still meanwhile, so this is for scripts."""
        self._timer.stop()
        while self.state == RUNNING:
            pause = self._step()
            if pause:
                self._session.letRun(pause)
        self._background.shutdown(wait=True)

    def cancel(self) -> None:
        """Give up: the state is final when this returns; the session goes on, or is ended within a second."""
        if self.state == RUNNING:
            self.state = CANCELLED
            if not self._isInStep:
                self._end()

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
        except RunFailed as error:
            self._fail(str(error))
        except Exception as error:
            logging.exception("The detection met an internal error.")
            self._fail(f"The detection met an internal error: {error}.")
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
        self._timer.deleteLater()
        self._session.progressed.disconnect(self._onProgressed)
        self._session.failed.disconnect(self._onLost)
        self._session.cancel(DETECT)
        self._steps.close()
        self._background.shutdown(wait=False)
        self.ended.emit()

    def _work(self) -> Steps:
        try:
            while not self._answer:
                yield WATCH_MS
            if "report" not in self._answer:
                raise RunFailed(self._answer["error"])
            name = self.volumeNode.GetName()
            report, spine = yield from finished(self._background.submit(readResult, self._answer, name))
            self.progressed.emit("scene", 0.1)
            writing = scene_steps(report, None, spine, self.volumeNode.GetScene(), self.volumeNode)
            return (yield from self._show(writing))
        finally:
            if "report" in self._answer:
                removeFolder(Path(self._answer["report"]).parent)

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

    def _onProgressed(self, command: str, stage: str, fraction: float) -> None:
        if command in (OPEN, DETECT):
            self.progressed.emit(stage, fraction)

    def _onAnswer(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    def _onLost(self, sentence: str, commands: tuple[str, ...]) -> None:
        if DETECT in commands:
            self._answer = {"error": sentence}


def readResult(answer: dict[str, Any], name: str) -> tuple[SpineReport, StraightenedVolume | None]:
    """In a thread, so it gets plain data: a thread that held the run could be the one that deletes its Qt objects.

    Args:
        name: of the volume; the session knows the temporary file's name only.
    """
    try:
        reportPath = Path(answer["report"])
        report = report_from_json(reportPath.read_text(encoding="utf-8"))
        spinePath = reportPath.with_name("spine.npz")
        spine = load_straightened(spinePath) if spinePath.is_file() else None
    except (OSError, ValueError, KeyError) as error:
        raise RunFailed(f"The result of the detection cannot be read: {error}.") from error
    return replace(report, input=replace(report.input, name=name)), spine
