"""Measure the bony canal on the scan's own voxels: how far bone is from the canal's center, to each side.

Rays go out from the center in the axial plane until they meet bone; a side where too few of them do, as between two
arches, is left unknown. Nothing here is learned, so it measures what the header says, be it true or not.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.thresholds import BONY_CANAL
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sampling import sample_hu_between, sample_hu_near

_SIDES = ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""Lowest R, highest R, lowest A, highest A: the order of every box."""


def measure_canal_walls(
    ct: CTVolume, heights_mm: FloatArray, center_ras: FloatArray, nearest_mm: float = 4.0, farthest_mm: float = 17.0
) -> FloatArray:
    """Distance of the bone around the canal in the axial planes at ``heights_mm`` (RAS S).

    Args:
        center_ras: ``(n, 2)`` R and A of the canal's center at each height.
        nearest_mm, farthest_mm: where bone is looked for.

    Returns:
        ``(n, 4)`` lowest R, highest R, lowest A, highest A in mm from the center; NaN where fewer than
        ``least_fraction`` of a side's rays meet bone, and where contrast medium fills the canal (a myelogram).
    """
    tuned = BONY_CANAL
    centers = np.column_stack([center_ras, heights_mm])
    radius = np.arange(nearest_mm, farthest_mm + 0.5 * tuned.step_mm, tuned.step_mm)
    threshold = find_bone_threshold_hu(ct, centers)
    fan = np.radians(np.linspace(-tuned.fan_deg, tuned.fan_deg, tuned.rays))
    walls = np.full((len(centers), 4), np.nan)
    for side, (x, y) in enumerate(_SIDES):
        turned = np.stack([x * np.cos(fan) - y * np.sin(fan), x * np.sin(fan) + y * np.cos(fan), 0.0 * fan], axis=1)
        hu = sample_hu_near(ct, centers[:, None, None] + turned[:, None] * radius[:, None])
        bone = hu > threshold[:, None, None]
        reach = np.where(bone.any(axis=2), radius[bone.argmax(axis=2)] * np.cos(fan), np.nan)
        # A ray that starts in bone says that the center is off, or that the canal holds metal.
        reach[bone[:, :, 0]] = np.nan
        met = np.isfinite(reach).mean(axis=1) >= tuned.least_fraction
        walls[met, side] = (x + y) * np.nanmedian(reach[met], axis=1)
    return walls


def measure_bone_around(
    ct: CTVolume, heights_mm: FloatArray, center_ras: FloatArray, size: float = 1.0
) -> list[tuple[float, float]]:
    """How much bone lies where a vertebral body would be, for a body on each of the four sides of the centers.

    Bone is what exceeds both the canal's content and the soft parts around it, so that a shift of all HU changes
    nothing. A strip of 18 to 48 mm from the center and 16 mm across is looked at, in a body of an adult's ``size``.

    Returns:
        Per side (lowest R, highest R, lowest A, highest A) the bone fraction of the strip, and the fraction of
        slices in which most lines along the strip meet bone.
    """
    tuned = BONY_CANAL
    centers = np.column_stack([center_ras, heights_mm])
    content, around = _measure_content_and_around_hu(ct, centers)
    soft = np.array([_median(own) for own in around])
    inside = np.array([_median(own) for own in content])
    # Contrast medium in the canal says nothing of what is bone around it.
    filled = inside > soft + tuned.filled_above_soft_hu
    threshold = np.where(filled, soft, np.maximum(soft, inside)) + tuned.bone_above_soft_hu
    threshold[np.isnan(threshold)] = np.inf
    across, along = np.meshgrid(
        np.arange(-tuned.body_half_width_mm, tuned.body_half_width_mm + 1.0, 2.0),
        np.arange(tuned.body_from_mm, tuned.body_to_mm, 2.0),
        indexing="ij",
    )
    fractions = []
    for x, y in _SIDES:
        strip = size * np.stack([x * along + y * across, y * along + x * across, 0.0 * along], axis=-1)
        bone = sample_hu_near(ct, centers[:, None, None] + strip) > threshold[:, None, None]
        most = bone.any(axis=2).mean(axis=1) >= tuned.least_fraction
        fractions.append((float(bone.mean()), float(most.mean())))
    return fractions


