"""Write a file atomically: into a private folder beside its target, checked, fsync, rename."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from VertebralFractureLib.private_folders import private_folder


@contextmanager
def atomic_write(path: Path, check: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Write a file atomically (temporary file in a private folder beside it, fsync, rename).

    Yields a path of the same file name, because many writers choose the format by the name's ending and some put the
    name into the file. Files that a writer adds beside it (the voxels of an ``.mhd``) are moved before it, so that the
    file itself never names what is not there. When the block raises, nothing changes. The file behind a symbolic link
    is replaced, and the link stays; so do the permissions of a former file.

    A program that is killed in between leaves the former file as it was, and the unfinished one in a folder that the
    next write beside it sweeps away.

    Args:
        check: reads the finished file, whose companions lie beside it, before it is moved; it raises where the file
            does not hold what it should.

    Raises:
        OSError: when the folder is not there, the disk refuses, or what lies there is no file that can be replaced.
    """
    path = Path(os.path.realpath(path))
    refuse_what_is_no_file(path)
    with private_folder(path.parent) as folder:
        partial = folder / path.name
        yield partial
        if not partial.is_file():
            raise FileNotFoundError(errno.ENOENT, "nothing was written", str(path))
        if check is not None:
            check(partial)
        _move_beside(folder, path)


def refuse_what_is_no_file(path: Path) -> None:
    """Check that nothing but a regular file would be replaced at ``path``: no folder, no pipe, no device.

    Raises:
        OSError: otherwise, or when the path cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, f"'{path.name}' is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EEXIST, f"'{path.name}' is no file that can be replaced", str(path))


def write_file(path: Path, content: bytes | str) -> None:
    """Write ``content`` (text as UTF-8, line ends as they are) atomically, and compare the file with it.

    Lone surrogates, which stand for bytes of a file name that are no text, become question marks.

    Raises:
        OSError: as ``atomic_write``, and when the disk does not give back what was written.
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content

    def compare(written: Path) -> None:
        if written.read_bytes() != data:
            raise OSError(errno.EIO, "the disk does not hold what was written", str(path))

    with atomic_write(path, compare) as partial:
        partial.write_bytes(data)


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in ``folder``, where the system can be asked to."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_file(path: Path) -> None:
    """Have the disk keep the content of ``path``.

    Raises:
        OSError: when it cannot, for example for want of space.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _move_beside(folder: Path, path: Path) -> None:
    """Move all files of ``folder`` to where ``path`` is, ``path`` itself last."""
    replaces = path.exists()
    for written in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
        target = path.parent / written.name
        if target != path and target.exists() and not replaces:
            raise FileExistsError(errno.EEXIST, f"'{target.name}' is there already and belongs to something else")
        with suppress(OSError):
            written.chmod(stat.S_IMODE(target.stat().st_mode))
        sync_file(written)
        written.replace(target)
    sync_folder(path.parent)
