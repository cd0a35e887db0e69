"""What an option of the console command may be: each check says in one sentence what is wrong, before anything is read.

The functions give an argparse ``type``: it takes the word of the command line, and raises ``OptionRefused``.
"""

from __future__ import annotations

import argparse
import math
import os
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from VertebralFractureLib.errors import OptionRefused, OutputRefused
from VertebralFractureLib.options import MOST_THREADS
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line

VOLUME_ENDINGS = (".nrrd", ".nii.gz", ".nii", ".mha", ".mhd")
"""Of the volumes that can be written."""
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
_FORBIDDEN = '<>:"|?*'


_MOST = 10**9


def whole_number(option: str, least: int, most: int) -> Callable[[str], int]:
    """A whole number from ``least`` to ``most``."""

    def read(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise OptionRefused(f"{option} cannot be '{one_line(word, 40)}'; use a whole number, {least} to {most}.")
        return value

    return read


def number(option: str, least: float, most: float, unit: str = "") -> Callable[[str], float]:
    """A finite number from ``least`` to ``most``."""

    def read(word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            among = f"{least:g} to {most:g}{f' {unit}' if unit else ''}"
            raise OptionRefused(f"{option} cannot be '{one_line(word, 40)}'; use a number, {among}.")
        return value

    return read


def words(option: str, most: int = NAME_LIMIT) -> Callable[[str], str]:
    """A text that is not empty."""

    def read(word: str) -> str:
        if not word.strip() or len(word) > most:
            raise OptionRefused(f"{option} needs a text of 1 to {most} letters.")
        return word

    return read


def path_to_read(option: str) -> Callable[[str], Path]:
    """A path whose reading comes to an end; what is not there is refused where it is read.

    A pipe or a device can keep a program waiting for ever, or give it data without end.
    """

    def read(word: str) -> Path:
        path = _path(option, word)
        try:
            mode = path.stat().st_mode
        except OSError:
            return path
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            name = one_line(path.name, NAME_LIMIT)
            raise OptionRefused(f"{option}: '{name}' is a pipe or a device; save what it gives into a file first.")
        return path

    return read


def path_to_write(option: str) -> Callable[[str], Path]:
    """The path of a file or folder that this system can hold."""

    def read(word: str) -> Path:
        path = _path(option, word)
        if is_forbidden_name(path.name):
            name = one_line(path.name, NAME_LIMIT)
            raise OutputRefused(f"{option}: this system can hold no file named '{name}'; choose another name.")
        return path

    return read


def is_forbidden_name(name: str, platform: str = sys.platform) -> bool:
    """Whether Windows would take the name for a device, or change or refuse it; other systems take all names."""
    if platform != "win32":
        return False
    stem = name.split(".")[0].rstrip().upper()
    return stem in _RESERVED or name != name.rstrip(". ") or any(sign in name for sign in _FORBIDDEN)


def refuse_output(option: str, path: Path, *inputs: Path | None) -> None:
    """Check, before anything is read, that a file can be written at ``path``, and that no input would be lost by it.

    Raises:
        OutputRefused: when a folder, a pipe or a device is there, the folder above is none, or it is one of ``inputs``.
    """
    name = one_line(path.name, NAME_LIMIT)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        raise OutputRefused(f"{option}: '{name}' is {kind}; name the file to write.")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        raise OutputRefused(f"{option}: '{one_line(above.name, NAME_LIMIT)}' is a file and can hold none.")
    for other in inputs:
        if other is not None and path.exists() and other.exists() and path.samefile(other):
            raise OutputRefused(f"{option}: '{name}' is read too and would be lost; name another file to write.")


def any_path(option: str) -> Callable[[str], Path]:
    """A path that is read or written, which ``path_to_read`` and ``path_to_write`` check."""

    def read(word: str) -> Path:
        path_to_read(option)(word)
        return path_to_write(option)(word)

    return read


def _path(option: str, word: str) -> Path:
    if not word.strip() or "\0" in word:
        raise OptionRefused(f"{option} needs the name of a file or folder.")
    return Path(word)


CHECKS: Mapping[object, Callable[[str], Callable[[str], Any]]] = {
    int: lambda option: whole_number(option, 0, _MOST),
    float: lambda option: number(option, 0.0, float(_MOST)),
    Path: any_path,
}
"""For options that name only Python's own type."""


def add_run_arguments(parser: argparse.ArgumentParser, usual_threads: str) -> None:
    """Progress, weights and threads, for each command that looks for the canal.

    Args:
        usual_threads: what stands for no ``--threads``, in words.
    """
    parser.add_argument("--progress", choices=("bar", "json", "none"), default="bar")
    parser.add_argument(
        "--weights", type=path_to_read("--weights"), default=None, help="folder of other weights, for example your own"
    )
    parser.add_argument(
        "--threads",
        type=whole_number("--threads", 1, MOST_THREADS),
        default=None,
        help=f"CPU threads (default: {usual_threads})",
    )
