"""Naming a column of vertebrae from what a network thinks of each one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.thresholds import moved_threshold
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.level_assignment import (
    LevelLabel,
    LevelOpinion,
    Steps,
    drop_uncertain_levels,
    find_likeliest_levels,
)
from VertebralFractureLib.vertebrae.level_column import BEYOND
from VertebralFractureLib.vertebrae.level_input import LEVEL_CLASSES, REGIONS

UNIFORM = np.full(len(LEVEL_CLASSES), -np.log(len(LEVEL_CLASSES)))


def an_opinion(log_probability: FloatArray, regions: Sequence[Mapping[str, float]] = ()) -> LevelOpinion:
    """What the network says of each body; of the regions nothing, or the probabilities of every cell of the column."""
    found = np.arange(len(log_probability)) + BEYOND
    cells = len(log_probability) + 2 * BEYOND
    share = np.full((cells, len(REGIONS)), 1.0 / len(REGIONS))
    for cell, known in enumerate(regions):
        rest = (1.0 - sum(known.values())) / max(len(REGIONS) - len(known), 1)
        share[cell] = [known.get(region, rest) for region in REGIONS]
    return LevelOpinion(log_probability, np.log(share), np.ones(cells), found)


def name_levels(log_probability: FloatArray, steps: Steps) -> list[LevelLabel]:
    """As the program names a column in which an anchor is seen."""
    return drop_uncertain_levels(find_likeliest_levels(an_opinion(log_probability), steps))


def thinks(level: str, share: float) -> FloatArray:
    """Log-probabilities with ``share`` on one level and the rest spread evenly."""
    p = np.full(len(LEVEL_CLASSES), (1.0 - share) / (len(LEVEL_CLASSES) - 1))
    p[LEVEL_CLASSES.index(level)] = share
    return np.log(p)


def test_one_clear_anchor_names_the_whole_column() -> None:
    evidence = np.stack([UNIFORM, UNIFORM, thinks("T12", 1.0 - 1e-9), UNIFORM])

    names = name_levels(evidence, [1, 1, 1])

    assert [name.level for name in names] == ["L2", "L1", "T12", "T11"]
    assert all(name.probability > 0.7 for name in names)


def test_without_an_anchor_nothing_is_named() -> None:
    names = name_levels(np.stack([UNIFORM] * 4), [1, 1, 1])

    assert all(name.level is None and name.probability < 0.6 for name in names)


def test_a_wrong_opinion_of_one_vertebra_is_outvoted_by_its_neighbors() -> None:
    evidence = np.stack([thinks(level, 0.8) for level in ("L4", "L3", "L1", "L1", "T12", "T11")])

    names = name_levels(evidence, [1] * 5)

    assert [name.level for name in names] == ["L4", "L3", "L2", "L1", "T12", "T11"]


def test_a_hole_in_the_column_takes_its_levels_with_it() -> None:
    evidence = np.stack([thinks("L3", 0.9), thinks("L2", 0.9), thinks("T11", 0.9), thinks("T10", 0.9)])

    names = name_levels(evidence, [1, 3, 1])

    assert [name.level for name in names] == ["L3", "L2", "T11", "T10"]


def test_a_gap_that_may_hold_one_vertebra_or_none_is_settled_by_the_landmarks_on_both_sides() -> None:
    sure = 1.0 - 1e-9
    below, above = ("L3", "L2", "L1"), ("T11", "T10", "T9")
    evidence = np.stack([thinks(level, sure) for level in (*below, *above)])
    certain, doubtful = np.log([1.0 - 2e-6, 1e-6, 1e-6]), np.log([0.6, 0.35, 0.05])

    names = name_levels(evidence, np.stack([certain, certain, doubtful, certain, certain]))

    assert [name.level for name in names] == [*below, *above]


def test_a_gap_that_may_hold_one_vertebra_or_none_leaves_the_names_beyond_it_in_doubt() -> None:
    sure = 1.0 - 1e-9
    evidence = np.stack([thinks("L3", sure), thinks("L2", sure), UNIFORM, UNIFORM])
    certain, doubtful = np.log([1.0 - 2e-6, 1e-6, 1e-6]), np.log([0.6, 0.4, 1e-6])

    names = find_likeliest_levels(an_opinion(evidence), np.stack([certain, doubtful, certain]))

    assert [name.level for name in names] == ["L3", "L2", "L1", "T12"]
    assert all(name.probability > 0.7 for name in names[:2])
    assert all(0.4 < name.probability < 0.65 for name in names[2:])


def test_six_lumbar_vertebrae_over_a_clear_sacrum_and_under_a_clear_rib_give_a_supernumerary_one() -> None:
    sure = 0.9999999
    opinions = [
        ("S1", sure),
        ("L5", 0.9),
        ("L5", 0.9),
        *((name, sure) for name in ("L4", "L3", "L2", "L1", "T12", "T11")),
    ]
    evidence = np.stack([thinks(level, share) for level, share in opinions])

    names = name_levels(evidence, [1] * 8)

    assert [name.level for name in names] == ["S1", "L6", "L5", "L4", "L3", "L2", "L1", "T12", "T11"]


def test_a_sixth_free_body_below_clear_ribs_is_l6_as_a_lumbarized_s1_is() -> None:
    sure = 1.0 - 1e-12
    known = [thinks(level, sure) for level in ("L1", "T12", "T11", "T10")]
    evidence = np.stack([thinks("L5", sure), *[UNIFORM] * 4, *known])

    names = name_levels(evidence, [1] * 8)

    assert [name.level for name in names] == ["L6", "L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10"]


def test_four_free_lumbar_vertebrae_over_a_sacrum_leave_l5_to_the_sacrum() -> None:
    sure = 0.9999999
    opinions = [("S1", sure), ("L5", 0.9), *((name, sure) for name in ("L3", "L2", "L1", "T12", "T11", "T10"))]

    names = name_levels(np.stack([thinks(level, share) for level, share in opinions]), [1] * 7)

    assert [name.level for name in names] == ["L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10"]


def test_thirteen_ribs_between_clear_anchors_give_a_t13() -> None:
    sure = 0.9999999
    opinions = [("S1", sure), *((f"L{n}", sure) for n in range(5, 0, -1)), ("T12", 0.9), ("T12", 0.9)]
    opinions += [(f"T{n}", sure) for n in range(11, 0, -1)]

    names = name_levels(np.stack([thinks(level, share) for level, share in opinions]), [1] * 18)

    assert [name.level for name in names][5:9] == ["L1", "T13", "T12", "T11"]
    assert names[-1].level == "T1"


def test_eleven_ribs_between_clear_anchors_leave_t12_out() -> None:
    sure = 0.9999999
    opinions = [("L3", sure), ("L2", sure), ("L1", sure), *((f"T{n}", sure) for n in range(11, 0, -1))]

    names = name_levels(np.stack([thinks(level, share) for level, share in opinions]), [1] * 13)

    assert [name.level for name in names][1:4] == ["L2", "L1", "T11"]


@pytest.mark.parametrize("odd", ["T13", "L6"])
def test_a_variant_is_not_told_where_the_evidence_does_not_ask_for_it(odd: str) -> None:
    levels = ["L5", "L4", "L3", "L2", "L1", *(f"T{n}" for n in range(12, 5, -1))]

    names = name_levels(np.stack([thinks(level, 0.6) for level in levels]), [1] * 11)

    assert [name.level for name in names] == levels
    assert odd not in {name.level for name in names}


def test_two_opinions_that_are_one_level_apart_are_not_told_with_high_probability() -> None:
    evidence = np.stack([thinks("L1", 0.9), thinks("T12", 0.9), thinks("T12", 0.9), thinks("T11", 0.9)])

    names = name_levels(evidence, [1, 1, 1])

    assert all(name.level is None or name.probability < 0.75 for name in names)


def test_an_empty_column_has_no_names() -> None:
    assert name_levels(np.zeros((0, len(LEVEL_CLASSES))), []) == []


def test_steps_that_do_not_belong_to_the_column_are_refused() -> None:
    with pytest.raises(ValueError, match="3 vertebrae have 2 steps"):
        name_levels(np.stack([UNIFORM] * 3), [1])


RIBS, LUMBAR, SACRUM = {"ribs": 0.97}, {"lumbar": 0.97}, {"sacrum": 0.97}


def test_where_ribs_end_is_enough_to_label_a_column() -> None:
    regions = [LUMBAR] * 5 + [RIBS] * 5

    names = find_likeliest_levels(an_opinion(np.stack([UNIFORM] * 6), regions), [1] * 5)

    assert [name.level for name in names] == ["L3", "L2", "L1", "T12", "T11", "T10"]
    assert all(name.probability > 0.5 for name in names)


def test_a_sacrum_beyond_the_lowest_body_labels_it_although_it_was_not_found() -> None:
    unknown: Mapping[str, float] = {}
    below, none_below = [SACRUM, SACRUM], [unknown, unknown]

    with_sacrum = find_likeliest_levels(an_opinion(np.stack([UNIFORM] * 3), [*below, *[LUMBAR] * 3]), [1, 1])
    without = find_likeliest_levels(an_opinion(np.stack([UNIFORM] * 3), [*none_below, *[LUMBAR] * 3]), [1, 1])

    assert [name.level for name in with_sacrum] == ["L5", "L4", "L3"]
    assert with_sacrum[0].probability > without[0].probability + 0.1


def test_what_lies_beyond_the_field_of_view_counts_nothing() -> None:
    opinion = an_opinion(np.stack([UNIFORM] * 3), [SACRUM, SACRUM, LUMBAR, LUMBAR, LUMBAR])
    unseen = replace(opinion, seen=np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    nothing = an_opinion(np.stack([UNIFORM] * 3), [{}, {}, LUMBAR, LUMBAR, LUMBAR])

    first, second = find_likeliest_levels(unseen, [1, 1]), find_likeliest_levels(nothing, [1, 1])

    assert [name.level for name in first] == [name.level for name in second]
    assert [name.probability for name in first] == pytest.approx([name.probability for name in second])


def test_thirteen_vertebrae_that_bear_ribs_over_a_sacrum_give_a_t13() -> None:
    count = 5 + 13
    sure = 1.0 - 1e-9
    opinions = [UNIFORM] * count
    opinions[-1] = thinks("T1", sure)
    regions = [{"sacrum": 0.999}] * 2 + [{"lumbar": 0.999}] * 5 + [{"ribs": 0.999}] * 13 + [{"neck": 0.999}] * 2

    with moved_threshold("LABELING.region_floor", 1e-4):
        names = find_likeliest_levels(an_opinion(np.stack(opinions), regions), [1] * (count - 1))

    assert [name.level for name in names][4:8] == ["L1", "T13", "T12", "T11"]
