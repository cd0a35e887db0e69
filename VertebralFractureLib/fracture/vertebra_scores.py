"""Compute the vertebrae's fracture probabilities from the network's positions inside each body and from morphometry.

Network and morphometry err differently. A height loss beyond any doubt of the measurement is shown to the reader even
where the network sees none, and where the two disagree the uncertainty says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from VertebralFractureLib.fracture.density_weight import weigh_network
from VertebralFractureLib.fracture.fracture_sequence import FractureSequence
from VertebralFractureLib.fracture.pooling import (
    logit,
    pool_ensemble,
    pool_members,
    sigmoid,
    weigh_span,
)
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.trabecular import withhold_hu_of_fractured
from VertebralFractureLib.vertebrae.vertebra import Reason, Status, Vertebra


def score_vertebrae(vertebrae: Sequence[Vertebra], sequence: FractureSequence) -> list[Vertebra]:
    """Give vertebrae their status, probability, uncertainty, and the networks' own probabilities.

    The networks' probability of a vertebra is pooled over the positions between its endplates (``fracture.pooling``).
    The vertebra's probability is the larger of this and ``compute_morphometric_probability``; its uncertainty is the
    larger of the networks' disagreement and half the distance of the two, None with one network alone and no heights.
    Where it is fractured or suspected of it, its trabecular HU are withheld.
    """
    return [_score(vertebra, sequence) for vertebra in vertebrae]


def compute_morphometric_probability(height_loss: float) -> float:
    """Probability that the true loss of height is at least ``certain_loss``, for normal reading errors."""
    return 0.5 * (1.0 + math.erf((height_loss - SCORING.certain_loss) / (SCORING.loss_sd * math.sqrt(2.0))))


def join_network_and_morphometry(vertebra: Vertebra, network: float, deviation: float | None) -> Vertebra:
    """The vertebra, scored: the networks' probability joined with that of its height loss.

    Args:
        network: probability of the ensemble for this vertebra; it counts less in dense bone (``density_weight``).
        deviation: standard deviation of the networks' probabilities; None where one alone was asked.
    """
    network = weigh_network(vertebra, network)
    probability, uncertainty = network, deviation
    if vertebra.height_loss is not None:
        measured = compute_morphometric_probability(vertebra.height_loss)
        uncertainty = max(deviation or 0.0, 0.5 * abs(network - measured))
        probability = max(network, measured)
    scored = replace(vertebra, status=Status.SCORED, fracture_probability=probability, uncertainty=uncertainty)
    return withhold_hu_of_fractured(scored)


def _score(vertebra: Vertebra, sequence: FractureSequence) -> Vertebra:
    weight = None
    if vertebra.reason is None:
        weight = weigh_span(sequence.positions_mm, sequence.inside_fraction, *vertebra.extent_mm)
    if weight is None:
        return replace(
            vertebra,
            status=Status.NOT_EVALUABLE,
            reason=vertebra.reason or Reason.NO_SEQUENCE_POSITION,
            fracture_probability=None,
            uncertainty=None,
            member_probability=None,
        )
    if not sequence.member_probability:
        return join_network_and_morphometry(vertebra, *_pool_without_members(sequence, weight))
    members = pool_members(sequence.member_probability, weight)
    values = np.array(list(members.values()))
    # One network alone cannot disagree with another: nothing is known of the uncertainty then.
    deviation = None if len(values) < 2 else float(np.std(values))
    scored = join_network_and_morphometry(vertebra, float(pool_ensemble(values)), deviation)
    return replace(scored, member_probability=members)


def _pool_without_members(sequence: FractureSequence, weight: FloatArray) -> tuple[float, float | None]:
    """Probability and standard deviation from the ensemble's own at each position: all that schema 1 holds."""
    deviation = float(weight @ sequence.uncertainty) if sequence.uncertainty.any() else None
    return float(sigmoid(weight @ logit(sequence.probability))), deviation
