"""From six landmarks to heights, and from heights to a Genant grade against what is normal for the level.

Raw ratios call a healthy T7 a wedge, and a crushed body has normal ratios; so every height is held against the one that
the rest of the same spine and the norms of the levels predict (``expected_heights``). The two simple rules of the
literature stand next to this one for comparison; all are pure functions of heights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.thresholds import GRADING
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.expected_heights import Expectation, expect_from_posterior, expect_heights
from VertebralFractureLib.vertebrae.levels import SCORED_LEVELS, SPINAL_DEFORMITY_INDEX_LEVELS
from VertebralFractureLib.vertebrae.outline import measure_mean_height
from VertebralFractureLib.vertebrae.uncertainty import loss_sd
from VertebralFractureLib.vertebrae.vertebra import ExpectedHeights, HeightLosses, Heights, Shape, Vertebra

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
        loss_sd: standard deviation of the height loss, from what the expected height and the measured one are off; of
            the rules of ratios from slices and noise alone, None where the heights' own is not known.
        expected_mm: heights without a fracture; None for the rules of ratios.
    """

    loss: HeightLosses
    height_loss: float
    grade: int
    shape: Shape | None
    borderline: bool
    loss_sd: float | None = None
    expected_mm: ExpectedHeights | None = None


def grade_heights(
    heights: Heights,
    level: str | None = None,
    rule: str = LEVEL_NORMS_RULE,
    expected: Expectation | None = None,
    height_sd_mm: float | None = None,
) -> Grading:
    """The grade of one vertebra from its three heights.

    Args:
        heights: mm.
        level: for example "T12"; ``level_norms`` alone uses it. None: the mean norm.
        rule: a key of ``GRADING_RULES``.
        expected: the heights without a fracture (``expected_heights.expect_heights``); ``level_norms`` uses them.
            None: what the norms make of the posterior height, which leaves a crush of all three heights unseen.
        height_sd_mm: standard deviation of each height (``uncertainty.estimate_height_sd``); widens the borderline.

    Raises:
        ValueError: for an unknown rule, or heights that are not positive.
    """
    if rule not in GRADING_RULES:
        raise ValueError(f"There is no grading rule '{rule}'; use one of {', '.join(GRADING_RULES)}.")
    measured = (heights.anterior, heights.middle, heights.posterior)
    if not min(measured) > 0.0:
        raise ValueError(f"Heights must be positive; these are {measured} mm.")
    deviation, expected_mm = None, None
    if rule == LEVEL_NORMS_RULE:
        normal = expected or expect_from_posterior(heights, level, height_sd_mm or 0.0)
        loss = lose_heights(heights, normal.heights_mm)
        deviation = _loss_sd(loss, normal)
        expected_mm = normal.heights_mm
    elif rule == MIN_OVER_MAX_RULE:
        anterior, middle, posterior = (1.0 - height / max(measured) for height in measured)
        loss = HeightLosses(anterior, middle, posterior)
    else:
        anterior, middle = (max(1.0 - height / heights.posterior, 0.0) for height in measured[:2])
        loss = HeightLosses(anterior, middle, None)
    largest = float(np.clip(loss.largest, 0.0, 1.0))
    if deviation is None and height_sd_mm is not None:
        deviation = loss_sd(heights, height_sd_mm, largest)
    grade = grade_from_loss(largest)
    return Grading(
        loss,
        largest,
        grade,
        classify_shape(loss) if grade else None,
        is_borderline(largest, deviation or 0.0),
        deviation,
        expected_mm,
    )


def grade_column(
    heights: Sequence[Heights | None],
    levels: Sequence[str | None],
    rule: str = LEVEL_NORMS_RULE,
    height_sds_mm: Sequence[float | None] | None = None,
) -> list[Grading | None]:
    """``grade_heights`` for a column caudal to cranial, each vertebra with what the others predict.

    ``None`` among the heights is a vertebra that was not measured or is not to be judged: it predicts nothing and gets
    no grading.
    """
    sds_mm = height_sds_mm or [None] * len(heights)
    expected = expect_heights(heights, levels, sds_mm) if rule == LEVEL_NORMS_RULE else [None] * len(heights)
    return [
        None if own is None else grade_heights(own, levels[i], rule, expected[i], sds_mm[i])
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
        return replace(
            vertebra,
            morphometric_grade=None,
            expected_heights_mm=None,
            height_loss=None,
            height_losses=None,
            height_loss_sd=None,
            area_loss=None,
        )
    return replace(
        vertebra,
        morphometric_grade=grading.grade,
        expected_heights_mm=grading.expected_mm,
        height_loss=grading.height_loss,
        height_losses=grading.loss,
        height_loss_sd=grading.loss_sd,
        area_loss=None if grading.expected_mm is None else _lose_area(vertebra, grading.expected_mm),
    )


def _lose_area(vertebra: Vertebra, expected: ExpectedHeights) -> float | None:
    """Loss of mid-sagittal area as a fraction; None where the body was not traced.

    The mean height that the outline encloses over its depth, against the mean of the expected ones (Simpson's rule).
    """
    own = vertebra.heights_mm
    if vertebra.outline_ras is None or vertebra.landmarks_ras is None or own is None:
        return None
    enclosed = measure_mean_height(vertebra.outline_ras, vertebra.landmarks_ras)
    back = own.posterior if expected.posterior is None else expected.posterior
    whole = GRADING.outline_over_heights * (expected.anterior + 4.0 * expected.middle + back) / 6.0
    return float(np.clip(1.0 - enclosed / whole, 0.0, 1.0))


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


def lose_heights(heights: Heights, expected: ExpectedHeights) -> HeightLosses:
    """Loss of each height against the expected ones, 0 where a height is larger."""
    posterior = None if expected.posterior is None else max(1.0 - heights.posterior / expected.posterior, 0.0)
    return HeightLosses(
        max(1.0 - heights.anterior / expected.anterior, 0.0),
        max(1.0 - heights.middle / expected.middle, 0.0),
        posterior,
    )


def _loss_sd(loss: HeightLosses, expected: Expectation) -> float:
    """Standard deviation of the largest loss, from prediction and measurement."""
    each = (loss.anterior, loss.middle, -1.0 if loss.posterior is None else loss.posterior)
    at = int(np.argmax(each))
    return (1.0 - each[at]) * expected.sd[at]


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
