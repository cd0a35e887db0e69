"""Read one image file (.nii, .nii.gz, .hdr with .img, .nrrd, .nhdr, .mha, .mhd) and refuse a damaged one by name.

Headers and voxels are read without a library, so that nothing is taken that was not checked before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.image_header import ImageHeader, read_image
from VertebralFractureLib.volume.metaimage_file import read_metaimage_header
from VertebralFractureLib.volume.nifti_file import read_nifti_header
from VertebralFractureLib.volume.nrrd_file import read_nrrd_header
from VertebralFractureLib.volume.stored_file import DiskFile, StoredFile

_READERS: dict[str, Callable[[StoredFile], ImageHeader]] = {
    **dict.fromkeys((".nii.gz", ".nii", ".hdr"), read_nifti_header),
    **dict.fromkeys((".nrrd", ".nhdr"), read_nrrd_header),
    **dict.fromkeys((".mha", ".mhd"), read_metaimage_header),
}
IMAGE_SUFFIXES = tuple(_READERS)


def find_image_suffix(path: Path) -> str | None:
    """The ending by which the file is read (one of ``IMAGE_SUFFIXES``), or None."""
    return _suffix(path.name)


def read_image_file(path: Path) -> CTVolume:
    """Read one file; the volume's name is the file's name without its ending.

    Raises:
        UnreadableVolume: when the file is damaged, cut off, or not a scalar 3D image.
        OSError: when the file cannot be read.
    """
    return read_stored_image(DiskFile(path))


def read_stored_image(file: StoredFile) -> CTVolume:
    """As ``read_image_file``, of a file on the disk or in an archive."""
    suffix = _require_suffix(file.name)
    ct = read_image(_READERS[suffix](file))
    return replace(ct, name=file.name[: -len(suffix)], source={"format": suffix.lstrip(".")})


def read_image_header(file: StoredFile) -> ImageHeader:
    """What the file says of its voxels, without reading them.

    Raises:
        UnreadableVolume: as ``read_image_file``.
        OSError: when the file cannot be read.
    """
    return _READERS[_require_suffix(file.name)](file)


def _suffix(name: str) -> str | None:
    return next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), None)


def _require_suffix(name: str) -> str:
    suffix = _suffix(name)
    if suffix is None:
        raise UnreadableVolume(
            f"'{name}' is not a kind of file that can be read; give {', '.join(IMAGE_SUFFIXES)}, .mrb, or DICOM."
        )
    return suffix
