"""The centerline is one smooth curve on which every step measures the same millimeter."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.canal.centerline import solve_natural_spline


def an_arc(radius=300.0, degrees=60.0, count=60):
    angle = np.radians(np.linspace(-degrees / 2, degrees / 2, count))
    points = np.stack([np.zeros(count), radius * np.cos(angle) - radius, radius * np.sin(angle)], axis=1)
    return Centerline(points, np.linspace(0.2, 1.0, count))


def test_arc_length_of_a_circle_is_radius_times_angle():
    line = an_arc()

    assert line.length_mm == pytest.approx(300.0 * np.radians(60.0), abs=0.01)


def test_positions_lie_on_the_circle_and_are_equidistant():
    line = an_arc()

    points = line.positions_ras(np.arange(0.0, 300.0, 1.0))

    distance = np.hypot(points[:, 1] + 300.0, points[:, 2])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert np.abs(distance - 300.0).max() < 0.01
    assert np.abs(steps - 1.0).max() < 0.001


def test_the_curve_passes_through_its_control_points():
    line = an_arc(count=12)

    points = line.positions_ras(line.point_arc_lengths_mm)

    assert np.abs(points - line.points_ras).max() < 0.01


def test_beyond_its_ends_the_curve_goes_on_straight():
    line = Centerline(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 10.0], [0.0, 0.0, 20.0]]), np.ones(3))

    points = line.positions_ras(np.array([-5.0, 26.0]))

    assert np.allclose(points, [[0, 0, -5], [0, 0, 26]], atol=1e-6)


def test_confidence_is_read_between_the_points():
    line = Centerline(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 10.0]]), np.array([0.0, 1.0]))

    assert line.confidence_at(np.array([2.5])) == pytest.approx([0.25], abs=1e-6)


@pytest.mark.parametrize(
    "points",
    [np.zeros((1, 3)), np.zeros((3, 3)), np.array([[0.0, 0.0, np.nan], [0.0, 0.0, 1.0]]), np.zeros((4, 2))],
)
def test_points_that_make_no_curve_are_refused(points):
    with pytest.raises(ValueError, match="centerline"):
        Centerline(points, np.ones(len(points)))


@pytest.mark.parametrize("count", [3, 4, 40])
def test_the_curve_is_the_natural_cubic_spline_of_scipy(count):
    rng = np.random.default_rng(count)
    points = np.cumsum(np.column_stack([rng.normal(0.0, 2.0, (count, 2)), rng.uniform(2.0, 9.0, count)]), axis=0)
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    expected = CubicSpline(knots, points, bc_type="natural")

    assert np.abs(solve_natural_spline(knots, points) - expected(knots, 2)).max() < 1e-9
    line = Centerline(points, np.ones(count))
    at = line.positions_ras(np.linspace(0.0, line.length_mm, 300))
    nearest = np.linalg.norm(at[:, None] - expected(np.linspace(0.0, knots[-1], 20000)), axis=2).min(axis=1)
    assert nearest.max() < 0.01
