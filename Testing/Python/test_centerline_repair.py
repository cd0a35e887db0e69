"""A broken centerline is repaired by a few drags, one is drawn from a handful of points, and a person's points hold."""

from dataclasses import replace

import numpy as np
import pytest
from centerline_breaks import BREAKS, canal_at, error_mm, repaired_by_dragging
from drawn_phantoms import draw_once

from VertebralFractureLib.canal import (
    Centerline,
    canal_evidence,
    detect_canal,
    detect_centerline,
    draw_centerline,
    repair_centerline,
)
from VertebralFractureLib.canal.centerline import order_points
from VertebralFractureLib.research.phantom import PhantomOptions


@pytest.fixture(scope="module")
def evidence(a_phantom):
    return canal_evidence(a_phantom.ct)


@pytest.fixture(scope="module")
def detected(a_phantom):
    return detect_centerline(a_phantom.ct).points_ras


@pytest.fixture(scope="module")
def truth(a_phantom):
    """The drawn canal, a point per mm."""
    points = np.array(a_phantom.reference.centerline.points_ras)
    line = Centerline(points, np.ones(len(points)))
    return line.positions_ras(np.arange(0.0, line.length_mm, 1.0))


@pytest.fixture(scope="module")
def a_wide_phantom():
    """Its slices are larger than the windows that are read along the path."""
    return draw_once(
        PhantomOptions(
            seed=4, caudal_level="L2", cranial_level="T9", spacing_mm=(3.0, 3.0, 4.0), slice_thickness_mm=4.0
        )
    )


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_centerline_is_repaired_by_at_most_three_drags(evidence, detected, truth, name):
    curve = BREAKS[name](detected)
    wanted = error_mm(detected, truth)
    assert name == "swapped ends" or error_mm(order_points(curve), truth)[0] > wanted[0] + 0.5

    curve, _ = repaired_by_dragging(evidence, curve, truth)

    mean, p95 = error_mm(curve, truth)
    assert mean <= wanted[0] + 0.2
    assert p95 <= wanted[1] + 0.3


def test_the_dragged_point_stays_where_it_was_dropped_also_against_the_network(evidence, detected, truth):
    place = canal_at(truth, detected[:, 2].mean()) + np.array([9.0, 0.0, 0.0])

    repaired = repair_centerline(evidence, detected, place)

    assert np.linalg.norm(repaired.points_ras - place, axis=1).min() < 1e-9
    line = Centerline(repaired.points_ras, np.ones(len(repaired.points_ras)))
    ends = np.abs(repaired.points_ras[:, 2] - place[2]) > 60.0
    assert line.length_mm < 1.1 * Centerline(detected, np.ones(len(detected))).length_mm
    assert error_mm(repaired.points_ras[ends], truth[np.abs(truth[:, 2] - place[2]) > 60.0])[0] < 1.5


def test_a_later_drag_keeps_the_earlier_anchor_and_leaves_the_rest_of_the_curve_alone(evidence, detected, truth):
    low, high = np.percentile(detected[:, 2], [20, 80])
    first = repair_centerline(evidence, detected, canal_at(truth, low) + np.array([7.0, 0.0, 0.0]))

    second = repair_centerline(evidence, first.points_ras, canal_at(truth, high), first.anchors_ras)

    assert len(second.anchors_ras) == 2
    assert np.linalg.norm(second.points_ras - first.anchors_ras[0], axis=1).min() < 1e-9
    below = first.points_ras[first.points_ras[:, 2] < high - 20.0]
    assert all(np.linalg.norm(second.points_ras - point, axis=1).min() < 1e-9 for point in below)


def test_a_few_points_in_any_order_draw_the_whole_canal(evidence, detected, truth):
    heights = np.percentile(truth[:, 2], [70, 15, 45])

    drawn = draw_centerline(evidence, np.array([canal_at(truth, height) for height in heights]))

    assert np.all(np.diff(drawn.points_ras[:, 2]) > 0.0)
    assert error_mm(drawn.points_ras, truth)[0] <= error_mm(detected, truth)[0] + 0.2


def test_without_any_evidence_a_spline_joins_the_points_and_follows_a_drag(evidence, truth):
    found = evidence.candidates
    blind = replace(evidence, candidates=replace(found, probability=np.zeros_like(found.probability)))
    clicks = np.array([canal_at(truth, height) for height in np.percentile(truth[:, 2], [5, 35, 65, 95])])

    drawn = draw_centerline(blind, clicks)
    dragged = repair_centerline(blind, drawn.points_ras, clicks[1] + [5.0, 0.0, 0.0], drawn.anchors_ras[[0, 2, 3]])

    for curve, points in ((drawn, clicks), (dragged, clicks[[0, 2, 3]])):
        assert all(np.linalg.norm(curve.points_ras - point, axis=1).min() < 1e-6 for point in points)
    assert np.linalg.norm(dragged.points_ras - clicks[1] - [5.0, 0.0, 0.0], axis=1).min() < 1e-6


def test_one_point_without_any_evidence_is_refused_with_a_word_of_advice(evidence, truth):
    found = evidence.candidates
    blind = replace(evidence, candidates=replace(found, probability=np.zeros_like(found.probability)))

    with pytest.raises(ValueError, match="at least two points"):
        draw_centerline(blind, truth[:1])


def test_a_drag_is_answered_from_what_detection_read_as_from_whole_slices(a_wide_phantom):
    quick, whole = canal_evidence(a_wide_phantom.ct), canal_evidence(a_wide_phantom.ct)
    whole.reader.read_whole()
    detected = detect_canal(a_wide_phantom.ct, evidence=quick).centerline.points_ras
    middle = detected[len(detected) // 2]

    answers = [
        repair_centerline(evidence, detected, middle + np.array([5.0, 2.0, 0.0])).points_ras
        for evidence in (quick, whole)
    ]

    assert (quick.network_runs, whole.network_runs) == (1, 2)
    assert answers[0].shape == answers[1].shape
    assert np.abs(answers[0] - answers[1]).max() < 0.5


def test_a_point_led_to_where_nothing_was_read_has_the_rest_read(a_wide_phantom):
    evidence = canal_evidence(a_wide_phantom.ct)
    detected = detect_canal(a_wide_phantom.ct, evidence=evidence).centerline.points_ras
    right = evidence.stack.origin_ras[0]

    draw_centerline(evidence, np.array([[right, *detected[3][1:]], [right, *detected[-3][1:]]]))
    runs = evidence.network_runs
    draw_centerline(evidence, np.array([[right, *detected[3][1:]], [right, *detected[-3][1:]]]))

    assert runs == 2
    assert evidence.network_runs == 2
    whole = canal_evidence(a_wide_phantom.ct)
    whole.reader.read_whole()
    assert np.array_equal(evidence.candidates.position_mm, whole.candidates.position_mm)