def measure_content_over_soft_hu(ct: CTVolume, heights_mm: FloatArray, center_ras: FloatArray) -> float:
    """How much denser the canal's content are than the soft parts around it; the slices' upper quartile, or NaN.

    Water and nerves are about as dense as muscle, while the marrow of a long bone is fat all along; fat around the
    nerves, as in a severe scoliosis, is not. A shift of all HU changes nothing. Bone is no soft part, or a narrow field
    of view would make it the measure.
    """
    content, around = _measure_content_and_around_hu(ct, np.column_stack([center_ras, heights_mm]))
    middle = np.array([_median(own) for own in content])
    around = np.where(around < middle[:, None] + BONY_CANAL.bone_above_content_hu, around, np.nan)
    over = middle - [_median(own) for own in around]
    known = over[np.isfinite(over)]
    return float(np.percentile(known, 75.0)) if len(known) else np.nan


def _measure_content_and_around_hu(ct: CTVolume, centers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """HU at the points ``(n, 3)``, ``(n, 9)``, and of what is denser than lung within 60 mm, ``(n, m)``, else NaN."""
    tuned = BONY_CANAL
    wide = np.arange(-tuned.around_mm, tuned.around_mm + 1.0, 6.0)
    near = (-2.0, 0.0, 2.0)
    around = sample_hu_near(ct, centers[:, None] + np.array([[x, y, 0.0] for x in wide for y in wide]))
    content = sample_hu_near(ct, centers[:, None] + np.array([[x, y, 0.0] for x in near for y in near]))
    return content, np.where(around > tuned.soft_from_hu, around, np.nan)


def measure_filled_fraction(ct: CTVolume, centers_ras: FloatArray, size: float = 1.0) -> float:
    """The fraction of the centers ``(n, 3)`` around which much is as dense as contrast medium in the canal.

    Of a disc in the axial plane that a canal contains, cord and fluid are as dense as the soft parts around; contrast
    medium fills the fluid, and bone reaches into the disc only where the center is off. Metal is denser still. The
    disc is that of an adult's ``size``.
    """
    tuned = BONY_CANAL
    if not len(centers_ras):
        return 0.0
    _, around = _measure_content_and_around_hu(ct, centers_ras)
    soft = np.array([_median(own) for own in around])
    steps = np.arange(-tuned.disc_mm, tuned.disc_mm + 0.1, 1.0)
    disc = np.array([[x, y, 0.0] for x in steps for y in steps if np.hypot(x, y) <= tuned.disc_mm])
    hu = sample_hu_near(ct, centers_ras[:, None] + size * disc)
    filled = (hu > soft[:, None] + tuned.filled_above_soft_hu) & (hu < tuned.metal_from_hu)
    return float(np.mean(filled.mean(axis=1) > tuned.least_filled))


def _median(values: FloatArray) -> float:
    """Median of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def find_bone_threshold_hu(ct: CTVolume, centers_ras: FloatArray) -> FloatArray:
    """HU ``(n,)`` above which something around a canal's center ``(n, 3)`` is bone.

    Infinite outside the volume, and where contrast medium fills the canal: it is as dense as the bone around it.
    """
    tuned = BONY_CANAL
    around = (-tuned.content_mm, 0.0, tuned.content_mm)
    content = sample_hu_between(ct, centers_ras[:, None] + np.array([[x, y, 0.0] for x in around for y in around]))
    threshold = np.full(len(centers_ras), np.inf)
    seen = np.isfinite(content).any(axis=1)
    inside = np.nanmedian(content[seen], axis=1)
    threshold[seen] = inside + tuned.bone_above_content_hu
    threshold[seen] = np.where(_is_filled(ct, centers_ras[seen], inside), np.inf, threshold[seen])
    return threshold


def _is_filled(ct: CTVolume, centers_ras: FloatArray, content_hu: FloatArray) -> BoolArray:
    """Whether the canal holds something far denser than the soft parts around it, at every center."""
    filled = content_hu > BONY_CANAL.filled_above_soft_hu
    if filled.any():
        _, around = _measure_content_and_around_hu(ct, centers_ras[filled])
        soft = np.array([_median(own) for own in around])
        filled[filled] = content_hu[filled] > soft + BONY_CANAL.filled_above_soft_hu
    return np.asarray(filled)
