"""Heights, losses, grades and the deformity index, on vertebrae whose sizes are written down here."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.thresholds import GRADING
from VertebralFractureLib.vertebrae.expected_heights import Expectation, expect_from_posterior, expect_heights
from VertebralFractureLib.vertebrae.grading import (
    GRADING_RULES,
    classify_shape,
    grade_column,
    grade_from_loss,
    grade_heights,
    is_borderline,
    lose_heights,
    measure_heights,
    spinal_deformity_index,
)
from VertebralFractureLib.vertebrae.norms import LEVEL_NORMS, find_level_norm
from VertebralFractureLib.vertebrae.vertebra import ExpectedHeights, HeightLosses, Heights, Vertebra

LEVELS = tuple(reversed(LEVEL_NORMS))


def a_normal_vertebra(level: str, size: float = 15.0) -> Heights:
    norm, posterior = LEVEL_NORMS[level], size
    for name in reversed(LEVELS):
        posterior *= LEVEL_NORMS[name].posterior_over_above or 1.0
        if name == level:
            break
    return Heights(norm.anterior * posterior, (norm.middle + GRADING.middle_over_floor) * posterior, posterior)


def as_expected(heights: Heights) -> ExpectedHeights:
    return ExpectedHeights(heights.anterior, heights.middle, heights.posterior)


def lose_part(heights: Heights, anterior: float, middle: float, posterior: float) -> Heights:
    return Heights(anterior * heights.anterior, middle * heights.middle, posterior * heights.posterior)


def expected_in_column(heights: list[Heights | None], levels: tuple[str | None, ...], index: int) -> Expectation:
    expected = expect_heights(heights, levels)[index]
    assert expected is not None
    return expected


def losses_in_column(heights: list[Heights | None], levels: tuple[str | None, ...], index: int) -> HeightLosses:
    grading = grade_column(heights, levels)[index]
    assert grading is not None
    return grading.loss


def a_vertebra(level: str | None, grade: int | None) -> Vertebra:
    return Vertebra(
        center_ras=(0.0, 20.0, 10.0),
        extent_mm=(0.0, 20.0),
        complete=True,
        detection_confidence=1.0,
        level=level,
        grade=grade,
    )


def test_the_posterior_wall_of_l5_low_by_nature_is_no_crush_and_predicts_none() -> None:
    levels = ("L5", "L4", "L3", "L2")
    heights = [a_normal_vertebra(level) for level in levels]
    low = Heights(heights[0].anterior, heights[0].middle, 0.7 * heights[0].posterior)

    assert expected_in_column([low, *heights[1:]], levels, 0).heights_mm.posterior is None
    assert expected_in_column([low, *heights[1:]], levels, 1).heights_mm.posterior == pytest.approx(
        heights[1].posterior
    )
    assert grade_column([low, *heights[1:]], levels)[0].shape != "crush"  # type: ignore[union-attr]


def test_a_height_is_the_straight_distance_between_tilted_endplates() -> None:
    upper = np.array([[0.0, 30.0, 24.0], [0.0, 20.0, 20.0], [0.0, 10.0, 18.0]])
    lower = np.array([[0.0, 33.0, 0.0], [0.0, 20.0, 0.0], [0.0, 7.0, -4.0]])

    heights = measure_heights(np.concatenate([upper, lower]))

    assert heights.anterior == pytest.approx(np.hypot(3.0, 24.0))
    assert heights.middle == pytest.approx(20.0)
    assert heights.posterior == pytest.approx(np.hypot(3.0, 22.0))


@pytest.mark.parametrize("size", [12.0, 19.0])
def test_normal_vertebrae_lose_nothing_at_any_level_and_body_size(size: float) -> None:
    heights = [a_normal_vertebra(level, size) for level in LEVELS]

    for grading, level in zip(grade_column(heights, LEVELS), LEVELS, strict=True):
        assert grading is not None
        assert grading.height_loss < 0.01, level


@pytest.mark.parametrize(("loss", "grade"), [(0.19, 0), (0.20, 1), (0.249, 1), (0.25, 2), (0.399, 2), (0.40, 3)])
def test_grades_follow_the_cut_offs_of_genant(loss: float, grade: int) -> None:
    assert grade_from_loss(loss) == grade


@pytest.mark.parametrize(("loss", "expected"), [(0.10, False), (0.18, True), (0.22, True), (0.32, False), (0.41, True)])
def test_a_loss_near_a_cut_off_is_borderline(loss: float, expected: bool) -> None:
    assert is_borderline(loss) is expected


def test_physiological_wedging_of_t7_is_no_fracture_but_the_same_shape_at_t2_is_a_larger_loss() -> None:
    wedged = Heights(0.86 * 20.0, 0.845 * 20.0, 20.0)

    at_t7, at_t2 = (lose_heights(wedged, expect_from_posterior(wedged, level).heights_mm) for level in ("T7", "T2"))

    assert at_t7.anterior < 0.02
    assert at_t2.anterior > 0.11


def test_a_wedge_keeps_its_posterior_height() -> None:
    normal = a_normal_vertebra("L1")
    wedge = Heights(0.7 * normal.anterior, 0.85 * normal.middle, normal.posterior)

    loss = lose_heights(wedge, as_expected(normal))

    assert loss.largest == pytest.approx(0.30, abs=0.01)
    assert classify_shape(loss) == "wedge"


def test_a_biconcave_vertebra_loses_its_middle() -> None:
    normal = a_normal_vertebra("L2")
    cupped = Heights(0.95 * normal.anterior, 0.55 * normal.middle, normal.posterior)

    loss = lose_heights(cupped, as_expected(normal))

    assert grade_from_loss(loss.largest) == 3
    assert classify_shape(loss) == "biconcave"


@pytest.mark.parametrize("named", [True, False])
def test_a_crush_is_seen_by_its_neighbors_although_its_own_ratios_are_normal(named: bool) -> None:
    heights: list[Heights | None] = [a_normal_vertebra(level) for level in LEVELS]
    index = LEVELS.index("T9")
    normal = heights[index]
    assert normal is not None
    crushed = Heights(0.65 * normal.anterior, 0.65 * normal.middle, 0.65 * normal.posterior)
    heights[index] = crushed
    levels = LEVELS if named else tuple(None for _ in LEVELS)

    loss = losses_in_column(heights, levels, index)

    assert loss.posterior == pytest.approx(0.35, abs=0.04)
    assert classify_shape(loss) == "crush"
    assert grade_from_loss(loss.largest) == 2


def test_without_neighbors_the_posterior_wall_is_held_against_nothing_and_the_rest_against_the_wall() -> None:
    lonely = [None, a_normal_vertebra("T9"), None]

    expected = expected_in_column(lonely, ("T10", "T9", "T8"), 1).heights_mm

    assert expected.posterior is None
    assert expected.anterior == pytest.approx(lonely[1].anterior)  # type: ignore[union-attr]


def test_a_wedge_among_round_backed_neighbors_is_held_against_what_they_measure_and_not_against_the_table() -> None:
    # Given: a round back, every body of which is a tenth lower in front than the table says
    heights: list[Heights | None] = [lose_part(a_normal_vertebra(level), 0.9, 1.0, 1.0) for level in LEVELS]
    index = LEVELS.index("T8")
    own = heights[index]
    assert own is not None

    # When: one of them loses another fifth of its front
    heights[index] = lose_part(own, 0.8, 0.9, 1.0)

    # Then: that fifth is its loss, and its neighbors lost nothing
    losses = [grading.height_loss for grading in grade_column(heights, LEVELS) if grading is not None]
    assert losses[index] == pytest.approx(0.2, abs=0.02)
    assert max(loss for at, loss in enumerate(losses) if at != index and LEVELS[at] != "L5") < 0.05


def test_a_posterior_wall_that_was_read_too_low_does_not_hide_a_wedge() -> None:
    heights: list[Heights | None] = [a_normal_vertebra(level) for level in LEVELS]
    index = LEVELS.index("T12")
    heights[index] = lose_part(a_normal_vertebra("T12"), 0.68, 0.82, 0.9)

    assert losses_in_column(heights, LEVELS, index).anterior == pytest.approx(0.32, abs=0.03)


def test_the_uncertainty_of_a_loss_is_larger_where_fewer_vertebrae_tell_what_to_expect() -> None:
    few, many = (LEVELS[LEVELS.index("T10") - wide : LEVELS.index("T10") + wide + 1] for wide in (1, 4))

    alone, among = (
        expected_in_column([a_normal_vertebra(level) for level in levels], levels, levels.index("T10"))
        for levels in (few, many)
    )

    assert alone.sd > among.sd
    assert among.sd[2] == pytest.approx(0.055, abs=0.015)


def test_a_level_that_is_not_known_is_counted_from_the_next_that_is() -> None:
    levels = ("L1", "T12", None, "T10", "T9")
    heights: list[Heights | None] = [a_normal_vertebra(level) for level in ("L1", "T12", "T11", "T10", "T9")]

    assert losses_in_column(heights, levels, 2).largest < 0.01


def test_a_vertebra_without_a_name_is_judged_by_the_mean_norm() -> None:
    assert find_level_norm(None).measured is False
    assert find_level_norm("T13") == LEVEL_NORMS["T12"]


def test_a_raw_ratio_calls_the_normal_t7_of_a_small_woman_a_wedge_and_the_norms_do_not() -> None:
    mild = Heights(0.79 * 20.0, 0.86 * 20.0, 20.0)

    grades = {rule: grade_heights(mild, "T7", rule) for rule in GRADING_RULES}

    assert {rule: grading.grade for rule, grading in grades.items()} == {
        "level_norms": 0,
        "min_over_max": 1,
        "over_posterior": 1,
    }
    assert grades["min_over_max"].shape == "wedge"
    assert grades["level_norms"].shape is None


def test_the_simple_rules_are_what_their_formulas_say() -> None:
    heights = Heights(22.0, 15.0, 20.0)

    assert grade_heights(heights, "L1", "min_over_max").height_loss == pytest.approx(1.0 - 15.0 / 22.0)
    assert grade_heights(heights, "L1", "over_posterior").height_loss == pytest.approx(1.0 - 15.0 / 20.0)


def test_a_lost_posterior_wall_is_a_crush_to_min_over_max_and_invisible_to_over_posterior() -> None:
    heights = Heights(22.0, 21.0, 15.0)

    assert grade_heights(heights, None, "min_over_max").shape == "crush"
    assert grade_heights(heights, None, "over_posterior").grade == 0


def test_a_column_is_graded_with_its_neighbors_and_skips_what_was_not_measured() -> None:
    heights: list[Heights | None] = [a_normal_vertebra(level) for level in LEVELS]
    index = LEVELS.index("T9")
    normal = a_normal_vertebra("T9")
    heights[index] = Heights(0.65 * normal.anterior, 0.65 * normal.middle, 0.65 * normal.posterior)
    heights[2] = None

    by_norms, raw = (grade_column(heights, LEVELS, rule) for rule in ("level_norms", "min_over_max"))

    assert by_norms[2] is None
    assert raw[2] is None
    crushed, blind = by_norms[index], raw[index]
    assert crushed is not None
    assert (crushed.grade, crushed.shape) == (2, "crush")
    assert blind is not None
    assert blind.height_loss < 0.25


@pytest.mark.parametrize("crushed_levels", [("T10", "T12"), ("T10", "T11", "T12")])
def test_crushed_neighbors_do_not_hide_each_other(crushed_levels: tuple[str, ...]) -> None:
    levels = LEVELS[LEVELS.index("L1") : LEVELS.index("T9") + 1]
    heights = [a_normal_vertebra(level) for level in levels]
    for level in crushed_levels:
        normal = heights[levels.index(level)]
        heights[levels.index(level)] = Heights(*(0.72 * h for h in (normal.anterior, normal.middle, normal.posterior)))

    gradings = dict(zip(levels, grade_column(heights, levels), strict=True))

    for level, grading in gradings.items():
        assert grading is not None
        assert grading.grade == (2 if level in crushed_levels else 0), level
        assert grading.height_loss == pytest.approx(0.28 if level in crushed_levels else 0.0, abs=0.02)


def test_an_unknown_rule_and_an_impossible_height_are_refused() -> None:
    with pytest.raises(ValueError, match="no grading rule 'genant'"):
        grade_heights(Heights(20.0, 20.0, 20.0), "L1", "genant")
    with pytest.raises(ValueError, match="must be positive"):
        grade_heights(Heights(0.0, 20.0, 20.0), "L1")


def test_the_deformity_index_sums_t4_to_l4_and_is_unknown_when_nothing_is_graded() -> None:
    vertebrae = [a_vertebra("L5", 3), a_vertebra("L1", 2), a_vertebra("T8", 1), a_vertebra("T3", 3)]

    assert spinal_deformity_index(vertebrae) == 3
    assert spinal_deformity_index([a_vertebra("L1", None), a_vertebra(None, 2)]) is None
