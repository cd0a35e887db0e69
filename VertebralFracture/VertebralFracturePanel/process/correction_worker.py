"""One resident worker for all corrections of the panel: started when it is needed first, ended when nobody needs it.

It keeps a CT and PyTorch in memory, so it does not outlive its use for long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFracturePanel.detect.torch_installer import TorchMissing
from VertebralFracturePanel.detect.volume_export import UnusableVolume
from VertebralFracturePanel.process.resident_worker import OnAnswer, ResidentWorker
from VertebralFracturePanel.process.signal import Signal

CURVE_COMMANDS = ("repair", "draw", "rescore")
"""The requests that a newer curve makes pointless."""
IDLE_MS = 60_000
_GONE_MS = 1000


class CorrectionWorker:
    """Signals: ``progressed(stage, fraction)``, ``failed(sentence)``; the requests that waited are lost then."""

    def __init__(self, startWorker: Callable[[SceneNodes], ResidentWorker]) -> None:
        """
        Args:
            startWorker: gives a resident worker for a result; raises ``UnusableVolume`` or ``TorchMissing``.
        """
        self.progressed = Signal()
        self.failed = Signal()
        self._startWorker = startWorker
        self._worker: ResidentWorker | None = None
        self._table: Any = None
        self._ended: list[ResidentWorker] = []
        self._isHeld = False
        self._idleTimer = qt.QTimer()
        self._idleTimer.setSingleShot(True)
        self._idleTimer.timeout.connect(self._onIdle)

    @property
    def isBusy(self) -> bool:
        return self._worker is not None and self._worker.isBusy

    def isAsked(self, *commands: str) -> bool:
        """Whether a request of one of these commands waits for its answer."""
        return self._worker is not None and self._worker.isAsked(*commands)

    @property
    def volumeNode(self) -> Any:
        """The volume that the running worker has; None without one."""
        return None if self._worker is None else self._worker.volumeNode

    def hold(self, isHeld: bool) -> None:
        """Keep the worker although nothing is asked, as long as somebody edits."""
        self._isHeld = isHeld
        self._rest()

    def ask(self, nodes: SceneNodes, command: str, onAnswer: OnAnswer, **fields: Any) -> bool:
        """Put a request about a result; gives whether there is a worker that will answer."""
        if self._worker is not None and nodes.table is not self._table:
            self.end()
        if self._worker is None:
            self._releaseEnded()
            try:
                worker = self._startWorker(nodes)
            except (UnusableVolume, TorchMissing) as error:
                self.failed.emit(str(error))
                return False
            worker.progressed.connect(self.progressed.emit)
            worker.failed.connect(self._onFailed)
            self._worker, self._table = worker, nodes.table
        self._worker.ask(command, onAnswer, **fields)
        self._rest()
        return True

    def cancel(self, *commands: str) -> None:
        """Give up the requests of these commands; no answer to them comes any more."""
        if self._worker is not None:
            self._worker.cancel(*commands)
            self._rest()

    def end(self) -> None:
        """The worker is told to end."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()
            self._ended.append(worker)  # Qt must not delete a process that is still ending.
        self._idleTimer.start(_GONE_MS)

    def endNow(self) -> None:
        """The panel is going: no process is left when this returns."""
        self.end()
        self._idleTimer.stop()
        for worker in self._ended:
            worker.endNow()
        self._releaseEnded()

    def _rest(self) -> None:
        if self._worker is not None and not self._isHeld:
            self._idleTimer.start(IDLE_MS)

    def _onIdle(self) -> None:
        self._releaseEnded()
        if self._ended:
            self._idleTimer.start(_GONE_MS)
        if self._worker is None or self._isHeld:
            return
        if self._worker.isBusy:
            self._rest()
        else:
            self.end()

    def _onFailed(self, sentence: str) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._ended.append(worker)
        self._idleTimer.start(_GONE_MS)
        self.failed.emit(sentence)

    def _releaseEnded(self) -> None:
        for worker in [worker for worker in self._ended if worker.isOver]:
            self._ended.remove(worker)
            worker.release()
