"""The path through the candidates and the curve along it: gaps, outliers, ends, and the scan's faces."""

from __future__ import annotations

import numpy as np
import pytest

from VertebralFractureLib.canal.axial_stack import AxialStack
from VertebralFractureLib.canal.candidates import CanalCandidates
from VertebralFractureLib.canal.curve import fit_centerline, smooth_robustly
from VertebralFractureLib.canal.network import BOX_SIDES
from VertebralFractureLib.canal.path import find_canal_path

SLICE_MM = 4.0


def candidates_along(canal: np.ndarray, probability: np.ndarray) -> CanalCandidates:
    """Three places per slice: the canal's, and two weak ones elsewhere that jump from slice to slice."""
    count = len(canal)
    elsewhere = np.random.default_rng(0).uniform(-90.0, 90.0, (count, 2, 2))
    position = np.concatenate([canal[:, None], elsewhere], axis=1)
    chance = np.column_stack([probability, np.full((count, 2), 0.02)])
    heights = SLICE_MM * np.arange(count, dtype=np.float64)
    return CanalCandidates(heights, position, chance, np.full((count, 3), 2.0), np.zeros((count, 3, BOX_SIDES)))


def stack_of(count: int) -> AxialStack:
    extent = (-0.5 * SLICE_MM, (count - 0.5) * SLICE_MM)
    return AxialStack(np.zeros((count, 1, 1), np.float32), (0.0, 0.0, 0.0), (2.0, 2.0, SLICE_MM), extent)


@pytest.fixture
def a_leaning_canal() -> np.ndarray:
    rows = np.arange(60, dtype=np.float64)
    return np.column_stack([3.0 * np.sin(rows / 9.0), -0.01 * (rows - 30.0) ** 2 * SLICE_MM / 2.0])


def test_the_path_follows_the_canal_from_its_first_to_its_last_slice(a_leaning_canal):
    probability = np.full(60, 0.01)
    probability[8:50] = 0.95
    found = candidates_along(a_leaning_canal, probability)

    path = find_canal_path(found.position_mm, found.probability, SLICE_MM)

    assert path is not None
    assert path.rows.tolist() == list(range(8, 50))
    assert set(path.choices.tolist()) == {0}


def test_a_stretch_without_evidence_is_bridged_and_reported_as_a_gap(a_leaning_canal):
    probability = np.full(60, 0.95)
    probability[25:33] = 0.0
    found = candidates_along(a_leaning_canal, probability)

    path = find_canal_path(found.position_mm, found.probability, SLICE_MM)
    assert path is not None
    line = fit_centerline(stack_of(60), found, path)

    assert line is not None
    assert len(line.gaps_mm) == 1
    low, high = line.gaps_mm[0]
    assert 8 * SLICE_MM < high - low < 16 * SLICE_MM
    middle = line.confidence_at(np.array([0.5 * (low + high)]))
    assert middle[0] < 0.2 < 0.9 < line.confidence.max()
    distance = np.abs(line.positions_ras(np.arange(low, high, 2.0))[:, 0])
    assert distance.max() < 5.0


def test_a_stronger_place_that_jumps_aside_for_one_slice_is_not_followed(a_leaning_canal):
    found = candidates_along(a_leaning_canal, np.full(60, 0.8))
    found.probability[30, 1] = 0.99

    path = find_canal_path(found.position_mm, found.probability, SLICE_MM)

    assert path is not None
    assert path.choices[path.rows == 30].tolist() in ([], [0])


def test_two_separate_tracks_are_never_joined_across_the_body():
    canal = np.zeros((60, 2))
    canal[40:, 0] = 120.0
    found = candidates_along(canal, np.full(60, 0.9))

    path = find_canal_path(found.position_mm, found.probability, SLICE_MM)

    assert path is not None
    assert path.rows.tolist() == list(range(40))


def test_no_path_is_laid_where_nothing_looks_like_a_canal(a_leaning_canal):
    found = candidates_along(a_leaning_canal, np.full(60, 0.1))

    assert find_canal_path(found.position_mm, found.probability, SLICE_MM) is None


def test_one_wrong_place_does_not_bend_the_curve(a_leaning_canal):
    wrong = a_leaning_canal.copy()
    wrong[20] += (14.0, -9.0)

    smooth, residual = smooth_robustly(wrong, np.ones(60), 3.0)

    assert np.linalg.norm(smooth - a_leaning_canal, axis=1).max() < 1.0
    assert residual.argmax() == 20


def test_the_curve_reaches_the_faces_of_the_scan_and_runs_upward(a_leaning_canal):
    found = candidates_along(a_leaning_canal, np.full(60, 0.95))
    path = find_canal_path(found.position_mm, found.probability, SLICE_MM)

    assert path is not None
    line = fit_centerline(stack_of(60), found, path)

    assert line is not None
    assert line.points_ras[0, 2] == pytest.approx(-2.0, abs=0.01)
    assert line.points_ras[-1, 2] == pytest.approx(238.0, abs=0.01)
    assert np.all(np.diff(line.points_ras[:, 2]) > 0.0)
    steps = np.diff(line.point_arc_lengths_mm)
    assert steps.max() <= 5.0 + 0.01
    assert line.gaps_mm == ()
