"""A Python process beside Slicer that speaks one JSON object per line, and that ends when it is told to.

It is told by closing its standard input, which reaches the worker even through a launcher; it is killed when that was
not enough.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import deque
from pathlib import Path
from typing import Any

import qt

from VertebralFracturePanel.signal import Signal

GRACE_MS = 3000
_KEPT_LOG_LINES = 20


def slicerPython() -> str:
    """The Python that Slicer brings for processes of their own; outside Slicer, this Python."""
    return shutil.which("PythonSlicer") or sys.executable


class WorkerProcess:
    """Runs ``python -m MODULE ARGUMENTS``.

    Signals: ``messageReceived(dict)`` for each JSON line of standard output, ``ended(exitCode)`` once, at the very end.
    """

    def __init__(self, python: str | None = None) -> None:
        self.messageReceived = Signal()
        self.ended = Signal()
        self._python = python or slicerPython()
        self._log: deque[str] = deque(maxlen=_KEPT_LOG_LINES)
        self._unfinishedLine = b""
        self._hasEnded = False
        self._process = qt.QProcess()
        self._process.readyReadStandardOutput.connect(self._onOutput)
        self._process.readyReadStandardError.connect(self._onLog)
        self._process.finished.connect(self._onFinished)
        self._process.errorOccurred.connect(self._onError)

    def start(self, module: str, arguments: list[str], folder: Path) -> None:
        """``folder`` becomes the working folder, so that Python finds ``module`` there."""
        self._process.setWorkingDirectory(str(folder))
        self._process.start(self._python, ["-m", module, *arguments])

    def stop(self) -> None:
        """Ask the worker to end and make sure that it does; ``ended`` is emitted before this returns."""
        if self._process.state() == qt.QProcess.NotRunning:
            return
        self._process.closeWriteChannel()
        if not self._process.waitForFinished(GRACE_MS):
            self._process.kill()
            self._process.waitForFinished(GRACE_MS)

    def wait(self) -> None:
        """Block until the worker has ended; Slicer's window stands still meanwhile, so this is for scripts."""
        self._process.waitForFinished(-1)

    @property
    def log(self) -> str:
        """The last lines that the worker wrote beside its messages."""
        return "\n".join(self._log)

    def _onOutput(self) -> None:
        *lines, self._unfinishedLine = (self._unfinishedLine + _bytes(self._process.readAllStandardOutput())).split(
            b"\n"
        )
        for line in lines:
            text = line.decode("utf-8", errors="replace").strip()
            try:
                message = json.loads(text)
            except ValueError:
                message = None
            if isinstance(message, dict):
                self.messageReceived.emit(message)
            elif text:
                self._log.append(text)

    def _onLog(self) -> None:
        text = _bytes(self._process.readAllStandardError()).decode("utf-8", errors="replace")
        self._log.extend(line for line in text.splitlines() if line.strip())

    def _onFinished(self, exitCode: int, *_status: Any) -> None:
        self._onOutput()
        self._onLog()
        self._end(exitCode)

    def _onError(self, *_error: Any) -> None:
        """Only a process that did not even start ends here: every other error is followed by ``finished``."""
        if self._process.error() == qt.QProcess.FailedToStart:
            self._log.append(f"{Path(self._python).name} could not be started.")
            self._end(-1)

    def _end(self, exitCode: int) -> None:
        if not self._hasEnded:
            self._hasEnded = True
            self.ended.emit(exitCode)


def _bytes(array: Any) -> bytes:
    return bytes(array.data())
