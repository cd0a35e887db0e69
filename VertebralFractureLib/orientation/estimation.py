"""Ask the networks how an array lies, and whether a straightened spine is upright.

Imports torch: import this module inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from VertebralFractureLib.canal.axial_stack import OUTSIDE_HU
from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.fast_networks import like_network
from VertebralFractureLib.orientation.network import CELL_VOXELS, MULTIPLE, OrientationModel, normalize_orientation
from VertebralFractureLib.orientation.upright_network import UprightModel
from VertebralFractureLib.thresholds import ORIENTATION
from VertebralFractureLib.torch_arrays import to_array, to_tensor
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.vertebrae.level_column import lay_column
from VertebralFractureLib.vertebrae.level_input import (
    FINE_MM,
    build_fine_volume,
    compute_relative_spacing,
    draw_fine_column,
)


def count_spine_cells(hu: Float32Array, near: Float32Array | None, model: OrientationModel) -> float:
    """How many cells of 12 mm hold a canal with vertebral bodies towards +j, in an array ``[k, j, i]`` at 3 mm.

    Args:
        near: 0 to 1, of the same shape; only cells that it keeps count. None keeps all.

    Returns:
        A sum of the cells' probabilities, of those that are not small.
    """
    padding = [extra for size in hu.shape[::-1] for extra in (0, -size % MULTIPLE)]
    volume = torch.nn.functional.pad(to_tensor(hu), padding, value=OUTSIDE_HU)
    with torch.inference_mode():
        logits = model.network(like_network(normalize_orientation(volume[None]), model.network))[0, 0].double()
    # In the training a cell with a canal weighed as much as several without.
    odds = to_array(logits).ravel() - np.log(ORIENTATION.canal_cell_weight)
    probability = 1.0 / (1.0 + np.exp(-odds))
    weight = np.where(probability >= ORIENTATION.least_cell_probability, probability, 0.0)
    if near is not None:
        kept = torch.nn.functional.pad(to_tensor(near), padding)[None]
        weight *= to_array(torch.nn.functional.avg_pool3d(kept, CELL_VOXELS)).ravel()
    return float(weight.sum())


def measure_upright(
    spine: StraightenedVolume,
    extents_mm: Sequence[tuple[float, float]],
    model: UprightModel,
    fine: torch.Tensor | None = None,
) -> FloatArray:
    """Log-odds ``(n,)`` that the head end of a spine volume is up, one for each of its bodies.

    The spine is looked at both ways up, and left and right exchanged: what speaks for up in one has to speak against it
    in the other.

    Args:
        extents_mm: arc lengths of lower and upper endplates, caudal to cranial.
        fine: of ``build_fine_volume`` for this volume, where it is built already.
    """
    if not extents_mm:
        return np.zeros(0)
    fine, s_from = build_fine_volume(spine) if fine is None else fine, spine.origin_mm[2]
    seen = _log_odds(fine, s_from, extents_mm, model)
    turned, extents = reverse_column(fine, s_from, np.array(extents_mm))
    against = _log_odds(turned, s_from, [(float(low), float(high)) for low, high in extents], model)[::-1]
    return np.asarray(0.5 * (seen - against))


def reverse_column(fine: torch.Tensor, s_from_mm: float, extents_mm: FloatArray) -> tuple[torch.Tensor, FloatArray]:
    """The fine volume ``(3, rows, ...)`` and the extents ``(n, 2)`` of its bodies, mm, with head and feet exchanged."""
    ends = 2.0 * s_from_mm + (FINE_MM - 1.0) + FINE_MM * (fine.shape[1] - 1)
    return fine.flip(1), ends - extents_mm[::-1, ::-1]


def _log_odds(
    fine: torch.Tensor, s_from_mm: float, extents_mm: Sequence[tuple[float, float]], model: UprightModel
) -> FloatArray:
    column = lay_column(extents_mm)
    picture = draw_fine_column(fine, s_from_mm, column)
    spacing = to_tensor(compute_relative_spacing(column.spacing_mm))
    with torch.inference_mode():
        both = torch.stack([picture, picture.flip(-1)]).to(model.device)
        odds = model.network(both, torch.stack([spacing, spacing]).to(model.device)).double().mean(dim=0)
    return np.asarray(to_array(odds)[column.found])
