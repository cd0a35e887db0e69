"""The same spine as another scanner shows it: what changes, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from test_vertebrae_training import a_block_spine

from VertebralFractureLib.research.simulation.changed_acquisition import (
    CHANGES,
    change_hu,
    narrow_view,
    thicken_slices,
)


def test_thick_slices_blur_along_the_spine_and_keep_the_mean() -> None:
    spine = a_block_spine().volume

    thick = thicken_slices(spine, 5.0, 2.0)

    assert thick.hu.shape == spine.hu.shape
    middle = slice(10, -10)
    assert thick.hu[middle].mean() == pytest.approx(np.asarray(spine.hu, dtype=float)[middle].mean(), abs=8.0)
    steepest = np.abs(np.diff(np.asarray(spine.hu, dtype=float), axis=0)).max()
    assert np.abs(np.diff(thick.hu, axis=0)).max() < 0.3 * steepest


def test_slices_as_thin_as_the_grid_change_nothing() -> None:
    spine = a_block_spine().volume

    np.testing.assert_allclose(thicken_slices(spine, 1.0).hu, spine.hu, atol=1e-3)


def test_other_hu_leave_air_at_the_lowest_and_are_linear_between() -> None:
    spine = a_block_spine().volume

    changed = change_hu(spine, scale=1.25, offset=50.0)

    hu = np.asarray(spine.hu, dtype=float)
    within = (hu * 1.25 + 50.0 > -1024.0) & (hu * 1.25 + 50.0 < 3071.0)
    np.testing.assert_allclose(changed.hu[within], hu[within] * 1.25 + 50.0, atol=1e-2)
    assert changed.hu.min() >= -1024.0


def test_a_narrow_view_ends_at_the_sides_and_in_front() -> None:
    spine = a_block_spine().volume

    narrow = narrow_view(spine, lateral_mm=40.0, front_mm=60.0)

    r, a = spine.axis_mm("r"), spine.axis_mm("a")
    assert not narrow.inside[:, :, np.abs(r) > 40.0].any()
    assert not narrow.inside[:, a > 60.0].any()
    kept = np.ix_(np.ones(len(spine.hu), dtype=bool), a <= 60.0, np.abs(r) <= 40.0)
    np.testing.assert_array_equal(narrow.inside[kept], spine.inside[kept])
    np.testing.assert_array_equal(narrow.hu[kept], spine.hu[kept])


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "as it is"])
def test_every_change_changes_the_picture_and_is_the_same_every_time(change: str) -> None:
    spine = a_block_spine().volume

    first, again = CHANGES[change](spine, 3), CHANGES[change](spine, 3)

    np.testing.assert_array_equal(first.hu, again.hu)
    assert not np.array_equal(first.hu, spine.hu)
    assert first.hu.shape == spine.hu.shape
