"""A Python process beside Slicer that speaks one JSON object per line, and that ends when it is told to.

It is told by closing its standard input, which reaches the program even through a launcher; when that was not enough,
it is killed with everything that it started. Nothing here waits, except what says so.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import deque
from pathlib import Path
from typing import Any

import qt

from VertebralFractureLib.checked_json import parse_json
from VertebralFracturePanel.process.process_tree import endProcesses, processTree
from VertebralFracturePanel.process.signal import Signal

GRACE_MS = 300
KILL_WAIT_MS = 1000
_KEPT_LOG_LINES = 20
_LONGEST_LINE_BYTES = 16_000_000


def slicerPython() -> str:
    """The Python that Slicer brings for processes of their own; outside Slicer, this Python."""
    return shutil.which("PythonSlicer") or sys.executable


class JsonProcess:
    """Runs ``python -m MODULE ARGUMENTS``.

    Signals: ``messageReceived(dict)`` for each JSON line of standard output, ``ended(exitCode)`` once, at the very end.
    """

    def __init__(self, python: str | None = None) -> None:
        self.messageReceived = Signal()
        self.ended = Signal()
        self._python = python or slicerPython()
        self._log: deque[str] = deque(maxlen=_KEPT_LOG_LINES)
        self._unfinishedLine = b""
        self.hasEnded = False
        self._hasCrashed = False
        self._isAborted = False
        self._exitCode = 0
        self._toEnd: list[int] = []
        self._process = qt.QProcess()
        self._process.readyReadStandardOutput.connect(self._onOutput)
        self._process.readyReadStandardError.connect(self._onLog)
        self._process.finished.connect(self._onFinished)
        self._process.errorOccurred.connect(self._onError)
        self._killTimer = qt.QTimer()
        self._killTimer.setSingleShot(True)
        self._killTimer.timeout.connect(self._endTree)

    def start(self, module: str, arguments: list[str], folder: Path) -> None:
        """``folder`` becomes the working folder, so that Python finds ``module`` there."""
        self._process.setWorkingDirectory(str(folder))
        self._process.start(self._python, ["-m", module, *arguments])

    def send(self, message: dict[str, Any]) -> None:
        """Write one JSON line to the program's standard input; nothing happens when it is not running."""
        if self.isRunning:
            self._process.write((json.dumps(message) + "\n").encode("utf-8"))

    def stop(self) -> None:
        """Ask the program to end, and kill it with all its children when it does not within ``GRACE_MS``."""
        if not self.isRunning or self._isAborted:
            return
        self._toEnd = processTree(self._process.processId())
        self._process.closeWriteChannel()
        self._killTimer.start(GRACE_MS)

    def kill(self) -> None:
        """``abort``, and wait for it; for the moment in which the application ends."""
        if self.isRunning:
            self.abort()
            self._process.waitForFinished(KILL_WAIT_MS)

    def abort(self) -> None:
        """End the program and all its children without asking."""
        if self.isRunning:
            self._isAborted = True
            self._toEnd = processTree(self._process.processId())
            self._endTree()

    def letRun(self, milliseconds: int) -> bool:
        """Handle what the program says for so long, without an event loop; False at once when it is not running."""
        if not self.isRunning:
            return False
        self._process.waitForFinished(milliseconds)
        return True

    @property
    def isRunning(self) -> bool:
        return self._process.state() != qt.QProcess.NotRunning

    @property
    def isOver(self) -> bool:
        """Whether it has ended, or was never started, and nothing of what it started is to be killed any more."""
        return not self.isRunning and not self._toEnd

    def release(self) -> None:
        """Give the Qt objects back, when it is over; left to the garbage collector, any thread could delete them."""
        self._killTimer.deleteLater()
        self._process.deleteLater()

    @property
    def explanation(self) -> str:
        """Why a program that ended without an answer did so: what is known, its last lines, and a hint."""
        how = "It was ended by the system" if self._hasCrashed else f"exit code {self._exitCode}"
        words = f"The process beside Slicer ended without an answer ({how}). {self._hint}".strip()
        return f"{words}\n\n{self.log}".strip()

    @property
    def _hint(self) -> str:
        if "No module named 'torch'" in self.log or "libtorch" in self.log:
            return "PyTorch is not complete: repair it in the PyTorch module, then restart Slicer."
        if self._hasCrashed or "MemoryError" in self.log or "not enough memory" in self.log:
            return "Often memory is short: close other volumes or programs, or crop the CT to the spine."
        return "Try again; if it stays, report the lines below."

    @property
    def log(self) -> str:
        """The last lines that the program wrote beside its messages."""
        return "\n".join(self._log)

    def _onOutput(self) -> None:
        received = self._unfinishedLine + _bytes(self._process.readAllStandardOutput())
        *lines, self._unfinishedLine = received.split(b"\n")
        # What is no message must not fill Slicer's memory.
        self._unfinishedLine = self._unfinishedLine[:_LONGEST_LINE_BYTES]
        for line in lines:
            text = line.decode("utf-8", errors="replace").strip()
            try:
                message = parse_json(text)
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
        self._hasCrashed = self._process.exitStatus() == qt.QProcess.CrashExit
        self._onOutput()
        self._onLog()
        self._end(exitCode)

    def _onError(self, *_error: Any) -> None:
        """Only a process that did not even start ends here: every other error is followed by ``finished``."""
        if self._process.error() == qt.QProcess.FailedToStart:
            self._log.append(f"{Path(self._python).name} could not be started.")
            self._end(-1)

    def _end(self, exitCode: int) -> None:
        if not self.hasEnded:
            self.hasEnded = True
            self._exitCode = exitCode
            self.ended.emit(exitCode)

    def _endTree(self) -> None:
        endProcesses(self._toEnd)
        self._toEnd = []


def _bytes(array: Any) -> bytes:
    return bytes(array.data())
