"""Where the bytes of an image lie: a file on the disk, or a member of a zip archive that is never unpacked to the disk.

A file may name others (a header its voxels, a scene its volumes). Whoever made it may name anything that the user can
read, so only what lies in the same folder or below it is opened: no way up, no absolute path, no link that leads out.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, Protocol

from VertebralFractureLib.errors import UnreadableVolume

_LONGEST_NAME = 1024
_MOST_MEMBERS = 100_000


class LeadsOutside(UnreadableVolume):
    """A file names another one that does not lie in its folder."""


class StoredFile(Protocol):
    """Bytes with a name, and with others beside them."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    @property
    def size_bytes(self) -> int:
        """How many bytes ``open`` gives.

        Raises:
            UnreadableVolume: when it is no regular file.
            OSError: when it cannot be looked at.
        """

    def open(self) -> BinaryIO:
        """The bytes, from the first one.

        Raises:
            UnreadableVolume: when it is no regular file.
            OSError: when it cannot be opened.
        """

    def beside(self, name: str) -> StoredFile | None:
        """What ``name`` means in the folder of this file; None where there is no such file.

        Raises:
            UnreadableVolume: when the name leads out of this file's folder.
        """


@dataclass(frozen=True)
class DiskFile:
    """A file on the disk."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size_bytes(self) -> int:
        return _require_regular(self.path, self.path.stat()).st_size

    def open(self) -> BinaryIO:
        # Asked before it is opened, because opening a pipe waits for whoever writes into it.
        _require_regular(self.path, self.path.stat())
        return self.path.open("rb")

    def beside(self, name: str) -> DiskFile | None:
        parts = require_inner_name(self.name, name)
        found = self.path.parent.joinpath(*parts)
        try:
            folder, real = self.path.parent.resolve(), found.resolve()
        except (OSError, RuntimeError):  # RuntimeError: a link to itself, on Python 3.12 and earlier.
            return None
        if not real.is_relative_to(folder):
            raise leads_out(self.name)
        return DiskFile(found) if found.is_file() else None


@dataclass(frozen=True)
class ArchiveMember:
    """A member of a zip archive, unpacked while it is read; zipfile compares its length and checksum."""

    archive: zipfile.ZipFile
    path: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def size_bytes(self) -> int:
        return self.archive.getinfo(self.path).file_size

    def open(self) -> BinaryIO:
        return self.archive.open(self.path)  # type: ignore[return-value]

    def beside(self, name: str) -> ArchiveMember | None:
        path = PurePosixPath(self.path).parent.joinpath(*require_inner_name(self.name, name)).as_posix()
        return ArchiveMember(self.archive, path) if path in self.archive.NameToInfo else None


def require_inner_name(holder: str, name: str) -> tuple[str, ...]:
    """The parts of a relative path that stays in its folder, on every system.

    Raises:
        UnreadableVolume: when it is absolute, has a drive, leads up, or cannot be a file's name.
    """
    parts = PurePosixPath(name).parts
    windows = PureWindowsPath(name)
    if not parts or len(name) > _LONGEST_NAME or any(ord(letter) < 32 for letter in name):
        raise UnreadableVolume(f"'{holder}' names another file by what cannot be a file's name; save it again.")
    if name.startswith("/") or windows.anchor or windows.drive or ".." in (*parts, *windows.parts):
        raise leads_out(holder)
    return parts


def leads_out(holder: str) -> LeadsOutside:
    """The refusal of a file that names others elsewhere."""
    return LeadsOutside(
        f"'{holder}' names a file outside its own folder, which is not opened; put all of its files into one folder, "
        "or choose the CT itself."
    )


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose members' names are each there once and stay inside.

    Raises:
        zipfile.BadZipFile, UnreadableVolume: when it is damaged, or a name leads out or is there twice.
        OSError: when it cannot be read.
    """
    with DiskFile(path).open() as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > _MOST_MEMBERS or len({member.filename for member in members}) < len(members):
            raise zipfile.BadZipFile("more members than a scene has, or two of one name")
        for member in members:
            require_inner_name(path.name, member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise leads_out(path.name)
        yield archive


def _require_regular(path: Path, status: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableVolume(f"'{path.name}' is not a regular file; choose the CT itself.")
    return status
