"""Builds one volume from the slices of a DICOM stack: sorted by place, never by file name or instance number.

The step from slice to slice is measured from the positions, so a tilted gantry gives a sheared matrix that is exact and
needs no resampling. GDCM applies each slice's own rescale slope and intercept while it reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.volume.ct_volume import CTVolume, FloatArray
from VertebralFractureLib.volume.dicom_series import DicomSeries, DicomSlice, most_common_acquisition
from VertebralFractureLib.volume.sitk_bridge import LPS_TO_RAS, compact_hu, ct_from_sitk

MAX_MISSING_SLICES = 2
MAX_GAP_MM = 6.0
_GRID_TOLERANCE = 0.1
"""Fraction of the slice distance by which a slice may lie off the regular grid (positions are stored rounded)."""


def read_dicom_series(stack: DicomSeries) -> CTVolume:
    """Read the voxels of a stack as Hounsfield units.

    Up to two missing slices are filled by linear interpolation when no gap exceeds 6 mm.

    Raises:
        UnreadableVolume: when the slices do not make a regular volume, or a file is damaged.
    """
    name = stack.description or "CT"
    source = {"format": "dicom", "series_instance_uid": stack.uid, "modality": stack.modality}
    source.update(stack.acquisition_facts)
    if stack.kind == "multi-frame":
        return _read_multi_frame(stack, name, source)
    slices = _one_per_place(stack.slices)
    if len(slices) < 2:
        raise UnreadableVolume(f"The series '{name}' is a single image (2D), not a CT volume; choose the whole series.")
    grid = _fit_grid(name, slices)
    if grid.missing:
        source["interpolated_slices"] = str(grid.missing)
    return CTVolume(_read_slices(slices, grid), grid.ijk_to_ras, name, source)


@dataclass(frozen=True)
class _Grid:
    """Where the slices lie: ``rows[n]`` is the index k of the n-th sorted slice."""

    rows: tuple[int, ...]
    missing: int
    ijk_to_ras: FloatArray


def _normal(one: DicomSlice) -> FloatArray:
    normal = np.cross(one.axes_lps[:, 0], one.axes_lps[:, 1])
    return np.asarray(normal / np.linalg.norm(normal))


def _one_per_place(slices: tuple[DicomSlice, ...]) -> list[DicomSlice]:
    """The slices sorted along their normal, without copies of the same image and without a second pass."""
    unique = list({(one.sop_instance_uid or str(one.path)): one for one in reversed(slices)}.values())
    places = {tuple(np.round(one.position_lps, 2)) for one in unique}
    if len(places) < len(unique):
        unique = most_common_acquisition(unique)
    normal = _normal(unique[0])
    unique.sort(key=lambda one: float(one.position_lps @ normal))
    kept = [unique[0]]
    for one in unique[1:]:
        if np.linalg.norm(one.position_lps - kept[-1].position_lps) >= 0.01:
            kept.append(one)
        elif not np.array_equal(_read_slice(one), _read_slice(kept[-1])):
            raise UnreadableVolume(
                "The series holds different images at the same place (several phases or reconstructions in one); "
                "export the phase to be judged as a series of its own."
            )
    return kept


def _fit_grid(name: str, slices: list[DicomSlice]) -> _Grid:
    positions = np.array([one.position_lps for one in slices])
    along = (positions - positions[0]) @ _normal(slices[0])
    gaps = np.diff(along)
    step = float(np.median(gaps))
    if step <= 0.0:
        raise UnreadableVolume(
            f"The slices of '{name}' lie in one plane, so they make no volume; choose the CT series."
        )
    rows = np.concatenate([[0], np.cumsum(np.maximum(np.round(gaps / step), 1))]).astype(int)
    missing = int(rows[-1]) + 1 - len(slices)
    # A least-squares line through all positions: rounding in the file's decimals averages out.
    line = np.polynomial.polynomial.polyfit(rows.astype(np.float64), positions, 1)
    off_grid = np.linalg.norm(positions - (line[0] + rows[:, None] * line[1]), axis=1)
    widest = float(gaps.max())
    if missing and (missing > MAX_MISSING_SLICES or widest > MAX_GAP_MM):
        raise UnreadableVolume(
            f"Slices are missing from '{name}': there is a gap of {widest:.1f} mm in a series with {step:.1f} mm "
            "between slices; transfer the whole series again."
        )
    if float(off_grid.max()) > _GRID_TOLERANCE * step + 0.01:
        raise UnreadableVolume(
            f"The slices of '{name}' do not lie on a regular grid (from {gaps.min():.1f} to {widest:.1f} mm apart); "
            "choose a series with even slices."
        )
    lps = np.eye(4)
    lps[:3, :2] = np.mean([one.axes_lps for one in slices], axis=0)
    lps[:3, 2], lps[:3, 3] = line[1], line[0]
    return _Grid(tuple(int(row) for row in rows), missing, LPS_TO_RAS @ lps)


def _read_slices(slices: list[DicomSlice], grid: _Grid) -> NDArray[np.generic]:
    """All slices in one array ``[k, j, i]``, int16 unless a slice has fractions."""
    columns, rows = slices[0].size_ij
    hu: NDArray[np.generic] = np.empty((grid.rows[-1] + 1, rows, columns), dtype=np.int16)
    for k, one in zip(grid.rows, slices, strict=True):
        values = _read_slice(one)
        if values.dtype == np.float32 and hu.dtype != np.float32:
            hu = hu.astype(np.float32)
        hu[k] = values
    for below, above in zip(grid.rows, grid.rows[1:], strict=False):
        for k in range(below + 1, above):
            weight = (k - below) / (above - below)
            filled = (1.0 - weight) * hu[below].astype(np.float32) + weight * hu[above].astype(np.float32)
            hu[k] = filled if hu.dtype == np.float32 else np.round(filled)
    return hu


def _read_slice(one: DicomSlice) -> NDArray[np.generic]:
    """One slice ``[j, i]`` in Hounsfield units."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(one.path))
    try:
        values = sitk.GetArrayViewFromImage(reader.Execute())
    except RuntimeError as error:
        raise UnreadableVolume(f"The DICOM file '{one.path.name}' is damaged; transfer the series again.") from error
    return compact_hu(values.reshape(values.shape[-2:]))


def _read_multi_frame(stack: DicomSeries, name: str, source: dict[str, str]) -> CTVolume:
    """An enhanced CT in one file: GDCM knows its geometry only when the frames are even and in order."""
    import SimpleITK as sitk

    if len(stack.slices) > 1:
        raise UnreadableVolume(
            f"The series '{name}' consists of {len(stack.slices)} multi-frame files, which cannot be put in order; "
            "export it as one image per slice."
        )
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(stack.slices[0].path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise UnreadableVolume(
            f"The multi-frame DICOM file '{stack.slices[0].path.name}' cannot be read; export it as one image a slice."
        ) from error
    return ct_from_sitk(image, name, source)
