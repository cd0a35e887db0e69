"""Estimate the standard deviation of a measured height from how thick the slices are and how noisy the bone is.

The three terms were fitted to 43 unfractured vertebrae of phantoms with known heights, drawn again and again with other
slices and noise (docs/results/vertebrae.md); scans of the same patient on two dates differ by as much.
"""

from __future__ import annotations

import math

from VertebralFractureLib.thresholds import HEIGHT_ERROR
from VertebralFractureLib.vertebrae.vertebra import Heights


def estimate_height_sd(slice_mm: float, noise_hu: float) -> float:
    """Standard deviation of one height in mm.

    Args:
        slice_mm: what a voxel averages over along the spine: the larger of slice distance and thickness.
        noise_hu: of the body's inside in the straightened volume (``trabecular.TrabecularRegion.noise_hu``).
    """
    tuned = HEIGHT_ERROR
    return math.hypot(
        tuned.least_sd_mm,
        tuned.slice_term_per_mm * slice_mm**2,
        tuned.noise_term_per_hu * slice_mm * noise_hu,
    )


def loss_sd(heights: Heights, height_sd_mm: float, loss: float) -> float:
    """Standard deviation of a loss ``1 - h / (norm * reference)`` when the errors of both heights are independent."""
    reference = heights.posterior
    lost = max(1.0 - loss, 0.0) * reference
    return height_sd_mm / reference * math.hypot(1.0, lost / reference)
