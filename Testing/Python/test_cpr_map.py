"""The map to straight space has one value and comes back, for realistic spines, sharp bends and turned frames."""

import numpy as np
import pytest
from cpr_samples import SMALL_GRID, a_line, a_noisy_ct, a_realistic_centerline, an_axial_ct

from VertebralFractureLib.cpr import STRAIGHTENED, VIRTUAL_SAGITTAL, ReformatGrid, lay_frame, straighten
from VertebralFractureLib.cpr.frame import build_displacement_grid
from VertebralFractureLib.errors import CenterlineTooSharp
from VertebralFractureLib.research.datasets.label_maps import labels_to_straight
from VertebralFractureLib.volume.sampling import sample_nearest


def a_bend(radius_mm, angle_deg=70.0, towards=(0.0, 1.0)):
    """A straight stretch, an arc, a straight stretch; bent in the plane of S and the given (R, A) direction."""
    s = np.arange(0.0, 240.0, 4.0)
    angle = np.clip((s - 120.0) / radius_mm, -0.5 * np.radians(angle_deg), 0.5 * np.radians(angle_deg))
    step = 4.0 * np.stack([towards[0] * np.sin(angle), towards[1] * np.sin(angle), np.cos(angle)], axis=1)
    return a_line(np.cumsum(step, axis=0) - (0.0, 0.0, -20.0))


def inside_points(spine, count, seed=0):
    """Straight points of voxels that belong to the volume."""
    k, j, i = np.nonzero(spine.inside)
    chosen = np.random.default_rng(seed).integers(0, len(k), count)
    index = np.stack([i, j, k], axis=1)[chosen]
    return np.array(spine.origin_mm) + index * np.array(spine.spacing_mm)


@pytest.mark.parametrize(("kind", "count"), [(STRAIGHTENED, 1000), (VIRTUAL_SAGITTAL, 100)])
def test_a_thousand_spines_go_to_straight_space_and_back_within_a_hundredth_of_a_millimeter(kind, count):
    rng = np.random.default_rng(1)
    worst = 0.0

    for seed in range(count):
        frame = lay_frame(a_realistic_centerline(seed, length=rng.uniform(150.0, 500.0)), kind)
        points = rng.uniform((-60.0, -40.0, -10.0), (60.0, 60.0, frame.range_mm[1] + 10.0), (50, 3))
        ras = frame.straight_to_ras(points)
        worst = max(worst, float(np.abs(frame.straight_to_ras(frame.ras_to_straight(ras)) - ras).max()))
        worst = max(worst, float(np.abs(frame.ras_to_straight(ras) - points).max()))

    assert worst < 0.01


@pytest.mark.parametrize("radius_mm", [25.0, 35.0, 60.0])
@pytest.mark.parametrize("towards", [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (0.6, 0.8)])
def test_what_a_sharp_bend_leaves_inside_has_one_value_and_what_would_not_is_outside(radius_mm, towards):
    line = a_bend(radius_mm, towards=towards)
    ct = an_axial_ct()

    spine = straighten(ct, line, grid=ReformatGrid((2.0, 2.0, 2.0), margin_mm=8.0))

    points = inside_points(spine, 4000)
    back = spine.frame.ras_to_straight(spine.frame.straight_to_ras(points))
    assert np.abs(back - points).max() < 0.01
    r, a = ReformatGrid().right_mm, ReformatGrid().anterior_mm
    corners = [(x, y, 120.0) for x in r for y in a]
    index = np.rint((np.array(corners) - spine.origin_mm) / spine.spacing_mm).astype(int)
    in_scan = np.all(
        np.abs(ct.ras_to_ijk_points(spine.frame.straight_to_ras(np.array(corners))) - 30.0) < (30.0, 30.0, 80.0), axis=1
    )
    reached = np.array([x * towards[0] + y * towards[1] for x, y, _ in corners]) > 1.2 * radius_mm
    assert not spine.inside[index[reached & in_scan, 2], index[reached & in_scan, 1], index[reached & in_scan, 0]].any()


def test_a_centerline_that_folds_onto_itself_is_refused_by_name():
    with pytest.raises(CenterlineTooSharp, match="reformat planes meet in the canal"):
        straighten(an_axial_ct(), a_bend(3.0, 150.0), grid=SMALL_GRID)


def test_a_turned_frame_shows_the_same_spine_turned():
    line = a_realistic_centerline()
    ct = an_axial_ct()

    spine = straighten(ct, line, grid=ReformatGrid((2.0, 2.0, 2.0), (-30.0, 30.0), (-30.0, 30.0), rotation_deg=90.0))

    plain = straighten(ct, line, grid=ReformatGrid((2.0, 2.0, 2.0), (-30.0, 30.0), (-30.0, 30.0)))
    expected = plain.hu.transpose(0, 2, 1)[:, ::-1, :]
    assert np.abs(spine.hu - expected).max() < 0.05


