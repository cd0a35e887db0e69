"""Weigh the networks' answer about a body that is dense and kept its height: there it is worth less.

Networks call sclerosis without any loss of height a fracture a hundred times as often as sound bone. Their answer is
calibrated anew for such bodies (Platt 1999), on simulated sclerosis and simulated fractures that they never saw
(docs/results/fracture.md). A band under one endplate is left out: a fresh fracture can look so before it is lower.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.fracture.pooling import logit, sigmoid
from VertebralFractureLib.thresholds import DENSE_BONE
from VertebralFractureLib.vertebrae.bone_change import keeps_height
from VertebralFractureLib.vertebrae.vertebra import DensityFinding, Vertebra

_WEIGHED = (DensityFinding.DENSE_BODY, DensityFinding.DENSE_FOCUS, DensityFinding.DENSE_BANDS)


def weigh_network(vertebra: Vertebra, probability: float) -> float:
    """The networks' probability of a fracture as it counts for this vertebra; never more than it was.

    Args:
        probability: of the ensemble, calibrated on all vertebrae alike.
    """
    if vertebra.density_finding not in _WEIGHED or keeps_height(vertebra) is not True:
        return probability
    answer = float(logit(np.asarray(probability)))
    return min(probability, float(sigmoid(np.asarray(DENSE_BONE.slope * answer + DENSE_BONE.offset))))
