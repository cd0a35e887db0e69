"""A straight spine that was bent by a known map comes back straight, whatever grid the scanner stored it on."""

import numpy as np
import pytest
from cpr_samples import BentSpine, edges_along_s

from VertebralFractureLib.cpr import SMOOTH_THROUGH_SLICES, ReformatGrid, straighten
from VertebralFractureLib.volume import CTVolume

GRID = ReformatGrid(right_mm=(-24.0, 24.0), anterior_mm=(-4.0, 40.0))
ANTERIOR_MM = np.arange(8.0, 33.0)
BLOCKS = np.arange(2, 7)


def endplates(spine, bent):
    """Upper and lower endplate of every block, ``(a, block)`` in mm of s."""
    middle = bent.pitch_mm * BLOCKS
    columns = [edges_along_s(spine, a) for a in ANTERIOR_MM]
    upper, lower = (
        [[edges[np.argmin(np.abs(edges - plate))] for plate in middle + half] for edges in columns]
        for half in (0.5 * bent.height_mm, -0.5 * bent.height_mm)
    )
    return np.array(upper), np.array(lower)


def true_heights(bent):
    lost = np.tan(np.radians(bent.wedge_deg)) * (ANTERIOR_MM[:, None] - 4.0)
    return bent.height_mm - np.where(bent.pitch_mm * BLOCKS == bent.wedge_at, lost, 0.0)


def angles(plates):
    return np.degrees(np.arctan([np.polyfit(ANTERIOR_MM, plate, 1)[0] for plate in plates.T]))


def staircase(plates):
    """Mean deviation of the endplates from straight lines, in mm."""
    return np.mean([np.std(p - np.polyval(np.polyfit(ANTERIOR_MM, p, 1), ANTERIOR_MM)) for p in plates.T])


@pytest.mark.parametrize("towards", [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (0.6, 0.8)])
def test_heights_and_angles_of_a_bent_spine_come_back(towards):
    bent = BentSpine(towards=towards)

    spine = straighten(bent.scan(), bent.centerline(), grid=GRID)

    upper, lower = endplates(spine, bent)
    assert np.abs(upper - lower - true_heights(bent)).max() < 0.2
    half_wedge = np.degrees(np.arctan(0.5 * np.tan(np.radians(bent.wedge_deg))))
    wedge = np.where(bent.pitch_mm * BLOCKS == bent.wedge_at, half_wedge, 0.0)
    assert np.abs(angles(upper) + wedge).max() < 0.5
    assert np.abs(angles(lower) - wedge).max() < 0.5
    assert np.abs(spine.frame.ras_to_straight(bent.centerline().points_ras)[:, :2]).max() < 0.05


@pytest.mark.parametrize("slice_mm", [3.0, 5.0])
@pytest.mark.parametrize("towards", [(0.0, 1.0), (0.6, 0.8)])
def test_thick_slices_leave_no_stairs_in_the_heights(slice_mm, towards):
    bent = BentSpine(towards=towards)
    thick = bent.scan((0.8, 0.8, slice_mm), slice_mm)
    found = {}

    for interpolation in ("linear", SMOOTH_THROUGH_SLICES):
        grid = ReformatGrid(right_mm=(-24.0, 24.0), anterior_mm=(-4.0, 40.0), interpolation=interpolation)
        upper, lower = endplates(straighten(thick, bent.centerline(), grid=grid), bent)
        error = np.sqrt(np.mean((upper - lower - true_heights(bent)) ** 2))
        found[interpolation] = (0.5 * (staircase(upper) + staircase(lower)), error)

    stairs, error = found[SMOOTH_THROUGH_SLICES]
    assert stairs < 0.08
    assert error < 0.2
    assert stairs < 0.35 * found["linear"][0]
    assert error < 0.35 * found["linear"][1]


def turned(about_x_deg, about_z_deg):
    x, z = np.radians([about_x_deg, about_z_deg])
    turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return turn_z @ turn_x


def reoriented(ct, axes, flips):
    """The same voxels stored along other axes of the array."""
    array = np.moveaxis(ct.hu, (2, 1, 0), tuple(2 - axis for axis in axes))
    matrix = np.eye(4)
    matrix[:3, axes] = ct.ijk_to_ras[:3, :3]
    matrix[:3, 3] = ct.ijk_to_ras[:3, 3]
    for axis, sign in enumerate(flips):
        if sign < 0:
            array = np.flip(array, 2 - axis)
            matrix[:3, 3] += (array.shape[2 - axis] - 1) * matrix[:3, axis]
            matrix[:3, axis] *= -1.0
    return CTVolume(array, matrix)


@pytest.fixture(scope="module")
def a_bent_spine():
    return BentSpine(radius_mm=160.0, towards=(0.3, 0.9), length_mm=112.0)


@pytest.fixture(scope="module")
def a_scan(a_bent_spine):
    return a_bent_spine.scan()


@pytest.fixture(scope="module")
def the_spine(a_bent_spine, a_scan):
    return straighten(a_scan, a_bent_spine.centerline(), grid=GRID)


@pytest.mark.parametrize(
    ("axes", "flips"),
    [
        ((0, 1, 2), (-1, -1, 1)),
        ((0, 1, 2), (1, 1, -1)),
        ((2, 0, 1), (1, 1, 1)),
        ((2, 0, 1), (-1, 1, -1)),
        ((1, 2, 0), (1, -1, 1)),
        ((1, 0, 2), (1, 1, 1)),
        ((0, 2, 1), (-1, -1, -1)),
        ((2, 1, 0), (1, -1, -1)),
    ],
)
def test_any_of_eight_storage_orders_gives_the_very_same_volume(a_bent_spine, a_scan, the_spine, axes, flips):
    spine = straighten(reoriented(a_scan, axes, flips), a_bent_spine.centerline(), grid=GRID)

    assert np.array_equal(spine.inside, the_spine.inside)
    assert np.abs(spine.hu - the_spine.hu).max() < 0.1


@pytest.mark.parametrize("turn", [turned(20.0, 0.0), turned(-12.0, 25.0)])
def test_an_oblique_scan_of_the_same_spine_gives_the_same_volume(a_bent_spine, the_spine, turn):
    spine = straighten(a_bent_spine.scan((0.8, 0.8, 0.8), 0.8, turn), a_bent_spine.centerline(), grid=GRID)

    common = spine.inside & the_spine.inside
    flat = np.max([np.abs(g) for g in np.gradient(the_spine.hu)], axis=0) < 1.0
    difference = (spine.hu - the_spine.hu)[common & flat]
    assert np.mean(common[: len(common) // 2]) > 0.7
    assert difference.size > 50_000
    assert np.sqrt(np.mean(difference**2)) <= 2.0