def test_s_can_be_even_along_the_vertebral_bodies():
    line = a_bend(120.0, 60.0)

    frame = lay_frame(line, arc_length_offset_mm=25.0)

    at_bodies = frame.straight_to_ras(np.stack([0 * frame.s_mm, 0 * frame.s_mm + 25.0, frame.s_mm], axis=1))
    at_canal = np.linalg.norm(np.diff(frame.origin_ras, axis=0), axis=1)
    assert np.abs(np.linalg.norm(np.diff(at_bodies, axis=0), axis=1) - 1.0).max() < 0.01
    assert at_canal.max() > 1.2
    assert frame.range_mm[1] < line.length_mm - 20.0


def test_sections_that_meet_where_s_should_be_even_are_refused():
    with pytest.raises(CenterlineTooSharp, match="90 mm in front"):
        lay_frame(a_bend(60.0), arc_length_offset_mm=90.0)


def test_an_unknown_interpolation_and_an_empty_extent_are_refused():
    with pytest.raises(ValueError, match="smooth_through_slices"):
        ReformatGrid(interpolation="sinc")
    with pytest.raises(ValueError, match="positive"):
        ReformatGrid(spacing_mm=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="lower to the higher"):
        ReformatGrid(right_mm=(10.0, -10.0))


def test_every_straightened_voxel_gets_the_label_of_the_patient_there():
    ct, line = a_noisy_ct(), a_realistic_centerline(length=150.0)
    spine = straighten(ct, line, grid=ReformatGrid((1.5, 1.5, 1.5), (-30.0, 30.0), (-30.0, 30.0)))
    voxels = np.argwhere(np.ones(ct.shape_kji, dtype=bool))[:, ::-1]
    points = ct.ijk_to_ras_points(voxels)
    voxels = voxels[np.linalg.norm(points[:, None] - line.points_ras[::4], axis=2).min(axis=1) < 40.0]
    straight = spine.frame.ras_to_straight(ct.ijk_to_ras_points(voxels))
    column = (np.abs(straight[:, :2]) < 22.0).all(axis=1) & (straight[:, 2] > 20.0) & (straight[:, 2] < 130.0)
    i, j, k = voxels[column].T
    labels = np.zeros(ct.shape_kji, dtype=np.uint8)
    labels[k, j, i] = 1 + straight[column, 2] // 30.0

    there = labels_to_straight(labels, ct, spine)

    assert set(np.unique(there)) == set(np.unique(labels))
    s = spine.axis_mm("s")
    middle = there[(s > 25.0) & (s < 125.0), 20, 20]
    assert np.all(np.abs(middle - 1.0 - s[(s > 25.0) & (s < 125.0)] // 30.0) <= 1.0)
    assert np.all(middle > 0)
    k, j, i = np.nonzero(spine.inside)
    points = np.stack([spine.axis_mm(axis)[at] for axis, at in zip("ras", (i, j, k), strict=True)], axis=1)
    nearest, within = sample_nearest(labels, ct.ras_to_ijk_points(spine.frame.straight_to_ras(points)))
    assert within.all()
    assert np.array_equal(there[k, j, i], nearest)
    assert not there[~spine.inside].any()


def test_labels_of_another_grid_are_refused():
    ct = a_noisy_ct()
    spine = straighten(ct, a_realistic_centerline(), grid=SMALL_GRID)

    with pytest.raises(ValueError, match="grid of the CT"):
        labels_to_straight(np.zeros((2, 2, 2), dtype=np.uint8), ct, spine)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", [STRAIGHTENED, VIRTUAL_SAGITTAL])
def test_slicer_applies_the_displacement_grid_as_we_do(seed, kind):
    slicer = pytest.importorskip("slicer", reason="the transform needs slicer-core (the 'scene' group)")
    from VertebralFractureLib.export.scene.volume_nodes import add_transform_node

    scene = slicer.vtkMRMLScene()
    frame = lay_frame(a_realistic_centerline(seed), kind)
    points = np.random.default_rng(seed).uniform(
        (-64.0, -48.0, -12.0), (64.0, 64.0, frame.range_mm[1] + 12.0), (300, 3)
    )
    patient = frame.straight_to_ras(points)

    node = add_transform_node(scene, frame, "straightening")

    from_parent = np.array([node.GetTransformFromParent().TransformPoint(point) for point in points])
    to_parent = np.array([node.GetTransformToParent().TransformPoint(point) for point in patient])
    assert np.linalg.norm(from_parent - patient, axis=1).max() < 0.05
    assert np.linalg.norm(to_parent - points, axis=1).max() < 0.05
    assert build_displacement_grid(frame).displacement_mm.shape[1:] == (4, 4, 3)
