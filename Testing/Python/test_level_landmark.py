"""How sure a name may be: what a column can be counted from, and what is left of a probability without it."""

from __future__ import annotations

import numpy as np
import pytest
from test_levels import LUMBAR, RIBS, SACRUM, UNIFORM, an_opinion, thinks

from VertebralFractureLib.thresholds import LABELING
from VertebralFractureLib.vertebrae.labeling import label_column
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel
from VertebralFractureLib.vertebrae.level_landmark import Landmark, find_landmarks, keep_doubt_of_scan

NECK = {"neck": 0.97}
UNCLEAR: dict[str, float] = {}


def labels(*levels: str, probability: float = 0.99) -> list[LevelLabel]:
    return [LevelLabel(level, probability) for level in levels]


@pytest.mark.parametrize(
    ("levels", "regions", "landmark"),
    [
        (("L1", "T12"), [LUMBAR] * 3 + [RIBS] * 3, Landmark.LAST_RIB),
        (("T1", "C7"), [RIBS] * 3 + [NECK] * 3, Landmark.FIRST_RIB),
        (("S1", "L5"), [SACRUM] * 3 + [LUMBAR] * 3, Landmark.SACRUM),
        (("L5", "L4"), [SACRUM] * 2 + [LUMBAR] * 4, Landmark.SACRUM),
        (("T2", "T1"), [RIBS] * 4 + [NECK] * 2, Landmark.FIRST_RIB),
    ],
)
def test_a_border_between_regions_is_a_landmark_also_beyond_the_outermost_body(levels, regions, landmark) -> None:
    opinion = an_opinion(np.stack([UNIFORM] * 2), regions)

    assert find_landmarks(opinion, labels(*levels)) == {landmark}


def test_a_border_that_only_one_side_shows_is_no_landmark() -> None:
    opinion = an_opinion(np.stack([UNIFORM] * 2), [LUMBAR] * 3 + [UNCLEAR] * 3)

    assert find_landmarks(opinion, labels("L1", "T12")) == frozenset()


def test_a_border_beyond_the_field_of_view_is_no_landmark() -> None:
    opinion = an_opinion(np.stack([UNIFORM] * 2), [SACRUM] * 2 + [LUMBAR] * 4)
    opinion.seen[:2] = 0.0

    assert find_landmarks(opinion, labels("L5", "L4")) == frozenset()


def test_the_axis_is_a_landmark_where_it_is_recognized_by_itself() -> None:
    known = np.stack([UNIFORM, thinks("C2", 0.9)])

    assert find_landmarks(an_opinion(known, [NECK] * 6), labels("C3", "C2")) == {Landmark.AXIS}
    assert find_landmarks(an_opinion(np.stack([UNIFORM] * 2), [NECK] * 6), labels("C3", "C2")) == frozenset()


def test_names_keep_the_doubt_that_belongs_to_the_scan() -> None:
    opinion = an_opinion(np.stack([UNIFORM] * 3))
    names = labels("L3", "L2", "L1", probability=1.0)

    def kept(*landmarks: Landmark) -> float:
        return keep_doubt_of_scan(opinion, names, frozenset(landmarks))[0].probability

    assert kept() == LABELING.trust_none
    assert kept(Landmark.LAST_RIB) == LABELING.trust_one_landmark
    assert kept(Landmark.LAST_RIB, Landmark.SACRUM) == LABELING.trust_two_landmarks
    assert kept() < kept(Landmark.LAST_RIB) < 0.95 < kept(Landmark.LAST_RIB, Landmark.SACRUM)


def test_two_landmarks_with_a_variant_between_them_do_not_confirm_each_other() -> None:
    opinion = an_opinion(np.stack([UNIFORM] * 3))
    both = frozenset({Landmark.FIRST_RIB, Landmark.LAST_RIB})

    kept = keep_doubt_of_scan(opinion, labels("L1", "T13", "T12", probability=1.0), both)

    assert kept[0].probability == LABELING.trust_one_landmark


def test_two_landmarks_with_an_unrecognized_border_between_them_do_not_confirm_each_other() -> None:
    opinion = an_opinion(np.stack([UNIFORM] * 3))
    ends = frozenset({Landmark.FIRST_RIB, Landmark.SACRUM})

    kept = keep_doubt_of_scan(opinion, labels("L1", "T12", "T11", probability=1.0), ends)

    assert kept[0].probability == LABELING.trust_one_landmark


def test_a_hole_that_the_names_count_leaves_two_landmarks_in_agreement() -> None:
    opinion = an_opinion(np.stack([UNIFORM] * 3))
    opinion.found[-1] += 1
    both = frozenset({Landmark.FIRST_RIB, Landmark.LAST_RIB})

    kept = keep_doubt_of_scan(opinion, labels("T9", "T8", "T6", probability=1.0), both)

    assert kept[0].probability == LABELING.trust_two_landmarks


def test_a_column_without_any_landmark_is_said_to_be_counted_only() -> None:
    middle = np.stack([thinks(level, 0.999) for level in ("T9", "T8", "T7")])

    column = label_column(an_opinion(middle, [RIBS] * 7), [1, 1])

    assert column.is_counted_only
    assert [label.level for label in column.labels] == ["T9", "T8", "T7"]
    assert all(label.probability <= LABELING.trust_none for label in column.labels)
    assert not label_column(an_opinion(middle[:0]), []).labels
