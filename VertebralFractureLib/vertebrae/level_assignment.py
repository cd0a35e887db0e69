"""Assign levels to a column of vertebrae: the most probable consistent run of labels, each with its posterior.

The network looks at every vertebra, the anatomy says that levels follow one another; forward-backward over that chain
gives posteriors, so that one clear landmark labels the whole column and no landmark labels nothing. What a vertebra
looks like by itself (neck, ribs, lumbar, sacrum) tells most where regions meet, also in the cells beyond the found
bodies. T13, L6 (also the label of a lumbarized S1), eleven ribs and a sacralized L5 are allowed at a price.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.thresholds import LABELING
from VertebralFractureLib.types import FloatArray, IntArray
from VertebralFractureLib.vertebrae.level_column import BEYOND
from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES, REGIONS, region_of_level

LEVELS: tuple[str, ...] = (
    *[f"C{n}" for n in range(1, 8)],
    *[f"T{n}" for n in range(1, 14)],
    *[f"L{n}" for n in range(1, 7)],
    "S1",
)
"""Cranial to caudal, with the supernumerary T13 and L6."""
_SACRALIZED = "L5 of the sacrum"
_LAST_FREE = "L4 over a sacralized L5"
STATES: tuple[str, ...] = (*LEVELS, _SACRALIZED, _LAST_FREE)
"""The states of the chain: the levels, and the two that have another look where L5 belongs to the sacrum."""
LEVEL_OF_STATE: tuple[str, ...] = (*LEVELS, "L5", "L4")


_REGION_OF_STATE: tuple[str, ...] = (*map(region_of_level, LEVELS), "sacrum", "lumbar")

Steps = Sequence[int] | FloatArray
"""``(n - 1)`` how many levels up the next vertebra is: 1, or more where the search left a hole. Where that is not
certain, ``(n - 1, k)`` log-probabilities that it is 1, 2, ... k levels up."""


@dataclass(frozen=True)
class LevelLabel:
    """A level and its posterior; level None where the posterior is below ``known_from``."""

    level: str | None
    probability: float


def drop_uncertain_levels(labels: Sequence[LevelLabel]) -> list[LevelLabel]:
    """Return the labels, without the level where its probability is below ``known_from``."""
    return [
        LevelLabel(label.level if label.probability >= LABELING.known_from else None, label.probability)
        for label in labels
    ]


@dataclass(frozen=True)
class LevelOpinion:
    """What the network says about a column of vertebrae, each vertebra by itself.

    Attributes:
        levels: ``(n, 25)`` log-probability of ``LEVEL_CLASSES`` at each found body, caudal to cranial.
        regions: ``(cells, 4)`` log-probability of ``REGIONS`` at each cell of the column, those in holes and beyond the
            found bodies included.
        seen: ``(cells,)`` fraction of each cell that lies in the field of view.
        found: ``(n,)`` the cell of each body.
    """

    levels: FloatArray
    regions: FloatArray
    seen: FloatArray
    found: IntArray


def find_likeliest_levels(
    opinion: LevelOpinion, steps: Steps, evidence_weight: float | None = None
) -> list[LevelLabel]:
    """Label vertebrae ordered caudal to cranial; a level is always given, however small its probability.

    Args:
        opinion: of the network.
        steps: how many levels up each next vertebra is, or what is known of it.
        evidence_weight: what the opinion about one vertebra's level counts in the sum over all of them; None is the
            tuned one.

    Raises:
        ValueError: when opinion and steps do not belong together.
    """
    count = len(opinion.levels)
    if len(steps) != max(count - 1, 0):
        raise ValueError(f"{count} vertebrae have {max(count - 1, 0)} steps between them, not {len(steps)}.")
    if not count:
        return []
    weight = LABELING.evidence_weight if evidence_weight is None else evidence_weight
    return decode_levels(_state_evidence(opinion.levels * weight) + _region_evidence(opinion), steps)


def _region_evidence(opinion: LevelOpinion) -> FloatArray:
    """``(n, 29)``: how well each body's own region fits each state, and that of the cells beyond the outermost ones."""
    tuned = LABELING
    log_p = tuned.region_weight * np.maximum(opinion.regions, np.log(tuned.region_floor))
    evidence = log_p[opinion.found][:, [REGIONS.index(region) for region in _REGION_OF_STATE]]
    for end, upward in ((0, -1), (-1, 1)):
        for away in range(1, BEYOND + 1):
            cell = int(opinion.found[end]) + upward * away
            if 0 <= cell < len(log_p) and opinion.seen[cell] >= tuned.beyond_seen:
                evidence[end] += tuned.beyond_weight * log_p[cell, _regions_at(upward * away)]
    return evidence


def _regions_at(offset: int) -> list[int]:
    """For every state, the region ``offset`` levels up in a spine without a further variant."""
    regular = [name for name in LEVELS if name not in ("T13", "L6")]
    stand_in = {"T13": "T12", "L6": "L5", _SACRALIZED: "S1", _LAST_FREE: "L5"}
    at = [regular.index(stand_in.get(state, state)) - offset for state in STATES]
    return [REGIONS.index(region_of_level(regular[min(max(place, 0), len(regular) - 1)])) for place in at]


