"""The header of a NIfTI file (.nii, .nii.gz, and .hdr with .img), after nifti1.h and nifti2.h.

Of qform and sform that one is taken that SimpleITK takes, so that Slicer shows the voxels at the same place; but a
shear, which SimpleITK makes orthogonal or refuses, is kept.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.thresholds import VOLUME_CHECKS
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.compressed_stream import read_unpacked_blocks
from VertebralFractureLib.volume.image_header import (
    Encoding,
    ImageHeader,
    checked_scale,
    checked_size,
    checked_spacing,
    damaged_file,
)
from VertebralFractureLib.volume.sitk_bridge import require_scalar_volume
from VertebralFractureLib.volume.stored_file import StoredFile

_HEADER_BYTES = 540
_FIRST_VOXEL = {1: 352, 2: 544}
"""Header and extension mark of each version."""
_LARGEST_OFFSET = 1 << 40
# "datatype" codes of real scalars; the other known ones are colors and complex numbers.
_VOXEL_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_COMPONENTS = {32: 2, 128: 3, 1792: 2, 2304: 4}
_SCANNER, _ALIGNED = 1, 2  # 3 and 4 are fits to an atlas, not the scanner's grid.
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}  # unknown, meter, millimeter, micron
_SHEAR = 1e-3
_SAME = 1e-4


@dataclass(frozen=True)
class _Fields:
    """The fields that matter here; ``quaternion`` holds b, c, d, and ``rows`` the sform's twelve numbers."""

    order: str
    version: int
    has_own_voxels: bool
    sizes: tuple[int, ...]
    code: int
    offset: float
    slope: float
    intercept: float
    pixdim: tuple[float, ...]
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    qform_offset: tuple[float, ...]
    rows: tuple[float, ...]


def read_nifti_header(file: StoredFile) -> ImageHeader:
    """Read and check the header of a NIfTI-1 or NIfTI-2 file.

    Args:
        file: compressed when its name ends in .gz.

    Raises:
        UnreadableVolume: when it is damaged, contradicts itself, or is not a scalar 3D image.
        OSError: when the file cannot be read.
    """
    name = file.name
    fields = _parse(_read_start(file), name)
    if fields.code not in _VOXEL_TYPES and fields.code not in _COMPONENTS:
        raise damaged_file(name, "its type of voxels is not known")
    components = _COMPONENTS.get(fields.code, fields.sizes[4] if len(fields.sizes) > 4 else 1)
    require_scalar_volume(fields.sizes[:4], components)
    size = checked_size(name, fields.sizes)
    scale = _scale(name, fields)
    if not (math.isfinite(fields.offset) and 0.0 <= fields.offset < _LARGEST_OFFSET):
        raise damaged_file(name, "it does not say where its voxels begin")
    voxels, least_offset = file, _FIRST_VOXEL[fields.version]
    if not fields.has_own_voxels:
        voxels, least_offset = _voxels_beside(file), 0
    return ImageHeader(
        file,
        size,
        np.dtype(fields.order + _VOXEL_TYPES[fields.code]),
        _ijk_to_ras(name, fields),
        (voxels,),
        max(int(fields.offset), least_offset),
        Encoding.GZIP_FILE if _is_gzip(voxels) else Encoding.RAW,
        *scale,
    )


def _is_gzip(file: StoredFile) -> bool:
    return file.name.lower().endswith(".gz")


def _read_start(file: StoredFile) -> bytes:
    """The first bytes, unpacked; zeros after the end of a shorter file."""
    try:
        with file.open() as reader:
            start = b""
            for block in read_unpacked_blocks(reader) if _is_gzip(file) else (reader.read(_HEADER_BYTES),):
                start += block
                if len(start) >= _HEADER_BYTES:
                    break
    except (EOFError, zlib.error) as error:
        raise damaged_file(file.name, "its compressed content is cut off or wrong") from error
    return start[:_HEADER_BYTES].ljust(_HEADER_BYTES, b"\0")


def _parse(raw: bytes, name: str) -> _Fields:
    """Take the header apart; offsets from nifti1.h and nifti2.h."""
    order = next((o for o in "<>" if struct.unpack_from(f"{o}i", raw)[0] in (348, 540)), None)
    if order is None:
        raise damaged_file(name, "it does not begin as a NIfTI file")
    if struct.unpack_from(f"{order}i", raw)[0] == 348:
        version, magic = 1, raw[344:347]
        dims = struct.unpack_from(f"{order}8h", raw, 40)
        code = struct.unpack_from(f"{order}h", raw, 70)[0]
        pixdim = struct.unpack_from(f"{order}8f", raw, 76)
        offset, slope, intercept = struct.unpack_from(f"{order}3f", raw, 108)
        units = raw[123]
        codes = struct.unpack_from(f"{order}2h", raw, 252)
        numbers = struct.unpack_from(f"{order}18f", raw, 256)
    else:
        version, magic = 2, raw[4:7]
        code = struct.unpack_from(f"{order}h", raw, 12)[0]
        dims = struct.unpack_from(f"{order}8q", raw, 16)
        pixdim = struct.unpack_from(f"{order}8d", raw, 104)
        offset, slope, intercept = struct.unpack_from(f"{order}q2d", raw, 168)
        codes = struct.unpack_from(f"{order}2i", raw, 344)
        numbers = struct.unpack_from(f"{order}18d", raw, 352)
        units = struct.unpack_from(f"{order}i", raw, 500)[0]
    if magic not in (f"n+{version}".encode(), f"ni{version}".encode()):
        raise UnreadableVolume(
            f"'{name}' is an Analyze file or no NIfTI at all: its header says nothing of left and right; "
            "convert the original series to NIfTI."
        )
    sizes = tuple(int(size) for size in dims[1 : dims[0] + 1]) if 1 <= dims[0] <= 7 else ()
    if not sizes or min(sizes) < 1:
        raise damaged_file(name, "its sizes are no sizes of an image")
    return _Fields(
        order=order,
        version=version,
        has_own_voxels=magic[1:2] == b"+",
        sizes=sizes,
        code=code,
        offset=offset,
        slope=slope,
        intercept=intercept,
        pixdim=pixdim,
        units=units & 7,
        qform_code=codes[0],
        sform_code=codes[1],
        quaternion=numbers[:3],
        qform_offset=numbers[3:6],
        rows=numbers[6:],
    )


