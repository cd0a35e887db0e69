"""A signal in plain Python: custom ``qt.Signal`` objects cannot be used with PythonQt.

Listeners are called in the order in which they were connected, on the thread that emits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """``connect`` functions, then ``emit`` to call them all."""

    def __init__(self) -> None:
        self._listeners: list[Callable[..., Any]] = []

    def connect(self, listener: Callable[..., Any]) -> None:
        self._listeners.append(listener)

    def disconnect(self, listener: Callable[..., Any]) -> None:
        self._listeners.remove(listener)

    def emit(self, *arguments: Any) -> None:
        for listener in list(self._listeners):
            listener(*arguments)
