"""Read the voxels of a NIfTI file (.nii, .nii.gz) and refuse a damaged one.

SimpleITK fills a truncated NIfTI with zeros without a word and makes a sheared one orthogonal, so the voxels are
unpacked and measured here, and a shear is taken from the header; SimpleITK still decides between qform and sform.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.types import ByteArray, FloatArray
from VertebralFractureLib.volume.compressed_stream import read_plain_blocks, read_unpacked_blocks
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.sitk_bridge import (
    LPS_TO_RAS,
    build_lps_geometry,
    compact_hu,
    require_scalar_volume,
    require_valid_geometry,
)

_HEADER_BYTES = 540
# nifti1.h, "datatype" codes of real scalars; RGB and complex numbers are no Hounsfield units.
_VOXEL_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}


@dataclass(frozen=True)
class _Header:
    size_ijk: tuple[int, ...]
    voxel_type: np.dtype[np.generic]
    voxels_at: int
    slope: float
    intercept: float
    sheared_ijk_to_ras: FloatArray | None


def read_nifti(path: Path, damaged: UnreadableVolume) -> CTVolume:
    """Read a NIfTI-1 or NIfTI-2 file.

    Args:
        path: the file; compressed when its name ends in .gz.
        damaged: the error to raise when the file is cut off or its content is wrong.

    Raises:
        UnreadableVolume: ``damaged``, or when the image is not a scalar 3D image.
        OSError: when the file cannot be read.
    """
    try:
        with path.open("rb") as reader:
            blocks = read_unpacked_blocks(reader) if path.suffix.lower() == ".gz" else read_plain_blocks(reader)
            header, content = _read_blocks(blocks)
    except (EOFError, zlib.error, struct.error, ValueError) as error:  # ValueError: more voxels than numpy can count.
        raise damaged from error
    matrix = header.sheared_ijk_to_ras
    if matrix is None:
        matrix = _ijk_to_ras(path, damaged)
    i, j, k = header.size_ijk[:3]
    values = content[header.voxels_at :].view(header.voxel_type).reshape(k, j, i)
    return CTVolume(_scaled(values, header.slope, header.intercept), require_valid_geometry(matrix))


def _read_blocks(blocks: Iterator[bytes]) -> tuple[_Header, ByteArray]:
    start = b""
    while len(start) < _HEADER_BYTES:
        start += next(blocks, b"\0" * _HEADER_BYTES)
    header = _parse(start)
    content = np.empty(header.voxels_at + math.prod(header.size_ijk) * header.voxel_type.itemsize, dtype=np.uint8)
    filled = 0
    # Read on to the end even when there is enough, because the checksum stands there.
    for block in itertools.chain([start], blocks):
        part = np.frombuffer(block, dtype=np.uint8)[: content.size - filled]
        content[filled : filled + part.size] = part
        filled += part.size
    if filled < content.size:
        raise EOFError
    return header, content


def _parse(raw: bytes) -> _Header:
    """The header's fields that matter here; offsets from nifti1.h and nifti2.h.

    Raises:
        struct.error: when this is no NIfTI header.
        UnreadableVolume: when the image is not a scalar 3D image.
    """
    order = next((o for o in "<>" if struct.unpack_from(f"{o}i", raw)[0] in (348, 540)), None)
    if order is None:
        raise struct.error("no NIfTI header")
    is_nifti_1 = struct.unpack_from(f"{order}i", raw)[0] == 348
    if is_nifti_1:
        dims = struct.unpack_from(f"{order}8h", raw, 40)
        code = struct.unpack_from(f"{order}h", raw, 70)[0]
        offset, slope, intercept = struct.unpack_from(f"{order}3f", raw, 108)
        sform_code = struct.unpack_from(f"{order}h", raw, 254)[0]
        rows = struct.unpack_from(f"{order}12f", raw, 280)
    else:
        code = struct.unpack_from(f"{order}h", raw, 12)[0]
        dims = struct.unpack_from(f"{order}8q", raw, 16)
        offset, slope, intercept = struct.unpack_from(f"{order}q2d", raw, 168)
        sform_code = struct.unpack_from(f"{order}i", raw, 348)[0]
        rows = struct.unpack_from(f"{order}12d", raw, 400)
    size = dims[1 : dims[0] + 1]
    if not 1 <= dims[0] <= 7 or min(size) < 1 or not np.isfinite(offset):
        raise struct.error("no NIfTI dimensions")
    components = int(size[4]) if len(size) > 4 else 1
    require_scalar_volume(size[:4], components if code in _VOXEL_TYPES else 3)
    return _Header(
        tuple(int(n) for n in size),
        np.dtype(order + _VOXEL_TYPES[code]),
        max(int(offset), 352 if is_nifti_1 else 544),
        float(slope) if np.isfinite(slope) else 0.0,
        float(intercept) if np.isfinite(intercept) else 0.0,
        _sheared(rows) if sform_code in (1, 2) else None,  # 3 and 4 are fits to an atlas, not the scanner's grid.
    )


def _sheared(rows: tuple[float, ...]) -> FloatArray | None:
    """The sform when its axes are not orthogonal, as under a tilted gantry; else None."""
    matrix = np.vstack([np.reshape(rows, (3, 4)), [0.0, 0.0, 0.0, 1.0]])
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.all(np.isfinite(matrix)) or np.any(lengths == 0.0):
        return None
    axes = matrix[:3, :3] / lengths
    if np.max(np.abs(axes.T @ axes - np.eye(3))) < 1e-3 or abs(np.linalg.det(axes)) < 1e-3:
        return None
    return matrix


def _ijk_to_ras(path: Path, damaged: UnreadableVolume) -> FloatArray:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise damaged from error
    return np.asarray(LPS_TO_RAS @ build_lps_geometry(reader.GetOrigin(), reader.GetSpacing(), reader.GetDirection()))


def _scaled(values: NDArray[np.generic], slope: float, intercept: float) -> NDArray[np.generic]:
    """Apply scl_slope and scl_inter; a slope of 0 means that there is none (nifti1.h)."""
    if slope == 0.0 or (slope == 1.0 and intercept == 0.0):
        # The buffer belongs to nobody else: voxels that are right already need no copy.
        return values if values.dtype in (np.int16, np.float32) else compact_hu(values)
    scaled = values.astype(np.float32)
    scaled *= np.float32(slope)
    scaled += np.float32(intercept)
    return scaled
