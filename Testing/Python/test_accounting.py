"""Is every vertebra of a column accounted for: holes, two bodies taken for one, a body found in part only."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.vertebrae.accounting import account_for_bodies
from VertebralFractureLib.vertebrae.level_assignment import STATES, decode_levels
from VertebralFractureLib.vertebrae.level_column import count_steps, weigh_steps
from VertebralFractureLib.vertebrae.sequence_search import Profiles, search_spans

Extent = tuple[float, float]


def a_column(count: int = 12, height: float = 20.0, disc: float = 5.0, growth: float = 0.97) -> list[Extent]:
    """Bodies caudal to cranial, each a little lower than the one below, as in a spine."""
    extents, s = [], 0.0
    for _ in range(count):
        extents.append((s, s + height))
        s += height + disc
        height *= growth
    return extents


def account(extents: list[Extent], greatest: dict[int, float] | None = None):
    return account_for_bodies(extents, [True] * len(extents), [(greatest or {}).get(i) for i in range(len(extents))])


@pytest.mark.parametrize("height", [9.0, 14.0, 24.0, 30.0])
@pytest.mark.parametrize("disc", [2.0, 5.0, 9.0])
def test_a_regular_column_of_any_size_adds_up(height: float, disc: float) -> None:
    assert account(a_column(height=height, disc=disc)).trouble == 0


@pytest.mark.parametrize("lost", [1, 4, 7, 10])
def test_a_hole_is_seen_on_both_sides_and_only_there(lost: int) -> None:
    column = a_column()
    del column[lost]

    found = account(column)

    assert list(np.flatnonzero(found.beside_hole)) == [lost - 1, lost]
    assert found.trouble == 1


@pytest.mark.parametrize("lost", [2, 5, 8])
def test_two_lost_bodies_in_a_row_are_a_hole_of_three_levels_that_is_not_certain(lost: int) -> None:
    column = a_column()
    del column[lost : lost + 2]

    assert count_steps(column) == [3 if i == lost - 1 else 1 for i in range(9)]
    assert 0.5 < np.exp(weigh_steps(column)[lost - 1, 2]) < 0.99


@pytest.mark.parametrize("first", [1, 4, 8])
def test_two_bodies_taken_for_one_are_too_tall_and_the_count_over_them_is_not_certain(first: int) -> None:
    column = a_column()
    column[first : first + 2] = [(column[first][0], column[first + 1][1])]

    found = account(column)

    assert list(np.flatnonzero(found.too_tall)) == [first]
    certain = np.exp(weigh_steps(column)[:, 0])
    assert max(certain[first - 1], certain[first]) < 0.9


@pytest.mark.parametrize("first", [2, 5, 8])
def test_two_bodies_found_in_part_leave_no_level_out(first: int) -> None:
    """The column is unbroken: middles stand where they should, only the outlines are short."""
    column = a_column()
    for i in (first, first + 1):
        low, high = column[i]
        column[i] = (low + 5.0, high - 5.0)

    found = account(column)

    assert count_steps(column) == [1] * 11
    assert list(np.flatnonzero(found.too_low)) == [first, first + 1]


def test_a_collapsed_body_is_low_and_its_neighbors_follow_so_that_nothing_is_doubted() -> None:
    column = a_column()
    lost = 0.6 * (column[5][1] - column[5][0])
    column[5] = (column[5][0], column[5][1] - lost)
    column[6:] = [(low - lost, high - lost) for low, high in column[6:]]

    assert account(column).trouble == 0


def test_a_biconcave_body_is_low_in_the_middle_only_and_is_not_doubted() -> None:
    column = a_column()
    low, high = column[5]
    column[5] = (low + 5.0, high - 4.5)

    assert account(column, {5: high - low}).trouble == 0


def test_an_end_that_the_field_of_view_cuts_is_no_trouble() -> None:
    column = a_column()
    column[0] = (column[0][1] - 6.0, column[0][1])
    column[-1] = (column[-1][0], column[-1][0] + 4.0)

    found = account_for_bodies(column, [False] + [True] * 10 + [False], [None] * 12)

    assert found.trouble == 0


def test_names_beyond_a_gap_of_one_and_a_half_vertebrae_are_not_certain() -> None:
    """Given a column whose lower half is named beyond doubt and whose upper half shows nothing of its level.

    When half a vertebra too much lies between the halves, then the names above claim no more than they can.
    """
    column = a_column(8)
    column[4:] = [(low + 13.0, high + 13.0) for low, high in column[4:]]
    seen = np.zeros((8, len(STATES)))
    for i, level in enumerate(("L4", "L3", "L2", "L1")):
        seen[i, STATES.index(level)] = 60.0

    labels = decode_levels(seen, weigh_steps(column))

    assert [label.level for label in labels[:4]] == ["L4", "L3", "L2", "L1"]
    assert min(label.probability for label in labels[:4]) > 0.95
    assert max(label.probability for label in labels[4:]) < 0.9


def test_a_faint_body_in_an_unbroken_column_is_found_when_it_is_looked_for() -> None:
    """Given maps on which the third of five bodies is as faint as noise.

    When the column is searched as it is, the body is lost; when it must be unbroken, it is found where it is.
    """
    s = np.arange(0.0, 140.0)
    body, upper, lower = (np.full(140, 0.02) for _ in range(3))
    for number in range(5):
        low, high = 8 + 26 * number, 28 + 26 * number
        faint = number == 2
        body[low : high + 1] = 0.25 if faint else 0.95
        lower[low], upper[high] = (0.2, 0.2) if faint else (0.9, 0.9)
    profiles = Profiles(s, body, upper, lower, np.ones(140, dtype=np.bool_))

    as_it_is, unbroken = search_spans(profiles), search_spans(profiles, unbroken=True)

    assert len(as_it_is) == 4
    assert [round(span.middle_mm) for span in unbroken] == [18, 44, 70, 96, 122]
    assert unbroken[2].confidence < 0.35
