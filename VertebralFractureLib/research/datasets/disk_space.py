"""Say how much room something takes on the disk before it is made, and refuse where there is not enough."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from VertebralFractureLib.errors import OutputRefused
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line

logger = logging.getLogger(__name__)
_WORTH_SAYING_BYTES = 50_000_000


def say_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Log what is going to be written into ``folder``, where it is more than 50 MB.

    Raises:
        OutputRefused: when the disk has less room than that.
    """
    if needed_bytes < _WORTH_SAYING_BYTES:
        return
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    name = one_line(folder.name, NAME_LIMIT)
    sizes = f"{needed_bytes / 1e9:.1f} GB; {free / 1e9:.1f} GB are free"
    if free < needed_bytes:
        raise OutputRefused(f"'{name}' has no room for {what} of about {sizes}. Free some space or choose another.")
    logger.info("'%s' gets %s: about %s.", name, what, sizes)
