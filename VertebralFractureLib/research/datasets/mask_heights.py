"""Our morphometry on a label map instead of a network's answer: for public masks whose grades are known.

The labels are straightened along the bodies' own centers, the body and its endplates are taken from each label on the
plane through its center, and from there on everything is the code that measures scans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.checked_json import parse_json, read_text_file
from VertebralFractureLib.checked_record import value_from_content
from VertebralFractureLib.cpr import StraightenedVolume, straighten
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.research.datasets.centroid_file import read_centroids
from VertebralFractureLib.types import FloatArray, about
from VertebralFractureLib.vertebrae.body_input import ANTERIOR_FROM_MM, COLUMNS
from VertebralFractureLib.vertebrae.endplates import measure_shape
from VertebralFractureLib.vertebrae.grading import measure_heights
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL, LEVEL_NAMES
from VertebralFractureLib.vertebrae.sequence_search import Span
from VertebralFractureLib.vertebrae.vertebra import Heights
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.image_file import read_image_file

_BEHIND_MM = 22.0
"""How far behind the bodies' centers the curve is laid, about where the canal is: the columns are made for that."""
_EDGE_MM = 1.3
_STRIP_MM = 4.0
_BEYOND_MM = 25.0


def centroids_ras(labels: CTVolume, centroids: Path) -> dict[str, FloatArray]:
    """Centers in RAS mm by level, from a VerSe centroid file: voxel numbers along the axes that ``direction`` names."""
    direction, points = read_centroids(centroids)
    if not direction:
        raise RefusedContent(f"'{centroids.name}' names no 'direction'; use a centroid file of VerSe.")
    axes = _axis_letters(labels)
    shape_ijk = labels.shape_kji[::-1]
    result = {}
    for label, point in points:
        if label not in LEVEL_NAMES:
            continue
        ijk = np.zeros(3)
        for letter, value in zip(direction, point, strict=True):
            axis = next(n for n, own in enumerate(axes) if letter in (own, _OPPOSITE[own]))
            ijk[axis] = value if axes[axis] == letter else shape_ijk[axis] - 1 - value
        result[LEVEL_NAMES[label]] = labels.ijk_to_ras_points(ijk[None])[0]
    return result


_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


def _axis_letters(labels: CTVolume) -> list[str]:
    """Where each of i, j, k points to: the nearest of R, L, A, P, S, I."""
    letters = []
    for axis in range(3):
        step = labels.ijk_to_ras[:3, axis]
        main = int(np.abs(step).argmax())
        letters.append(("RAS" if step[main] > 0 else "LPI")[main])
    return letters


def mask_heights(labels_path: Path, centroids_path: Path) -> dict[str, Heights]:
    """Heights in mm by level, caudal to cranial, of every labeled body that has a center.

    Args:
        labels_path: label map with VerSe numbers.
        centroids_path: VerSe centroids of the bodies (``*_ctd.json``).

    Raises:
        UnreadableVolume: when the label map cannot be read.
    """
    labels = read_image_file(labels_path)
    centers = centroids_ras(labels, centroids_path)
    levels = [level for level in reversed(CRANIAL_TO_CAUDAL) if level in centers]
    curve = _curve(np.array([centers[level] for level in levels]))
    numbers = {level: number for number, level in LEVEL_NAMES.items()}
    result = {}
    for level in levels:
        one = replace(labels, hu=np.where(labels.hu == numbers[level], 1000.0, 0.0).astype(np.float32))
        heights = _measured(straighten(one, curve), centers[level])
        if heights is not None:
            result[level] = heights
    return result


