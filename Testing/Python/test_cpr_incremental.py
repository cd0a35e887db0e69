"""The straightened volume follows a dragged point: only what changed is sampled, and it equals a full run."""

import numpy as np
import pytest
from cpr_samples import SMALL_GRID, a_line, a_noisy_ct, a_realistic_centerline

from VertebralFractureLib.cpr import (
    CUBIC,
    STRAIGHTENED,
    VIRTUAL_SAGITTAL,
    IncrementalReformatter,
    ReformatGrid,
    straighten,
)
from VertebralFractureLib.cpr.grid import ReformatBox
from VertebralFractureLib.cpr.sampler import ReformatSampler
from VertebralFractureLib.cpr.straighten import straighten_along
from VertebralFractureLib.errors import CenterlineTooSharp, NoSpineFound

FLOAT_TOLERANCE_HU = 0.2
"""Float32 voxel coordinates, on noise of -1000 to 1000 HU."""


def a_drag(line, index=40, by=(3.0, -4.0, 0.5)):
    points = line.points_ras.copy()
    points[index] += by
    return a_line(points)


def assert_same(spine, other):
    assert np.array_equal(spine.inside, other.inside)
    assert np.abs(spine.hu - other.hu).max() < FLOAT_TOLERANCE_HU


def a_full_run(ct, spine, grid=SMALL_GRID):
    return straighten_along(ct, spine.frame, ReformatBox(spine.origin_mm, spine.spacing_mm, spine.hu.shape), grid)


@pytest.mark.parametrize("index", [0, 3, 40, 77, 79])
def test_a_dragged_point_gives_what_a_full_run_on_the_same_frame_gives(index):
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live = IncrementalReformatter(ct, line, grid=SMALL_GRID)

    update = live.move(a_drag(line, index))

    assert 0 < len(update.changed_planes) < 0.5 * len(update.spine.hu)
    assert_same(update.spine, a_full_run(ct, update.spine))


def test_a_volume_that_was_straightened_elsewhere_is_taken_over_without_sampling_and_the_next_drag_goes_on_from_it(
    monkeypatch,
):
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live, other = (IncrementalReformatter(ct, line, grid=SMALL_GRID) for _ in range(2))
    for one in (live, other):
        one.move(a_drag(line, 20))
    elsewhere = straighten(ct, a_drag(line, 60), grid=SMALL_GRID)
    with monkeypatch.context() as sampling:
        sampling.setattr(ReformatSampler, "sample", lambda *_: pytest.fail("nothing is to be sampled"))
        live.adopt(a_drag(line, 60), elsewhere)
    other.commit(a_drag(line, 60))

    update, expected = (one.move(a_drag(a_drag(line, 60), 30)) for one in (live, other))

    assert np.array_equal(update.changed_planes, expected.changed_planes)
    assert_same(update.spine, expected.spine)
    assert_same(update.spine, a_full_run(ct, update.spine))


def test_a_volume_on_another_grid_is_not_taken_over():
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live = IncrementalReformatter(ct, line, grid=SMALL_GRID)

    with pytest.raises(ValueError, match="another grid"):
        live.adopt(line, straighten(ct, a_line(line.points_ras[:-20]), grid=SMALL_GRID))

    assert_same(live.move(a_drag(line)).spine, a_full_run(ct, live.spine))


@pytest.mark.parametrize("kind", [STRAIGHTENED, VIRTUAL_SAGITTAL])
def test_on_release_the_volume_is_that_of_a_fresh_start(kind):
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live = IncrementalReformatter(ct, line, kind, SMALL_GRID)
    live.move(a_drag(line, 20))

    update = live.commit(a_drag(line, 60))

    fresh = straighten(ct, a_drag(line, 60), kind, SMALL_GRID)
    assert update.spine.origin_mm == fresh.origin_mm
    assert update.spine.hu.shape == fresh.hu.shape
    assert_same(update.spine, fresh)


