"""The scan is sampled as it should be: exact weights, no aliasing on coarse grids, little memory; it can be stopped."""

import tracemalloc

import numpy as np
import pytest
from cpr_samples import a_ct, a_line, a_noisy_ct, a_realistic_centerline

from VertebralFractureLib.cpr import CUBIC, OUTSIDE_HU, SMOOTH_THROUGH_SLICES, ReformatGrid, straighten
from VertebralFractureLib.errors import Cancelled
from VertebralFractureLib.progress import CancelToken, StageProgress
from VertebralFractureLib.volume import CTVolume

NARROW = ReformatGrid((3.0, 3.0, 3.0), (-30.0, 30.0), (-30.0, 30.0), 4.0)


def a_vertical_line(length=200.0):
    s = np.arange(0.0, length, 10.0)
    return a_line(np.stack([0 * s, 0 * s, s], axis=1))


def straight_points(spine):
    r, a, s = (spine.axis_mm(axis) for axis in "ras")
    return np.stack(np.broadcast_arrays(r, a[:, None], s[:, None, None]), axis=-1)


def test_each_voxel_is_the_blend_of_its_eight_neighbors():
    ct = a_noisy_ct()

    spine = straighten(ct, a_realistic_centerline(), grid=NARROW)

    inside = spine.inside
    index = ct.ras_to_ijk_points(spine.frame.straight_to_ras(straight_points(spine)[inside]))
    last = np.array(ct.shape_kji[::-1]) - 1
    index = np.clip(index, 0, last)
    low = np.minimum(np.floor(index), last - 1).astype(int)
    expected = np.zeros(len(index))
    for corner in np.ndindex(2, 2, 2):
        i, j, k = (low + np.array(corner)).T
        weight = np.prod(np.where(np.array(corner) == 1, index - low, 1.0 - index + low), axis=1)
        expected += weight * ct.hu[k, j, i]
    assert np.abs(spine.hu[inside] - expected).max() < 0.2
    assert np.mean(inside) > 0.8


def a_quadratic_ct(step=(2.0, 2.0, 3.0)):
    matrix = np.diag([*step, 1.0])
    matrix[:3, 3] = (-60.0, -60.0, -30.0)
    i, j, k = (matrix[axis, 3] + step[axis] * np.arange(n) for axis, n in enumerate((61, 61, 90)))
    hu = 0.1 * i**2 - 0.05 * (j**2)[:, None] + 0.02 * (k**2)[:, None, None] + 0.03 * i * j[:, None]
    return CTVolume(hu.astype(np.float32), matrix)


def quadratic(points):
    x, y, z = np.moveaxis(points, -1, 0)
    return 0.1 * x**2 - 0.05 * y**2 + 0.02 * z**2 + 0.03 * x * y


def test_cubic_interpolation_is_exact_where_linear_is_not():
    ct, line = a_quadratic_ct(), a_realistic_centerline(length=150.0)
    errors = {}

    for interpolation in ("linear", CUBIC):
        grid = ReformatGrid((2.5, 2.5, 2.5), (-20.0, 20.0), (-20.0, 20.0), 0.0, interpolation=interpolation)
        spine = straighten(ct, line, grid=grid)
        patient = spine.frame.straight_to_ras(straight_points(spine).reshape(-1, 3)).reshape(*spine.hu.shape, 3)
        deep = np.all(np.abs(patient[..., :2]) < 50.0, axis=-1)
        errors[interpolation] = np.abs(spine.hu - quadratic(patient))[deep].max()

    assert errors[CUBIC] < 0.01
    assert errors["linear"] > 0.05


@pytest.mark.parametrize("interpolation", [CUBIC, SMOOTH_THROUGH_SLICES])
def test_wider_interpolation_keeps_constants_up_to_the_border_of_the_scan(interpolation):
    ct = CTVolume(np.full((60, 30, 30), 137, dtype=np.int16), a_noisy_ct().ijk_to_ras)
    grid = ReformatGrid((3.0, 3.0, 3.0), (-60.0, 60.0), (-60.0, 60.0), 30.0, interpolation=interpolation)

    spine = straighten(ct, a_line(a_vertical_line().points_ras - (40.0, 40.0, 0.0)), grid=grid)

    assert np.abs(spine.hu[spine.inside] - 137.0).max() < 1e-3
    assert np.all(spine.hu[~spine.inside] == OUTSIDE_HU)
    assert 0.2 < spine.inside.mean() < 0.9


def a_striped_ct(period_mm):
    """Stripes along the patient's right axis, 1000 HU from crest to trough."""
    matrix = np.diag([0.5, 2.0, 2.0, 1.0])
    matrix[:3, 3] = (-40.0, -40.0, -20.0)
    x = matrix[0, 3] + 0.5 * np.arange(160)
    return CTVolume(np.broadcast_to(500.0 * np.sin(2 * np.pi * x / period_mm), (120, 40, 160)).astype(np.int16), matrix)


