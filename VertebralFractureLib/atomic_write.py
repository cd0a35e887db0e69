"""A file that is complete or the one that was there before: written beside its place, then moved in, in one go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def partial_of(path: Path) -> Path:
    """Where ``atomic_write`` writes what becomes ``path``: for whoever tidies up behind a program that was killed."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it becomes ``path`` when the block ends well, and vanishes when not.

    A program that is killed in between leaves the former file as it was, and the unfinished one hidden beside it, which
    the next try replaces.

    Raises:
        OSError: when the folder is not there, or the disk refuses.
    """
    partial = partial_of(path)
    try:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
