"""Read one image file (.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd) and refuse a damaged one by name.

SimpleITK does not compare the checksum of compressed voxels, so compressed NRRD and MetaImage files are unpacked once
more to prove them whole; NIfTI has a reader of its own for this and more.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume.compressed_stream import read_unpacked_blocks
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.nifti_file import read_nifti
from VertebralFractureLib.volume.sitk_bridge import ct_from_sitk

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")

_HEADER_BYTES = 1 << 16


def find_image_suffix(path: Path) -> str | None:
    """The ending by which the file is read (one of ``IMAGE_SUFFIXES``), or None."""
    name = path.name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), None)


def read_image_file(path: Path) -> CTVolume:
    """Read one file; the volume's name is the file's name without its ending.

    Raises:
        UnreadableVolume: when the file is damaged, cut off, or not a scalar 3D image.
        OSError: when the file cannot be read.
    """
    suffix = find_image_suffix(path)
    if suffix is None:
        raise UnreadableVolume(
            f"'{path.name}' is not a kind of file that can be read; give {', '.join(IMAGE_SUFFIXES)}, .mrb, or DICOM."
        )
    damaged = UnreadableVolume(
        f"'{path.name}' is damaged, cut off, or not what its ending says; copy or export the file again."
    )
    ct = read_nifti(path, damaged) if suffix.startswith(".nii") else _read(path, damaged)
    return replace(ct, name=path.name[: -len(suffix)], source={"format": suffix.lstrip(".")})


def _read(path: Path, damaged: UnreadableVolume) -> CTVolume:
    import SimpleITK as sitk

    try:
        _prove_whole(path)
        image = sitk.ReadImage(str(path))
    except (RuntimeError, EOFError, zlib.error) as error:
        raise damaged from error
    return ct_from_sitk(image)


def _prove_whole(path: Path) -> None:
    """Unpack the compressed voxels of a NRRD or MetaImage file to the end, where the checksum stands.

    Raises:
        EOFError, zlib.error: when they are cut off or wrong.
    """
    with path.open("rb") as reader:
        start = reader.read(_HEADER_BYTES)
    if start.startswith(b"NRRD"):
        fields, end, _ = start.partition(b"\n\n")
        detached = re.search(rb"^data ?file: *(.+)$", fields, re.MULTILINE)
        compressed = re.search(rb"^encoding: *gz", fields, re.MULTILINE)
        offset = len(fields) + len(end)
    else:
        element = re.search(rb"^ElementDataFile *= *(.+)\r?\n", start, re.MULTILINE)
        if element is None:
            return
        detached = None if element.group(1).strip().upper() == b"LOCAL" else element
        compressed = re.search(rb"^CompressedData *= *True", start[: element.end()], re.MULTILINE)
        offset = element.end()
    if compressed is None:
        return
    data = path
    if detached is not None:
        data, offset = path.parent / detached.group(1).decode("utf-8", "surrogateescape").strip(), 0
        if not data.is_file():
            return  # A list or pattern of files, which SimpleITK resolves.
    with data.open("rb") as reader:
        reader.seek(offset)
        for _ in read_unpacked_blocks(reader):
            pass
