"""The patient is judged where the anatomy shows that he lies, and the results lie on the file's own voxels."""

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import STRAIGHTENED, VIRTUAL_SAGITTAL, lay_frame
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.errors import NoSpineFound, PositionUnclear
from VertebralFractureLib.options import SINGLE_MODEL, DetectionOptions
from VertebralFractureLib.orientation import patient_axes
from VertebralFractureLib.orientation.patient_axes import find_centerline_in_patient, reverse_head
from VertebralFractureLib.orientation.rotations import (
    list_axis_rotations,
    measure_angle_deg,
    rotate_array,
    rotate_volume,
    rotation_from_directions,
)
from VertebralFractureLib.orientation.upright import is_head_down, list_position_doubts
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.result.report import AXES_OF_FILE
from VertebralFractureLib.volume import CTVolume

OPTIONS = DetectionOptions(members=SINGLE_MODEL, threads=1)
PRONE = np.diag([-1.0, -1.0, 1.0])
FEET_UP = np.diag([-1.0, 1.0, -1.0])
ON_THE_SIDE = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
SAGITTAL_FILED_AS_AXIAL = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
FRONT_BACK_MIRRORED = np.diag([1.0, -1.0, 1.0])


def filed_as(ct, matrix):
    """The same voxels under an affine that says something else."""
    wrong = np.eye(4)
    wrong[:3, :3] = matrix
    return replace(ct, ijk_to_ras=wrong @ ct.ijk_to_ras)


@pytest.fixture(scope="module")
def as_filed(a_phantom):
    return detect(a_phantom.ct, options=OPTIONS).report


def test_a_patient_who_lies_as_the_file_says_is_said_nothing_about(as_filed):
    kinds = {doubt.kind for doubt in as_filed.doubts}

    assert not kinds & {DoubtKind.PATIENT_ROTATED, DoubtKind.POSITION_UNCONFIRMED}
    assert as_filed.centerline.patient_axes_ras == AXES_OF_FILE


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(PRONE, id="prone"),
        pytest.param(FEET_UP, id="feet up"),
        pytest.param(SAGITTAL_FILED_AS_AXIAL, id="sagittal filed as axial"),
        pytest.param(ON_THE_SIDE, id="on the side", marks=pytest.mark.slow),
        pytest.param(FRONT_BACK_MIRRORED, id="front and back mirrored", marks=pytest.mark.slow),
    ],
)
def test_a_patient_who_lies_otherwise_is_judged_as_he_lies_on_the_voxels_of_the_file(a_phantom, as_filed, wrong):
    report = detect(filed_as(a_phantom.ct, wrong), options=OPTIONS).report

    assert [doubt.kind for doubt in report.doubts] == [DoubtKind.PATIENT_ROTATED]
    assert [v.level for v in report.vertebrae] == [v.level for v in as_filed.vertebrae]
    assert [v.status for v in report.vertebrae] == [v.status for v in as_filed.vertebrae]
    for found, true in zip(report.vertebrae, as_filed.vertebrae, strict=True):
        assert np.linalg.norm(found.center_ras - wrong @ true.center_ras) < 2.0
        if true.heights_mm is not None:
            assert found.heights_mm.middle == pytest.approx(true.heights_mm.middle, abs=1.0)
    axes = np.array(report.centerline.patient_axes_ras)
    np.testing.assert_allclose(axes[1:] @ wrong, np.eye(3)[1:], atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_the_curve_of_a_patient_who_lies_otherwise_is_scored_again_as_it_was(a_phantom):
    ct = filed_as(a_phantom.ct, FEET_UP)
    first = detect(ct, options=OPTIONS).report

    points = np.array(first.centerline.points_ras)
    again = detect(ct, centerline=Centerline(points[::-1], np.ones(len(points))), options=OPTIONS).report

    assert [v.level for v in again.vertebrae] == [v.level for v in first.vertebrae]
    assert again.centerline.points_ras == first.centerline.points_ras


def test_any_storage_order_under_a_true_affine_is_no_rotation(a_phantom, as_filed):
    hu = np.ascontiguousarray(a_phantom.ct.hu.transpose(2, 0, 1)[::-1])
    order = np.zeros((4, 4))
    order[3, 3] = 1.0
    # New (i, j, k) is old (j, k, last - i).
    order[1, 0] = order[2, 1] = 1.0
    order[0, 2], order[0, 3] = -1.0, a_phantom.ct.hu.shape[2] - 1.0
    stored = CTVolume(hu, a_phantom.ct.ijk_to_ras @ order)

    report = detect(stored, options=OPTIONS).report

    assert report.doubts == as_filed.doubts
    assert [v.level for v in report.vertebrae] == [v.level for v in as_filed.vertebrae]


def test_there_are_24_rotations_by_quarter_turns_and_each_is_one():
    rotations = list_axis_rotations()

    assert len({rotation.tobytes() for rotation in rotations}) == 24
    assert all(np.linalg.det(rotation) == pytest.approx(1.0) for rotation in rotations)
    assert measure_angle_deg(rotations[0]) == 0.0


@pytest.mark.parametrize("rotation", list_axis_rotations()[::5])
def test_a_rotated_array_is_the_array_of_the_rotated_volume(rotation):
    hu = np.random.default_rng(3).normal(0.0, 100.0, (6, 16, 16)).astype(np.float32)
    ct = CTVolume(hu, np.diag([3.0, 3.0, 3.0, 1.0]))

    rotated = rotate_volume(ct, rotation)

    ours = rotate_array(hu, rotation)
    index = np.rint(rotated.ras_to_ijk_points(_centers(ours.shape, rotated))).astype(int)
    np.testing.assert_array_equal(ours.ravel(), hu[index[:, 2], index[:, 1], index[:, 0]])


def _centers(shape, ct):
    """RAS of the voxels of an array along S, A and R that fills the volume's box."""
    low = ct.ijk_to_ras_points(np.array([[x, y, z] for x in (0, 15) for y in (0, 15) for z in (0, 5)])).min(axis=0)
    k, j, i = np.meshgrid(*[np.arange(size) for size in shape], indexing="ij")
    return low + 3.0 * np.stack([i, j, k], axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("kind", [STRAIGHTENED, VIRTUAL_SAGITTAL])
def test_the_frame_of_a_rotated_patient_is_the_patients_frame_on_the_files_voxels(kind):
    s = np.linspace(0.0, 200.0, 40)
    points = np.stack([5.0 * np.sin(s / 40.0), 12.0 * np.cos(s / 60.0), s], axis=1)
    axes = rotation_from_directions(np.array([0.3, -0.2, 0.8]), np.array([0.9, 0.1, -0.4]))
    in_patient = Centerline(points, np.ones(len(points)))

    frame = lay_frame(in_patient.in_file(axes), kind)

    true = lay_frame(in_patient, kind)
    for ours, theirs in ((frame.origin_ras, true.origin_ras), (frame.anterior_ras, true.anterior_ras)):
        np.testing.assert_allclose(ours @ axes.T, theirs, atol=1e-9)


def test_reversing_the_head_keeps_the_front_and_the_canal():
    line = Centerline(
        np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 50.0], [0.0, 0.0, 99.0]]), np.array([0.1, 0.5, 0.9]), ((5.0, 20.0),)
    )

    reversed_line = reverse_head(line)

    np.testing.assert_array_equal(reversed_line.points_ras, line.points_ras[::-1])
    np.testing.assert_array_equal(reversed_line.patient_axes, np.diag([-1.0, 1.0, -1.0]))
    np.testing.assert_allclose(reversed_line.gaps_mm, [(line.length_mm - 20.0, line.length_mm - 5.0)])
    np.testing.assert_allclose(reverse_head(reversed_line).patient_axes, line.patient_axes)


