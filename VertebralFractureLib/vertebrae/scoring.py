"""The vertebrae's fracture probabilities: the network's positions inside each body, joined with what was measured.

The network and the ruler err differently. A height loss beyond any doubt of the measurement is shown to the reader even
where the network is silent, and where the two disagree the uncertainty says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from VertebralFractureLib.fracture.fracture_sequence import FractureSequence
from VertebralFractureLib.vertebrae.vertebra import STATUS_NOT_EVALUABLE, STATUS_SCORED, Vertebra

REASON_NO_POSITION = "no position of the sequence lies inside it"

CERTAIN_LOSS = 0.25
"""Genant grade 2; mild losses of 20 to 25 % are as often physiological as fractures and are left to the network."""
READING_ERROR = 0.042
"""Standard deviation of a height loss: half the 8.4 % by which experts differ in 5 % of readings."""
_INSIDE_SHARE = 0.5


def score_vertebrae(vertebrae: Sequence[Vertebra], sequence: FractureSequence) -> list[Vertebra]:
    """The vertebrae with status, probability and uncertainty.

    The network's probability of a vertebra is the mean of p over the positions between the endplates, each weighted by
    how near it is to mid height (triangle). A maximum or a noisy-or would grow with the number of positions, and a
    neighbour's fracture would leak in. The vertebra's probability is the larger of this and
    ``morphometric_probability``; its uncertainty is the larger of the members' and half the distance of the two.
    """
    return [_scored(vertebra, sequence) for vertebra in vertebrae]


def morphometric_probability(height_loss: float) -> float:
    """Probability that the true loss of height is at least ``CERTAIN_LOSS``, for normal reading errors."""
    return 0.5 * (1.0 + math.erf((height_loss - CERTAIN_LOSS) / (READING_ERROR * math.sqrt(2.0))))


def _scored(vertebra: Vertebra, sequence: FractureSequence) -> Vertebra:
    if vertebra.reason is not None:
        return replace(vertebra, status=STATUS_NOT_EVALUABLE)
    middle = 0.5 * (vertebra.s_inferior_mm + vertebra.s_superior_mm)
    height = vertebra.s_superior_mm - vertebra.s_inferior_mm
    weight = np.clip(1.0 - np.abs(sequence.positions_mm - middle) / height, 0.0, 1.0)
    weight = np.where(np.abs(sequence.positions_mm - middle) <= 0.5 * height, weight, 0.0)
    weight = weight * (sequence.inside_fraction >= _INSIDE_SHARE)
    if weight.sum() <= 0.0:
        return replace(vertebra, status=STATUS_NOT_EVALUABLE, reason=REASON_NO_POSITION)
    weight = weight / weight.sum()
    probability, uncertainty = float(weight @ sequence.probability), float(weight @ sequence.uncertainty)
    if vertebra.height_loss is not None:
        measured = morphometric_probability(vertebra.height_loss)
        uncertainty = max(uncertainty, 0.5 * abs(probability - measured))
        probability = max(probability, measured)
    return replace(vertebra, status=STATUS_SCORED, fracture_probability=probability, uncertainty=uncertainty)
