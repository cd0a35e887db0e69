"""What holds of every grading, whatever the heights: it follows the loss, and neither size nor unit matters."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from VertebralFractureLib.thresholds import GRADING
from VertebralFractureLib.vertebrae.expected_heights import Expectation
from VertebralFractureLib.vertebrae.grading import GRADING_RULES, grade_column, grade_heights, is_borderline
from VertebralFractureLib.vertebrae.levels import SCORED_LEVELS
from VertebralFractureLib.vertebrae.vertebra import ExpectedHeights, Heights

MILLIMETERS = st.floats(5.0, 45.0)
SHARES = st.floats(0.02, 0.2)
EXPECTED = st.builds(Expectation, st.builds(ExpectedHeights, *[MILLIMETERS] * 3), st.tuples(SHARES, SHARES, SHARES))
HEIGHTS = st.builds(Heights, MILLIMETERS, MILLIMETERS, MILLIMETERS)
LEVELS = st.none() | st.sampled_from(sorted(SCORED_LEVELS))
RULES = st.sampled_from(sorted(GRADING_RULES))
LOWER = st.floats(0.2, 1.0)
SIZES = st.floats(0.5, 2.0)


def scaled(heights: Heights, factor: float) -> Heights:
    return Heights(factor * heights.anterior, factor * heights.middle, factor * heights.posterior)


def grown(expected: Expectation, factor: float) -> Expectation:
    own = expected.heights_mm
    posterior = None if own.posterior is None else factor * own.posterior
    return Expectation(ExpectedHeights(factor * own.anterior, factor * own.middle, posterior), expected.sd)


@given(heights=HEIGHTS, level=LEVELS, rule=RULES, expected=st.none() | EXPECTED, factor=LOWER)
@pytest.mark.parametrize("lowered", ["anterior", "middle"])
def test_a_body_that_loses_height_in_front_or_in_the_middle_never_gets_a_milder_grade(
    lowered: str, heights: Heights, level: str | None, rule: str, expected: Expectation | None, factor: float
) -> None:
    lower = replace(heights, **{lowered: factor * getattr(heights, lowered)})

    before, after = (grade_heights(one, level, rule, expected) for one in (heights, lower))

    # The rule of raw ratios holds all heights against the highest, which may be the one that falls.
    assume(
        rule != "min_over_max" or getattr(heights, lowered) < max(heights.anterior, heights.middle, heights.posterior)
    )
    assert after.height_loss >= before.height_loss - 1e-12
    assert after.grade >= before.grade


@given(heights=HEIGHTS, level=LEVELS, expected=EXPECTED, factor=LOWER)
def test_a_body_that_is_crushed_evenly_never_gets_a_milder_grade(
    heights: Heights, level: str | None, expected: Expectation, factor: float
) -> None:
    before, after = (grade_heights(scaled(heights, size), level, expected=expected) for size in (1.0, factor))

    assert after.height_loss >= before.height_loss - 1e-12
    assert after.grade >= before.grade


@given(heights=HEIGHTS, level=LEVELS, rule=RULES, expected=st.none() | EXPECTED, sd=st.floats(0.1, 3.0), size=SIZES)
def test_a_larger_patient_with_the_same_shape_gets_the_same_grade(
    heights: Heights, level: str | None, rule: str, expected: Expectation | None, sd: float, size: float
) -> None:
    small = grade_heights(heights, level, rule, expected, sd)
    large = grade_heights(scaled(heights, size), level, rule, expected and grown(expected, size), size * sd)

    assert large.height_loss == pytest.approx(small.height_loss, abs=1e-9)
    assert large.loss_sd == pytest.approx(small.loss_sd, rel=1e-6)
    assume(all(abs(small.height_loss - cut_off) > 1e-9 for cut_off in GRADING.genant_cut_offs))
    assert (large.grade, large.shape) == (small.grade, small.shape)


@given(
    heights=st.lists(st.none() | st.builds(Heights, *[st.floats(15.0, 35.0)] * 3), min_size=1, max_size=9),
    first=st.integers(0, 8),
    size=SIZES,
)
def test_a_whole_column_is_graded_alike_in_a_larger_patient(
    heights: list[Heights | None], first: int, size: float
) -> None:
    levels = ("L5", "L4", "L3", "L2", "L1", *(f"T{number}" for number in range(12, 0, -1)))[
        first : first + len(heights)
    ]

    small = grade_column(heights, levels)
    large = grade_column([one and scaled(one, size) for one in heights], levels)

    assert [one is None for one in small] == [one is None for one in heights]
    for one, other in zip(small, large, strict=True):
        if one is not None and other is not None:
            assert other.height_loss == pytest.approx(one.height_loss, abs=1e-9)


@given(heights=HEIGHTS, level=LEVELS, rule=RULES, expected=st.none() | EXPECTED, sd=st.none() | st.floats(0.0, 5.0))
def test_grade_shape_and_band_follow_from_the_loss(
    heights: Heights, level: str | None, rule: str, expected: Expectation | None, sd: float | None
) -> None:
    grading = grade_heights(heights, level, rule, expected, sd)

    assert 0.0 <= grading.height_loss <= 1.0
    assert grading.grade == sum(grading.height_loss >= cut_off for cut_off in GRADING.genant_cut_offs)
    assert (grading.shape is None) == (grading.grade == 0)
    assert grading.borderline == is_borderline(grading.height_loss, grading.loss_sd or 0.0)
    # An uncertain measurement widens the band and never narrows it.
    assert grading.borderline or not is_borderline(grading.height_loss)