def test_bodies_on_two_sides_of_the_canal_are_refused_and_on_none_leave_it_open():
    turns = patient_axes.list_turns_about(np.array([0.0, 0.0, 1.0]))

    assert patient_axes.choose_turn(turns, [0.5, 1.0, 0.0, 0.0]) is None
    np.testing.assert_array_equal(patient_axes.choose_turn(turns, [30.0, 1.0, 0.0, 2.0]), np.eye(3))
    with pytest.raises(PositionUnclear, match="two sides"):
        patient_axes.choose_turn(turns, [30.0, 0.0, 0.0, 20.0])


def test_vertebrae_that_hardly_tell_head_from_feet_are_doubted_or_refused():
    line = Centerline(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 99.0]]), np.ones(2))

    assert is_head_down(np.full(5, -4.0))
    assert not is_head_down(np.full(5, 4.0))
    assert not is_head_down(np.full(5, 0.4))
    assert [d.kind for d in list_position_doubts(line, True, np.full(5, 0.4))] == [DoubtKind.POSITION_UNCONFIRMED]
    assert list_position_doubts(line, True, np.full(5, 4.0)) == ()
    with pytest.raises(PositionUnclear, match="which end of the spine is the head"):
        is_head_down(np.full(5, -0.4))


def test_a_volume_without_a_spine_keeps_its_own_reason():
    noise = np.random.default_rng(0).normal(0.0, 30.0, (60, 60, 60)).astype(np.float32)
    ct = CTVolume(noise, np.diag([4.0, 4.0, 4.0, 1.0]))
    from VertebralFractureLib.models import Models

    def find(_):
        raise NoSpineFound("none here")

    with pytest.raises(NoSpineFound, match="none here"):
        find_centerline_in_patient(ct, find, Models.load().orientation)
