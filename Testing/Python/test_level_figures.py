"""How levels and their probabilities are judged: landmarks, misleading labels, reliability, the weight of evidence."""

from __future__ import annotations

import numpy as np
import pytest
from test_vertebrae_training import FIRST, HEIGHT, LEVELS, PITCH, a_block_spine

from VertebralFractureLib.research.evaluation.evaluate_levels import (
    LabeledBody,
    Opinion,
    best_weights,
    count_by_landmarks,
    figures_of,
    label_bodies,
    shows_landmark,
    stretches,
)
from VertebralFractureLib.vertebrae.level_assignment import LevelOpinion
from VertebralFractureLib.vertebrae.level_column import BEYOND
from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES, REGIONS


def a_body(true: str, likeliest: str, probability: float, stretch: int = 0, landmarks: int = 1) -> LabeledBody:
    return LabeledBody("scan", "as it is", stretch, True, landmarks, true, likeliest, probability)


def an_opinion(shift: int, share: float, stretch: int) -> Opinion:
    """Four vertebrae, each judged to be ``shift`` levels further up than it is, with ``share`` of the probability."""
    true = ("T9", "T8", "T7", "T6")
    p = np.full((4, len(LEVEL_CLASSES)), (1.0 - share) / (len(LEVEL_CLASSES) - 1))
    for i, level in enumerate(true):
        p[i, LEVEL_CLASSES.index(level) - shift] = share
    regions = np.full((4 + 2 * BEYOND, len(REGIONS)), -np.log(len(REGIONS)))
    column = LevelOpinion(np.log(p), regions, np.ones(len(regions)), np.arange(4) + BEYOND)
    return Opinion("scan", 0, "as it is", stretch, column, (1, 1, 1), true, False)


def test_stretches_are_parts_of_the_scan_and_the_same_every_time() -> None:
    case = a_block_spine()

    first, again = stretches(case, 5), stretches(case, 5)

    assert first[0] is case
    for part, other in zip(first[1:], again[1:], strict=True):
        offset = round(part.volume.origin_mm[2] - case.volume.origin_mm[2])
        np.testing.assert_array_equal(part.volume.hu, case.volume.hu[offset : offset + part.volume.hu.shape[0]])
        assert part.volume.hu.shape == other.volume.hu.shape
        assert part.volume.hu.shape[0] < case.volume.hu.shape[0]


def test_the_last_rib_is_a_landmark_only_with_the_vertebra_below_it() -> None:
    case = a_block_spine()
    low = FIRST + PITCH * LEVELS.index("T12")

    def seen_from(s_mm: float) -> bool:
        volume = case.volume
        first = round(s_mm - volume.origin_mm[2])
        part = volume.__class__(
            volume.hu[first:], volume.inside[first:], (-64.0, -48.0, s_mm), volume.spacing_mm, volume.frame
        )
        return shows_landmark(case.__class__(**{**case.__dict__, "volume": part}))

    assert seen_from(low - HEIGHT)
    assert not seen_from(low + 2.0)
    assert not seen_from(low - 5.0)


def test_a_wrong_name_misleads_only_when_it_is_told_with_confidence() -> None:
    bodies = [
        a_body("L1", "L1", 0.99, 0),
        a_body("T12", "L1", 0.95, 1),
        a_body("T11", "T12", 0.7, 2),
        a_body("T10", "T11", 0.4, 3),
    ]

    figures = figures_of(bodies)

    assert (figures.reported, figures.right) == (3, 1)
    assert (figures.stretches_right, figures.stretches_wrong, figures.stretches_unlabeled) == (1, 2, 1)
    assert figures.stretches_misled == 1
    assert (figures.confident, figures.confident_wrong) == (2, 1)
    assert figures.misled_interval[0] < 0.25 < figures.misled_interval[1]


def test_reliability_sets_what_was_said_beside_what_was_right() -> None:
    bodies = [a_body("L1", "L1", 0.94), a_body("T12", "T12", 0.92), a_body("T11", "T12", 0.9)]

    known = figures_of(bodies).reliability

    assert len(known) == 1
    assert (known[0].low, known[0].high, known[0].count) == (0.9, 0.95, 3)
    assert known[0].mean_probability == pytest.approx(0.92)
    assert known[0].fraction_true == pytest.approx(2 / 3)


def test_stretches_of_one_scan_are_one_patient() -> None:
    bodies = [
        LabeledBody(f"scan{number}", "as it is", stretch, True, 1, "L1", "L1", 0.95)
        for number in range(5)
        for stretch in range(9)
    ]

    figures = figures_of(bodies)

    assert (figures.stretches, figures.patients) == (45, 5)
    assert figures.misled_interval == pytest.approx((0.0, 0.434), abs=0.001), "0 of 5, and not 0 of 45"


def test_evidence_that_is_always_right_weighs_more_than_evidence_that_often_errs() -> None:
    reliable = [an_opinion(0, 0.5, number) for number in range(10)]
    unreliable = [an_opinion(number % 2, 0.5, number) for number in range(10)]

    assert best_weights(reliable)[0] > best_weights(unreliable)[0]
    assert all(body.right for body in label_bodies(reliable))


def test_columns_are_counted_by_the_landmarks_that_were_seen_and_right_only_as_a_whole() -> None:
    bodies = [
        a_body("L1", "L1", 0.9, stretch=0, landmarks=2),
        a_body("T12", "L1", 0.9, stretch=0, landmarks=2),
        a_body("L1", "L1", 0.4, stretch=1, landmarks=2),
        a_body("L1", "L2", 0.4, stretch=2, landmarks=0),
    ]

    assert count_by_landmarks(bodies) == {0: (1, 0), 2: (2, 1)}
