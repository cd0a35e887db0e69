"""Join the networks' ordinal answer and the measured loss of height into one posterior over the Genant grades 0 to 3.

A cumulative logistic model (McCullagh 1980) with slopes that are never negative and offsets that never rise: for each
grade k from 1 on

    logit P(grade >= k) = b_k + w n_k + m z_k

where ``n_k`` is the networks' own logit of a grade of at least k, and ``z_k = (loss - cut_k) / s`` how far the loss
lies beyond the cut-off in its standard deviations ``s``, from what is expected of the height and what is measured:
heights that slices blur, or that few neighbors predict, count less. Both witnesses are bounded, so that an absurd one
cannot decide alone. So a larger loss, and a larger answer of a network, never lower any P(grade >= k), and no grade is
impossible. The coefficients are fitted on held-out folds (``research/release/calibrate_posterior.py``) and lie in
``grade_posterior.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.fracture.pooling import logit, pool_ensemble, sigmoid
from VertebralFractureLib.thresholds import GRADING, SCORING
from VertebralFractureLib.types import BoolArray, FloatArray

GRADES = 3
"""The highest grade; answers are of a grade of at least 1, 2 and 3."""
TABLE = Path(__file__).with_name("grade_posterior.json")
Posterior = tuple[float, float, float, float]
"""Probability of each grade, 0 to 3."""


@dataclass(frozen=True)
class CumulativeLine:
    """``offset + network * n + loss * z`` for a grade of at least 1, 2 and 3.

    Slopes are not negative, and offsets do not rise.
    """

    offsets: tuple[float, float, float]
    network: float
    loss: float

    def logits(self, network: FloatArray, z: FloatArray) -> FloatArray:
        """``(..., 3)`` from the networks' logits and the distances from the cut-offs, both ``(..., 3)``."""
        return np.asarray(np.array(self.offsets) + self.network * network + self.loss * z)


@dataclass(frozen=True)
class PosteriorTable:
    """The coefficients.

    Attributes:
        joined: where both witnesses are known.
        network_alone: where no height is known.
        loss_alone: where no network was asked, and what the heights would say by themselves.
        first_joined, first_alone: where of the networks only the probability of a fracture is known (older reports).
        usual_sd: standard deviation of a loss in thin slices; no loss is taken to be surer, and one whose own is not
            known is as sure.
        most_z: standard deviations beyond which a loss says no more.
    """

    joined: CumulativeLine
    network_alone: CumulativeLine
    loss_alone: CumulativeLine
    first_joined: CumulativeLine
    first_alone: CumulativeLine
    usual_sd: float
    most_z: float

    @staticmethod
    def of_content(content: Mapping[str, Any]) -> PosteriorTable:
        names = ("joined", "network_alone", "loss_alone", "first_joined", "first_alone")
        lines = {
            name: CumulativeLine(tuple(content[name]["offsets"]), content[name]["network"], content[name]["loss"])
            for name in names
        }
        return PosteriorTable(**lines, usual_sd=content["usual_sd"], most_z=content["most_z"])


@cache
def load_table() -> PosteriorTable:
    """The coefficients that ship."""
    return PosteriorTable.of_content(json.loads(TABLE.read_text(encoding="utf-8")))


def pool_answers(members: Sequence[Mapping[str, float] | None]) -> tuple[float, ...]:
    """The ensemble's probability of a grade of at least 1, 2 and 3 from those of its members.

    Args:
        members: by grade, each by the member's name; where only the first is known, so is only the ensemble's first.
    """
    known = [one for one in members if one]
    pooled = [float(pool_ensemble(np.array(list(one.values())))) for one in known]
    return tuple(np.minimum.accumulate(pooled).tolist())


