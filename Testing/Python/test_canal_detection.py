"""From a CT to its centerline with the weights that ship: phantoms, any orientation, and volumes without a spine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_phantoms import draw_once

from VertebralFractureLib.canal import detect_canal, detect_centerline
from VertebralFractureLib.canal.axial_stack import build_axial_stack
from VertebralFractureLib.canal.candidates import CanalReader
from VertebralFractureLib.canal.network import network_from_weights
from VertebralFractureLib.errors import Cancelled, ImplausibleGeometry, NoSpineFound
from VertebralFractureLib.progress import CancelToken, StageProgress
from VertebralFractureLib.research.evaluation.canal_changes import ROBUSTNESS, stretched
from VertebralFractureLib.research.evaluation.canal_trials import coronal_cobb_deg
from VertebralFractureLib.research.evaluation.evaluate_canal import centerline_errors, nearest_distance_mm
from VertebralFractureLib.research.phantom import (
    PhantomOptions,
    make_phantom,
    random_options,
)
from VertebralFractureLib.research.phantom.no_spine import NO_SPINE_KINDS, make_no_spine
from VertebralFractureLib.research.training.canal_cases import canal_at, vertebra_walls
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.weights import load_weights


@pytest.fixture(scope="module")
def a_phantom():
    options = PhantomOptions(
        seed=3,
        field_of_view="spine",
        caudal_level="L2",
        cranial_level="T8",
        spacing_mm=(2.0, 2.0, 4.0),
        slice_thickness_mm=4.0,
    )
    return make_phantom(options)


@pytest.fixture(scope="module")
def its_centerline(a_phantom):
    return detect_centerline(a_phantom.ct)


def in_another_orientation(ct: CTVolume) -> CTVolume:
    """The same voxels, stored sagittally, with the rows upside down."""
    hu = np.ascontiguousarray(np.moveaxis(ct.hu, 2, 0)[:, ::-1])
    matrix = ct.ijk_to_ras[:, [1, 2, 0, 3]].copy()
    matrix[:3, 3] += matrix[:3, 1] * (hu.shape[1] - 1)
    matrix[:3, 1] *= -1.0
    return CTVolume(hu, matrix)


def volume_of(hu: np.ndarray) -> CTVolume:
    return CTVolume(hu.astype(np.float32), np.diag([2.0, 2.0, 4.0, 1.0]))


def test_the_canal_of_a_phantom_is_found_to_within_a_few_millimeters(a_phantom, its_centerline):
    errors = centerline_errors(its_centerline, a_phantom.reference)

    assert errors.median_mm < 2.0
    assert errors.coverage > 0.9


def test_the_curve_runs_upward_with_a_confident_point_every_five_millimeters(its_centerline):
    assert np.all(np.diff(its_centerline.points_ras[:, 2]) > 0.0)
    assert np.diff(its_centerline.point_arc_lengths_mm).max() < 5.5
    assert its_centerline.confidence.min() >= 0.0
    assert 0.7 < its_centerline.confidence.mean() <= 1.0


def test_the_same_scan_stored_in_another_orientation_gives_the_same_curve(a_phantom, its_centerline):
    other = detect_centerline(in_another_orientation(a_phantom.ct))

    assert np.abs(other.positions_ras(np.array([20.0, 80.0])) - its_centerline.positions_ras([20.0, 80.0])).max() < 0.5
    assert other.length_mm == pytest.approx(its_centerline.length_mm, abs=2.0)


def test_a_scan_on_an_oblique_grid_is_read_by_its_geometry():
    hu = np.zeros((24, 40, 40), np.float32) - 1000.0
    hu[:, 18:22, 28:32] = 500.0
    turn = np.deg2rad(30.0)
    matrix = np.eye(4)
    matrix[:2, :2] = 2.0 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix[2, 2] = 4.0
    rod = CTVolume(hu, matrix).ijk_to_ras_points(np.array([[29.5, 19.5, 0.0]]))[0]

    stack = build_axial_stack(CTVolume(hu, matrix))

    bright = np.argwhere(stack.hu[len(stack.hu) // 2] > 200.0).mean(axis=0)
    assert np.array(stack.origin_ras[:2]) + bright[::-1] * stack.spacing_mm[0] == pytest.approx(rod[:2], abs=0.5)


@pytest.mark.parametrize("kind", ["air", "water", "noise", "disk"])
def test_a_volume_without_a_spine_is_refused(kind):
    random = np.random.default_rng(1)
    shape = (40, 96, 96)
    j, i = np.mgrid[:96, :96] - 48
    hu = {
        "air": np.full(shape, -1000.0),
        "water": np.zeros(shape),
        "noise": random.normal(0.0, 400.0, shape),
        "disk": np.broadcast_to(np.where(i**2 + j**2 < 900, 40.0, -1000.0), shape),
    }[kind]

    with pytest.raises(NoSpineFound):
        detect_centerline(volume_of(hu))


def test_a_scan_that_is_too_short_is_refused_with_its_length():
    with pytest.raises(NoSpineFound, match="covers only 40 mm"):
        detect_centerline(volume_of(np.zeros((10, 32, 32))))


def test_what_lies_beside_the_spine_is_no_spine(a_phantom):
    ct = a_phantom.ct
    canal = ct.ras_to_ijk_points(a_phantom.reference.centerline.points_ras)
    beside = replace(ct, hu=ct.hu.copy())
    beside.hu[:, :, int(canal[:, 0].min()) - 20 :] = -1000

    with pytest.raises(NoSpineFound):
        detect_centerline(beside)


@pytest.mark.parametrize("kind", NO_SPINE_KINDS)
def test_a_drawn_volume_without_a_spine_is_refused(kind):
    with pytest.raises(NoSpineFound):
        detect_centerline(make_no_spine(kind, 900_100, (2.0, 2.0, 4.0)))


def test_a_porotic_spine_is_found_though_its_bodies_are_no_denser_than_muscle():
    phantom = make_phantom(random_options(900_016))

    centerline = detect_centerline(phantom.ct)

    assert centerline_errors(centerline, phantom.reference).coverage > 0.9


def test_canal_and_vertebra_are_boxed_where_they_are(a_phantom):
    boxes = detect_canal(a_phantom.ct).boxes

    center, _ = canal_at(a_phantom.reference.centerline, boxes.heights_mm)
    truth = vertebra_walls(a_phantom.reference, boxes.heights_mm, center) + center[:, [0, 0, 1, 1]]
    known = np.isfinite(truth).all(axis=1)
    assert known.sum() > 20
    assert np.median(np.abs(boxes.vertebra_ras[known] - truth[known])) < 3.0
    wide, deep = np.diff(boxes.canal_ras.reshape(-1, 2, 2))[..., 0].T
    assert 14.0 < np.median(wide) < 30.0
    assert 11.0 < np.median(deep) < 24.0
    assert np.all(boxes.region_ras[:, 1] - boxes.region_ras[:, 0] >= wide)


@pytest.mark.parametrize("name", ROBUSTNESS)
def test_a_change_that_hospitals_make_does_not_move_the_centerline(a_phantom, its_centerline, name):
    changed = ROBUSTNESS[name](a_phantom.ct, a_phantom.reference.centerline, np.random.default_rng(0))

    line = changed.taken_back(detect_centerline(changed.ct))

    moved = nearest_distance_mm(its_centerline.points_ras, line.positions_ras(np.arange(0.0, line.length_mm, 1.0)))
    assert np.median(moved) < 2.0


@pytest.mark.parametrize("factor", [0.42, 2.4])
def test_a_lateral_spacing_that_is_wrong_is_reported_and_not_measured(a_phantom, factor):
    false = stretched(0, factor)(a_phantom.ct, a_phantom.reference.centerline, np.random.default_rng(0)).ct

    with pytest.raises(ImplausibleGeometry, match="spacing in the file cannot be true"):
        detect_centerline(false)


def test_a_severe_scoliosis_is_followed():
    options = PhantomOptions(
        seed=8, scoliosis_deg=85.0, caudal_level="L4", cranial_level="T2", spacing_mm=(2.0, 2.0, 4.0)
    )
    phantom = make_phantom(replace(options, field_of_view="spine"))

    line = detect_centerline(phantom.ct)

    assert coronal_cobb_deg(phantom.reference.centerline) > 55.0
    assert coronal_cobb_deg(line) == pytest.approx(coronal_cobb_deg(phantom.reference.centerline), abs=15.0)
    assert centerline_errors(line, phantom.reference).p95_mm < 3.0


def test_reading_windows_gives_the_places_that_reading_whole_slices_gives():
    options = PhantomOptions(
        seed=4, caudal_level="L2", cranial_level="T9", spacing_mm=(3.0, 3.0, 4.0), slice_thickness_mm=4.0
    )
    stack = build_axial_stack(draw_once(options).ct)
    weights = load_weights("cord")
    network = network_from_weights(weights)

    readers = [CanalReader(network, stack) for _ in range(2)]
    readers[0].read_whole()
    readers[1].read_along_path()
    whole, quick = (reader.found for reader in readers)

    sure = (whole.probability[:, 0] > 0.8) & (quick.probability[:, 0] > 0.8)
    assert stack.hu[0].size > 1.5 * 96 * 96
    assert sure.mean() > 0.8
    assert np.abs(whole.position_mm[sure, 0] - quick.position_mm[sure, 0]).max() < 2.0
    assert np.median(np.abs(whole.position_mm[sure, 0] - quick.position_mm[sure, 0])) < 0.1


def test_a_cancelled_detection_stops(a_phantom):
    token = CancelToken()
    token.cancel()

    with pytest.raises(Cancelled):
        detect_centerline(a_phantom.ct, progress=StageProgress("canal", token=token))


def test_the_step_is_imported_without_pytorch(modules_after):
    assert "torch" not in modules_after("import VertebralFractureLib.canal")
