"""The axes of a vertebra: across its own mid plane and between its endplates, and never nonsense."""

from dataclasses import replace

import numpy as np
import pytest
from correction_samples import landmarks
from hypothesis import given
from hypothesis import strategies as st
from outline_samples import an_outline
from report_samples import a_reported_vertebra

from VertebralFractureLib.vertebrae.body_axes import find_body_axes

UPRIGHT = np.eye(3)


def a_body(outline=None, marks=None):
    return replace(
        a_reported_vertebra("T12", 0.0, 12.0, center_ras=(0.0, 27.0, 0.0)), outline_ras=outline, landmarks_ras=marks
    )


def about_the_long_axis(points, degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = np.array(points) @ np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return tuple(tuple(point) for point in turned.tolist())


@pytest.mark.parametrize("degrees", [-35.0, -5.0, 0.0, 12.0, 40.0])
def test_right_is_across_the_plane_of_the_outline_however_the_body_is_rotated(degrees):
    outline = about_the_long_axis(an_outline(0.0), degrees)
    marks = about_the_long_axis(landmarks(0.0, 24.0, 24.0, 24.0), degrees)

    right, anterior, superior = find_body_axes(a_body(outline, marks), UPRIGHT)

    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    assert right == pytest.approx([cosine, sine, 0.0], abs=1e-6)
    assert anterior == pytest.approx([-sine, cosine, 0.0], abs=1e-6)
    assert superior == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)


def test_top_of_a_wedge_is_between_its_endplates():
    # Given an upper endplate that falls by 10 mm toward the front, on a level lower one
    upper = [(0.0, 43.0, 2.0), (0.0, 27.0, 7.0), (0.0, 11.0, 12.0)]
    lower = [(0.0, 43.0, -12.0), (0.0, 27.0, -12.0), (0.0, 11.0, -12.0)]

    _, anterior, _ = find_body_axes(a_body(None, (*upper, *lower)), UPRIGHT)

    fall = np.degrees(np.arctan2(-anterior[2], anterior[1]))
    assert fall == pytest.approx(0.5 * np.degrees(np.arctan2(10.0, 32.0)), abs=1e-6)


POINTS = st.tuples(*[st.floats(-100.0, 100.0, allow_nan=False)] * 3)
OUTLINES = st.one_of(st.none(), st.lists(POINTS, min_size=1, max_size=12).map(tuple))
MARKS = st.one_of(st.none(), st.tuples(*[POINTS] * 6), POINTS.map(lambda point: (point,) * 6))


@given(OUTLINES, MARKS)
def test_whatever_points_there_are_the_axes_are_at_right_angles_and_near_the_canals(outline, marks):
    axes = find_body_axes(a_body(outline, marks), UPRIGHT)

    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-6)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert axes[0] @ UPRIGHT[0] >= 0.5
    assert axes[1] @ UPRIGHT[1] > 0.0