def test_away_from_the_dragged_point_rows_keep_their_place_in_the_picture():
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live = IncrementalReformatter(ct, line, grid=SMALL_GRID)
    before, frame = live.spine.hu.copy(), live.spine.frame

    update = live.move(a_drag(line, 40, (4.0, 0.0, 0.0)))

    untouched = np.setdiff1d(np.arange(len(before)), update.changed_planes)
    assert untouched[0] == 0
    assert untouched[-1] == len(before) - 1
    assert np.array_equal(update.spine.hu[untouched], before[untouched])
    assert np.array_equal(update.spine.frame.s_mm, frame.s_mm)
    assert np.abs(update.spine.frame.origin_ras[-20:] - frame.origin_ras[-20:]).max() < 1e-3


def test_a_tolerance_leaves_rows_out_during_a_drag_and_none_after_it():
    ct, line = a_noisy_ct(), a_realistic_centerline()
    exact, rough = (IncrementalReformatter(ct, line, grid=SMALL_GRID) for _ in range(2))
    moved = a_drag(line)

    all_rows, some_rows = exact.move(moved).changed_planes, rough.move(moved, 0.02).changed_planes

    assert len(some_rows) < 0.7 * len(all_rows)
    assert set(some_rows) <= set(all_rows)
    assert_same(rough.commit(moved).spine, exact.commit(moved).spine)


def test_a_hundred_small_drags_leave_no_trace_of_what_lay_between():
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live = IncrementalReformatter(ct, line, grid=SMALL_GRID, threads=1)
    rng = np.random.default_rng(0)

    current = line
    for step in range(100):
        current = a_drag(current, int(rng.integers(30, 50)), rng.normal(0.0, 0.3, 3))
        update = live.commit(current) if step % 10 == 9 else live.move(current)

    assert_same(update.spine, straighten(ct, current, grid=SMALL_GRID))


def test_a_longer_or_shorter_curve_keeps_the_rows_that_stay():
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live = IncrementalReformatter(ct, line, grid=SMALL_GRID)
    longer, shorter = a_realistic_centerline(length=445.0).points_ras, line.points_ras[:-12]
    longer[: len(line.points_ras)] = line.points_ras

    for points in (longer, shorter):
        update = live.move(a_line(points))

        assert not update.same_shape
        assert len(update.changed_planes) < 0.5 * len(update.spine.hu)
        assert_same(update.spine, straighten(ct, a_line(points), grid=SMALL_GRID))


def test_a_filtered_and_turned_volume_follows_as_well():
    ct, line = a_noisy_ct(), a_realistic_centerline(length=200.0)
    grid = ReformatGrid((8.0, 8.0, 8.0), (-40.0, 40.0), (-40.0, 40.0), 8.0, interpolation=CUBIC, rotation_deg=20.0)
    live = IncrementalReformatter(ct, line, grid=grid)

    update = live.move(a_drag(line, 10))

    assert len(update.changed_planes) < len(update.spine.hu)
    assert_same(update.spine, a_full_run(ct, update.spine, grid))
    assert_same(live.commit(a_drag(line, 10)).spine, straighten(ct, a_drag(line, 10), grid=grid))


def test_rows_that_a_sharp_bend_cut_come_back_when_it_is_straightened_out():
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live = IncrementalReformatter(ct, line, grid=SMALL_GRID)
    before = live.spine.inside.copy()

    bent = live.move(a_drag(line, 40, (0.0, 6.0, 0.0))).spine.inside.sum()
    update = live.move(line)

    assert bent < before.sum() - 1000
    assert np.array_equal(update.spine.inside, before)


def moved_to_another_scan(line):
    return a_line(line.points_ras + 5000.0)


def kinked(line):
    return a_drag(line, 40, (0.0, 14.0, 0.0))


@pytest.mark.parametrize(("spoiled", "error"), [(moved_to_another_scan, NoSpineFound), (kinked, CenterlineTooSharp)])
def test_a_move_that_cannot_be_followed_leaves_the_last_volume_as_it_was(spoiled, error):
    ct, line = a_noisy_ct(), a_realistic_centerline()
    live = IncrementalReformatter(ct, line, grid=SMALL_GRID)
    before = live.spine.hu.copy()

    with pytest.raises(error):
        live.move(spoiled(line))

    assert np.array_equal(live.spine.hu, before)
    assert_same(live.move(line).spine, straighten(ct, line, grid=SMALL_GRID))
