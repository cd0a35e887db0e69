"""What the heights of a vertebra would be without a fracture, predicted from the rest of the same spine.

The logarithms of heights less those of the level norms are a Gaussian process along the spine: a size of the patient
that nobody knows beforehand, what all three heights of neighboring vertebrae share, what each height shares with its
neighbors' own (a round back is lower in front over several levels), and an error. A vertebra is predicted from all
others (kriging: Matheron 1963; Rasmussen and Williams 2006, chapter 2), and its front and middle from its own posterior
wall too, as long as that is not low itself. Fractures come in groups, so a height that is low for what the others
predict counts little for its neighbors, the less the lower it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.thresholds import GRADING
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.levels import SCORED_LEVELS
from VertebralFractureLib.vertebrae.norms import (
    LEVEL_NORMS,
    STAND_IN_LEVELS,
    UNKNOWN_LEVEL_NORM,
    LevelNorm,
    find_level_norm,
)
from VertebralFractureLib.vertebrae.vertebra import ExpectedHeights, Heights

_KINDS = 3
"""Heights of a vertebra: anterior, middle, posterior."""
_LEAST_WEIGHT = 0.03
_ROUNDS = 25
_SETTLED = 1e-4


@dataclass(frozen=True)
class Expectation:
    """The heights of a vertebra if it had not been fractured, and how sure that is.

    Attributes:
        heights_mm: the posterior one None where fewer than two other vertebrae tell, and at L5, whose posterior wall is
            low by nature.
        sd: standard deviations, as fractions of the heights, of what will be measured there (anterior, middle,
            posterior): prediction and measurement together.
    """

    heights_mm: ExpectedHeights
    sd: tuple[float, float, float]


def expect_from_posterior(heights: Heights, level: str | None, height_sd_mm: float = 0.0) -> Expectation:
    """What the level's norms make of the vertebra's own posterior height; without a prediction of that itself.

    Args:
        heights: mm, positive.
        level: for example "T12"; None: the mean norm.
        height_sd_mm: of each height.
    """
    norm, own = find_level_norm(level), heights.posterior
    apart = math.hypot(GRADING.common_height_sd, GRADING.own_height_sd, GRADING.height_error_sd, height_sd_mm / own)
    front_mm, middle_mm = norm.anterior * own, (norm.middle + GRADING.middle_over_floor) * own
    ratio = math.sqrt(2.0) * math.hypot(GRADING.own_height_sd, GRADING.height_error_sd, height_sd_mm / own)
    return Expectation(ExpectedHeights(front_mm, middle_mm, None), (ratio, ratio, apart))


def expect_heights(
    heights: Sequence[Heights | None],
    levels: Sequence[str | None],
    height_sds_mm: Sequence[float | None] | None = None,
) -> list[Expectation | None]:
    """What the heights of every vertebra of a column would be without a fracture.

    Args:
        heights: caudal to cranial, mm, positive; None: not measured or not to be judged, which predicts nothing.
        levels: of the same vertebrae; one that is not known is counted from the next known one.
        height_sds_mm: standard deviation of each vertebra's heights from slices and noise.

    Returns:
        None where there are no heights.
    """
    sds_mm = height_sds_mm or [None] * len(heights)
    places = _place_levels(levels)
    own: list[Expectation | None] = [
        None if one is None else expect_from_posterior(one, level, sd_mm or 0.0)
        for one, level, sd_mm in zip(heights, levels, sds_mm, strict=True)
    ]
    known = [
        (i, one, place)
        for i, (one, place) in enumerate(zip(heights, places, strict=True))
        if one is not None and place is not None
    ]
    if len(known) > GRADING.fewest_predicting:
        sizes = np.array([[one.anterior, one.middle, one.posterior] for _, one, _ in known])
        errors = np.array([[sds_mm[i] or 0.0] for i, _, _ in known]) / sizes
        for (i, _, _), predicted in zip(known, _predict_each([p for *_, p in known], sizes, errors), strict=True):
            own[i] = predicted
    return own


def _predict_each(places: Sequence[_Place], sizes: FloatArray, errors: FloatArray) -> list[Expectation]:
    """Every vertebra from the others; ``sizes`` and their ``errors`` (as fractions) ``(n, 3)``."""
    apart = (np.log(sizes) - np.array([place.log_norm for place in places])).ravel()
    field = _covariance(np.array([place.rank for place in places], dtype=np.float64))
    noise = (GRADING.height_error_sd**2 + errors**2).ravel()
    weights = np.ones(len(apart))
    full, none = GRADING.trusted_from_sd, GRADING.ignored_from_sd
    for _ in range(_ROUNDS):
        residuals, spreads = _leave_each_out(field, noise, weights, apart)
        z = residuals / np.sqrt(np.diagonal(spreads, axis1=1, axis2=2))
        wanted = np.clip((z.ravel() - none) / (full - none), _LEAST_WEIGHT, 1.0)
        if np.abs(wanted - weights).max() < _SETTLED:
            break
        weights = 0.5 * (weights + wanted)
    return [_expected(size, residual, spread) for size, residual, spread in zip(sizes, residuals, spreads, strict=True)]


def _covariance(ranks: FloatArray) -> FloatArray:
    """Of the process at three heights of every vertebra, without the patient's size and the error ``(3 n, 3 n)``."""
    tuned = GRADING
    near = np.exp(-np.abs(ranks[:, None] - ranks[None]) / tuned.neighbor_reach)
    together, each = np.ones((_KINDS, _KINDS)), np.eye(_KINDS)
    shared = tuned.common_height_sd**2 * together + tuned.own_height_sd**2 * each
    return np.asarray(np.kron(near, shared), dtype=np.float64)