def compute_posterior(
    network: Sequence[float], loss: float | None, loss_sd: float | None = None, table: PosteriorTable | None = None
) -> Posterior:
    """The posterior over the grades 0 to 3; at least one witness is known.

    Args:
        network: probability of a grade of at least 1, 2 and 3 (``pool_answers``); the first alone, or none.
        loss: largest loss of height as a fraction; None where no height is known.
        loss_sd: of the loss; None: as in thin slices.

    Raises:
        ValueError: without any witness.
    """
    answers = np.full((1, GRADES), np.nan)
    answers[0, : len(network)] = network
    at_least = compute_at_least(
        answers, np.array([math.nan if loss is None else loss]), np.array([loss_sd or 0.0]), table or load_table()
    )[0]
    if not np.isfinite(at_least).all():
        raise ValueError("A grade needs the answer of a network, or a height.")
    edges = np.array([1.0, *at_least, 0.0])
    none, one, two, three = (edges[:-1] - edges[1:]).tolist()
    return none, one, two, three


def compute_at_least(network: FloatArray, loss: FloatArray, loss_sd: FloatArray, table: PosteriorTable) -> FloatArray:
    """Probability ``(n, 3)`` of a grade of at least 1, 2 and 3 of many vertebrae.

    Args:
        network: ``(n, 3)`` probabilities; NaN where they are not known.
        loss: ``(n,)`` fractions; NaN where no height is known.
        loss_sd: ``(n,)``.
    """
    bound = SCORING.most_logit
    answers = np.where(np.isnan(network), np.nan, np.clip(logit(np.nan_to_num(network)), -bound, bound))
    sd = np.maximum(loss_sd, table.usual_sd)
    z = (loss[:, None] - np.array(GRADING.genant_cut_offs)) / sd[:, None]
    z = np.clip(z, -table.most_z, table.most_z)
    first = np.repeat(answers[:, :1], GRADES, axis=1)
    known: BoolArray = ~np.isnan(answers)
    has_loss, has_all, has_first = (np.asarray(one) for one in (~np.isnan(loss), known.all(axis=1), known[:, 0]))
    nothing = np.zeros_like(z)
    logits = np.select(
        [one[:, None] for one in (has_all & has_loss, has_all, has_first & has_loss, has_first, has_loss)],
        [
            table.joined.logits(answers, z),
            table.network_alone.logits(answers, nothing),
            table.first_joined.logits(first, z),
            table.first_alone.logits(first, nothing),
            table.loss_alone.logits(nothing, z),
        ],
        np.nan,
    )
    return np.asarray(np.minimum.accumulate(sigmoid(logits), axis=1))


def choose_grade(posterior: Sequence[float], threshold: float) -> int:
    """The grade that is told: 0 where no fracture is suspected, else the median grade of a fracture, 1 at least.

    Whether it is a fracture the threshold has decided; the half that is left over to grade 0 does not decide it again.

    Args:
        threshold: probability of a fracture from which a vertebra is suspected.
    """
    at_least = np.cumsum(posterior[::-1])[::-1][1:]
    if at_least[0] < threshold:
        return 0
    return max(int((at_least >= 0.5 * at_least[0]).sum()), 1)


def choose_range(posterior: Sequence[float], grade: int) -> tuple[int, int]:
    """The least and the highest grade that are not improbable: the central ``SCORING.grade_band`` of the posterior.

    Of a suspected fracture they are those of a fracture: whether it is one, the probability says.

    Args:
        grade: that is told; it lies in the range.
    """
    tail = 0.5 * (1.0 - SCORING.grade_band)
    known = np.array(posterior)
    if grade:
        known[0] = 0.0
    below = np.cumsum(known) / known.sum()
    low = int((below[:-1] <= tail).sum())
    high = int((below[:-1] < 1.0 - tail).sum())
    return min(low, grade), max(high, grade)


def sum_grades(posteriors: Sequence[Sequence[float]]) -> tuple[int, int]:
    """The central ``SCORING.grade_band`` of the sum of independent grades."""
    total = np.ones(1)
    for posterior in posteriors:
        total = np.convolve(total, posterior)
    below, tail = np.cumsum(total), 0.5 * (1.0 - SCORING.grade_band)
    return int((below <= tail).sum()), int((below[:-1] < 1.0 - tail).sum())
