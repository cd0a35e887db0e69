"""Write a file atomically: into a hidden folder beside its target, fsync, rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def partial_folder(path: Path) -> Path:
    """The folder in which ``atomic_write`` builds what becomes ``path``."""
    return path.with_name(f".{path.name}.partial")


def discard_partial(path: Path) -> None:
    """Remove what a program that was killed left behind while it wrote ``path``."""
    shutil.rmtree(partial_folder(path), ignore_errors=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file atomically (temporary file in a hidden folder beside it, fsync, rename).

    Yields a path of the same file name, because many writers choose the format by the name's ending and some put the
    name into the file. Files that a writer adds beside it (the voxels of an ``.mhd``) are moved before it, so that the
    file itself never names what is not there. When the block raises, nothing changes.

    A program that is killed in between leaves the former file as it was, and the unfinished one in
    ``partial_folder(path)``, which the next try replaces.

    Raises:
        OSError: when the folder is not there, or the disk refuses.
    """
    discard_partial(path)
    folder = partial_folder(path)
    folder.mkdir()
    try:
        partial = folder / path.name
        yield partial
        if not partial.is_file():
            raise FileNotFoundError(2, "nothing was written", str(path))
        for written in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            with written.open("rb+") as file:
                os.fsync(file.fileno())
            written.replace(path.parent / written.name)
    finally:
        discard_partial(path)
