"""Progress and cancellation that the long steps share.

A step calls ``progress(fraction)`` now and then; the call raises ``Cancelled`` when the user asked to stop, so that no
step needs a second mechanism.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from VertebralFractureLib.errors import Cancelled

STAGES = ("read", "canal", "cpr", "vertebrae", "fracture", "scene")

ProgressListener = Callable[[str, float], None]
"""Called with the stage's name (one of ``STAGES``) and the fraction of that stage, 0 to 1."""


class CancelToken:
    """Set from another thread or a signal handler; read by the running step."""

    def __init__(self) -> None:
        self._event = Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()


@dataclass(frozen=True)
class StageProgress:
    """What a step is handed: call it with a fraction from 0 to 1.

    Raises:
        Cancelled: when the token was set since the last call.
    """

    stage: str
    listener: ProgressListener | None = None
    token: CancelToken = field(default_factory=CancelToken)

    def __call__(self, fraction: float) -> None:
        if self.token.cancelled:
            raise Cancelled(f"Cancelled by the user during the stage '{self.stage}'.")
        if self.listener is not None:
            self.listener(self.stage, min(max(fraction, 0.0), 1.0))
