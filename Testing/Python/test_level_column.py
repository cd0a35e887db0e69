"""The cells of a column, from which the level network counts, and what is sampled for them."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.vertebrae.level_column import BEYOND, count_steps, lay_column

REGULAR = [(26.0 * number, 26.0 * number + 20.0) for number in range(5)]


def test_neighbors_share_the_border_in_the_middle_of_their_disc() -> None:
    column = lay_column(REGULAR)

    own = column.borders_mm[column.found[0] : column.found[-1] + 2]
    np.testing.assert_allclose(own, [-2.5, 23.0, 49.0, 75.0, 101.0, 126.5])
    assert list(column.found) == [BEYOND + number for number in range(5)]


def test_cells_go_on_beyond_both_ends_with_the_size_of_the_last_one() -> None:
    column = lay_column(REGULAR)

    assert len(column.spacing_mm) == 5 + 2 * BEYOND
    np.testing.assert_allclose(column.spacing_mm[: BEYOND + 1], 25.5)
    np.testing.assert_allclose(column.spacing_mm[-BEYOND - 1 :], 25.5)


def test_a_hole_gets_the_cells_of_the_vertebrae_that_fit_into_it() -> None:
    with_hole = [REGULAR[0], REGULAR[1], REGULAR[4]]

    column = lay_column(with_hole)

    assert count_steps(with_hole) == [1, 3]
    assert list(column.found - BEYOND) == [0, 1, 4]
    assert np.all(column.spacing_mm > 20.0)


def test_the_void_over_a_sunken_endplate_is_no_missing_vertebra() -> None:
    assert count_steps([(31.0, 57.0), (68.0, 80.0), (101.0, 122.0)]) == [1, 1]


def test_a_low_vertebra_that_was_missed_between_two_of_normal_height_is_counted() -> None:
    assert count_steps([(0.0, 24.0), (45.0, 69.0)]) == [2]


def test_a_body_that_the_field_of_view_cuts_gets_a_whole_cell() -> None:
    cut = [(14.0, 20.0), *REGULAR[1:4], (104.0, 109.0)]

    column = lay_column(cut)

    assert column.spacing_mm[column.found[0]] == pytest.approx(0.8 * 26.0)
    assert column.spacing_mm[column.found[-1]] == pytest.approx(0.8 * 26.0)


def test_slices_lie_evenly_in_every_cell() -> None:
    rows = lay_column(REGULAR).rows_mm(6)

    np.testing.assert_allclose(rows[BEYOND + 1], 23.0 + 26.0 * (np.arange(6) + 0.5) / 6)


def test_a_column_without_a_body_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one vertebra"):
        lay_column([])


def a_block_of_bone(low: float, high: float) -> StraightenedVolume:
    """Soft tissue with 8 mm of bone on the patient's right, between two arc lengths."""
    centerline = Centerline(np.column_stack([np.zeros(38), np.zeros(38), 5.0 * np.arange(38)]), np.ones(38))
    hu = np.full((186, 113, 129), 40, dtype=np.int16)
    hu[round(low) : round(high), 40:48, 90:98] = 800
    return StraightenedVolume(
        hu, np.ones(hu.shape, dtype=np.bool_), (-64.0, -48.0, 0.0), (1.0, 1.0, 1.0), lay_frame(centerline)
    )


def test_what_is_sampled_lies_in_its_cell_and_what_is_beyond_the_volume_is_outside() -> None:
    pytest.importorskip("torch")
    from VertebralFractureLib.vertebrae.level_input import (
        ROWS_PER_CELL,
        build_fine_volume,
        list_coarse_indices,
        list_fine_rows,
        normalize_channels,
        sample_column,
    )

    spine = a_block_of_bone(26.0, 46.0)
    column = lay_column(REGULAR)

    picture = normalize_channels(
        sample_column(build_fine_volume(spine), list_fine_rows(column, 0.0), *list_coarse_indices())
    )

    cells = picture.reshape(3, -1, ROWS_PER_CELL, 28, 32)
    brightest = cells[1].amax(dim=(1, 2, 3))
    assert int(brightest.argmax()) == BEYOND + 1
    side = cells[1, BEYOND + 1].amax(dim=(0, 1))
    assert int(side.argmax()) in range(22, 25), "bone at 90 to 97 mm from the volume's left edge in r"
    assert float(cells[2, 0].max()) == 0.0, "two cells below a volume that begins at the lowest body"
    assert float(cells[2, BEYOND + 1].min()) == pytest.approx(1.0)
