"""Planes that were lost, copied, cut out, moved or stacked are found by index; what good scans show is not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.errors import BrokenStack
from VertebralFractureLib.research.evaluation.stack_changes import SLICE_CHANGES, change_slices
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.continuity import FaultKind, find_plane_faults, find_slice_axis, refuse_broken_stack

SPACING_MM = (1.5, 1.5, 3.0)


def a_trunk(seed: int = 0, planes: int = 70) -> CTVolume:
    """A trunk in noise-free air whose inside is a smooth random texture: planes 3 mm apart are alike, 60 mm are not."""
    rng = np.random.default_rng(seed)
    # Drawn longer and cut, because what a Fourier transform draws is periodic.
    shape = (planes + 20, 80, 96)
    frequency = [np.fft.fftfreq(n, step) for n, step in zip(shape, SPACING_MM[::-1], strict=True)]
    k, j, i = np.meshgrid(*frequency, indexing="ij")
    texture = np.fft.fftn(rng.normal(size=shape)) * np.exp(-0.5 * (2 * np.pi * 7.0) ** 2 * (k**2 + j**2 + i**2))
    inside = np.real(np.fft.ifftn(texture))
    hu = 40.0 + 110.0 * inside / inside.std() + rng.normal(0.0, 15.0, shape)
    y, x = np.meshgrid(np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[2]), indexing="ij")
    hu[:, (x / 0.8) ** 2 + (y / 0.7) ** 2 > 1] = -1024
    matrix = np.diag([*SPACING_MM, 1.0])
    return CTVolume(np.round(np.maximum(hu[:planes], -1024)).astype(np.int16), matrix, "trunk")


def faults_of(ct: CTVolume) -> list[tuple[FaultKind, int, int, int]]:
    return [(fault.kind, fault.axis, fault.before, fault.after) for fault in find_plane_faults(ct).faults]


def with_planes(ct: CTVolume, hu: np.ndarray) -> CTVolume:
    return replace(ct, hu=hu)


def test_a_whole_trunk_with_air_beyond_both_ends_and_a_blanked_face_has_no_fault() -> None:
    ct = a_trunk()
    hu = np.pad(ct.hu, ((4, 6), (3, 3), (2, 2)), constant_values=-1024)
    hu[50:, 60:] = -1024

    found = find_plane_faults(with_planes(ct, hu))

    assert found.faults == ()
    assert found.repeats_per_plane == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("value", [0, -1024, 40])
def test_lost_planes_that_were_filled_with_a_constant_are_named(value: int) -> None:
    ct = a_trunk()
    hu = ct.hu.copy()
    hu[30:34] = value

    assert faults_of(with_planes(ct, hu)) == [(FaultKind.EMPTY, 0, 29, 34)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_without_an_image_at_the_ends_are_no_part_of_what_was_imaged(axis: int) -> None:
    """Given a trunk with planes of zeros beyond both ends of an axis, when its imaged part is asked for, then it is the
    trunk, at its place; a trunk that has none is itself.
    """
    trunk = a_trunk()
    trunk = replace(trunk, hu=trunk.hu + np.random.default_rng(1).integers(-9, 10, trunk.hu.shape).astype(np.int16))
    width = [(0, 0)] * 3
    width[axis] = (3, 5)
    padded = with_planes(trunk, np.pad(trunk.hu, width))
    first = np.zeros((1, 3))
    first[0, 2 - axis] = 3.0

    imaged = padded.imaged

    assert trunk.imaged is trunk
    np.testing.assert_array_equal(imaged.hu, trunk.hu)
    np.testing.assert_allclose(imaged.ijk_to_ras[:3, 3], padded.ijk_to_ras_points(first)[0])


def test_a_volume_of_few_values_stays_whole() -> None:
    drawn = CTVolume(np.where(np.indices((20, 20, 20)).sum(0) > 30, 300, 0).astype(np.int16), np.eye(4))

    assert drawn.imaged is drawn


def test_lost_planes_that_keep_the_circle_of_the_scanner_are_named() -> None:
    ct = a_trunk()
    hu = ct.hu.copy()
    hu[30:32] = np.where(ct.hu[30] == -1024, -1024, 0)

    assert faults_of(with_planes(ct, hu)) == [(FaultKind.EMPTY, 0, 29, 32)]


def test_planes_that_are_copies_of_the_one_before_are_named() -> None:
    ct = a_trunk()
    hu = ct.hu.copy()
    hu[21:25] = hu[20]

    assert faults_of(with_planes(ct, hu)) == [(FaultKind.REPEATED, 0, 20, 25)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lost_and_copied_planes_are_found_along_every_axis_of_storage(axis: int) -> None:
    ct = a_trunk()
    order = [(0, 1, 2), (1, 0, 2), (1, 2, 0)][axis]
    hu = ct.hu.copy()
    hu[30:33] = 0
    hu[41] = hu[40]
    matrix = np.eye(4)
    columns = np.diag(SPACING_MM)[:, ::-1][:, list(order)]
    matrix[:3, :3] = columns[:, ::-1]
    stored = CTVolume(np.ascontiguousarray(hu.transpose(order)), matrix, "stored")

    assert find_slice_axis(stored) == axis
    assert faults_of(stored) == [(FaultKind.EMPTY, axis, 29, 33), (FaultKind.REPEATED, axis, 40, 41 + 1)]


@pytest.mark.parametrize("lost", [3, 6, 12])
def test_planes_that_were_cut_out_are_a_jump_at_their_place(lost: int) -> None:
    ct = a_trunk()
    hu = np.delete(ct.hu, range(30, 30 + lost), axis=0)

    assert faults_of(with_planes(ct, hu)) == [(FaultKind.JUMP, 0, 29, 30)]


def test_a_step_of_the_table_is_a_jump() -> None:
    ct = a_trunk()
    hu = ct.hu.copy()
    hu[35:] = np.roll(hu[35:], 10, axis=2)

    assert faults_of(with_planes(ct, hu)) == [(FaultKind.JUMP, 0, 34, 35)]


def test_two_patients_in_one_volume_are_refused_and_told_where_the_second_begins() -> None:
    stacked = with_planes(a_trunk(), np.concatenate([a_trunk(1).hu, a_trunk(2).hu]))

    with pytest.raises(BrokenStack, match="Slices 70 and 71 of 140"):
        refuse_broken_stack(stacked)


def test_a_volume_with_its_halves_exchanged_is_refused() -> None:
    ct = a_trunk()

    with pytest.raises(BrokenStack):
        refuse_broken_stack(with_planes(ct, np.concatenate([ct.hu[35:], ct.hu[:35]])))


def test_two_planes_that_were_exchanged_are_named() -> None:
    trunk = a_trunk()
    hu = trunk.hu.copy()
    hu[[30, 31]] = hu[[31, 30]]

    assert (FaultKind.DISORDER, 0, 29, 32) in faults_of(with_planes(trunk, hu))
    refuse_broken_stack(with_planes(trunk, hu))


def test_a_volume_in_which_the_slices_of_two_patients_alternate_is_refused() -> None:
    """Given two trunks whose slices take turns, when the volume is checked, then it is refused, and told that its
    slices do not follow each other.
    """
    one, other = a_trunk(1), a_trunk(2)
    hu = one.hu.copy()
    hu[1::2] = other.hu[1::2]

    with pytest.raises(BrokenStack, match="do not follow each other in the order"):
        refuse_broken_stack(with_planes(one, hu))


def test_a_few_lost_planes_are_not_refused() -> None:
    ct = a_trunk()
    filled = ct.hu.copy()
    filled[30:33] = 0

    refuse_broken_stack(ct)
    refuse_broken_stack(with_planes(ct, filled))
    refuse_broken_stack(with_planes(ct, np.delete(ct.hu, [30, 31], axis=0)))


def test_a_volume_that_was_made_finer_by_repeating_its_planes_is_no_loss_but_says_how_coarse_it_is() -> None:
    ct = a_trunk()
    finer = replace(ct, hu=np.repeat(ct.hu, 2, axis=0), ijk_to_ras=np.diag([1.5, 1.5, 1.5, 1.0]))

    found = find_plane_faults(finer)

    assert found.faults == ()
    assert found.repeats_per_plane == pytest.approx((2.0, 1.0, 1.0))


def test_a_volume_that_was_made_finer_by_interpolation_has_no_fault() -> None:
    ct = a_trunk()
    at = np.arange(0.0, 69.0, 0.6)
    low = at.astype(int)
    weight = (at - low)[:, None, None]
    hu = (1 - weight) * ct.hu[low] + weight * ct.hu[low + 1]

    finer = replace(ct, hu=np.round(hu).astype(np.int16), ijk_to_ras=np.diag([1.5, 1.5, 1.8, 1.0]))

    assert find_plane_faults(finer).faults == ()


def test_air_between_trunk_and_arm_is_no_lost_plane() -> None:
    ct = a_trunk()
    hu = np.full((*ct.hu.shape[:2], 130), -1024, dtype=np.int16)
    hu[:, :, :96] = ct.hu
    hu[:, 30:50, 110:128] = ct.hu[:, 30:50, 40:58]

    assert find_plane_faults(with_planes(ct, hu)).faults == ()


def test_an_organ_that_begins_in_one_slice_is_no_jump() -> None:
    """Given a large dense organ whose face lies in a slice, in one quarter of the body, then no slices are missing."""
    ct = a_trunk()
    hu = ct.hu.copy()
    hu[36:60, 16:34, 20:40] = 400

    assert find_plane_faults(with_planes(ct, hu)).faults == ()


@pytest.mark.parametrize("name", [name for name in SLICE_CHANGES if name != "5 mm cut out"])
def test_damage_that_is_more_than_two_slices_cut_out_is_found_in_the_trunk(name: str) -> None:
    ct = a_trunk(planes=100)

    damaged = change_slices(ct, name, np.random.default_rng(3))

    assert damaged.continuity.faults