def _curve(centers: FloatArray) -> Centerline:
    """A smooth curve behind the centers, some way beyond the first and last."""
    ends = np.stack([centers[0] + _unit(centers[0] - centers[1]), centers[-1] + _unit(centers[-1] - centers[-2])])
    points = np.concatenate([ends[:1], centers, ends[1:]])
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    fine = np.arange(0.0, arc[-1], 5.0)
    smooth = np.stack([np.interp(fine, arc, points[:, axis]) for axis in range(3)], axis=1)
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 2.0) ** 2)
    padded = np.concatenate([2 * smooth[:1] - smooth[4:0:-1], smooth, 2 * smooth[-1:] - smooth[-2:-6:-1]])
    smooth = np.stack([np.convolve(padded[:, axis], kernel / kernel.sum(), mode="valid") for axis in range(3)], axis=1)
    tangent = np.gradient(smooth, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    anterior = np.array([0.0, 1.0, 0.0]) - tangent * tangent[:, 1:2]
    anterior /= np.linalg.norm(anterior, axis=1, keepdims=True)
    return Centerline(smooth - _BEHIND_MM * anterior, np.ones(len(smooth)))


def _unit(vector: FloatArray) -> FloatArray:
    return np.asarray(_BEYOND_MM * vector / np.linalg.norm(vector))


def _measured(spine: StraightenedVolume, center_ras: FloatArray) -> Heights | None:
    r, a, s = spine.frame.ras_to_straight(center_ras[None])[0]
    maps = _mask_maps(spine, float(r), float(a), float(s))
    if maps is None:
        return None
    probability, span = maps
    shape = measure_shape(probability, spine.origin_mm[2], span, float(a))
    if shape is None:
        return None
    points = np.column_stack([np.full(6, r), shape.landmarks])
    return measure_heights(spine.frame.straight_to_ras(points))


def _mask_maps(spine: StraightenedVolume, r: float, a: float, s: float) -> tuple[FloatArray, Span] | None:
    """``(3, rows, 96)`` maps of the label on the plane ``r``, and the body's extent at mid depth."""
    first = round(ANTERIOR_FROM_MM - spine.origin_mm[1])
    at = round(r - spine.origin_mm[0])
    body = np.asarray(spine.hu[:, first : first + COLUMNS, at - 1 : at + 2], dtype=np.float64).mean(axis=2) / 1000.0
    rows = spine.axis_mm("s")
    columns = ANTERIOR_FROM_MM + np.arange(COLUMNS, dtype=np.float64)
    seed = int(np.abs(rows - s).argmin())
    upper, lower = np.full(COLUMNS, np.nan), np.full(COLUMNS, np.nan)
    for column in range(COLUMNS):
        upper[column], lower[column] = _crossings(body[:, column], rows, seed)
    strip = np.abs(columns - a) <= _STRIP_MM
    if np.isnan(upper[strip]).all():
        return None
    edges = [
        np.exp(-0.5 * ((rows[:, None] - np.nan_to_num(plate, nan=1e6)) / _EDGE_MM) ** 2) for plate in (upper, lower)
    ]
    span = Span(float(np.nanmedian(lower[strip])), float(np.nanmedian(upper[strip])), 1.0)
    return np.stack([body, *edges]), span


def _crossings(values: FloatArray, rows: FloatArray, seed: int) -> tuple[float, float]:
    """Upper and lower half-maximum of the run that holds the seed row; nan where the seed lies outside the label."""
    if values[seed] < 0.5:
        return float("nan"), float("nan")
    top, bottom = seed, seed
    while top < len(values) - 2 and values[top + 1] >= 0.5:
        top += 1
    while bottom > 1 and values[bottom - 1] >= 0.5:
        bottom -= 1
    above = (values[top] - 0.5) / max(values[top] - values[top + 1], 1e-6)
    below = (values[bottom] - 0.5) / max(values[bottom] - values[bottom - 1], 1e-6)
    return float(rows[top] + min(above, 1.0)), float(rows[bottom] - min(below, 1.0))


def known_grades(path: Path) -> Mapping[str, int]:
    """Grades by level from a file ``{"genant": {"T9": 2, ...}}``."""
    content = parse_json(read_text_file(path))
    genant = content.get("genant") if isinstance(content, dict) else None
    grades: Mapping[str, int] = value_from_content(Mapping[str, int], genant, "genant", about("grade", least=0, most=3))
    return grades
