"""``check_ct``: is this a CT in Hounsfield units with a geometry in which vertebrae can be judged?

Refusing a good CT harms as much as accepting a bad one, so each limit lies far outside what 25 public CTs show (whole,
cropped to the spine, or with blanked parts): fat and soft tissue fill 12 to 72 % of them, and fat alone 4 to 31 %.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.thresholds import VOLUME_CHECKS
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume.ct_volume import CTVolume
from VertebralFractureLib.volume.sitk_bridge import compact_hu

AIR_HU = -1024
"""The lowest value of a checked volume; padding below it (-2000, -3024, -32768) is raised to it."""


_SAMPLES = 400_000


def check_ct(ct: CTVolume) -> CTVolume:
    """Refuse by name what is not a usable CT; give back the volume with its padding raised to -1024 HU.

    Returns:
        The same volume where nothing had to change (its array is then not copied), with int16 or float32 voxels.

    Raises:
        UnreadableVolume: with one sentence that says what is wrong and what to do.
    """
    _check_geometry(ct)
    hu = _finite(ct.hu)
    lowest, highest = float(hu.min()), float(hu.max())
    if lowest == highest:
        raise UnreadableVolume(
            f"Every voxel of '{ct.name}' has the same value ({lowest:g}), so it is no image; export the series again."
        )
    _check_values(ct.name, _sample(hu))
    if lowest < AIR_HU:
        hu = np.maximum(hu, np.asarray(AIR_HU, dtype=hu.dtype))
    return ct if hu is ct.hu else replace(ct, hu=hu)


def measure_plane_distances_mm(ijk_to_ras: FloatArray) -> tuple[float, float, float]:
    """Distance between neighboring planes of constant i, j and k, perpendicular to them (also for sheared grids)."""
    i, j, k = 1.0 / np.linalg.norm(np.linalg.inv(ijk_to_ras[:3, :3]), axis=1)
    return float(i), float(j), float(k)


def _check_geometry(ct: CTVolume) -> None:
    tuned = VOLUME_CHECKS
    furthest = float(np.max(np.abs(ct.ijk_to_ras[:3, 3])))
    if furthest > tuned.furthest_mm:
        raise UnreadableVolume(
            f"The first voxel of '{ct.name}' lies {furthest / 1000:.3g} m away from the scanner's origin, so its "
            "geometry is damaged; export the series again."
        )
    distances = measure_plane_distances_mm(ct.ijk_to_ras)
    shown = " x ".join(f"{distance:.3g}" for distance in distances)
    if min(distances) < tuned.min_spacing_mm:
        raise UnreadableVolume(
            f"The voxel spacing of '{ct.name}' is {shown} mm, which no CT of a body has; "
            "export the series again with its geometry."
        )
    if max(distances) > tuned.max_slice_distance_mm + tuned.spacing_rounding_mm:
        doubt = ", or the spacing in the file is wrong" if max(distances) > tuned.max_spacing_mm else ""
        raise UnreadableVolume(
            f"The slices of '{ct.name}' are {max(distances):.1f} mm apart, more than the "
            f"{tuned.max_slice_distance_mm:.0f} mm at which a vertebra can still be judged{doubt}; "
            "choose a series with thinner slices."
        )
    if min(ct.hu.shape) < tuned.min_voxels_per_axis:
        raise UnreadableVolume(
            f"'{ct.name}' has only {min(ct.hu.shape)} slices, too few to judge a vertebra; choose the whole series."
        )
    extent = np.abs(ct.ijk_to_ras[:3, :3]) @ np.asarray(ct.hu.shape[::-1], dtype=np.float64)
    if extent[2] < tuned.min_coverage_mm:
        raise UnreadableVolume(
            f"'{ct.name}' covers only {extent[2]:.0f} mm from feet to head, less than the "
            f"{tuned.min_coverage_mm:.0f} mm that are needed to judge a vertebra; choose a longer series."
        )
    if min(extent[:2]) < tuned.min_width_mm:
        raise UnreadableVolume(
            f"'{ct.name}' is only {min(extent[:2]):.0f} mm wide, too narrow to hold a vertebra; "
            "choose a series with a larger field of view."
        )


def _finite(hu: NDArray[np.generic]) -> NDArray[np.generic]:
    """The voxels as int16 or float32, with the few that are not finite set to air."""
    if hu.dtype not in (np.int16, np.float32):
        hu = compact_hu(hu)
    if hu.dtype == np.int16:
        return hu
    finite = np.isfinite(hu)
    bad_fraction = 1.0 - float(np.count_nonzero(finite)) / finite.size
    if bad_fraction == 0.0:
        return hu
    if bad_fraction > VOLUME_CHECKS.max_non_finite_fraction:
        raise UnreadableVolume(
            f"{100 * bad_fraction:.1f} % of the voxels are not numbers (NaN or infinite); export the series again."
        )
    return np.where(finite, hu, np.float32(AIR_HU))


def _sample(hu: NDArray[np.generic]) -> FloatArray:
    """A regular subset, at a step that no axis length is a multiple of by habit, as float64."""
    step = max(1, hu.size // _SAMPLES)
    strides = max(1, round(step ** (1 / 3)))
    return hu[::strides, ::strides, ::strides].astype(np.float64).ravel()


def _fraction(values: FloatArray, low: float, high: float) -> float:
    return float(np.count_nonzero((values >= low) & (values <= high))) / values.size


def _check_values(name: str, values: FloatArray) -> None:
    tuned = VOLUME_CHECKS
    if _fraction(values, -1000.0, -20.0) < tuned.least_fat_or_lung:
        # No fat, no lung: these are not Hounsfield units. Find out what they are, to say what to do.
        between, tissue = _fraction(values, 300.0, 2500.0), _fraction(values, 850.0, 1300.0)
        if tissue > tuned.missing_intercept_tissue and tissue > tuned.missing_intercept_fraction * between:
            raise UnreadableVolume(
                f"The values of '{name}' start at {values.min():.0f} and soft tissue lies near 1000 instead of 0, so "
                "the rescale intercept (usually -1024) seems to be missing; export the series again with it."
            )
        if np.unique(values[:: max(1, values.size // 50_000)]).size <= tuned.label_map_values and np.all(
            values == np.round(values)
        ):
            raise UnreadableVolume(
                f"'{name}' holds only a few different values, like a label map or mask; choose the CT volume itself."
            )
        raise UnreadableVolume(
            f"The values of '{name}' ({values.min():.4g} to {values.max():.4g}) are not Hounsfield units: there is no "
            "air, lung or fat below 0, as in an MR or a windowed picture; choose the original CT series."
        )
    low, high = np.percentile(values, [0.5, 99.5])
    if high - low < tuned.least_range_hu or _fraction(values, -200.0, 200.0) < tuned.least_soft_tissue:
        raise UnreadableVolume(
            f"The values of '{name}' (mostly {low:.4g} to {high:.4g}) hold no soft tissue in Hounsfield units, so it "
            "is not a CT of a body or its values were rescaled; choose the original CT series."
        )