def decode_levels(evidence: FloatArray, steps: Steps) -> list[LevelLabel]:
    """The most probable run of levels, caudal to cranial, and the posterior of each; a level is always given.

    Args:
        evidence: ``(n, 29)`` log-likelihood of every one of ``STATES`` at each vertebra.
        steps: how many levels up each next vertebra is, or what is known of it.
    """
    count = len(evidence)
    transitions = [_log_transition(step) for step in steps]
    forward = np.empty_like(evidence)
    backward = np.zeros_like(evidence)
    forward[0] = evidence[0] + _log_prior()
    for i in range(1, count):
        forward[i] = evidence[i] + _log_sum(forward[i - 1][:, None] + transitions[i - 1], axis=0)
    for i in range(count - 2, -1, -1):
        backward[i] = _log_sum(transitions[i] + (evidence[i + 1] + backward[i + 1])[None], axis=1)
    joint = forward + backward
    posterior = np.exp(joint - _log_sum(joint, axis=1)[:, None])
    levels = [LEVEL_OF_STATE[state] for state in _most_probable_run(evidence, transitions)]
    return [LevelLabel(level, float(posterior[i, list_states(level)].sum())) for i, level in enumerate(levels)]


def list_states(level: str) -> list[int]:
    """The states (indices) that are called so."""
    return [state for state, name in enumerate(LEVEL_OF_STATE) if name == level]


def _state_evidence(opinion: FloatArray) -> FloatArray:
    """``(n, 29)``: the network's opinion, tempered, and for the rare states that of their lookalikes at a price."""
    tuned = LABELING
    column = {name: opinion[:, i] for i, name in enumerate(LEVEL_CLASSES)}
    column["T13"] = np.maximum(column["T12"], column["L1"] - tuned.ribless_penalty) - tuned.variant_penalty
    column["L6"] = np.maximum(column["L5"], column["S1"]) - tuned.variant_penalty
    column[_SACRALIZED] = column["S1"] - tuned.variant_penalty
    column[_LAST_FREE] = np.maximum(column["L4"], column["L5"]) - tuned.variant_penalty
    return np.stack([column[name] for name in STATES], axis=1)


def _log_prior() -> FloatArray:
    prior = np.zeros(len(STATES))
    for name in ("T13", "L6"):
        prior[STATES.index(name)] = np.log(LABELING.supernumerary)
    for name in (_SACRALIZED, _LAST_FREE):
        prior[STATES.index(name)] = np.log(LABELING.missing)
    return prior


def _log_transition(step: int | FloatArray) -> FloatArray:
    """``[from, to]``, rows are the lower vertebra, for a number of levels up or for their log-probabilities."""
    if np.ndim(step) == 0:
        return _finite_log(_transition(int(np.asarray(step))))
    share = np.exp(np.asarray(step, dtype=np.float64))
    mixed = np.sum([one * _transition(up) for up, one in enumerate(share / share.sum(), start=1)], axis=0)
    return _finite_log(mixed)


def _finite_log(share: FloatArray) -> FloatArray:
    return np.asarray(np.log(share + 1e-12))


def _transition(step: int) -> FloatArray:
    """``[from, to]`` for ``step`` levels up."""
    tuned = LABELING
    one = np.full((len(STATES), len(STATES)), tuned.count_slip / len(STATES))
    at = {name: i for i, name in enumerate(STATES)}
    regular = [name for name in LEVELS if name not in ("T13", "L6")]
    for upper, lower in itertools.pairwise(regular):
        one[at[lower], at[upper]] = 1.0
    one[at["L1"], at["T12"]], one[at["L1"], at["T13"]] = 1.0 - tuned.supernumerary - tuned.missing, tuned.supernumerary
    one[at["L1"], at["T11"]] = tuned.missing
    one[at["T13"], at["T12"]] = 1.0
    one[at["S1"], at["L5"]], one[at["S1"], at["L6"]] = 1.0 - tuned.supernumerary - tuned.missing, tuned.supernumerary
    one[at["S1"], at[_SACRALIZED]] = tuned.missing
    one[at["L6"], at["L5"]] = 1.0
    one[at[_SACRALIZED], at[_LAST_FREE]] = 1.0
    one[at[_LAST_FREE], at["L3"]] = 1.0
    return np.asarray(np.linalg.matrix_power(one, max(step, 1)))


def _most_probable_run(emission: FloatArray, transitions: Sequence[FloatArray]) -> list[int]:
    score = emission[0] + _log_prior()
    came: list[IntArray] = []
    for i, transition in enumerate(transitions):
        options = score[:, None] + transition
        came.append(options.argmax(axis=0))
        score = emission[i + 1] + options.max(axis=0)
    run = [int(score.argmax())]
    for back in reversed(came):
        run.append(int(back[run[-1]]))
    return run[::-1]


def _log_sum(values: FloatArray, axis: int) -> FloatArray:
    top = values.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis=axis))
