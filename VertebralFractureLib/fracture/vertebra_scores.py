"""Score vertebrae: what the networks say inside each body, joined with what its heights say, into one answer.

Networks and heights err differently. Both stay on the record beside the answer that is told; where they disagree, the
row says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.fracture.density_weight import weigh_network
from VertebralFractureLib.fracture.fracture_sequence import FractureSequence
from VertebralFractureLib.fracture.grade_posterior import (
    choose_grade,
    choose_range,
    compute_posterior,
    pool_answers,
)
from VertebralFractureLib.fracture.pooling import logit, pool_members, sigmoid, weigh_span
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.grading import classify_shape
from VertebralFractureLib.vertebrae.trabecular import withhold_hu_of_fractured
from VertebralFractureLib.vertebrae.vertebra import HeightLosses, Reason, Shape, Source, Status, Vertebra


def score_vertebrae(vertebrae: Sequence[Vertebra], sequence: FractureSequence) -> list[Vertebra]:
    """Give vertebrae their status, and, where they can be judged, the networks' answers and all that follows from them.

    The networks' probabilities of a vertebra are pooled over the positions between its endplates
    (``fracture.pooling``); what is told of it follows from these and from its heights (``join_witnesses``).
    """
    return [_score(vertebra, sequence) for vertebra in vertebrae]


def join_witnesses(
    vertebra: Vertebra, threshold: float = SCORING.decision_threshold, network_sd: float | None = None
) -> Vertebra:
    """The vertebra, scored: all that is told of it follows from one posterior over the grades.

    Args:
        vertebra: with the networks' probabilities and what its heights say.
        threshold: probability of a fracture from which a vertebra is suspected.
        network_sd: standard deviation of the networks' probabilities, where those of each are not known.
    """
    members = (vertebra.member_probability, vertebra.member_probability_of_2, vertebra.member_probability_of_3)
    answers = pool_answers(members)
    if not answers and vertebra.network_probability is not None:
        answers = (vertebra.network_probability,)
    # Points that a person placed are believed, whatever the networks say.
    by_reader = vertebra.heights_source == Source.READER and vertebra.height_loss is not None
    weighed = () if by_reader else _weigh(vertebra, answers)
    posterior = compute_posterior(weighed, vertebra.height_loss, vertebra.height_loss_sd)
    scored = replace(
        vertebra,
        status=Status.SCORED,
        network_probability=answers[0] if answers else None,
        fracture_probability=1.0 - posterior[0],
        grade_probability=posterior,
        uncertainty=_estimate_uncertainty(vertebra, (None,) if by_reader else members, network_sd),
    )
    return told_from(_with_disagreement(scored), threshold)


def _weigh(vertebra: Vertebra, answers: Sequence[float]) -> tuple[float, ...]:
    """The networks' answers as they count for this vertebra: less where its bone is dense and its height kept."""
    return tuple(weigh_network(vertebra, answer) for answer in answers)


def told_from(vertebra: Vertebra, threshold: float) -> Vertebra:
    """The vertebra as it reads where a fracture is suspected from ``threshold`` on: grade, range, shape.

    One without a posterior, of an older report, stays what it is.
    """
    if vertebra.grade_probability is None:
        return vertebra
    grade = choose_grade(vertebra.grade_probability, threshold)
    losses, (low, high) = vertebra.height_losses, choose_range(vertebra.grade_probability, grade)
    told = replace(
        vertebra,
        grade=grade,
        grade_range=(low, high),
        borderline=low < high,
        shape=find_shape(losses) if grade and losses is not None else None,
    )
    return withhold_hu_of_fractured(told)


def compute_morphometric_probability(vertebra: Vertebra) -> float | None:
    """Probability of a fracture from the heights alone; None where they are not known."""
    if vertebra.height_loss is None:
        return None
    return 1.0 - compute_posterior((), vertebra.height_loss, vertebra.height_loss_sd)[0]


def find_shape(losses: HeightLosses) -> Shape | None:
    """The shape of a suspected fracture; None where so little height is lost that it has none."""
    return None if losses.largest < SCORING.shape_from_loss else classify_shape(losses)


def _with_disagreement(vertebra: Vertebra) -> Vertebra:
    """The vertebra, in doubt where networks and heights say the opposite."""
    doubts: list[DoubtKind] = [kind for kind in vertebra.doubts if kind != DoubtKind.WITNESSES_DISAGREE]
    measured, network = compute_morphometric_probability(vertebra), vertebra.network_probability
    if measured is not None and network is not None and abs(network - measured) >= SCORING.disagreement:
        doubts.append(DoubtKind.WITNESSES_DISAGREE)
    return replace(vertebra, doubts=tuple(doubts))


def _estimate_uncertainty(
    vertebra: Vertebra, members: Sequence[Mapping[str, float] | None], network_sd: float | None
) -> float | None:
    """Standard deviation of the probability over the networks one by one, and over a loss a standard deviation away."""
    loss, sd = vertebra.height_loss, vertebra.height_loss_sd or 0.0
    losses = [loss] if loss is None or not sd else [max(loss - sd, 0.0), loss, loss + sd]
    first = members[0]
    if first:
        names = [[one[name] for one in members if one] for name in first]
    elif vertebra.network_probability is not None and vertebra.heights_source == Source.MODEL:
        network, off = vertebra.network_probability, network_sd or 0.0
        names = [[min(max(network + shift, 0.0), 1.0)] for shift in ((-off, off) if off else (0.0,))]
    else:
        names = [[]]
    if len(losses) * len(names) < 2:
        return None
    weighed = [_weigh(vertebra, answers) for answers in names]
    values = [compute_posterior(answers, loss, vertebra.height_loss_sd)[0] for answers in weighed for loss in losses]
    return float(np.std(values))


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
            grade_probability=None,
            grade=None,
            grade_range=None,
            shape=None,
            borderline=False,
            network_probability=None,
            member_probability=None,
            member_probability_of_2=None,
            member_probability_of_3=None,
            doubts=tuple(kind for kind in vertebra.doubts if kind != DoubtKind.WITNESSES_DISAGREE),
        )
    members = [
        pool_members(one, weight) if one else None
        for one in (
            sequence.member_probability,
            sequence.member_probability_of_2,
            sequence.member_probability_of_3,
        )
    ]
    alone, deviation = None, None
    if not members[0]:
        alone, deviation = _pool_without_members(sequence, weight)
    asked = replace(
        vertebra,
        network_probability=alone,
        member_probability=members[0],
        member_probability_of_2=members[1],
        member_probability_of_3=members[2],
    )
    return join_witnesses(asked, network_sd=deviation)


def _pool_without_members(sequence: FractureSequence, weight: FloatArray) -> tuple[float, float | None]:
    """Probability and standard deviation from the ensemble's own at each position: all that schema 1 holds."""
    deviation = float(weight @ sequence.uncertainty) if sequence.uncertainty.any() else None
    return float(sigmoid(weight @ logit(sequence.probability))), deviation
