"""A scene bundle from anywhere made safe to be unpacked and read by Slicer's own code.

That code writes each member where its name says, opens each file that a scene or an image's header names, and loads
what a URI names from the network. So a bundle is looked through, and Slicer gets a new one that holds the members that
were looked at and nothing else.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree import ElementTree

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.private_folders import private_folder
from VertebralFractureLib.volume.image_file import find_image_suffix, read_image_header
from VertebralFractureLib.volume.stored_file import ArchiveMember, LeadsOutside, open_archive, require_inner_name

_LARGEST_SCENE_BYTES = 1 << 27
_DEEPEST_SCENE = 64
_HEADER_BYTES = 1 << 16
_FREE_SHARE = 0.9
_DETACHED = re.compile(rb"^(data ?file *:|ElementDataFile *= *(?!LOCAL\b))", re.MULTILINE | re.IGNORECASE)
_FILE_ATTRIBUTES = re.compile(r"fileName|fileListMember\d*|uri|uriListMember\d*")


@contextmanager
def checked_bundle(path: Path) -> Iterator[Path]:
    """A copy of an .mrb for as long as the block runs, of which no part leads outside it.

    Raises:
        UnreadableVolume: when it is damaged, or names a file outside itself, or unpacks to more than the disk takes.
        OSError: when it cannot be read, or the copy not written.
    """
    shown = one_line(path.name, NAME_LIMIT)
    with private_folder(Path(tempfile.gettempdir())) as folder:
        copy = folder / "scene.mrb"
        try:
            with open_archive(path) as archive:
                members = [member for member in archive.infolist() if not member.is_dir()]
                unpacked = sum(member.file_size for member in members)
                # Slicer unpacks the copy beside it.
                if 2 * unpacked > _FREE_SHARE * shutil.disk_usage(folder).free:
                    raise UnreadableVolume(
                        f"'{shown}' unpacks to {unpacked / 1e9:.1f} GB, for which the disk has no room."
                    )
                for member in members:
                    _require_harmless(ArchiveMember(archive, member.filename), shown)
                with zipfile.ZipFile(copy, "w") as written:
                    for member in members:
                        with archive.open(member) as source, written.open(member.filename, "w") as target:
                            shutil.copyfileobj(source, target)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise UnreadableVolume(f"'{shown}' is not a scene that can be read.") from error
        yield copy


def _require_harmless(member: ArchiveMember, shown: str) -> None:
    if member.name.lower().endswith(".mrml"):
        _require_inner_files(member, shown)
    elif find_image_suffix(Path(member.name)) is not None:
        with member.open() as reader:
            is_detached = _DETACHED.search(reader.read(_HEADER_BYTES)) is not None
        try:
            read_image_header(member)
        except LeadsOutside:
            raise
        except UnreadableVolume:
            # Colors and sequences of images are no CT, but may lie in a scene; a header that names files may not.
            if is_detached:
                raise


def _require_inner_files(scene: ArchiveMember, shown: str) -> None:
    damaged = UnreadableVolume(f"The scene in '{shown}' is damaged; save it again.")
    if scene.size_bytes > _LARGEST_SCENE_BYTES:
        raise damaged
    depth = 0
    try:
        with scene.open() as reader:
            for event, node in ElementTree.iterparse(reader, events=("start", "end")):
                depth += 1 if event == "start" else -1
                if depth > _DEEPEST_SCENE:
                    raise damaged
                if event == "end":
                    node.clear()
                    continue
                for name, value in node.attrib.items():
                    if _FILE_ATTRIBUTES.fullmatch(name) and value.strip():
                        _require_inner_file(scene.name, name, value)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise damaged from error


def _require_inner_file(holder: str, attribute: str, value: str) -> None:
    if attribute.startswith("uri") or "://" in value:
        raise LeadsOutside(
            f"'{holder}' names a file on the network, which is not loaded; save the scene with its data."
        )
    # Read both as a URL's part and as it is, because Slicer's versions differ.
    for name in {value, unquote(value), unquote(value).replace("\\", "/")}:
        if PurePosixPath(name).parts:
            require_inner_name(holder, name)
