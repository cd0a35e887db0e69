"""Work in a thread for whoever must not wait: files are written and read there, never MRML or Qt objects touched.

In Slicer a thread only runs while the main thread lets go of Python; ``finished`` lets go for a moment at each step.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator
from concurrent.futures import Future, wait
from pathlib import Path
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


def removeFolder(folder: Path) -> None:
    """For a thread, because a process that was told to end may hold on to its files."""
    # Windows holds on to the files of a process for a moment after it was told to end.
    for _attempt in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
