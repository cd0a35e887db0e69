"""Small CT volumes and DICOM series for the tests of reading: their Hounsfield units are a known function of the place.

A ramp that differs along R, A and S makes any flip, swap, shift or scale of an axis visible in every voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from VertebralFractureLib.volume import CTVolume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def hu_at(points_ras: np.ndarray) -> np.ndarray:
    """The Hounsfield units of the ramp, rounded; ``(..., 3)`` RAS mm in."""
    return np.round(points_ras @ np.array([4.0, 9.0, -3.0]) - 40.0).astype(np.int16)


def grid_points_ras(shape_kji: Sequence[int], ijk_to_ras: np.ndarray) -> np.ndarray:
    """The RAS mm of all voxel centers, ``(k, j, i, 3)``."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape_kji), indexing="ij")
    return np.stack([i, j, k], axis=-1) @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]


def a_matrix(axes: np.ndarray, spacing_mm: Sequence[float], shape_kji: Sequence[int]) -> np.ndarray:
    """IJK-to-RAS whose columns follow ``axes`` (unit vectors in RAS), with the middle of the grid at (3, -5, 8) mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes * np.asarray(spacing_mm)
    middle = (np.asarray(shape_kji[::-1]) - 1) / 2
    matrix[:3, 3] = np.array([3.0, -5.0, 8.0]) - matrix[:3, :3] @ middle
    return matrix


def a_ct(
    shape_kji: Sequence[int] = (24, 20, 22),
    spacing_mm: Sequence[float] = (2.0, 2.5, 3.0),
    axes: np.ndarray | None = None,
) -> CTVolume:
    matrix = a_matrix(np.eye(3) if axes is None else axes, spacing_mm, shape_kji)
    return CTVolume(hu_at(grid_points_ras(shape_kji, matrix)), matrix, "ramp")


def largest_error_hu(ct: CTVolume) -> float:
    """How far a volume is from the ramp, by its own geometry."""
    expected = hu_at(grid_points_ras(ct.shape_kji, ct.ijk_to_ras))
    return float(np.max(np.abs(ct.hu.astype(np.float64) - expected)))


def write_dicom(
    folder: Path,
    ct: CTVolume,
    uid: str = "1.2.826.0.1.1",
    order: Sequence[int] | None = None,
    names: str = "IM{:04d}",
    extra_tags: dict[str, str] | None = None,
    intercepts: Sequence[float] = (-1024.0,),
) -> list[Path]:
    """Write one file per slice; ``order[n]`` is the index k of the n-th file, and intercepts are used in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = LPS_TO_RAS @ ct.ijk_to_ras[:3, :3]
    row, column = lps[:, 0] / np.linalg.norm(lps[:, 0]), lps[:, 1] / np.linalg.norm(lps[:, 1])
    tags = {
        "0008|0060": "CT",
        "0008|103e": "Thorax 1.0",
        "0020|0011": "3",
        "0020|000d": "1.2.826.0.1",
        "0010|0010": "SECRET^NAME",
        "0010|0020": "SECRET-ID",
        "0018|0050": "3",
        "0018|0060": "120",
        "0018|1210": "B30f",
    }
    files = []
    for n, k in enumerate(range(len(ct.hu)) if order is None else order):
        image = sitk.GetImageFromArray(ct.hu[k : k + 1])
        image.SetSpacing((*ct.spacing_mm[:2], 1.0))
        position = LPS_TO_RAS @ (ct.ijk_to_ras[:3, 3] + k * ct.ijk_to_ras[:3, 2])
        image.SetOrigin(position.tolist())
        image.SetDirection(np.stack([row, column, np.cross(row, column)], axis=1).ravel().tolist())
        own = {
            "0020|000e": uid,
            "0008|0018": f"{uid}.{k + 1}",
            "0020|0013": str(n + 1),
            "0028|1052": str(intercepts[n % len(intercepts)]),
            "0028|1053": "1",
        }
        for key, value in {**tags, **own, **(extra_tags or {})}.items():
            image.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.KeepOriginalImageUIDOn()
        files.append(folder / names.format(n))
        writer.SetFileName(str(files[-1]))
        writer.Execute(image)
    return files
