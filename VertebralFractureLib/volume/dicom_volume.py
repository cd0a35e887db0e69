"""Build one volume from the slices of a DICOM stack: sorted by position, never by file name or instance number.

The step from slice to slice is measured from the positions, so a tilted gantry gives a sheared matrix that is exact and
needs no resampling. GDCM applies each slice's own rescale slope and intercept while it reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.thresholds import VOLUME_CHECKS
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.dicom_multiframe import read_frame_thickness_mm, read_frames
from VertebralFractureLib.volume.dicom_series import DicomSeries, DicomSlice
from VertebralFractureLib.volume.sitk_bridge import LPS_TO_RAS, compact_hu


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
    slices = _keep_one_per_position(stack.slices)
    grid = _fit_grid(name, slices)
    hu = _stack((_read_image(one)[0] for one in slices), grid, slices[0].size_ij)
    return _volume(hu, grid, name, source)


@dataclass(frozen=True)
class _Grid:
    """Where the slices lie: ``rows[n]`` is the index k of the n-th sorted slice."""

    rows: tuple[int, ...]
    missing: int
    ijk_to_ras: FloatArray


def _normal(one: DicomSlice) -> FloatArray:
    normal = np.cross(one.axes_lps[:, 0], one.axes_lps[:, 1])
    return np.asarray(normal / np.linalg.norm(normal))


def _keep_one_per_position(slices: tuple[DicomSlice, ...]) -> list[DicomSlice]:
    """Sort slices along their normal; of several at one position, that of the longest acquisition stays."""
    unique = list({(one.sop_instance_uid or str(one.path)): one for one in slices}.values())
    normal = _normal(unique[0])
    lengths = Counter(one.acquisition for one in unique)
    unique.sort(
        key=lambda one: (round(float(one.position_lps @ normal), 2), -lengths[one.acquisition], one.acquisition)
    )
    kept = [unique[0]]
    for one in unique[1:]:
        if np.linalg.norm(one.position_lps - kept[-1].position_lps) >= 0.02:
            kept.append(one)
        elif one.acquisition == kept[-1].acquisition and not np.array_equal(_read_image(one), _read_image(kept[-1])):
            raise _two_at_one_position()
    return kept


def _fit_grid(name: str, slices: list[DicomSlice]) -> _Grid:
    tuned = VOLUME_CHECKS
    if len(slices) < 2:
        raise UnreadableVolume(f"The series '{name}' is a single image (2D), not a CT volume; choose the whole series.")
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
    if missing and (missing > tuned.max_missing_slices or widest > tuned.max_gap_mm):
        raise UnreadableVolume(
            f"Slices are missing from '{name}': there is a gap of {widest:.1f} mm in a series with {step:.1f} mm "
            "between slices; transfer the whole series again."
        )
    if float(off_grid.max()) > tuned.off_grid * step + 0.01:
        raise UnreadableVolume(
            f"The slices of '{name}' do not lie on a regular grid (from {gaps.min():.1f} to {widest:.1f} mm apart); "
            "choose a series with even slices."
        )
    lps = np.eye(4)
    lps[:3, :2] = np.mean([one.axes_lps for one in slices], axis=0)
    lps[:3, 2], lps[:3, 3] = line[1], line[0]
    return _Grid(tuple(int(row) for row in rows), missing, LPS_TO_RAS @ lps)


def _stack(planes: Iterable[NDArray[np.generic]], grid: _Grid, size_ij: tuple[int, int]) -> NDArray[np.generic]:
    """The planes ``[j, i]`` in one array ``[k, j, i]``, int16 unless one has fractions; missing ones are filled."""
    columns, rows = size_ij
    hu: NDArray[np.generic] = np.empty((grid.rows[-1] + 1, rows, columns), dtype=np.int16)
    for k, values in zip(grid.rows, planes, strict=True):
        if values.dtype == np.float32 and hu.dtype != np.float32:
            hu = hu.astype(np.float32)
        hu[k] = values
    for below, above in zip(grid.rows, grid.rows[1:], strict=False):
        for k in range(below + 1, above):
            weight = (k - below) / (above - below)
            filled = (1.0 - weight) * hu[below].astype(np.float32) + weight * hu[above].astype(np.float32)
            hu[k] = filled if hu.dtype == np.float32 else np.round(filled)
    return hu


def _volume(hu: NDArray[np.generic], grid: _Grid, name: str, source: dict[str, str]) -> CTVolume:
    if grid.missing:
        source = {**source, "interpolated_slices": str(grid.missing)}
    return CTVolume(hu, grid.ijk_to_ras, name, source)


def _two_at_one_position() -> UnreadableVolume:
    return UnreadableVolume(
        "The series holds different images at the same place (several phases or reconstructions in one); "
        "export the phase to be judged as a series of its own."
    )


def _read_image(one: DicomSlice) -> NDArray[np.generic]:
    """The image or images of one file, ``[frame, j, i]`` in Hounsfield units."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(one.path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise UnreadableVolume(f"The DICOM file '{one.path.name}' is damaged; transfer the series again.") from error
    columns, rows = one.size_ij
    # The view borrows the image's memory: both must live until the copy is made.
    return compact_hu(sitk.GetArrayViewFromImage(image).reshape(-1, rows, columns))


def _read_multi_frame(stack: DicomSeries, name: str, source: dict[str, str]) -> CTVolume:
    """An enhanced CT in one file, its frames sorted by position."""
    if len(stack.slices) > 1:
        raise UnreadableVolume(
            f"The series '{name}' consists of {len(stack.slices)} multi-frame files, which cannot be put in order; "
            "export it as one image per slice."
        )
    frames = read_frames(stack.slices[0])
    thickness = read_frame_thickness_mm(stack.slices[0])
    if thickness is not None:
        source = {**source, "slice_thickness_mm": f"{thickness:g}"}
    normal = _normal(frames[0])
    along = [float(frame.position_lps @ normal) for frame in frames]
    order = np.argsort(along)
    if len(frames) > 1 and np.min(np.diff(np.sort(along))) < 0.01:
        raise _two_at_one_position()
    grid = _fit_grid(name, [frames[n] for n in order])
    values = _read_image(stack.slices[0])
    return _volume(_stack((values[n] for n in order), grid, frames[0].size_ij), grid, name, source)
