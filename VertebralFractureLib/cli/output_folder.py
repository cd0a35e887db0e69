"""An output folder that is complete or not there: results are made in a private folder and moved in at the end.

A folder that holds anything this program did not write is refused, because replacing it could cost the user their own
files; and what appears in it while a detection runs is never touched. A new folder is made in one step. In one that is
there already, perhaps a mount point or behind a link, the files are replaced one by one, ``report.json`` first out and
last in: without it, what lies there is no result.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from VertebralFractureLib.atomic_write import sync_file, sync_folder
from VertebralFractureLib.errors import OutputRefused
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.private_folders import is_private_folder, private_folder

REPORT_FILE = "report.json"
RESULT_FILES = frozenset({"scene.mrb", REPORT_FILE, "vertebrae.csv", "overview.png", "report.html"})
_OF_THE_SYSTEM = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "lost+found"})
"""What Finder, Explorer and a new disk put into a folder; it stays there."""
_OWN_SCHEMA = re.compile(rb'"schema"\s*:\s*"vertebral-fracture-report/')
_HEAD_BYTES = 65536

Held = Mapping[str, tuple[int, int, int]]
"""What a folder holds: by name, what tells whether a file is still the same one."""


def refuse_foreign_folder(folder: Path) -> Held:
    """What ``folder`` holds, which must be nothing or an earlier result of this program alone.

    Raises:
        OutputRefused: otherwise.
    """
    shown = one_line(folder.name or folder, NAME_LIMIT)
    folder = Path(os.path.realpath(folder))
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OutputRefused(f"The output folder '{shown}' cannot be used; choose another one for --out.") from error
    if not stat.S_ISDIR(mode):
        raise OutputRefused(f"The output '{shown}' is a file; choose a folder for --out.")
    names = {entry.name for entry in os.scandir(folder)} - _OF_THE_SYSTEM
    names = {name for name in names if not is_private_folder(name)}
    if not names:
        return {}
    if not names <= RESULT_FILES or not all(_is_file(folder / name) for name in names) or not _is_own_report(folder):
        raise OutputRefused(
            f"The output folder '{shown}' holds files that are not results of this program; "
            "choose an empty or a new folder for --out."
        )
    return _held(folder)


@contextmanager
def write_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write into; its files become those of ``folder`` when the block ends well.

    When it does not, ``folder`` is as it was before.

    Raises:
        OutputRefused: when ``folder`` holds what is not ours, or was changed by somebody else meanwhile.
        OSError: when the disk refuses.
    """
    before = refuse_foreign_folder(folder)
    folder = Path(os.path.realpath(folder))
    missing = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # On the same disk as the files that are to be moved, also where the folder is a mount point.
        with private_folder(folder if folder.exists() else folder.parent) as work:
            result = work / "result"
            result.mkdir()
            yield result
            for path in result.iterdir():
                sync_file(path)
            _move_in(result, folder, before)
    except BaseException:
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _move_in(result: Path, folder: Path, before: Held) -> None:
    if not folder.exists():
        result.rename(folder)
        sync_folder(folder.parent)
        return
    if _held(folder) != before:
        raise OutputRefused(
            f"The results in the output folder '{one_line(folder.name, NAME_LIMIT)}' were changed meanwhile; "
            "they stay as they are, so choose another folder for --out."
        )
    former = result.with_name("former")
    former.mkdir()
    moved: list[tuple[Path, Path]] = []
    changes = [(folder / name, former / name) for name in sorted(before, key=lambda name: name != REPORT_FILE)]
    written = sorted((path.name for path in result.iterdir()), key=lambda name: name == REPORT_FILE)
    changes += [(result / name, folder / name) for name in written]
    try:
        for source, target in changes:
            source.rename(target)
            moved.append((source, target))
    except OSError as error:
        for source, target in reversed(moved):
            target.rename(source)
        raise OutputRefused(
            f"'{changes[len(moved)][0].name}' in the output folder could not be replaced "
            f"({error.strerror or error}); close it where it is open, or choose another folder for --out."
        ) from error
    sync_folder(folder)


def _held(folder: Path) -> Held:
    """The files that bear the names of a result."""
    found = {}
    for name in RESULT_FILES:
        with contextlib.suppress(FileNotFoundError):
            state = (folder / name).lstat()
            found[name] = (state.st_ino, state.st_size, state.st_mtime_ns)
    return found


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _is_own_report(folder: Path) -> bool:
    """Whether the folder's report names our schema; only its beginning is read, whatever its size."""
    try:
        with (folder / REPORT_FILE).open("rb") as file:
            return _OWN_SCHEMA.search(file.read(_HEAD_BYTES)) is not None
    except OSError:
        return False
