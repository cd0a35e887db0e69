"""Places of the canal moved towards the middle of the bone around them."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.canal.candidates import CanalCandidates
from VertebralFractureLib.canal.cortical_refinement import find_cortical_boundary_center, refine_to_cortex
from VertebralFractureLib.canal.path import CanalPath
from VertebralFractureLib.thresholds import CORTICAL_REFINEMENT
from VertebralFractureLib.volume import CTVolume

HEIGHTS_MM = 4.0 * np.arange(10.0)
MIDDLE_MM = np.array([3.0, -2.0])


def a_canal(open_beyond_deg: float = 180.0, offset_hu: float = 0.0) -> CTVolume:
    """Bone around a canal of 22 x 16 mm; no bone in directions more than ``open_beyond_deg`` from front and back."""
    j, i = np.mgrid[-40.0:40.5:0.5, -40.0:40.5:0.5]
    r, a = i - MIDDLE_MM[0], j - MIDDLE_MM[1]
    inside = (r / 11.0) ** 2 + (a / 8.0) ** 2 < 1.0
    is_open = np.degrees(np.arctan2(np.abs(r), np.abs(a))) > open_beyond_deg
    row = np.where(inside | is_open, 30.0, 500.0) + offset_hu
    matrix = np.diag([0.5, 0.5, 4.0, 1.0])
    matrix[:2, 3] = -40.0
    return CTVolume(np.repeat(row[None].astype(np.int16), len(HEIGHTS_MM), axis=0), matrix)


def places_off_by(shift_mm: tuple[float, float]) -> np.ndarray:
    return np.tile(MIDDLE_MM + np.array(shift_mm), (len(HEIGHTS_MM), 1))


@pytest.mark.parametrize("shift_mm", [(0.0, 0.0), (2.0, 0.0), (0.0, -2.5), (-1.5, 2.0)])
@pytest.mark.parametrize("offset_hu", [0.0, 200.0])
def test_the_middle_of_a_closed_ring_is_found_from_any_place_near_it(shift_mm, offset_hu):
    middle, _ = find_cortical_boundary_center(a_canal(offset_hu=offset_hu), HEIGHTS_MM, places_off_by(shift_mm))

    assert np.abs(middle - MIDDLE_MM).max() < 0.3


def test_the_middle_is_found_where_the_ring_is_open_on_both_sides_as_at_a_foramen():
    middle, _ = find_cortical_boundary_center(a_canal(open_beyond_deg=55.0), HEIGHTS_MM, places_off_by((0.5, 2.0)))

    assert np.abs(middle - MIDDLE_MM).max() < 0.5


def test_there_is_no_middle_where_no_bone_is():
    _, certainty = find_cortical_boundary_center(a_canal(open_beyond_deg=0.0), HEIGHTS_MM, places_off_by((0.0, 0.0)))

    assert (certainty == 0.0).all()


def test_the_last_digit_of_the_geometry_moves_no_place_that_lies_between_two_slices():
    """Given slices of which every other shows no arch, and places halfway between them, then a shift of 1e-6 mm in the
    header moves them as little, although the nearest slice is another one.
    """
    ct = a_canal()
    hu = ct.hu.copy()
    hu[::2] = a_canal(open_beyond_deg=55.0).hu[::2]
    hu[::2, 60:, :60] = 500
    moved = []
    for shift_mm in (-1e-6, 1e-6):
        matrix = ct.ijk_to_ras.copy()
        matrix[2, 3] += 2.0 + shift_mm
        found, path = candidates_at(places_off_by((0.0, 1.0)))
        moved.append(refine_to_cortex(CTVolume(hu, matrix), found, path).position_mm)

    assert np.abs(moved[1] - moved[0])[1:-1].max() < 1e-4


def candidates_at(positions_mm: np.ndarray) -> tuple[CanalCandidates, CanalPath]:
    count = len(positions_mm)
    walls = np.tile([-10.0, 12.0, -9.0, 7.0, -20.0, 20.0, 8.0, 40.0], (count, 1, 1))
    found = CanalCandidates(HEIGHTS_MM, positions_mm[:, None], np.ones((count, 1)), np.ones((count, 1)), walls)
    return found, CanalPath(np.arange(count), np.zeros(count, dtype=int), 1.0)


def test_a_place_goes_a_part_of_the_way_and_its_walls_stay_where_they_were():
    found, path = candidates_at(places_off_by((0.0, 2.0)))

    moved = refine_to_cortex(a_canal(), found, path)

    assert moved.position_mm[:, 0] == pytest.approx(
        places_off_by((0.0, 2.0 * (1.0 - CORTICAL_REFINEMENT.cortex_weight))), abs=0.3
    )
    assert moved.position_mm[:, 0, 1] + moved.walls_mm[:, 0, 2] == pytest.approx(MIDDLE_MM[1] + 2.0 - 9.0)


@pytest.mark.parametrize("shift_mm", [(0.0, 0.0), (4.5, 0.0)])
def test_a_place_stays_where_it_is_without_bone_or_when_the_ring_is_another(shift_mm):
    found, path = candidates_at(places_off_by(shift_mm))
    ct = a_canal(open_beyond_deg=0.0) if shift_mm == (0.0, 0.0) else a_canal()

    assert np.array_equal(refine_to_cortex(ct, found, path).position_mm, found.position_mm)
