"""Temporary folders that only their owner can read, named by their process, and swept by a later one when it is gone.

A process that is killed cannot remove what it was writing, which may hold a patient's voxels. So each folder's name
tells whose it was, and whoever makes the next one beside it removes those that nobody writes into any more.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".vertebral-fracture-"
STALE_S = 2 * 24 * 3600.0
"""A folder of another machine, or of a process whose number was given away again, is swept after so long."""
_NAME = re.compile(re.escape(PREFIX) + r"([0-9a-f]{8})-([0-9]{1,10})-[0-9a-f]{8}")
_STILL_ACTIVE, _ACCESS_DENIED, _SYNCHRONIZE = 0x102, 5, 0x100000


def make_private_folder(parent: Path) -> Path:
    """Make a new folder in ``parent`` that only the user can read (mode 0700), and sweep the leftovers beside it.

    Its name is short, so that it fits wherever a file fits.

    Raises:
        OSError: when the parent is not there or cannot be written to.
    """
    sweep_leftovers(parent)
    folder = parent / f"{PREFIX}{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """``make_private_folder`` for as long as the block runs; raises as it does."""
    folder = make_private_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_text(path: Path) -> bool:
    """Whether the path can be handed to a library in C++, which ends the program where its bytes are no text."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def text_path(path: Path) -> Iterator[str]:
    """A path of text that leads to the file ``path``, also where the bytes of its name are none (on POSIX)."""
    if is_text(path):
        yield str(path)
        return
    with private_folder(Path(tempfile.gettempdir())) as folder:
        ending = "".join(suffix for suffix in path.suffixes[-2:] if is_text(Path(suffix)))
        link = folder / f"file{ending}"
        link.symlink_to(path.absolute())
        yield str(link)


def is_private_folder(name: str) -> bool:
    """Whether a folder of this name was made by ``make_private_folder``, here or elsewhere."""
    return _NAME.fullmatch(name) is not None


def sweep_leftovers(parent: Path) -> None:
    """Remove the user's own private folders in ``parent`` whose process is gone; what cannot be removed stays."""
    try:
        entries = [entry for entry in os.scandir(parent) if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for entry in entries:
        if _is_leftover(entry):
            shutil.rmtree(entry.path, ignore_errors=True)


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    found = _NAME.fullmatch(entry.name)
    if found is None:
        return False
    try:
        state = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    if not stat.S_ISDIR(state.st_mode) or (sys.platform != "win32" and state.st_uid != os.geteuid()):
        return False
    if time.time() - state.st_mtime > STALE_S:
        return True
    return found[1] == _machine() and not _is_running(int(found[2]))


def _machine() -> str:
    """Where process numbers mean the same: this computer, and on Linux this container."""
    place = platform.node()
    with suppress(OSError):
        place += str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(place.encode("utf-8", "replace")).hexdigest()[:8]


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
        if not handle:
            return bool(ctypes.get_last_error() == _ACCESS_DENIED)
        running = kernel.WaitForSingleObject(handle, 0) == _STILL_ACTIVE
        kernel.CloseHandle(handle)
        return bool(running)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
