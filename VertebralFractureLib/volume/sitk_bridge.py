"""The border to SimpleITK: images with LPS geometry become a ``CTVolume`` with RAS geometry, and back.

Only here LPS turns into RAS. Integer voxels become int16 and all others float32, so that a volume is
copied once and never widened.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.errors import OutputRefused, UnreadableVolume
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.private_folders import is_text, private_folder, text_path
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.dicom_mending import silent_library

if TYPE_CHECKING:
    import SimpleITK

_SAME_PLACE_MM, _SAME_PLACE = 0.01, 1e-6
"""How far a voxel may be off in a file, and what of its distance from the origin: NIfTI holds single precision."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Its own inverse; multiplies 4x4 matrices from the left."""


def ct_from_sitk(image: SimpleITK.Image, name: str = "CT", source: Mapping[str, str] | None = None) -> CTVolume:
    """Turn a scalar 3D image (or a 4D one with a single time point) into a ``CTVolume``; values are not judged here.

    Args:
        image: any SimpleITK image; its origin, spacing and direction are LPS mm.
        name: the name of the result.
        source: the identifiers of the result.

    Raises:
        UnreadableVolume: when the image is 2D, holds several time points, or has several components per voxel, or when
            its geometry is not valid.
    """
    import SimpleITK as sitk

    require_scalar_volume(image.GetSize(), image.GetNumberOfComponentsPerPixel())
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    matrix = build_lps_geometry(image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    hu = compact_hu(sitk.GetArrayViewFromImage(image))
    return CTVolume(hu, LPS_TO_RAS @ matrix, name, source if source is not None else {})


def require_scalar_volume(size: Sequence[int], components: int) -> None:
    """Refuse what is not one value at each voxel of three axes.

    Args:
        size: voxels along i, j, k and perhaps time.
        components: values per voxel.

    Raises:
        UnreadableVolume: for a color or vector image, several time points, and a 2D image.
    """
    if components > 1:
        raise UnreadableVolume(
            f"The image has {components} values per voxel (a color or vector image), not one Hounsfield unit; "
            "choose the original CT series."
        )
    if len(size) == 4 and size[3] != 1:
        raise UnreadableVolume(
            f"The image is 4D with {size[3]} time points; save the one to be judged as a 3D volume (in Slicer: load it "
            "as a sequence, go to the time point, and save the volume that is shown)."
        )
    if len(size) < 3 or min(size[:3]) < 2:
        shown = " x ".join(str(n) for n in size)
        raise UnreadableVolume(f"The image is 2D ({shown} voxels), not a CT volume; choose the whole series.")


def build_lps_geometry(origin: Sequence[float], spacing: Sequence[float], direction: Sequence[float]) -> FloatArray:
    """The 4x4 matrix from the indices ``(i, j, k, 1)`` to LPS mm of a 3D geometry, or of the first three axes of more.

    Raises:
        UnreadableVolume: when the geometry is not finite and invertible.
    """
    axes = len(origin)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(direction, (axes, axes))[:3, :3] * np.asarray(spacing)[:3]
    matrix[:3, 3] = origin[:3]
    return require_valid_geometry(matrix)


def require_valid_geometry(matrix: FloatArray) -> FloatArray:
    """Return a file's 4x4 matrix from indices to mm when a ``CTVolume`` can have it.

    Raises:
        UnreadableVolume: when the geometry is not finite and invertible.
    """
    if not np.all(np.isfinite(matrix)) or abs(np.linalg.det(matrix)) < 1e-9:
        raise UnreadableVolume("The image's geometry (spacing or orientation) is not valid; export the series again.")
    return matrix


def compact_hu(values: NDArray[Any]) -> NDArray[np.generic]:
    """A copy as int16 where the values are integers (held to the range of int16), otherwise as float32."""
    if not np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32)
    limits = np.iinfo(np.int16)
    if np.can_cast(values.dtype, np.int16):
        return values.astype(np.int16)
    held: NDArray[np.generic] = np.clip(values, max(limits.min, np.iinfo(values.dtype).min), limits.max)
    return held.astype(np.int16)


