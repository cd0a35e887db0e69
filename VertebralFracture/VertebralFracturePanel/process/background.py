"""Work in a thread for whoever must not wait: files are written and read there, never MRML or Qt objects touched.

In Slicer a thread only runs while the main thread lets go of Python; ``finished`` lets go for a moment at each step.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, wait
from typing import Any

_LET_GO_S = 0.015
PAUSE_MS = 5


def finished(future: Future[Any]) -> Generator[int, None, Any]:
    """Steps until ``future`` is done, each yielding the pause in ms before the next; its result is returned.

    Raises:
        whatever the work raised.
    """
    while not future.done():
        wait([future], timeout=_LET_GO_S)
        yield PAUSE_MS
    return future.result()
