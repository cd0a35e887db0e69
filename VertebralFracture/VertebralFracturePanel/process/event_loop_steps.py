"""Work that must not let Slicer's window stand still: generators in its event loop, and threads that they wait for.

A generator yields the pause in ms before its next step. Threads read and write files and never touch MRML or Qt
objects; in Slicer they only run while the main thread releases Python, which ``finished`` does at each step.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import qt

_RELEASED_S = 0.015
_PAUSE_MS = 5
_REMOVALS, _REMOVAL_MS = 20, 100
"""Windows keeps the files of a process locked for a moment after it ended."""


class EventLoopSteps:
    """One generator at a time; a new one takes the place of the one that runs, which is closed."""

    def __init__(self) -> None:
        self._steps: Generator[int, None, Any] | None = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.step)

    @property
    def isRunning(self) -> bool:
        return self._steps is not None

    def start(self, steps: Generator[int, None, Any]) -> None:
        """Run ``steps``, which deal with their errors themselves."""
        self.stop()
        self._steps = steps
        self._timer.start(0)

    def stop(self) -> None:
        """Close what runs; its ``finally`` parts are done when this returns."""
        self._timer.stop()
        steps, self._steps = self._steps, None
        if steps is not None and not steps.gi_running:
            steps.close()

    def step(self) -> int:
        """One step now, for a script that has no event loop; gives the pause in ms before the next."""
        steps = self._steps
        if steps is None:
            return 0
        pause = 0
        try:
            pause = next(steps)
        except StopIteration:
            if self._steps is steps:
                self._steps = None
            return 0
        if self._steps is steps:
            self._timer.start(pause)
        else:
            steps.close()  # it was stopped from within its own step
        return pause


def finished(future: Future[Any]) -> Generator[int, None, Any]:
    """Steps until ``future`` is done, each yielding the pause in ms before the next; its result is returned.

    Raises:
        whatever the work raised.
    """
    while not future.done():
        wait([future], timeout=_RELEASED_S)
        yield _PAUSE_MS
    return future.result()


def removeFolder(folder: Path) -> None:
    """Remove a folder now, or from the event loop within 2 s where a process that just ended still holds its files.

    Never in a thread: while Slicer idles no thread gets to run, and what a patient's CT was written into would stay.
    """
    _tryToRemove(folder, _REMOVALS)


def _tryToRemove(folder: Path, attempts: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if attempts > 1 and folder.exists():
        qt.QTimer.singleShot(_REMOVAL_MS, lambda: _tryToRemove(folder, attempts - 1))
