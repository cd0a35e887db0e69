"""Reads one image file (.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd) and refuses a damaged one by name.

SimpleITK reads a truncated NIfTI without a word and rounds a sheared one to an orthogonal one: NIfTI is therefore
unpacked and measured here first, and a shear is taken from the header itself.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import tempfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume.ct_volume import CTVolume, FloatArray
from VertebralFractureLib.volume.sitk_bridge import ct_from_sitk

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")

_COPY_BYTES = 1 << 22


def image_suffix(path: Path) -> str | None:
    """The ending by which the file is read (one of ``IMAGE_SUFFIXES``), or None."""
    name = path.name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), None)


def read_image_file(path: Path) -> CTVolume:
    """Read one file; the volume's name is the file's name without its ending.

    Raises:
        UnreadableVolume: when the file is damaged, cut off, or not a scalar 3D image.
    """
    suffix = image_suffix(path)
    if suffix is None:
        raise UnreadableVolume(
            f"'{path.name}' is not a kind of file that can be read; give {', '.join(IMAGE_SUFFIXES)}, .mrb, or DICOM."
        )
    name = path.name[: -len(suffix)]
    source = {"format": suffix.lstrip(".")}
    if suffix == ".nii.gz":
        with tempfile.TemporaryDirectory(prefix="vertebral-fracture-") as folder:
            plain = Path(folder) / "volume.nii"
            _unpack(path, plain)
            return replace(_read_nifti(plain, path.name), name=name, source=source)
    if suffix == ".nii":
        return replace(_read_nifti(path, path.name), name=name, source=source)
    return replace(_read(path, path.name), name=name, source=source)


def _read(path: Path, shown_name: str) -> CTVolume:
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _damaged(shown_name) from error
    return ct_from_sitk(image)


def _damaged(shown_name: str) -> UnreadableVolume:
    return UnreadableVolume(
        f"'{shown_name}' is damaged, cut off, or not what its ending says; copy or export the file again."
    )


def _unpack(packed: Path, plain: Path) -> None:
    try:
        with gzip.open(packed, "rb") as reader, plain.open("wb") as writer:
            shutil.copyfileobj(reader, writer, _COPY_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(packed.name) from error


def _read_nifti(path: Path, shown_name: str) -> CTVolume:
    header = _nifti_header(path, shown_name)
    if path.stat().st_size < header.file_bytes:
        raise _damaged(shown_name)
    if header.sheared_ijk_to_ras is None:
        return _read(path, shown_name)
    # SimpleITK looks at this variable each time it opens a file; without it the sheared file would be refused.
    before = os.environ.get("ITK_NIFTI_SFORM_PERMISSIVE")
    os.environ["ITK_NIFTI_SFORM_PERMISSIVE"] = "YES"
    try:
        return replace(_read(path, shown_name), ijk_to_ras=header.sheared_ijk_to_ras)
    finally:
        if before is None:
            del os.environ["ITK_NIFTI_SFORM_PERMISSIVE"]
        else:
            os.environ["ITK_NIFTI_SFORM_PERMISSIVE"] = before


@dataclass(frozen=True)
class _NiftiHeader:
    file_bytes: int
    sheared_ijk_to_ras: FloatArray | None


def _nifti_header(path: Path, shown_name: str) -> _NiftiHeader:
    """The parts of a NIfTI-1 or NIfTI-2 header (nifti1.h, nifti2.h) that tell the file's size and its sform."""
    with path.open("rb") as reader:
        raw = reader.read(540)
    order = next((o for o in "<>" if len(raw) >= 4 and struct.unpack_from(f"{o}i", raw)[0] in (348, 540)), None)
    if order is None:
        raise _damaged(shown_name)
    first = struct.unpack_from(f"{order}i", raw)[0]
    if len(raw) < first:
        raise _damaged(shown_name)
    if first == 348:
        dims = struct.unpack_from(f"{order}8h", raw, 40)
        bits = struct.unpack_from(f"{order}h", raw, 72)[0]
        offset = int(struct.unpack_from(f"{order}f", raw, 108)[0])
        sform_code = struct.unpack_from(f"{order}h", raw, 254)[0]
        rows = struct.unpack_from(f"{order}12f", raw, 280)
    else:
        bits = struct.unpack_from(f"{order}h", raw, 14)[0]
        dims = struct.unpack_from(f"{order}8q", raw, 16)
        offset = struct.unpack_from(f"{order}q", raw, 168)[0]
        sform_code = struct.unpack_from(f"{order}i", raw, 348)[0]
        rows = struct.unpack_from(f"{order}12d", raw, 400)
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise _damaged(shown_name)
    voxels = int(np.prod([int(n) for n in dims[1 : dims[0] + 1]], dtype=object))
    sheared: FloatArray | None = None
    # Codes 3 and 4 are fits to an atlas, whose shear is not the scanner's.
    if sform_code in (1, 2) and np.all(np.isfinite(rows)):
        matrix = np.vstack([np.reshape(rows, (3, 4)), [0.0, 0.0, 0.0, 1.0]])
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if np.all(lengths > 0):
            axes = matrix[:3, :3] / lengths
            if np.max(np.abs(axes.T @ axes - np.eye(3))) > 1e-3 and abs(np.linalg.det(axes)) > 1e-3:
                sheared = matrix
    return _NiftiHeader(offset + voxels * bits // 8, sheared)
