"""Loss maps of real fractured bodies, measured on label maps whose grades are known; they are for evaluation only.

The label maps that can be had are CC BY-SA (VerSe): nothing that ships is trained on what follows from them. A body is
held against an intact one of the same map: both are turned so that their posterior corners lie in one line, their
endplates are read as height fields over the footprint, and what the broken one lacks is the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, median_filter

from VertebralFractureLib.research.datasets.mask_heights import centroids_ras
from VertebralFractureLib.research.simulation.loss_maps import SIDE, LossMap
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.vertebrae.levels import LEVEL_NAMES
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.image_file import read_image_file

_BODY_FROM_MM = 22.0
"""How far around its center a label is the body and not its arch, mm, along the patient's axes."""
_EDGE = 3
"""Points of a map from its front and back, and twice as many from its sides, where the rim is not to be trusted."""


@dataclass(frozen=True)
class _Plates:
    """Both endplates ``(SIDE, SIDE)`` over (x, y), mm from mid height behind, and the height there."""

    upper_mm: FloatArray
    lower_mm: FloatArray
    posterior_mm: float


def measure_loss_maps(
    labels_path: Path, centroids_path: Path, broken: Mapping[str, Sequence[str]]
) -> dict[str, LossMap]:
    """The loss map of every level of ``broken`` against the mean of the intact levels that it names.

    Args:
        labels_path: label map with VerSe numbers.
        centroids_path: VerSe centroids of the bodies (``*_ctd.json``).
        broken: intact levels by broken level, for example ``{"L1": ("T12", "L2")}``.

    Raises:
        UnreadableVolume: when the label map cannot be read.
        ValueError: when a level is not in the map.
    """
    labels = read_image_file(labels_path)
    centers = centroids_ras(labels, centroids_path)
    numbers = {level: number for number, level in LEVEL_NAMES.items()}
    plates: dict[str, _Plates] = {}
    for level in {*broken, *(one for intact in broken.values() for one in intact)}:
        if level not in centers:
            raise ValueError(f"The map of {labels_path.name} has no center for {level}.")
        plates[level] = _read_plates(labels, numbers[level], centers[level])
    return {level: _loss(plates[level], [plates[one] for one in intact], level) for level, intact in broken.items()}


def _loss(own: _Plates, intact: Sequence[_Plates], level: str) -> LossMap:
    upper = np.mean([one.upper_mm for one in intact], axis=0)
    lower = np.mean([one.lower_mm for one in intact], axis=0)
    size = float(np.mean([one.posterior_mm for one in intact]))
    return LossMap(f"{level} of a label map", (upper - own.upper_mm) / size, (own.lower_mm - lower) / size)


def _read_plates(labels: CTVolume, number: int, center_ras: FloatArray) -> _Plates:
    """Endplates of one label along the patient's axes, tilted so that they are level on average at the back."""
    k, j, i = np.nonzero(labels.hu == number)
    points = labels.ijk_to_ras_points(np.stack([i, j, k], axis=1)) - center_ras
    points = points[np.all(np.abs(points) < (40.0, _BODY_FROM_MM, _BODY_FROM_MM), axis=1)]
    tilt = _tilt(points)
    turn = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(tilt), np.sin(tilt)], [0.0, -np.sin(tilt), np.cos(tilt)]])
    points = points @ turn.T
    inner = np.abs(points[:, 2]) < 4.0
    r_low, r_high = np.percentile(points[inner & (points[:, 1] > 0.0)][:, 0], [0.5, 99.5])
    front = float(np.percentile(points[inner][:, 1], 99.5))
    back = -front
    x = (points[:, 1] - back) / (front - back)
    y = (2.0 * points[:, 0] - r_low - r_high) / (r_high - r_low)
    cells = np.rint(x * (SIDE - 1)).astype(int), np.rint((y + 1.0) * 0.5 * (SIDE - 1)).astype(int)
    kept = np.all([(cell >= 0) & (cell < SIDE) for cell in cells], axis=0)
    upper, lower = np.full((SIDE, SIDE), -np.inf), np.full((SIDE, SIDE), np.inf)
    np.maximum.at(upper, (cells[0][kept], cells[1][kept]), points[kept, 2])
    np.minimum.at(lower, (cells[0][kept], cells[1][kept]), points[kept, 2])
    known = np.isfinite(upper) & (upper - lower > 2.0)
    known[:_EDGE], known[-_EDGE:], known[:, : 2 * _EDGE], known[:, -2 * _EDGE :] = False, False, False, False
    upper, lower = (gaussian_filter(median_filter(_spread(plate, known), 5), 2.0) for plate in (upper, lower))
    behind = (slice(4, 9), slice(SIDE // 2 - 4, SIDE // 2 + 5))
    middle = 0.5 * float(np.median(upper[behind]) + np.median(lower[behind]))
    return _Plates(upper - middle, lower - middle, float(np.median(upper[behind] - lower[behind])))


def _tilt(points: FloatArray) -> float:
    """The mean slope of both endplates in the middle third, from back to front, as an angle."""
    slopes = []
    near = points[np.abs(points[:, 0]) < 6.0]
    bins = np.arange(-9.0, 10.0, 3.0)
    for extreme in (np.max, np.min):
        ends = [near[np.abs(near[:, 1] - at) < 1.5][:, 2] for at in bins]
        heights = [(float(where), float(extreme(end))) for where, end in zip(bins, ends, strict=True) if len(end)]
        at, height = np.array(heights).T
        slopes.append(float(np.polyfit(at, height, 1)[0]))
    return float(np.arctan(np.mean(slopes)))


def _spread(plate: FloatArray, known: BoolArray) -> FloatArray:
    """The field with every unknown point as its nearest known one."""
    at = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(plate[tuple(at)])
