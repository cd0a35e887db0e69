"""What carries no information about the patient changes nothing, or less than what a height is said to be sure to."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.vertebrae.grading import measure_heights
from VertebralFractureLib.vertebrae.localization import localize_bodies_in_their_planes
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.vertebrae.surfacing import surface_bodies


@pytest.fixture(scope="module")
def heights_from(a_phantom):
    """Measure the heights of the phantom's whole bodies along its reference curve, begun so many mm further up."""
    models = VertebraModels.load()
    line = a_phantom.reference.centerline

    def measure(begun_mm: float) -> np.ndarray:
        at = np.linspace(begun_mm, line.length_mm, len(line.points_ras))
        spine = straighten(a_phantom.ct, Centerline(line.positions_ras(at), np.ones(len(at))))
        found = localize_bodies_in_their_planes(spine, models.body)
        bodies = [body for body in surface_bodies(spine, found, models.surfaces) if body.complete]
        heights = [measure_heights(spine.frame.straight_to_ras(body.landmarks_straight())) for body in bodies]
        return np.array([(one.anterior, one.middle, one.posterior) for one in heights])

    return measure


def test_the_row_on_which_the_volume_begins_moves_no_height_by_more_than_its_own_error(heights_from):
    """Given a curve that begins 0.3 mm or 0.5 mm further up, when bodies are measured, then no height differs by more
    than a third of a voxel: about the standard deviation that a height has at best.
    """
    first = heights_from(0.0)

    for begun_mm in (0.3, 0.5):
        again = heights_from(begun_mm)
        assert again.shape == first.shape
        assert np.abs(again - first).max() < 0.33
