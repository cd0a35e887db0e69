"""What carries no information about the patient changes nothing, or less than what a height is said to be sure to."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline, detect_centerline
from VertebralFractureLib.canal.axial_stack import AxialStack, build_axial_stack
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.vertebrae.grading import measure_heights
from VertebralFractureLib.vertebrae.localization import localize_bodies_in_their_planes
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.vertebrae.surfacing import surface_bodies
from VertebralFractureLib.volume import CTVolume


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
    than half a voxel, and nine of ten by no more than a third: about the standard deviation that a height has at best.
    """
    first = heights_from(0.0)

    for begun_mm in (0.3, 0.5):
        again = heights_from(begun_mm)
        assert again.shape == first.shape
        assert np.abs(again - first).max() < 0.5
        assert np.percentile(np.abs(again - first), 90) < 0.33


def cropped(ct: CTVolume, low_ijk: tuple[int, int, int], high_ijk: tuple[int, int, int]) -> CTVolume:
    """The volume without so many voxels at the lower and the higher end of each axis."""
    i, j, k = (slice(low, size - high) for low, high, size in zip(low_ijk, high_ijk, ct.hu.shape[::-1], strict=True))
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] = ct.ijk_to_ras_points(np.array([low_ijk], dtype=float))[0]
    return replace(ct, hu=np.ascontiguousarray(ct.hu[k, j, i]), ijk_to_ras=matrix)


def filled_up(ct: CTVolume, slices: tuple[int, int], hu: int) -> CTVolume:
    """The volume with so many slices of one value below the first and above the last one."""
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] -= slices[0] * matrix[:3, 2]
    padded = np.pad(ct.hu, (slices, (0, 0), (0, 0)), constant_values=hu)
    return replace(ct, hu=padded, ijk_to_ras=matrix)


@pytest.mark.parametrize(("slices", "hu"), [((1, 1), -1024), ((0, 9), 0), ((7, 2), -1000)])
def test_slices_of_one_value_beyond_the_scan_change_nothing(a_phantom, slices, hu):
    """Given a scan that was filled up with air or zeros beyond its ends, when canal and spine volume are laid, then
    both are those of the scan alone, and what was filled up counts as not seen.
    """
    alone, line = a_phantom.ct, a_phantom.reference.centerline
    padded = filled_up(alone, slices, hu)
    beyond = alone.ijk_to_ras_points(np.array([[40.0, 40.0, -3.0], [40.0, 40.0, len(alone.hu) + 3.0]]))

    stack, stack_alone = build_axial_stack(padded), build_axial_stack(alone)
    spine, spine_alone = straighten(padded, line), straighten(alone, line)

    assert stack.extent_s_mm == pytest.approx(stack_alone.extent_s_mm)
    np.testing.assert_array_equal(stack.hu, stack_alone.hu)
    np.testing.assert_array_equal(spine.inside, spine_alone.inside)
    np.testing.assert_array_equal(spine.hu, spine_alone.hu)
    assert not padded.contains_points(beyond).any()
    assert padded.shape_kji != alone.shape_kji


def stored_in(ct: CTVolume, order: tuple[int, ...], flips: tuple[int, ...]) -> CTVolume:
    """The same voxels with axes exchanged and flipped, and an affine that says so."""
    matrix = ct.ijk_to_ras.copy()
    hu = ct.hu.transpose(2, 1, 0)
    for axis in flips:
        matrix[:3, 3] += matrix[:3, axis] * (hu.shape[axis] - 1)
        matrix[:3, axis] *= -1.0
    hu = np.flip(hu, flips).transpose(order)
    return replace(ct, hu=np.ascontiguousarray(hu.transpose(2, 1, 0)), ijk_to_ras=matrix[:, [*order, 3]])


def part_of(stack: AxialStack, other: AxialStack) -> np.ndarray:
    """The voxels of a stack where another one has its own; both on the same grid."""
    steps = (np.array(other.origin_ras) - stack.origin_ras) / stack.spacing_mm
    first = np.rint(steps).astype(int)
    assert steps == pytest.approx(first, abs=1e-6)
    i, j, k = (slice(start, start + size) for start, size in zip(first, other.hu.shape[::-1], strict=True))
    return stack.hu[k, j, i]


def test_a_crop_moves_neither_grid_nor_value_of_what_the_canal_network_sees(a_phantom):
    """Given crops by odd numbers of voxels, when the stack is built, then it lies on the grid of the whole volume, and
    holds the same values but for a margin of two voxels.
    """
    whole = build_axial_stack(a_phantom.ct)

    for low, high in (((1, 3, 0), (5, 2, 0)), ((7, 0, 1), (0, 9, 2))):
        crop = build_axial_stack(cropped(a_phantom.ct, low, high))

        inner = (slice(1, -1), slice(2, -2), slice(2, -2))
        held = crop.hu[inner] > -1024.0
        inside = held & np.roll(held, 2, 1) & np.roll(held, -2, 1) & np.roll(held, 2, 2) & np.roll(held, -2, 2)
        assert inside.mean() > 0.3
        assert np.abs(crop.hu[inner] - part_of(whole, crop)[inner])[inside].max() < 0.05


def test_each_of_the_48_orders_of_storage_gives_the_canal_network_the_same_voxels(a_phantom):
    whole = build_axial_stack(a_phantom.ct)

    for order in permutations(range(3)):
        for signs in product((False, True), repeat=3):
            stored = stored_in(a_phantom.ct, order, tuple(axis for axis in range(3) if signs[axis]))
            stack = build_axial_stack(stored)
            assert stack.origin_ras == whole.origin_ras
            assert np.abs(stack.hu - whole.hu).max() < 0.05


def test_a_crop_beside_the_spine_hardly_moves_the_canal(a_phantom):
    line = detect_centerline(a_phantom.ct)

    other = detect_centerline(cropped(a_phantom.ct, (3, 1, 0), (2, 5, 0)))

    at = np.linspace(10.0, line.length_mm - 10.0, 20)
    assert np.abs(other.positions_ras(at) - line.positions_ras(at)).max() < 0.02