def _scale(name: str, fields: _Fields) -> tuple[float, float]:
    """scl_slope and scl_inter; a slope of 0 without an intercept means that there are none, as NaN in both does."""
    slope, intercept = fields.slope, fields.intercept
    if (slope == 0.0 and intercept == 0.0) or (math.isnan(slope) and math.isnan(intercept)):
        return 1.0, 0.0
    return checked_scale(name, slope, intercept)


def _voxels_beside(file: StoredFile) -> StoredFile:
    stem = re.sub(r"\.hdr(\.gz)?$", "", file.name, flags=re.IGNORECASE)
    for suffix in (".img", ".img.gz", ".IMG"):
        voxels = file.beside(stem + suffix)
        if voxels is not None:
            return voxels
    raise damaged_file(file.name, "the file with its voxels (.img) is missing")


def _ijk_to_ras(name: str, fields: _Fields) -> FloatArray:
    """The 4x4 matrix to RAS mm."""
    steps = np.array(fields.pixdim[1:4], dtype=np.float64)
    sform = np.vstack([np.reshape(fields.rows, (3, 4)), [0.0, 0.0, 0.0, 1.0]]).astype(np.float64)
    has_qform, has_sform = fields.qform_code > 0, fields.sform_code > 0 and _is_usable(sform)
    to_mm = np.diag([_MM_PER_UNIT.get(fields.units, 1.0)] * 3 + [1.0])
    if not has_qform and not has_sform:
        if fields.sform_code > 0:
            raise damaged_file(name, "its geometry (sform) is not valid")
        # As SimpleITK: the axes of the array are those of the patient in LPS.
        return np.asarray(to_mm @ np.diag([*(checked_spacing(name, steps) * (-1.0, -1.0, 1.0)), 1.0]))
    qform = _qform(name, fields, checked_spacing(name, steps)) if has_qform else None
    if not has_sform or not _prefers_sform(fields, sform, qform):
        assert qform is not None
        return np.asarray(to_mm @ qform)
    checked_spacing(name, steps)
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    # Under a tilted gantry pixdim may be the distance between the planes instead.
    apart = 1.0 / np.linalg.norm(np.linalg.inv(sform[:3, :3]), axis=1)
    off = np.minimum(np.abs(steps - lengths), np.abs(steps - apart))
    if np.any(off > VOLUME_CHECKS.same_spacing * lengths):
        shown = [" x ".join(f"{value:.4g}" for value in values) for values in (steps, lengths)]
        raise UnreadableVolume(
            f"'{name}' gives two spacings of its voxels, {shown[0]} mm (pixdim) and {shown[1]} mm (sform), of which "
            "one is wrong; export the series again."
        )
    if _largest_shear(sform) < _SHEAR:
        sform[:3, :3] *= steps / lengths
    return np.asarray(to_mm @ sform)


def _is_usable(sform: FloatArray) -> bool:
    if not np.all(np.isfinite(sform)):
        return False
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    return bool(np.all(lengths > 0.0) and abs(np.linalg.det(sform[:3, :3] / lengths)) >= _SHEAR)


def _largest_shear(matrix: FloatArray) -> float:
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return float(np.max(np.abs(axes.T @ axes - np.eye(3))))


def _prefers_sform(fields: _Fields, sform: FloatArray, qform: FloatArray | None) -> bool:
    if qform is None or fields.sform_code == _SCANNER:
        return True
    if fields.sform_code == _ALIGNED and _largest_shear(sform) >= _SHEAR:
        return True
    return bool(np.max(np.abs(sform - qform)) <= _SAME)


def _qform(name: str, fields: _Fields, steps: FloatArray) -> FloatArray:
    """The matrix of the quaternion, as nifti1.h, "method 2"."""
    values = np.array([*fields.quaternion, *fields.qform_offset], dtype=np.float64)
    if not np.all(np.isfinite(values)):
        raise damaged_file(name, "its geometry (qform) is not finite")
    b, c, d = values[:3]
    a = 1.0 - (b * b + c * c + d * d)
    if a < 1e-7:
        length = math.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b / length, c / length, d / length
    else:
        a = math.sqrt(a)
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
            [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
            [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * steps * (1.0, 1.0, -1.0 if fields.pixdim[0] < 0.0 else 1.0)
    matrix[:3, 3] = values[3:]
    return matrix
