"""The straightened volume is exact: both ways, in every storage order, without a mirror or a twist."""

import numpy as np
import pytest
from cpr_samples import SMALL_GRID, a_realistic_centerline, a_smooth_field, an_axial_ct

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import STRAIGHTENED, VIRTUAL_SAGITTAL, lay_frame, straighten
from VertebralFractureLib.cpr.straightened_volume import load_straightened, save_straightened
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.volume import CTVolume

KINDS = (STRAIGHTENED, VIRTUAL_SAGITTAL)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_points_go_to_straight_space_and_back_within_a_hundredth_of_a_millimeter(kind, seed):
    frame = lay_frame(a_realistic_centerline(seed), kind)
    rng = np.random.default_rng(seed)
    points = rng.uniform((-60.0, -40.0, 0.0), (60.0, 60.0, frame.range_mm[1]), (400, 3))

    back = frame.ras_to_straight(frame.straight_to_ras(points))

    assert np.abs(back - points).max() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_right_stays_right_and_anterior_stays_anterior(kind):
    frame = lay_frame(a_realistic_centerline(), kind)
    probes = np.array([[0.0, 0.0, 150.0], [10.0, 0.0, 150.0], [0.0, 10.0, 150.0]])

    center, to_the_right, to_the_front = frame.straight_to_ras(probes)

    assert to_the_right[0] - center[0] > 9.0
    assert to_the_front[1] - center[1] > 9.0


@pytest.mark.parametrize("seed", range(10))
def test_neighboring_frames_never_flip_or_twist_out_of_the_sagittal_plane(seed):
    frame = lay_frame(a_realistic_centerline(seed))

    neighbors = np.einsum("nd,nd->n", frame.anterior_ras[1:], frame.anterior_ras[:-1])

    assert neighbors.min() > 0.99
    tangent = np.gradient(frame.origin_ras, axis=0)
    sideways = np.abs(frame.right_ras[:, 2])
    assert np.all(sideways <= np.abs(tangent[:, 0]) / np.linalg.norm(tangent, axis=1) + 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_volume_holds_what_lies_at_the_mapped_points(kind):
    spine = straighten(an_axial_ct(), a_realistic_centerline(), kind, SMALL_GRID)

    k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in spine.hu.shape), indexing="ij")
    straight = np.stack([i, j, k], -1) * spine.spacing_mm + spine.origin_mm
    truth = a_smooth_field(spine.frame.straight_to_ras(straight.reshape(-1, 3))).reshape(spine.hu.shape)
    ct = an_axial_ct()
    index = ct.ras_to_ijk_points(spine.frame.straight_to_ras(straight.reshape(-1, 3))).reshape(straight.shape)
    within = np.all((index >= 0) & (index <= np.array(ct.shape_kji[::-1]) - 1), axis=-1)
    assert within.mean() > 0.5
    assert np.abs(spine.hu - truth)[within].max() < 0.05


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
def test_any_storage_order_gives_the_same_straightened_volume(axes, flips):
    expected = straighten(an_axial_ct(), a_realistic_centerline(), grid=SMALL_GRID)
    ct = an_axial_ct()
    matrix = ct.ijk_to_ras.copy()
    array = np.moveaxis(ct.hu, (2, 1, 0), tuple(2 - axis for axis in axes))
    stored = np.eye(4)
    for column, axis in enumerate(axes):
        stored[:3, axis] = matrix[:3, column]
    stored[:3, 3] = matrix[:3, 3]
    for axis, sign in enumerate(flips):
        if sign < 0:
            array = np.flip(array, 2 - axis)
            stored[:3, 3] += (array.shape[2 - axis] - 1) * stored[:3, axis]
            stored[:3, axis] *= -1.0

    spine = straighten(CTVolume(array, stored), a_realistic_centerline(), grid=SMALL_GRID)

    assert np.array_equal(spine.inside, expected.inside)
    assert np.abs(spine.hu - expected.hu)[expected.inside].max() < 0.05


def test_what_lies_outside_the_scan_is_marked_and_not_taken_for_tissue():
    spine = straighten(an_axial_ct(), a_realistic_centerline(length=480.0), grid=SMALL_GRID)

    above_the_scan = spine.axis_mm("s") > 440.0
    assert not spine.inside[above_the_scan].any()
    assert np.all(spine.hu[~spine.inside] == -1024.0)


def test_a_centerline_of_another_scan_is_refused():
    elsewhere = Centerline(a_realistic_centerline().points_ras + 5000.0, np.ones(80))

    with pytest.raises(NoSpineFound, match="same scan"):
        straighten(an_axial_ct(), elsewhere, grid=SMALL_GRID)


def test_a_centerline_that_runs_sideways_is_refused():
    line = Centerline(np.stack([np.arange(0, 200, 5.0), np.zeros(40), np.zeros(40)], axis=1), np.ones(40))

    with pytest.raises(NoSpineFound, match="sideways"):
        lay_frame(line)


def test_a_spine_volume_survives_its_file(tmp_path):
    spine = straighten(an_axial_ct(), a_realistic_centerline(), grid=SMALL_GRID)

    save_straightened(spine, tmp_path / "spine.npz")
    again = load_straightened(tmp_path / "spine.npz")

    assert np.abs(again.hu - spine.hu).max() <= 0.5
    assert again.origin_mm == spine.origin_mm
    probe = np.array([[5.0, 20.0, 133.3]])
    assert np.allclose(again.frame.straight_to_ras(probe), spine.frame.straight_to_ras(probe), atol=1e-12)
