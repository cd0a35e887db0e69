"""Work in short steps in Slicer's event loop: a generator that yields the pause in ms before its next step."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import qt


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
