"""Build one volume from the slices of a DICOM stack: sorted by position, never by file name or instance number.

The step from slice to slice is measured from the positions, so a tilted gantry gives a sheared matrix that is exact and
needs no resampling. GDCM applies each slice's own rescale slope and intercept while it reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.private_folders import text_path
from VertebralFractureLib.thresholds import VOLUME_CHECKS
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.dicom_mending import mended_copy, silent_library
from VertebralFractureLib.volume.dicom_multiframe import read_frame_tags, why_frames_are_no_stack
from VertebralFractureLib.volume.dicom_series import DicomSeries, DicomSlice
from VertebralFractureLib.volume.file_guard import is_damaged_dicom
from VertebralFractureLib.volume.sitk_bridge import LPS_TO_RAS, compact_hu


def read_dicom_series(stack: DicomSeries) -> CTVolume:
    """Read the voxels of a stack as Hounsfield units.

    Up to two missing slices are filled by linear interpolation when no gap exceeds 6 mm. Slices whose distance changes
    along the stack are interpolated onto the finest of their distances, and count as thick as the widest.

    Raises:
        UnreadableVolume: when the slices do not make a volume, or a file is damaged.
    """
    name = stack.description or "CT"
    source = {"format": "dicom", "series_instance_uid": stack.uid, "modality": stack.modality}
    source.update(stack.acquisition_facts)
    if stack.kind == "multi-frame":
        file = stack.slices[0]
        raise UnreadableVolume(
            f"The multi-frame DICOM file '{file.path.name}' "
            f"{why_frames_are_no_stack(read_frame_tags(file.path), file.frames)}; export it as one image per slice."
        )
    slices = _keep_one_per_position(stack.slices)
    grid = _fit_grid(name, slices)
    hu = _stack(_read_planes(slices), grid, slices[0].size_ij)
    return replace(_volume(hu, grid, name, source), doubts=_doubts(stack, slices, grid))


def _doubts(stack: DicomSeries, slices: list[DicomSlice], grid: _Grid) -> tuple[Doubt, ...]:
    doubts = []
    if stack.content.is_no_original:
        doubts.append(Doubt(DoubtKind.NO_ORIGINAL_SERIES))
    if grid.widest_mm is not None:
        gaps = np.linalg.norm(np.diff([one.position_lps for one in slices], axis=0), axis=1)
        doubts.append(Doubt(DoubtKind.UNEVEN_SLICES, {"mm_at_least": float(gaps.min()), "mm_at_most": grid.widest_mm}))
    if stack.lossy:
        doubts.append(Doubt(DoubtKind.LOSSY_IMAGES))
    if stack.files_left_out:
        doubts.append(Doubt(DoubtKind.FILES_LEFT_OUT, {"files": stack.files_left_out}))
    return tuple(doubts)


@dataclass(frozen=True)
class _Grid:
    """Where the slices lie: ``rows[n]`` is the index k of the n-th sorted slice, whole unless distances change.

    ``widest_mm`` is the largest distance of two slices where distances change, else None.
    """

    rows: tuple[float, ...]
    missing: int
    ijk_to_ras: FloatArray
    widest_mm: float | None = None


def _normal(one: DicomSlice) -> FloatArray:
    normal = np.cross(one.axes_lps[:, 0], one.axes_lps[:, 1])
    return np.asarray(normal / np.linalg.norm(normal))


def _keep_one_per_position(slices: tuple[DicomSlice, ...]) -> list[DicomSlice]:
    """Sort slices along their normal; of several at one position, that of the longest acquisition stays.

    What is a copy is told by its position and its voxels: instance UIDs are not always unique.
    """
    normal = _normal(slices[0])
    lengths = Counter(one.acquisition for one in slices)
    ordered = sorted(
        slices,
        key=lambda one: (round(float(one.position_lps @ normal), 2), -lengths[one.acquisition], one.acquisition),
    )
    kept = [ordered[0]]
    for one in ordered[1:]:
        last = kept[-1]
        if np.linalg.norm(one.position_lps - last.position_lps) >= 0.02:
            kept.append(one)
        elif one.acquisition == last.acquisition and not _is_copy(one, last):
            raise UnreadableVolume(
                "The series holds different images at the same place (several phases or reconstructions in one); "
                "export the phase to be judged as a series of its own."
            )
    return kept


def _is_copy(one: DicomSlice, other: DicomSlice) -> bool:
    return np.array_equal(_read_image(one)[one.frame], _read_image(other)[other.frame])


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
    rows, missing, widest = np.concatenate([[0.0], np.cumsum(np.maximum(np.round(gaps / step), 1.0))]), 0, None
    if _distances_change(gaps, step):
        # The finest distance that is no accident of two slices alone.
        step = float(np.percentile(gaps, 10.0))
        rows, widest = along / step, float(gaps.max())
        if widest > tuned.max_slice_distance_mm + tuned.spacing_rounding_mm:
            raise UnreadableVolume(
                f"The distance between the slices of '{name}' changes from {gaps.min():.1f} to {widest:.1f} mm, more "
                f"than the {tuned.max_slice_distance_mm:.0f} mm at which a vertebra can still be judged; choose a "
                "series with even slices."
            )
    else:
        missing = int(rows[-1]) + 1 - len(slices)
    # A least-squares line through all positions: rounding in the file's decimals averages out.
    line = np.polynomial.polynomial.polyfit(rows, positions, 1)
    off_grid = positions - (line[0] + rows[:, None] * line[1])
    if missing and (missing > tuned.max_missing_slices or float(gaps.max()) > tuned.max_gap_mm):
        raise UnreadableVolume(
            f"Slices are missing from '{name}': there is a gap of {gaps.max():.1f} mm in a series with {step:.1f} mm "
            "between slices; transfer the whole series again."
        )
    if float(np.linalg.norm(off_grid, axis=1).max()) > tuned.off_grid * step + 0.01:
        raise _off_grid(name, positions, gaps)
    lps = np.eye(4)
    lps[:3, :2] = np.mean([one.axes_lps for one in slices], axis=0)
    lps[:3, 2], lps[:3, 3] = line[1], line[0]
    return _Grid(tuple(rows.tolist()), missing, LPS_TO_RAS @ lps, widest)


def _distances_change(gaps: FloatArray, step: float) -> bool:
    """Whether wide gaps are the rule of a stretch, and not slices that were lost here and there.

    Lost slices leave a whole number of steps. Several such gaps of one width in a row are a stretch that was scanned
    or reconstructed at another distance.
    """
    ratios = gaps / step
    uneven = np.abs(ratios - np.maximum(np.round(ratios), 1.0)) > VOLUME_CHECKS.uneven_distance
    if uneven.any():
        # One pair of slices apart is an accident; a regular grid with it is none.
        return bool(uneven.sum() >= VOLUME_CHECKS.least_uneven_distances)
    wide = np.round(ratios) > 1.0
    return bool((wide[1:] & wide[:-1] & (np.round(ratios[1:]) == np.round(ratios[:-1]))).any())


def _off_grid(name: str, positions: FloatArray, gaps: FloatArray) -> UnreadableVolume:
    """The refusal of slices that do not follow each other in a line, by what is wrong with them."""
    steps = np.diff(positions, axis=0)
    aside = np.linalg.norm(steps - np.median(steps / gaps[:, None], axis=0) * gaps[:, None], axis=1)
    if float(aside.max()) > float(np.ptp(gaps)):
        at = int(aside.argmax())
        return UnreadableVolume(
            f"Between the images {at + 1} and {at + 2} of '{name}' the patient or the field of view moves "
            f"{aside[at]:.1f} mm to the side, so they make no volume together; choose a series without such a step."
        )
    return UnreadableVolume(
        f"The slices of '{name}' do not lie on a regular grid (from {gaps.min():.1f} to {gaps.max():.1f} mm apart); "
        "choose a series with even slices."
    )


def _stack(planes: Iterable[NDArray[np.generic]], grid: _Grid, size_ij: tuple[int, int]) -> NDArray[np.generic]:
    """The planes ``[j, i]`` in one array ``[k, j, i]``, int16 unless one has fractions; others are interpolated."""
    columns, rows = size_ij
    count = int(np.floor(grid.rows[-1] + 1e-6)) + 1
    hu: NDArray[np.generic] = np.empty((count, rows, columns), dtype=np.int16)
    below: NDArray[np.generic] | None = None
    filled, last = 0, 0.0
    for row, plane in zip(grid.rows, planes, strict=True):
        if plane.dtype == np.float32 and hu.dtype != np.float32:
            hu = hu.astype(np.float32)
        while filled < count and filled <= row + 1e-6:
            weight = 1.0 if below is None else min((filled - last) / (row - last), 1.0)
            if weight > 1.0 - 1e-6 or below is None:
                hu[filled] = plane
            else:
                mean = (1.0 - weight) * below.astype(np.float32) + weight * plane.astype(np.float32)
                hu[filled] = mean if hu.dtype == np.float32 else np.round(mean)
            filled += 1
        below, last = plane, row
    return hu


def _volume(hu: NDArray[np.generic], grid: _Grid, name: str, source: dict[str, str]) -> CTVolume:
    doubts: tuple[Doubt, ...] = ()
    if grid.missing:
        source = {**source, "interpolated_slices": str(grid.missing)}
        doubts = (Doubt(DoubtKind.SLICES_INTERPOLATED, {"slices": float(grid.missing)}),)
    if grid.widest_mm is not None:
        thickness = max(grid.widest_mm, float(source.get("slice_thickness_mm", 0.0)))
        source = {**source, "slice_thickness_mm": f"{thickness:g}"}
    return CTVolume(hu, grid.ijk_to_ras, name, source, doubts)


def _read_planes(slices: Iterable[DicomSlice]) -> Iterator[NDArray[np.generic]]:
    """The images ``[j, i]`` of the slices; a file with many of them is read once, if they come one after the other."""
    path, images = None, None
    for one in slices:
        if images is None or one.path != path:
            path, images = one.path, _read_image(one)
        yield images[one.frame]


def _read_image(one: DicomSlice) -> NDArray[np.generic]:
    """The image or images of one file, ``[frame, j, i]`` in Hounsfield units."""
    import SimpleITK as sitk

    damaged = UnreadableVolume(f"The DICOM file '{one.path.name}' is damaged; transfer the series again.")
    if is_damaged_dicom(one.path):
        raise damaged
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    with mended_copy(one.path) if one.to_mend else nullcontext(one.path) as path:
        if path is None:
            raise UnreadableVolume(
                f"The DICOM file '{one.path.name}' is stored in a way that cannot be read right (MONOCHROME1 or "
                "decimal commas, in big-endian or deflated order); export the series again."
            )
        try:
            with silent_library(), text_path(path) as readable:
                reader.SetFileName(readable)
                image = reader.Execute()
        except RuntimeError as error:
            raise damaged from error
    columns, rows = one.size_ij
    # The view borrows the image's memory: both must live until the copy is made.
    return compact_hu(sitk.GetArrayViewFromImage(image).reshape(-1, rows, columns))
