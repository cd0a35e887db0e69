"""The vertebrae's fracture probabilities: the network's positions inside each body, joined with what was measured.

The network and the ruler err differently. A height loss beyond any doubt of the measurement is shown to the reader even
where the network is silent, and where the two disagree the uncertainty says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from VertebralFractureLib.fracture.fracture_sequence import FractureSequence
from VertebralFractureLib.fracture.pooling import pooled_probability, span_weights
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.vertebrae.trabecular import REASON_FRACTURED
from VertebralFractureLib.vertebrae.vertebra import STATUS_NOT_EVALUABLE, STATUS_SCORED, Vertebra

REASON_NO_POSITION = "no position of the sequence lies inside it"


def score_vertebrae(vertebrae: Sequence[Vertebra], sequence: FractureSequence) -> list[Vertebra]:
    """The vertebrae with status, probability and uncertainty.

    The network's probability of a vertebra is pooled over the positions between its endplates (``fracture.pooling``).
    The vertebra's probability is the larger of this and ``morphometric_probability``; its uncertainty is the larger of
    the members' disagreement and half the distance of the two, None with one member alone and no heights.
    """
    return [_scored(vertebra, sequence) for vertebra in vertebrae]


def morphometric_probability(height_loss: float) -> float:
    """Probability that the true loss of height is at least ``certain_loss``, for normal reading errors."""
    return 0.5 * (1.0 + math.erf((height_loss - SCORING.certain_loss) / (SCORING.loss_sd * math.sqrt(2.0))))


def _scored(vertebra: Vertebra, sequence: FractureSequence) -> Vertebra:
    if vertebra.reason is not None:
        return replace(vertebra, status=STATUS_NOT_EVALUABLE)
    weight = span_weights(
        sequence.positions_mm, sequence.inside_fraction, vertebra.s_inferior_mm, vertebra.s_superior_mm
    )
    if weight is None:
        return replace(vertebra, status=STATUS_NOT_EVALUABLE, reason=REASON_NO_POSITION)
    probability, spread = pooled_probability(sequence.member_probability, weight)
    # One network alone cannot disagree with another: without a ruler's answer, nothing is known of the uncertainty.
    uncertainty = None if len(sequence.member_probability) < 2 else spread
    if vertebra.height_loss is not None:
        measured = morphometric_probability(vertebra.height_loss)
        uncertainty = max(spread, 0.5 * abs(probability - measured))
        probability = max(probability, measured)
    scored = replace(vertebra, status=STATUS_SCORED, fracture_probability=probability, uncertainty=uncertainty)
    if probability >= SCORING.fractured_from:
        return replace(scored, trabecular_hu=None, trabecular_reason=scored.trabecular_reason or REASON_FRACTURED)
    return scored
