"""What carries no information about the patient changes nothing, or less than what a height is said to be sure to."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.vertebrae.grading import measure_heights
from VertebralFractureLib.vertebrae.localization import _shift_by_half_a_row, localize_bodies_in_their_planes
from VertebralFractureLib.vertebrae.models import VertebraModels


@pytest.fixture(scope="module")
def heights_from(a_phantom):
    """Measure the heights of the phantom's whole bodies along its reference curve, begun so many mm further up."""
    model = VertebraModels.load().body
    line = a_phantom.reference.centerline

    def measure(begun_mm: float) -> np.ndarray:
        at = np.linspace(begun_mm, line.length_mm, len(line.points_ras))
        spine = straighten(a_phantom.ct, Centerline(line.positions_ras(at), np.ones(len(at))))
        bodies = [body for body in localize_bodies_in_their_planes(spine, model) if body.complete]
        heights = [measure_heights(spine.frame.straight_to_ras(body.landmarks_straight())) for body in bodies]
        return np.array([(one.anterior, one.middle, one.posterior) for one in heights])

    return measure


def test_the_row_on_which_the_volume_begins_moves_no_height_by_more_than_its_own_error(heights_from):
    """Given a curve that begins 0.3 mm or 0.5 mm further up, when bodies are measured, then no height differs by as
    much as the standard deviation that a height has at best.
    """
    first = heights_from(0.0)

    for begun_mm in (0.3, 0.5):
        again = heights_from(begun_mm)
        assert again.shape == first.shape
        assert np.abs(again - first).max() < 0.25


def test_rows_halfway_between_those_of_a_volume_are_those_of_a_smooth_profile(a_phantom):
    spine = straighten(a_phantom.ct, a_phantom.reference.centerline)
    s = spine.axis_mm("s")[:, None, None]
    wave = (100.0 * np.sin(s / 8.0) + 0.0 * spine.hu).astype(np.float32)
    smooth = type(spine)(wave, spine.inside, spine.origin_mm, spine.spacing_mm, spine.frame)

    between = _shift_by_half_a_row(smooth)

    assert between.axis_mm("s")[0] == pytest.approx(spine.origin_mm[2] + 0.5)
    inner = between.hu[2:-2, 5, 5]
    assert inner == pytest.approx(100.0 * np.sin(between.axis_mm("s")[2:-2] / 8.0), abs=0.02)
