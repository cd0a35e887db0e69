"""Requests to stop (Ctrl-C, a closed terminal, a shutdown) become an exception, so that unfinished files go away."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from VertebralFractureLib.cli.terminal import warn
from VertebralFractureLib.progress import CancelToken

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGBREAK")
"""Those that the system knows: Windows has neither SIGHUP nor SIGQUIT, and no other has SIGBREAK (Ctrl-Break)."""


@contextmanager
def interrupt_on_stop_signals() -> Iterator[None]:
    """Every request to stop interrupts at once, as Ctrl-C does."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with _handled_by(interrupt):
        yield


@contextmanager
def cancel_on_stop_signals(token: CancelToken) -> Iterator[None]:
    """The first request to stop is followed at the next step; a second one interrupts at once."""

    def cancel() -> None:
        if token.cancelled:
            raise KeyboardInterrupt
        token.cancel()
        warn("", "Stopping ...")

    with _handled_by(cancel):
        yield


@contextmanager
def _handled_by(stop: Callable[[], None]) -> Iterator[None]:
    """A signal that whoever started the program has it ignore (``nohup``) stays ignored."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    known = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in known}
    for number, handler in former.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in former.items():
            if handler is not None:
                signal.signal(number, handler)