def ct_to_sitk(ct: CTVolume) -> SimpleITK.Image:
    """The inverse of ``ct_from_sitk``; a sheared grid keeps its shear in the direction matrix."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(ct.hu)
    matrix = LPS_TO_RAS @ ct.ijk_to_ras
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    return image


def write_volume(ct: CTVolume, path: Path, fields: Mapping[str, str] | None = None) -> None:
    """Write a volume as .nii, .nii.gz, .nrrd, .mha or .mhd, compressed; the file appears whole or not at all.

    Voxels and grid are read again before it does.

    Args:
        fields: further ones of the header; an .nrrd holds any.

    Raises:
        ValueError: for a sheared grid and a NIfTI name, because SimpleITK's NIfTI writer drops the shear silently.
        OSError: when the folder cannot be written.
        OutputRefused: when the file cannot be written, for example for want of space or of a known ending.
    """
    import SimpleITK as sitk

    path = Path(path)
    wanted = dict(fields or {})
    axes = ct.ijk_to_ras[:3, :3] / np.asarray(ct.spacing_mm)
    if ".nii" in path.suffixes and np.max(np.abs(axes.T @ axes - np.eye(3))) > 1e-3:
        raise ValueError("A sheared grid cannot be written as NIfTI without losing its shear; use .nrrd.")
    refusal = OutputRefused(
        f"The volume '{one_line(path.name, NAME_LIMIT)}' could not be written; "
        "check its ending (for example .nii.gz) and free space."
    )

    def compare(written: Path) -> None:
        # Some writers say nothing when the disk is full.
        try:
            with text_path(written) as readable, silent_library():
                again = sitk.ReadImage(readable)
        except RuntimeError as error:
            raise refusal from error
        if not np.array_equal(sitk.GetArrayViewFromImage(again), ct.hu) or not _is_same_grid(again, ct):
            raise refusal
        if any(not again.HasMetaDataKey(key) or again.GetMetaData(key) != value for key, value in wanted.items()):
            raise refusal

    if not is_text(path) and path.suffix == ".mhd":
        raise refusal  # the header names the file of its voxels
    with atomic_write(path, compare) as partial, private_folder(_text_folder(partial)) as folder:
        written = folder / (partial.name if is_text(path) else f"volume{''.join(path.suffixes[-2:])}")
        try:
            with silent_library():
                image = ct_to_sitk(ct)
                for key, value in wanted.items():
                    image.SetMetaData(key, value)
                sitk.WriteImage(image, str(written), useCompression=True)
        except RuntimeError as error:
            raise refusal from error
        for file in folder.iterdir():
            shutil.move(file, partial if file == written else partial.with_name(file.name))


def _is_same_grid(image: SimpleITK.Image, ct: CTVolume) -> bool:
    """Whether every corner voxel of the image lies where that of the volume does, to what a header rounds."""
    matrix = LPS_TO_RAS @ build_lps_geometry(image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    k, j, i = ct.shape_kji
    corners = np.array([[x, y, z, 1] for x in (0, i - 1) for y in (0, j - 1) for z in (0, k - 1)], dtype=np.float64)
    apart, farthest = (float(np.abs(corners @ part.T).max()) for part in (matrix - ct.ijk_to_ras, ct.ijk_to_ras))
    return apart < _SAME_PLACE_MM + _SAME_PLACE * farthest


def _text_folder(path: Path) -> Path:
    return path.parent if is_text(path) else Path(tempfile.gettempdir())


def linear_transform_matrix(file: Path) -> FloatArray | None:
    """A linear ITK transform file as the matrix to the parent in RAS mm; None when it is not linear.

    ITK's transform maps the parent's LPS points to the child's: the inverse of Slicer's direction.
    """
    import SimpleITK as sitk

    try:
        with text_path(file) as readable:
            transform = sitk.ReadTransform(readable)
    except (RuntimeError, UnicodeError):  # The latter where the message quotes bytes of the file.
        return None
    if transform.GetDimension() != 3 or not transform.IsLinear():
        return None
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    from_parent = np.eye(4)
    for axis in range(3):
        from_parent[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - origin
    from_parent[:3, 3] = origin
    if not np.all(np.isfinite(from_parent)) or abs(np.linalg.det(from_parent)) < 1e-9:
        return None
    return np.asarray(LPS_TO_RAS @ np.linalg.inv(from_parent) @ LPS_TO_RAS)
