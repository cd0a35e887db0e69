"""The two files of a result that take long to write: the scene and the HTML page.

For Slicer the worker makes them. The program that shows the result hands over what only it has (nodes as a bundle
folder, voxels as raw ``.nrrd``); here it is compressed, drawn and moved in, so that a crash or a cancel costs neither
that program nor the former file.
"""

from __future__ import annotations

import errno
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.atomic_write import atomic_write, write_file
from VertebralFractureLib.deflate import new_packer
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.nrrd_stream import nrrd_header

_PIECE_BYTES = 4_000_000
_RAW, _PACKED = b"encoding: raw\n", b"encoding: gzip\n"

Tell = Callable[[float], None]


def pack_scene(bundle: Path, volumes: Mapping[str, Path], target: Path, tell: Tell) -> None:
    """Write ``target`` (``.mrb``) from a bundle folder, as Slicer reads it, and the voxels of its volumes.

    Args:
        bundle: the folder that becomes the only one inside the file.
        volumes: path inside the bundle to the ``.nrrd`` that replaces it, raw or of ``pack_volume``.
        tell: gets the fraction that is done, several times a second; it may raise, to give up.

    Raises:
        OSError: when a file cannot be read or written.
        ValueError: when a volume is not what ``nrrd_header`` begins.
    """
    whole = sum(path.stat().st_size for path in volumes.values()) or 1
    done = 0
    files = {path.relative_to(bundle).as_posix(): path for path in sorted(bundle.rglob("*")) if path.is_file()}

    def check(written: Path) -> None:
        _require_bundle(written, {f"{bundle.name}/{name}" for name in files})

    with atomic_write(target, check) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            if name not in volumes:
                archive.write(path, f"{bundle.name}/{name}")
                continue
            entry = zipfile.ZipInfo(f"{bundle.name}/{name}", time.localtime()[:6])
            with archive.open(entry, "w", force_zip64=True) as file:
                for piece, count in _compressed(volumes[name]):
                    file.write(piece)
                    done += count
                    tell(done / whole)
    tell(1.0)


def _require_bundle(path: Path, names: set[str]) -> None:
    """Read the whole file again: its checksums, its scene, and that it holds what it should.

    Raises:
        OSError: otherwise.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            scenes = [name for name in names if name.endswith(".mrml")]
            whole = set(archive.namelist()) == names and scenes and archive.testzip() is None
            for name in scenes:
                ElementTree.fromstring(archive.read(name))
    except (zipfile.BadZipFile, zlib.error, ElementTree.ParseError):
        whole = False
    if not whole:
        raise OSError(errno.EIO, "it could not be read again once written", str(path))


def _compressed(source: Path) -> Iterator[tuple[bytes, int]]:
    """The pieces of a compressed ``.nrrd``, each with how many bytes of the raw one it stands for."""
    with source.open("rb") as raw:
        header = b""
        while not header.endswith(b"\n\n"):
            line = raw.readline()
            if not line:
                raise ValueError(f"'{source.name}' is not a volume that was handed over.")
            header += line
        if _PACKED in header:
            yield header, 0
            while piece := raw.read(_PIECE_BYTES):
                yield piece, len(piece)
            return
        if _RAW not in header:
            raise ValueError(f"'{source.name}' is neither an uncompressed volume nor one that was packed here.")
        yield header.replace(_RAW, _PACKED), 0
        packer = new_packer()
        while piece := raw.read(_PIECE_BYTES):
            yield packer.compress(piece), len(piece)
        yield packer.flush(), 0


def pack_volume(voxels: NDArray[np.int16], ijk_to_world: FloatArray, target: Path, tell: Tell) -> None:
    """Write voxels ``[k, j, i]`` as a compressed ``.nrrd``; other threads run meanwhile.

    Args:
        tell: as for ``pack_scene``.

    Raises:
        OSError: when the disk refuses.
    """
    packer = new_packer()
    slices = max(_PIECE_BYTES // max(2 * voxels[0].size, 1), 1)
    with target.open("wb") as file:
        file.write(nrrd_header(voxels.shape, voxels.dtype, ijk_to_world).replace(_RAW, _PACKED))
        for start in range(0, len(voxels), slices):
            file.write(packer.compress(np.ascontiguousarray(voxels[start : start + slices]).data))
            tell(min(start + slices, len(voxels)) / len(voxels))
        file.write(packer.flush())


def write_page(volume: Path, report: Path, notes: Sequence[str], target: Path, tell: Tell) -> None:
    """Write ``target`` (``.html``) about ``report`` (JSON), with pictures from ``volume``, the CT in world coordinates.

    Raises:
        UnreadableVolume: when the volume cannot be read.
        ValueError: when the report is none.
        OSError: when a file cannot be read or written.
    """

    from VertebralFractureLib.cpr import straighten
    from VertebralFractureLib.export.page import report_to_html
    from VertebralFractureLib.export.picture import draw_overview
    from VertebralFractureLib.result import report_from_json
    from VertebralFractureLib.volume import read_volume

    shown = report_from_json(report.read_text(encoding="utf-8"))
    ct = replace(read_volume(volume), name=shown.input.name)
    tell(0.2)
    spine = None
    if shown.status == "evaluable":
        spine = straighten(ct, shown.centerline.curve())
    tell(0.5)
    overview = draw_overview(shown, ct, spine)
    tell(0.8)
    page = report_to_html(shown, ct, spine, overview, notes)
    write_file(target, page)
    tell(1.0)
