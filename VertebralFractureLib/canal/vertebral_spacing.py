"""The pitch of the vertebrae along the canal, against their width: is the distance between the slices true?

An axial slice looks the same at any distance from the next, so nothing within it tells a false spacing along the body.
But beside the canal pedicles and foramina take turns once for each vertebra, on thick slices and in fused spines too,
and in everybody that pitch is about three quarters of the vertebrae's width.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal.bony_canal import hu_near
from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.canal.plausibility import ADVICE, median_vertebra_width_mm
from VertebralFractureLib.canal.slice_boxes import SliceBoxes
from VertebralFractureLib.errors import ImplausibleGeometry
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume

SMALLEST_PITCH, LARGEST_PITCH = 0.55, 1.28
"""Pitch over width: 0.69 to 1.01 on 24 of 25 public scans (on the other, half of it is as strong). With a spacing along
the body that is false by a factor of 0.42 it was 0.32 to 0.49 where it was seen, of 2.4 it was 1.44 to 2.34."""
_USUAL_PITCHES = (0.6, 1.2)
_EXPECTED_PITCH = 0.75
_STRONGER = 2.0
"""A pitch that no spine has must be this many times as strong as any that is usual,"""
_LEAST_SHARE = 0.15
"""and make at least this share of what changes along the curve; noise of 200 mm makes 0.06."""
_LEAST_CHANGE_HU = 10.0
_LEAST_PITCHES = 2.0
_LEAST_KNOWN = 0.9
"""A side of which more than the rest was not scanned, or lost, is not looked at: a hole has a pitch of its own."""
_STEP_MM = 1.0
_LATERAL, _ANTERIOR = (0.26, 0.58), (-0.12, 0.24)
"""Where pedicles and foramina lie beside the canal's center, in widths of the vertebra."""
_PLACES = 8
_AIR_HU, _LOW_HU, _HIGH_HU = -400.0, -200.0, 800.0
_MOST_TREND_TERMS = 9


def check_vertebral_spacing(ct: CTVolume, centerline: Centerline, boxes: SliceBoxes) -> None:
    """Compare the pitch of the vertebrae with their width; a spine too short or too vague to tell passes.

    Raises:
        ImplausibleGeometry: when the spacing along the body cannot be true.
    """
    pitches, power = spacing_spectrum(ct, centerline, boxes)
    if not len(pitches):
        return
    pitch = float(pitches[power.argmax()])
    usual = power[(pitches >= _USUAL_PITCHES[0]) & (pitches <= _USUAL_PITCHES[1])].max()
    if SMALLEST_PITCH <= pitch <= LARGEST_PITCH or power.max() < max(_LEAST_SHARE, _STRONGER * usual):
        return
    width = median_vertebra_width_mm(boxes)
    raise ImplausibleGeometry(
        f"The distance between the slices in the file cannot be true: the vertebrae are {width:.0f} mm wide and follow "
        f"each other every {pitch * width:.0f} mm, which no spine does; {ADVICE}."
    )


def spacing_spectrum(ct: CTVolume, centerline: Centerline, boxes: SliceBoxes) -> tuple[FloatArray, FloatArray]:
    """How strongly bone beside the canal comes and goes with every pitch.

    Returns:
        Pitches ``(n,)`` in widths of the vertebra, and the share ``(n,)`` of each in what changes along the curve,
        mean of both sides; both empty where the curve is shorter than ``_LEAST_PITCHES`` of what is expected.
    """
    arc = np.arange(0.0, centerline.length_mm, _STEP_MM)
    points = centerline.positions_ras(arc)
    width = _width_along(arc, points, boxes)
    turns = np.cumsum(_STEP_MM / (_EXPECTED_PITCH * width))
    if turns[-1] - turns[0] < _LEAST_PITCHES:
        return np.zeros(0), np.zeros(0)
    frequencies = np.arange(0.2, 4.0, 0.02)
    taper = np.hanning(len(turns))
    waves = np.exp(-2j * np.pi * frequencies[:, None] * turns) * taper / taper.sum()
    power = np.zeros(len(frequencies))
    for bone in _hu_beside(ct, points, width):
        known = np.isfinite(bone)
        if known.mean() < _LEAST_KNOWN:
            continue
        seen = _without_trend(np.interp(arc, arc[known], bone[known]), turns)
        # A sine of amplitude A gives A / 2 at its frequency and has a mean square of A^2 / 2: its share, with half
        # of it from either side, is 1.
        power += np.abs(waves @ seen) ** 2 / max(float(np.mean(seen**2)), _LEAST_CHANGE_HU**2)
    return _EXPECTED_PITCH / frequencies, power


def _width_along(arc: FloatArray, points_ras: FloatArray, boxes: SliceBoxes) -> FloatArray:
    """Width of the vertebrae in mm along the curve: the line through all of them, so that a few cannot bend it."""
    width = boxes.vertebra_ras[:, 1] - boxes.vertebra_ras[:, 0]
    at = np.interp(points_ras[:, 2], boxes.heights_mm, width)
    line = np.polyval(np.polyfit(arc, at, 1), arc)
    middle = median_vertebra_width_mm(boxes)
    return np.asarray(np.clip(line, 0.6 * middle, 1.4 * middle))


def _hu_beside(ct: CTVolume, points_ras: FloatArray, width: FloatArray) -> list[FloatArray]:
    """Mean HU ``(n,)`` in a small area to the right and to the left of every point, across the curve."""
    tangent = np.gradient(points_ras, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1)[:, None]
    right = np.array([1.0, 0.0, 0.0]) - tangent * tangent[:, :1]
    right /= np.linalg.norm(right, axis=1)[:, None]
    anterior = np.cross(tangent, right)
    r, a = np.meshgrid(np.linspace(*_LATERAL, _PLACES), np.linspace(*_ANTERIOR, _PLACES))
    forward = anterior[:, None] * a.ravel()[None, :, None]
    sides = []
    for side in (1.0, -1.0):
        places = (side * right[:, None] * r.ravel()[None, :, None] + forward) * width[:, None, None]
        hu = hu_near(ct, points_ras[:, None] + places)
        # Neither lung nor a stretch that was lost says anything of bone.
        hu = np.where(hu > _AIR_HU, np.clip(hu, _LOW_HU, _HIGH_HU), np.nan)
        inside = np.isfinite(hu).mean(axis=1) >= 0.5
        mean = np.full(len(points_ras), np.nan)
        mean[inside] = np.nanmean(hu[inside], axis=1)
        sides.append(mean)
    return sides


def _without_trend(values: FloatArray, turns: FloatArray) -> FloatArray:
    """Less what changes over more than about two vertebrae: density and contrast along the body."""
    share = (turns - turns.mean()) / (turns[-1] - turns[0])
    terms = min(_MOST_TREND_TERMS, max(2, int(0.5 * (turns[-1] - turns[0]))))
    return np.asarray(values - np.polyval(np.polyfit(share, values, terms), share))