def test_a_coarse_grid_suppresses_what_it_cannot_show_and_keeps_what_it_can():
    grid = ReformatGrid((4.0, 4.0, 4.0), (-24.0, 24.0), (-24.0, 24.0), 0.0)

    fine = straighten(a_striped_ct(4.7), a_vertical_line(), grid=grid)
    wide = straighten(a_striped_ct(40.0), a_vertical_line(), grid=grid)

    assert np.abs(fine.hu[fine.inside]).max() < 60.0
    x = wide.axis_mm("r")
    expected = 500.0 * np.sin(2 * np.pi * x / 40.0)
    assert np.abs(wide.hu[10, 5] - expected).max() < 30.0


def test_a_coarse_grid_keeps_constants_and_marks_the_outside():
    ct = CTVolume(np.full((100, 120, 120), 211, dtype=np.int16), a_striped_ct(4.0).ijk_to_ras)

    spine = straighten(ct, a_realistic_centerline(length=150.0), grid=ReformatGrid((5.0, 5.0, 5.0), margin_mm=10.0))

    assert np.abs(spine.hu[spine.inside] - 211.0).max() < 0.05
    assert np.all(spine.hu[~spine.inside] == OUTSIDE_HU)
    assert 0.05 < spine.inside.mean() < 0.95


def test_a_scan_of_the_same_spacing_is_not_filtered():
    ct = a_noisy_ct()

    spine = straighten(ct, a_vertical_line(), grid=ReformatGrid((3.0, 3.0, 4.0), (-30.0, 30.0), (-30.0, 30.0), 0.0))

    assert np.std(spine.hu[spine.inside]) > 0.9 * np.std(ct.hu)


def test_a_view_into_a_larger_array_is_read_in_place():
    ct, line = a_noisy_ct(), a_realistic_centerline()
    larger = np.full(tuple(n + 7 for n in ct.shape_kji), 9999, dtype=np.int16)
    larger[3:-4, 3:-4, 3:-4] = ct.hu
    expected = straighten(ct, line, grid=NARROW)

    for view in (larger[3:-4, 3:-4, 3:-4], np.asfortranarray(ct.hu), np.repeat(ct.hu, 2, axis=2)[:, :, ::2]):
        assert np.array_equal(straighten(CTVolume(view, ct.ijk_to_ras), line, grid=NARROW).hu, expected.hu)


def test_a_single_slice_is_a_volume_like_any_other():
    ct = a_noisy_ct()
    one = CTVolume(ct.hu[30:31], ct.ijk_to_ras @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 30.0], [0, 0, 0, 1]]))

    spine = straighten(one, a_vertical_line(), grid=ReformatGrid((3.0, 3.0, 1.0), (-30.0, 30.0), (-30.0, 30.0), 0.0))

    rows = np.flatnonzero(spine.inside.any(axis=(1, 2)))
    assert 3 <= len(rows) <= 5
    assert spine.hu[spine.inside].max() <= ct.hu[30].max()


def test_the_number_of_threads_changes_nothing():
    ct, line = a_noisy_ct(), a_realistic_centerline()
    grid = ReformatGrid((1.5, 1.5, 1.5))

    alone, together = (straighten(ct, line, grid=grid, threads=threads) for threads in (1, 4))

    assert np.array_equal(alone.hu, together.hu)
    assert np.array_equal(alone.inside, together.inside)


def test_memory_beside_the_output_stays_below_twice_the_output():
    matrix = np.diag([0.8, 0.8, 1.5, 1.0])
    matrix[:3, 3] = (-100.0, -100.0, -10.0)
    ct, line = CTVolume(np.zeros((200, 250, 250), dtype=np.int16), matrix), a_realistic_centerline(length=280.0)

    tracemalloc.start()
    spine = straighten(ct, line)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    output = spine.hu.nbytes + spine.inside.nbytes
    assert peak - output < 2 * output


def test_straightening_reports_its_progress_and_stops_when_asked():
    token, seen = CancelToken(), []

    def listener(_stage, fraction):
        seen.append(fraction)
        if fraction > 0.3:
            token.cancel()

    with pytest.raises(Cancelled):
        straighten(a_noisy_ct(), a_realistic_centerline(), progress=StageProgress("cpr", listener, token))

    assert 0.3 < seen[-1] < 0.9
    assert seen == sorted(seen)


def test_voxels_that_are_no_number_stay_where_they_are():
    ct = a_ct(a_noisy_ct().ijk_to_ras, (60, 60, 60))
    hu = ct.hu.copy()
    hu[30, 30, 30] = np.nan

    spine = straighten(CTVolume(hu, ct.ijk_to_ras), a_vertical_line(), grid=NARROW)

    assert 1 <= np.isnan(spine.hu).sum() <= 27
