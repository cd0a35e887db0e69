"""The worker that stays, seen from the panel: it gets one volume, then answers one request after the other.

Requests may be made at once; they wait until the volume is handed over and the worker is ready. Everything happens in
Slicer's event loop, in short steps.
"""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import qt

from VertebralFractureLib.cli.exit_codes import CANCELLED
from VertebralFractureLib.options import DetectionOptions
from VertebralFracturePanel.detect import detection_run
from VertebralFracturePanel.detect.acquisition_facts import acquisitionFacts
from VertebralFracturePanel.detect.detection_run import WATCH_MS, removeFolder
from VertebralFracturePanel.detect.volume_export import UnusableVolume, exportOf
from VertebralFracturePanel.detect.volume_transfer import handOver
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.process.worker_process import WorkerProcess

STARTING = "starting"
"""Stage of ``progressed`` until the worker is ready."""

Answer = dict[str, Any]
OnAnswer = Callable[[Answer], None]


class ResidentWorker:
    """Signals: ``progressed(stage, fraction)``; ``failed(sentence)`` once, when it ended without being told to."""

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
        self.failed = Signal()
        self.volumeNode = volumeNode
        self._export = exportOf(volumeNode)
        self._options = options or DetectionOptions()
        self._process = createProcess()
        self._process.messageReceived.connect(self._onMessage)
        self._process.ended.connect(self._onEnded)
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="VertebralFracture")
        self._folder = Path(tempfile.mkdtemp(prefix="VertebralFracture-"))
        self._isReady = False
        self._hasEnded = False
        self._number = 0
        self._waiting: list[dict[str, Any]] = []
        self._listeners: dict[int, tuple[str, OnAnswer]] = {}
        self._steps = self._start()
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._step)
        self._timer.start(0)

    @property
    def isBusy(self) -> bool:
        """Whether a request waits for its answer."""
        return bool(self._listeners)

    def isAsked(self, *commands: str) -> bool:
        """Whether a request of one of these commands waits for its answer."""
        return any(command in commands for command, _ in self._listeners.values())

    @property
    def hasEnded(self) -> bool:
        """Whether it was told to end, or ended by itself: it answers nothing any more."""
        return self._hasEnded

    @property
    def isOver(self) -> bool:
        """Whether its process is gone too."""
        return self._hasEnded and self._process.isOver

    def ask(self, command: str, onAnswer: OnAnswer, **fields: Any) -> None:
        """Put a request (``docs/reference/worker.md``); ``onAnswer`` gets the last line of the answer."""
        if self._hasEnded:
            return
        self._number += 1
        self._listeners[self._number] = (command, onAnswer)
        if command in ("detect", "rescore"):
            fields["output"] = str(self._folder / f"answer-{self._number}")
        request = {"id": self._number, "command": command, **fields}
        if self._isReady:
            self._process.send(request)
        else:
            self._waiting.append(request)

    def wait(self) -> None:
        """Until every request is answered, without an event loop; Slicer's window stands still meanwhile."""
        while self._listeners and not self._hasEnded:
            self._timer.stop()
            if not self._isReady:
                self._step()
            if not self._process.letRun(WATCH_MS):
                time.sleep(WATCH_MS / 1000)

    def cancel(self, *commands: str) -> None:
        """Give up the requests of these commands; none of them is answered any more."""
        numbers = [number for number, (command, _) in self._listeners.items() if command in commands]
        for number in numbers:
            del self._listeners[number]
            if self._isReady:
                self._process.send({"command": "cancel", "id": number})
        self._waiting = [request for request in self._waiting if request["id"] not in numbers]

    def end(self) -> None:
        """Tell it to end; its process tree is gone within a second."""
        if not self._hasEnded:
            self._hasEnded = True
            self._listeners.clear()
            self._timer.stop()
            self._steps.close()
            self._process.stop()
            self._background.submit(removeFolder, self._folder)
            self._background.shutdown(wait=False)

    def endNow(self) -> None:
        """``end`` for the moment in which the application ends: the process is gone when this returns."""
        self.end()
        self._process.kill()

    def release(self) -> None:
        """Give the Qt objects back on the thread that they belong to; call it once, when it ``isOver``."""
        self._timer.deleteLater()
        self._process.release()

    def _step(self) -> None:
        try:
            pause = next(self._steps)
        except StopIteration:
            return
        except UnusableVolume as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"A file could not be written: {error.strerror or error}.")
        else:
            if not self._hasEnded:
                self._timer.start(pause)

    def _start(self) -> Generator[int, None, None]:
        wrote = functools.partial(self._tell, STARTING)
        yield from handOver(self._export, self._folder / "input.nrrd", self._background, wrote)
        request = {
            "input": str(self._folder / "input.nrrd"),
            "resident": True,
            "acquisition": acquisitionFacts(self.volumeNode),
            **self._options.to_request(),
        }
        path = self._folder / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        self._process.start(detection_run.WORKER_MODULE, [str(path)], detection_run.LIBRARY_FOLDER)
        while not self._isReady and not self._process.hasEnded:
            yield WATCH_MS

    def _tell(self, stage: str, fraction: float) -> None:
        self.progressed.emit(stage, fraction)

    def _onMessage(self, message: dict[str, Any]) -> None:
        if self._hasEnded:
            return
        number = message.get("id")
        if message.get("ready"):
            self._isReady = True
            for request in self._waiting:
                self._process.send(request)
            self._waiting.clear()
        elif number is None and "error" in message:
            self._fail(str(message["error"]))
        elif number in self._listeners:
            if "stage" in message:
                self.progressed.emit(message["stage"], float(message["fraction"]))
            else:
                _, onAnswer = self._listeners.pop(number)
                if message.get("exit_code") != CANCELLED:
                    onAnswer(message)

    def _onEnded(self, _exitCode: int) -> None:
        if not self._hasEnded:
            self._fail(self._process.explanation)

    def _fail(self, sentence: str) -> None:
        if not self._hasEnded:
            self.end()
            self.failed.emit(sentence)