def _leave_each_out(
    field: FloatArray, noise: FloatArray, weights: FloatArray, apart: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Measured less predicted ``(n, 3)``, and the covariance of that ``(n, 3, 3)``, each vertebra from the others.

    From the inverse of the covariance of all (Dubrule 1983), so that nothing is solved once for each vertebra. What all
    heights have in common, the patient's size, is projected out: any size is as likely as any other.
    """
    counted = noise / weights**2
    inverse = np.linalg.inv(field + np.diag(counted))
    size = inverse.sum(axis=1)
    inverse = inverse - np.outer(size, size) / size.sum()
    pulled = inverse @ apart
    residuals, spreads = [], []
    for first in range(0, len(apart), _KINDS):
        own = slice(first, first + _KINDS)
        spread = np.linalg.inv(inverse[own, own])
        residuals.append(spread @ pulled[own])
        # What a vertebra is measured with does not depend on how little it counts for others.
        spreads.append(spread + np.diag(noise[own] - counted[own]))
    return np.array(residuals), np.array(spreads)


def _expected(size: FloatArray, residual: FloatArray, spread: FloatArray) -> Expectation:
    """The prediction of one vertebra, its front and middle improved by its own posterior wall.

    A wall that is up to a standard deviation off is the patient's own; beyond, it tells less and less of the rest.
    """
    wall_sd = math.sqrt(float(spread[2, 2]))
    slope = spread[:2, 2] / spread[2, 2]
    off = _trust_wall(float(residual[2]), wall_sd)
    front, middle = (size[:2] * np.exp(slope * off - residual[:2])).tolist()
    left = np.sqrt(np.diagonal(spread)[:2] - slope * spread[:2, 2])
    heights = ExpectedHeights(front, middle, float(size[2] * np.exp(-residual[2])))
    return Expectation(heights, (float(left[0]), float(left[1]), wall_sd))


def _trust_wall(off: float, sd: float) -> float:
    """How far a posterior wall moves the rest: as far as it is off, one ``sd`` at most, nothing from three below on."""
    if off >= -sd:
        return min(off, sd)
    return -max(sd + 0.5 * (off + sd), 0.0)


@dataclass(frozen=True)
class _Place:
    """Where a vertebra stands in the column, T1 is 0, and the logarithms of its norms ``(3,)``, of any one size."""

    rank: float
    log_norm: FloatArray


def _place_levels(levels: Sequence[str | None]) -> list[_Place | None]:
    """None for what neither is predicted nor predicts: L5, and what is not graded."""
    order = [level for level in LEVEL_NORMS if not _is_lowest(level)]
    profile = _log_profile(order)
    graded = [level is None or (level in SCORED_LEVELS and not _is_lowest(level)) for level in levels]
    known = {
        index: order.index(STAND_IN_LEVELS.get(level, level))
        for index, level in enumerate(levels)
        if level is not None and graded[index]
    }
    places: list[_Place | None] = []
    for index, level in enumerate(levels):
        if not graded[index]:
            places.append(None)
        elif known:
            beside = index if level is not None else min(known, key=lambda one: abs(one - index))
            rank = known[beside] + beside - index
            places.append(_Place(rank, profile[min(max(rank, 0), len(order) - 1)]))
        else:
            places.append(_Place(-index, _log_ratios(UNKNOWN_LEVEL_NORM) - index * _log_step(UNKNOWN_LEVEL_NORM)))
    return places


def _is_lowest(level: str) -> bool:
    return STAND_IN_LEVELS.get(level, level) == "L5"


def _log_profile(order: Sequence[str]) -> FloatArray:
    """Of the heights from T1 down, relative to the posterior one of T1 ``(n, 3)``, by the chain of the norms."""
    steps = np.cumsum([_log_step(LEVEL_NORMS[level]) for level in order])
    ratios = np.array([_log_ratios(LEVEL_NORMS[level]) for level in order])
    return np.asarray(ratios + steps[:, None], dtype=np.float64)


def _log_step(norm: LevelNorm) -> float:
    return math.log(norm.posterior_over_above or 1.0)


def _log_ratios(norm: LevelNorm) -> FloatArray:
    return np.asarray(np.log([norm.anterior, norm.middle + GRADING.middle_over_floor, 1.0]), dtype=np.float64)
