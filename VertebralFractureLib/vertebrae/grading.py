"""From six landmarks to heights, and from heights to a Genant grade against what is normal for the level.

Raw ratios call a healthy T7 a wedge, so every ratio is divided by its level's norm first; and because a crushed body
has normal ratios, its posterior height is also held against the one that its neighbors predict. The two simple rules
of the literature stand next to this one for comparison; all are pure functions of heights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.thresholds import GRADING
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.levels import SCORED_LEVELS, SPINAL_DEFORMITY_INDEX_LEVELS
from VertebralFractureLib.vertebrae.norms import LEVEL_NORMS, STAND_IN_LEVELS, UNKNOWN_LEVEL_NORM, find_level_norm
from VertebralFractureLib.vertebrae.uncertainty import loss_sd
from VertebralFractureLib.vertebrae.vertebra import HeightLosses, Heights, Shape, Vertebra

LEVEL_NORMS_RULE = "level_norms"
MIN_OVER_MAX_RULE = "min_over_max"
OVER_POSTERIOR_RULE = "over_posterior"
GRADING_RULES: dict[str, str] = {
    LEVEL_NORMS_RULE: "Level norms and neighbors",
    MIN_OVER_MAX_RULE: "1 - min / max",
    OVER_POSTERIOR_RULE: "1 - min(anterior, middle) / posterior",
}
"""The ways to a height loss, by name, with words for a menu; the first is the one that a report is made with.

``min_over_max`` is the raw ratio of the public graders (Pisov et al. 2020), ``over_posterior`` the one that leaves the
posterior wall as the measure. Neither knows what is normal for a level, and neither can see a crush of all three.
"""


@dataclass(frozen=True)
class Grading:
    """What a rule says of one vertebra.

    Attributes:
        loss: of each height.
        height_loss: continuous, the largest loss, 0 to 1; the grade is cut from it.
        grade: Genant 0 to 3.
        shape: None for grade 0.
        borderline: the height loss lies within the error of reading and measuring of a cut-off.
        loss_sd: standard deviation of the height loss from slices and noise; None where the heights' own is not known.
    """

    loss: HeightLosses
    height_loss: float
    grade: int
    shape: Shape | None
    borderline: bool
    loss_sd: float | None = None


def grade_heights(
    heights: Heights,
    level: str | None = None,
    rule: str = LEVEL_NORMS_RULE,
    predicted: float | None = None,
    height_sd_mm: float | None = None,
) -> Grading:
    """The grade of one vertebra from its three heights.

    Args:
        heights: mm.
        level: for example "T12"; ``level_norms`` alone uses it. None: the mean norm.
        rule: a key of ``GRADING_RULES``.
        predicted: posterior height in mm that the neighbors predict (``predict_posterior``); ``level_norms`` uses
            it, and without it a crush of all three heights stays unseen.
        height_sd_mm: standard deviation of each height (``uncertainty.estimate_height_sd``); widens the borderline.

    Raises:
        ValueError: for an unknown rule, or heights that are not positive.
    """
    if rule not in GRADING_RULES:
        raise ValueError(f"There is no grading rule '{rule}'; use one of {', '.join(GRADING_RULES)}.")
    measured = (heights.anterior, heights.middle, heights.posterior)
    if not min(measured) > 0.0:
        raise ValueError(f"Heights must be positive; these are {measured} mm.")
    if rule == LEVEL_NORMS_RULE:
        loss = height_loss(heights, level, predicted)
    elif rule == MIN_OVER_MAX_RULE:
        anterior, middle, posterior = (1.0 - height / max(measured) for height in measured)
        loss = HeightLosses(anterior, middle, posterior)
    else:
        anterior, middle = (max(1.0 - height / heights.posterior, 0.0) for height in measured[:2])
        loss = HeightLosses(anterior, middle, None)
    largest = float(np.clip(loss.largest, 0.0, 1.0))
    grade = grade_from_loss(largest)
    deviation = None if height_sd_mm is None else loss_sd(heights, height_sd_mm, largest)
    return Grading(
        loss,
        largest,
        grade,
        classify_shape(loss) if grade else None,
        is_borderline(largest, deviation or 0.0),
        deviation,
    )


def grade_column(
    heights: Sequence[Heights | None],
    levels: Sequence[str | None],
    rule: str = LEVEL_NORMS_RULE,
    height_sds_mm: Sequence[float | None] | None = None,
) -> list[Grading | None]:
    """``grade_heights`` for a column caudal to cranial, each vertebra with what its neighbors predict.

    ``None`` among the heights is a vertebra that was not measured or is not to be judged: it predicts nothing and gets
    no grading. Fractures come in groups: a neighbor whose posterior wall is low itself does not predict another's, as
    long as two others are left.
    """
    sds_mm = height_sds_mm or [None] * len(heights)
    predicted = [predict_posterior(i, heights, levels) for i in range(len(heights))]
    sound = [
        None if own is None or (expected is not None and 1.0 - own.posterior / expected > _crush_from()) else own
        for own, expected in zip(heights, predicted, strict=True)
    ]
    by_sound = [predict_posterior(i, sound, levels) for i in range(len(heights))]
    return [
        None if own is None else grade_heights(own, levels[i], rule, by_sound[i] or predicted[i], sds_mm[i])
        for i, own in enumerate(heights)
    ]


def grade_vertebrae(vertebrae: Sequence[Vertebra]) -> list[Vertebra]:
    """Grade a column of vertebrae, caudal to cranial, from their heights; those with a reason get no grade."""
    usable = [vertebra.heights_mm if vertebra.reason is None else None for vertebra in vertebrae]
    deviations = [vertebra.height_sd_mm for vertebra in vertebrae]
    gradings = grade_column(usable, [vertebra.level for vertebra in vertebrae], height_sds_mm=deviations)
    return [with_grading(vertebra, grading) for vertebra, grading in zip(vertebrae, gradings, strict=True)]


def with_grading(vertebra: Vertebra, grading: Grading | None) -> Vertebra:
    """The vertebra with what its heights say by themselves, or with nothing of that; its heights stay.

    Its grade is not theirs alone: ``fracture.vertebra_scores`` joins them with the networks.
    """
    if grading is None:
        return replace(vertebra, morphometric_grade=None, height_loss=None, height_losses=None, height_loss_sd=None)
    return replace(
        vertebra,
        morphometric_grade=grading.grade,
        height_loss=grading.height_loss,
        height_losses=grading.loss,
        height_loss_sd=grading.loss_sd,
    )


def measure_heights(landmarks_ras: FloatArray) -> Heights:
    """Straight 3D distances in mm between the paired landmarks ``(6, 3)`` RAS: anterior, middle, posterior."""
    anterior, middle, posterior = np.linalg.norm(landmarks_ras[:3] - landmarks_ras[3:], axis=1)
    return Heights(float(anterior), float(middle), float(posterior))


def grade_from_loss(loss: float) -> int:
    """Genant grade 0 to 3 of a height loss (fraction)."""
    return sum(loss >= cut_off for cut_off in GRADING.genant_cut_offs)


def is_borderline(loss: float, sd: float = 0.0) -> bool:
    """Whether the loss is nearer to a cut-off than two readers of two scans would be to each other.

    Args:
        sd: standard deviation of the loss from slices and noise, which adds to the difference of expert readers.
    """
    band = math.hypot(GRADING.reader_difference, sd)
    return any(abs(loss - cut_off) < band for cut_off in GRADING.genant_cut_offs)


def interpolate_posterior_profile(level: str | None) -> float | None:
    """Posterior height of a level relative to T1, by the chain of the norms; None without a level of the table."""
    level = STAND_IN_LEVELS.get(level, level) if level else None
    if level not in LEVEL_NORMS:
        return None
    size = 1.0
    for name, norm in LEVEL_NORMS.items():
        size *= norm.posterior_over_above or 1.0
        if name == level:
            break
    return size


def predict_posterior(index: int, heights: Sequence[Heights | None], levels: Sequence[str | None]) -> float | None:
    """Posterior height that the neighbors predict for vertebra ``index`` (sequence caudal to cranial), mm.

    The median over up to three neighbors a side, each scaled by the norms' profile; without levels by the mean step of
    the table. None with fewer than two neighbors. L5, whose posterior wall is low by nature, is neither predicted nor
    predicts.
    """
    if _is_lowest(levels[index]):
        return None
    own = interpolate_posterior_profile(levels[index])
    predictions = []
    for direction in (-1, 1):
        found = 0
        at = index + direction
        while 0 <= at < len(heights) and found < GRADING.predicting_neighbors:
            neighbor = heights[at]
            if neighbor is not None and not _is_lowest(levels[at]):
                other = interpolate_posterior_profile(levels[at])
                by_step = (UNKNOWN_LEVEL_NORM.posterior_over_above or 1.0) ** (at - index)
                predictions.append(neighbor.posterior * (own / other if own and other else by_step))
                found += 1
            at += direction
    return float(np.median(predictions)) if len(predictions) >= 2 else None


def _is_lowest(level: str | None) -> bool:
    return level is not None and STAND_IN_LEVELS.get(level, level) == "L5"


def height_loss(heights: Heights, level: str | None, predicted: float | None) -> HeightLosses:
    """Loss of each height; against the predicted posterior height where the vertebra's own is low itself."""
    norm = find_level_norm(level)
    crush = None if predicted is None else 1.0 - heights.posterior / predicted
    whole = predicted if predicted is not None and crush is not None and crush > _crush_from() else heights.posterior
    anterior = 1.0 - heights.anterior / (norm.anterior * whole)
    middle = 1.0 - heights.middle / ((norm.middle + GRADING.middle_over_floor) * whole)
    return HeightLosses(max(anterior, 0.0), max(middle, 0.0), None if crush is None else max(crush, 0.0))


