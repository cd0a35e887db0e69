"""How sure a name may be: less where the column shows nothing to count from."""

from __future__ import annotations

import pytest

from VertebralFractureLib.thresholds import LABELING
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel
from VertebralFractureLib.vertebrae.level_landmark import has_landmark, limit_without_landmark

MID_THORAX = ("T9", "T8", "T7")
THORACOLUMBAR = ("L1", "T12", "T11")
UPPER_THORAX = ("T2", "T1", "C7")
EXTENTS_MM = ((20.0, 40.0), (45.0, 65.0), (70.0, 90.0))
WHOLE_MM = (0.0, 110.0)


@pytest.mark.parametrize("levels", [THORACOLUMBAR, UPPER_THORAX, ("L5", "L4", "L3")])
def test_the_ends_of_the_ribs_and_the_sacrum_are_anchors_where_enough_is_seen_beyond_them(levels):
    assert has_landmark(levels, EXTENTS_MM, WHOLE_MM)


@pytest.mark.parametrize(
    ("levels", "seen_mm"), [(MID_THORAX, WHOLE_MM), (UPPER_THORAX, (0.0, 75.0)), (THORACOLUMBAR, (35.0, 110.0))]
)
def test_there_is_no_anchor_in_mid_thorax_or_at_the_very_end_of_the_field_of_view(levels, seen_mm):
    assert not has_landmark(levels, EXTENTS_MM, seen_mm)


def test_names_without_an_anchor_claim_no_more_than_such_names_are_worth():
    names = [LevelLabel(level, probability) for level, probability in zip(MID_THORAX, (0.99, 0.7, 0.5), strict=True)]

    capped = limit_without_landmark(names, EXTENTS_MM, WHOLE_MM)

    assert [name.level for name in capped] == list(MID_THORAX)
    assert [name.probability for name in capped] == [LABELING.ceiling_without_landmark, 0.7, 0.5]


def test_names_beside_an_anchor_keep_their_probability():
    names = [LevelLabel(level, 0.99) for level in THORACOLUMBAR]

    assert limit_without_landmark(names, EXTENTS_MM, WHOLE_MM) == names
