"""Compare the vertebral spacing along the canal with the vertebrae's width: is the distance between slices true?

An axial slice looks the same at any distance from the next, so nothing within it reveals a wrong spacing along the
body. But lateral of the canal, pedicles and foramina take turns once for each vertebra, on thick slices and in fused
spines too, and in everybody that spacing is about three quarters of the vertebrae's width; in the neck, whose bodies
are low and whose facets are wide, about a half.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.curve import SliceBoxes
from VertebralFractureLib.canal.plausibility import (
    ADVICE,
    is_like_a_neck,
    measure_canal_section,
    measure_vertebra_width_mm,
)
from VertebralFractureLib.errors import ImplausibleGeometry
from VertebralFractureLib.thresholds import VERTEBRAL_SPACING
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sampling import sample_hu_near


def check_vertebral_spacing(ct: CTVolume, centerline: Centerline, boxes: SliceBoxes) -> None:
    """Compare the spacing of the vertebrae with their width; a spine too short or too vague passes.

    Raises:
        ImplausibleGeometry: when the spacing along the body cannot be true, or is probably wrong.
    """
    tuned = VERTEBRAL_SPACING
    spacings, power = measure_spacing_spectrum(ct, centerline, boxes)
    if not len(spacings):
        return
    spacing = float(spacings[power.argmax()])
    usual = power[(spacings >= tuned.usual_from) & (spacings <= tuned.usual_to)].max()
    if tuned.smallest <= spacing <= tuned.largest or power.max() < max(tuned.least_fraction, tuned.stronger * usual):
        return
    width = measure_vertebra_width_mm(boxes)
    neck = spacing >= tuned.smallest_in_neck and is_like_a_neck(measure_canal_section(ct, boxes), width)
    if neck and spacing <= tuned.largest:
        return
    sure = not tuned.smallest_in_neck <= spacing <= tuned.largest_unsure
    verdict, who = ("cannot be true", "no spine does") if sure else ("is probably wrong", "hardly any spine does")
    raise ImplausibleGeometry(
        f"The distance between the slices in the file {verdict}: the vertebrae are {width:.0f} mm wide and follow each "
        f"other every {spacing * width:.0f} mm, which {who}; {ADVICE}."
    )


def measure_spacing_spectrum(ct: CTVolume, centerline: Centerline, boxes: SliceBoxes) -> tuple[FloatArray, FloatArray]:
    """Measure how strongly bone lateral of the canal comes and goes with every spacing.

    Returns:
        Spacings ``(n,)`` in widths of the vertebra, and the fraction ``(n,)`` of each in what changes along the curve,
        mean of both sides; both empty where the curve is shorter than ``least_vertebrae`` of what is expected, and
        where a part of either side holds one value, as where the image was lost: a hole has a spacing of its own.
    """
    tuned = VERTEBRAL_SPACING
    arc = np.arange(0.0, centerline.length_mm, tuned.step_mm)
    points = centerline.positions_ras(arc)
    width = _width_along(arc, points, boxes)
    turns = np.cumsum(tuned.step_mm / (tuned.expected * width))
    if turns[-1] - turns[0] < tuned.least_vertebrae:
        return np.zeros(0), np.zeros(0)
    frequencies = np.arange(0.2, 4.0, 0.02)
    taper = np.hanning(len(turns))
    waves = np.exp(-2j * np.pi * frequencies[:, None] * turns) * taper / taper.sum()
    power = np.zeros(len(frequencies))
    sides = _measure_lateral_hu(ct, points, width)
    if max(blank.mean() for _, blank in sides) > 1.0 - tuned.least_known:
        return np.zeros(0), np.zeros(0)
    for bone, _ in sides:
        known = np.isfinite(bone)
        if known.mean() < tuned.least_known:
            continue
        seen = _without_trend(np.interp(arc, arc[known], bone[known]), turns)
        # A sine of amplitude A gives A / 2 at its frequency and has a mean square of A^2 / 2: its fraction, with half
        # of it from either side, is 1.
        power += np.abs(waves @ seen) ** 2 / max(float(np.mean(seen**2)), tuned.least_change_hu**2)
    return tuned.expected / frequencies, power


def _width_along(arc: FloatArray, points_ras: FloatArray, boxes: SliceBoxes) -> FloatArray:
    """Width of the vertebrae in mm along the curve: the line through all of them, so that a few cannot bend it."""
    width = boxes.vertebra_ras[:, 1] - boxes.vertebra_ras[:, 0]
    at = np.interp(points_ras[:, 2], boxes.heights_mm, width)
    line = np.polyval(np.polyfit(arc, at, 1), arc)
    middle = measure_vertebra_width_mm(boxes)
    return np.asarray(
        np.clip(line, VERTEBRAL_SPACING.narrowest_along * middle, VERTEBRAL_SPACING.widest_along * middle)
    )


def _measure_lateral_hu(ct: CTVolume, points_ras: FloatArray, width: FloatArray) -> list[tuple[FloatArray, BoolArray]]:
    """Mean HU ``(n,)`` in a small area to the right and to the left of every point, across the curve.

    With each side: whether every voxel of the area holds the same value, which noise prevents in a scan.
    """
    tangent = np.gradient(points_ras, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1)[:, None]
    right = np.array([1.0, 0.0, 0.0]) - tangent * tangent[:, :1]
    right /= np.linalg.norm(right, axis=1)[:, None]
    anterior = np.cross(tangent, right)
    # Where pedicles and foramina lie, in widths of the vertebra.
    tuned = VERTEBRAL_SPACING
    lateral = np.linspace(tuned.lateral_from, tuned.lateral_to, tuned.samples_per_side)
    r, a = np.meshgrid(lateral, np.linspace(tuned.anterior_from, tuned.anterior_to, tuned.samples_per_side))
    forward = anterior[:, None] * a.ravel()[None, :, None]
    sides = []
    for side in (1.0, -1.0):
        points = (side * right[:, None] * r.ravel()[None, :, None] + forward) * width[:, None, None]
        hu = sample_hu_near(ct, points_ras[:, None] + points)
        blank = np.ptp(hu, axis=1) == 0.0
        # Neither lung nor a stretch that was lost says anything of bone.
        hu = np.where(
            hu > VERTEBRAL_SPACING.air_below_hu,
            np.clip(hu, VERTEBRAL_SPACING.low_hu, VERTEBRAL_SPACING.high_hu),
            np.nan,
        )
        inside = np.isfinite(hu).mean(axis=1) >= 0.5
        mean = np.full(len(points_ras), np.nan)
        mean[inside] = np.nanmean(hu[inside], axis=1)
        sides.append((mean, blank))
    return sides


def _without_trend(values: FloatArray, turns: FloatArray) -> FloatArray:
    """Less what changes over more than about two vertebrae: density and contrast along the body."""
    position = (turns - turns.mean()) / (turns[-1] - turns[0])
    terms = min(VERTEBRAL_SPACING.most_trend_terms, max(2, int(0.5 * (turns[-1] - turns[0]))))
    return np.asarray(values - np.polyval(np.polyfit(position, values, terms), position))