def _crush_from() -> float:
    """Return the fraction of the predicted posterior height from whose loss on a wall is low, not small by nature."""
    return GRADING.crush_from_sd * GRADING.posterior_prediction_sd


def classify_shape(loss: HeightLosses) -> Shape:
    """The Genant shape of a fractured body.

    Crush where the posterior height is lost with the others: a deep bowl reaches the posterior point too, but takes far
    less there. Else biconcave where the middle is clearly lower than the front, and wedge where it is not.
    """
    tuned = GRADING
    posterior = loss.posterior or 0.0
    if posterior >= max(tuned.genant_cut_offs[0], tuned.crush_posterior_over_largest * loss.largest):
        return Shape.CRUSH
    is_hollow = loss.middle - loss.anterior > tuned.biconcave_margin_over_largest * loss.largest
    return Shape.BICONCAVE if is_hollow else Shape.WEDGE


def is_graded(level: str | None) -> bool:
    """Whether grades mean something there: thoracic, lumbar, or unknown; not the cervical spine or the sacrum."""
    return level is None or level in SCORED_LEVELS


def spinal_deformity_index(vertebrae: Sequence[Vertebra]) -> int | None:
    """Sum of the grades over T4 to L4 (Genant 1993, 0 to 39); None when no vertebra there is graded."""
    grades = [v.grade for v in vertebrae if v.level in SPINAL_DEFORMITY_INDEX_LEVELS and v.grade is not None]
    return sum(grades) if grades else None
