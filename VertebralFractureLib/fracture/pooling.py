"""From positions to a vertebra, and from members to the ensemble: one pooling for pipeline, calibration and evaluation.

Logits and not probabilities are averaged, so that a calibration line fitted on pooled logits holds exactly, and so that
the ensemble of calibrated members is not less sure than it is right (Ranjan and Gneiting 2010 on linear pools).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.types import FloatArray

_BOUND = 1e-12


def weigh_span(
    positions_mm: FloatArray, inside_fraction: FloatArray, low_mm: float, high_mm: float
) -> FloatArray | None:
    """Weights ``(n,)``, of sum 1, of the positions between two endplates; None where no position lies there.

    Each counts by how near it is to mid height (triangle, one half at the endplates). A maximum or a noisy-or would
    grow with the number of positions, and a neighbor's fracture would leak in.
    """
    middle, height = 0.5 * (low_mm + high_mm), high_mm - low_mm
    distance = np.abs(positions_mm - middle)
    counted = (distance <= 0.5 * height) & (inside_fraction >= SCORING.least_inside)
    weight = np.where(counted, 1.0 - distance / max(height, 1e-6), 0.0)
    total = float(weight.sum())
    return weight / total if total > 0.0 else None


def pool_members(member_probability: Mapping[str, FloatArray], weight: FloatArray) -> dict[str, float]:
    """Each member's probability of a vertebra.

    Args:
        member_probability: calibrated probability ``(n,)`` at every position, by member.
        weight: from ``weigh_span``.
    """
    return {name: float(sigmoid(weight @ logit(values))) for name, values in member_probability.items()}


def pool_ensemble(members: FloatArray) -> FloatArray:
    """Of probabilities ``(m, ...)`` the one of all members: from the mean logit, each bounded by ``most_logit``."""
    return sigmoid(np.clip(logit(members), -SCORING.most_logit, SCORING.most_logit).mean(axis=0))


def logit(probability: FloatArray) -> FloatArray:
    bounded = np.clip(probability, _BOUND, 1.0 - _BOUND)
    return np.asarray(np.log(bounded) - np.log1p(-bounded))


def sigmoid(values: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -30.0, 30.0))))
