"""An output folder that is complete or not there: results are made in a hidden sibling and moved in at the end.

A folder that holds anything this program did not write is refused, because replacing it could cost the user their own
files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from VertebralFractureLib.errors import OutputRefused

RESULT_FILES = frozenset({"scene.mrb", "report.json", "vertebrae.csv", "overview.png", "report.html"})
_SCHEMA_PREFIX = "vertebral-fracture-report/"


def refuse_foreign_folder(folder: Path) -> None:
    """Check that ``folder`` is absent, empty, or holds an earlier result of this program and nothing else.

    Raises:
        OutputRefused: otherwise.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputRefused(f"The output '{folder.name}' is a file; choose a folder for --out.")
    names = {item.name for item in folder.iterdir()}
    if not names:
        return
    if not names <= RESULT_FILES or not _is_own_report(folder / "report.json"):
        raise OutputRefused(
            f"The output folder '{folder.name}' holds files that are not results of this program; "
            "choose an empty or a new folder for --out."
        )


def _is_own_report(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("schema", "")).startswith(_SCHEMA_PREFIX)


@contextmanager
def write_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write into; it becomes ``folder`` when the block ends well, and vanishes when not.

    Raises:
        OutputRefused: when ``folder`` holds what is not ours.
        OSError: when the disk refuses.
    """
    folder = folder.absolute()
    refuse_foreign_folder(folder)
    missing = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        work.chmod(0o777 & ~_umask())
        yield work
        _move_in(work, folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _move_in(work: Path, folder: Path) -> None:
    if not folder.exists():
        work.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent)) / "result"
    folder.rename(old)
    try:
        work.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
