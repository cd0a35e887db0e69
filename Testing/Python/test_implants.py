"""Metal, cement and lost bone in a column of bodies, and the Hounsfield scale of the soft tissue around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.cpr.hu_scale import measure_soft_tissue_hu, shift_to_hu_scale
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.vertebrae.endplates import BodyShape
from VertebralFractureLib.vertebrae.implants import (
    find_destroyed,
    find_implanted,
    find_metal_beside,
    find_metal_within,
    measure_density,
)
from VertebralFractureLib.vertebrae.localization import LocalizedBody
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.vertebrae.sequence_search import Span

COUNT, HEIGHT, SPACING = 6, 20, 26
BODY_A = (8, 36)


def a_spine(bone: float = 160.0, noise: float = 20.0) -> StraightenedVolume:
    """Six bodies with their cortex in soft tissue, fat behind them, 1 mm voxels."""
    length = COUNT * SPACING + 10
    line = Centerline(np.array([[0.0, 0.0, s] for s in np.linspace(0.0, length, 20)]), np.ones(20))
    origin = (-64.0, -48.0, 0.0)
    hu = np.full((length, 113, 129), 45.0, dtype=np.float32)
    hu[:, :20] = -100.0
    for number in range(COUNT):
        low, high = extent(number)
        hu[low : high + 1, 48 + BODY_A[0] : 49 + BODY_A[1], 64 - 18 : 65 + 18] = bone + 250.0
        hu[low + 2 : high - 1, 50 + BODY_A[0] : 47 + BODY_A[1], 64 - 16 : 65 + 16] = bone
    hu += np.random.default_rng(0).normal(0.0, noise, hu.shape).astype(np.float32)
    return StraightenedVolume(hu, np.ones(hu.shape, dtype=np.bool_), origin, (1.0, 1.0, 1.0), lay_frame(line))


def extent(number: int) -> tuple[int, int]:
    return 5 + SPACING * number, 5 + SPACING * number + HEIGHT


def densities(spine: StraightenedVolume):
    found = []
    for number in range(COUNT):
        low, high = map(float, extent(number))
        ends = [(30.0, high), (22.0, high), (11.0, high), (30.0, low), (22.0, low), (11.0, low)]
        shape = BodyShape(float(BODY_A[0]), float(BODY_A[1]), np.array(ends))
        found.append(
            measure_density(spine, LocalizedBody(Span(low, high, 0.9), 22.0, shape, True, MidPlane.of_canal()))
        )
    return found


def changed(spine: StraightenedVolume, number: int, a: tuple[int, int], r: tuple[int, int], hu: float, ends: int = 0):
    """The spine with a box of another density at a body's height, less ``ends`` mm at both ends."""
    values = spine.hu.copy()
    low, high = extent(number)
    values[low + ends : high + 1 - ends, 48 + a[0] : 48 + a[1], 64 + r[0] : 64 + r[1]] = hu
    return replace(spine, hu=values)


@pytest.mark.parametrize("bone", [20.0, 60.0, 160.0, 300.0, 500.0])
def test_bone_of_any_density_holds_neither_metal_nor_is_it_destroyed(bone: float) -> None:
    seen = densities(a_spine(bone))

    assert not any(find_metal_beside(seen) + find_implanted(seen) + find_destroyed(seen))


@pytest.mark.parametrize("most", [1800.0, 3071.0])
def test_rods_behind_the_canal_are_said_and_do_not_hide_the_bodies(most: float) -> None:
    spine = changed(a_spine(), 2, (-22, -17), (10, 15), most)

    seen = densities(spine)

    assert find_metal_beside(seen)[2]
    assert not any(find_implanted(seen))


def test_a_body_with_screws_is_not_judged() -> None:
    spine = changed(changed(a_spine(), 3, (-20, 30), (8, 14), 2800.0, 7), 3, (-20, 30), (-14, -8), 2800.0, 7)

    seen = densities(spine)

    assert find_implanted(seen) == [False, False, False, True, False, False]


@pytest.mark.parametrize("hu", [950.0, 1400.0, 2400.0])
def test_a_body_with_cement_is_not_judged_and_its_neighbors_are(hu: float) -> None:
    seen = densities(changed(a_spine(), 2, (14, 30), (-8, 8), hu, 5))

    assert find_implanted(seen) == [False, False, True, False, False, False]
    assert not any(find_destroyed(seen))


@pytest.mark.parametrize("hu", [850.0, 1250.0, 1550.0])
def test_what_bone_can_be_as_dense_as_is_not_judged_and_not_called_metal(hu: float) -> None:
    """Given a body that is densely sclerotic, or holds a large bone island, or cement that is no denser, when it is
    looked at, then it is not judged, and nobody says that it holds metal.
    """
    seen = densities(changed(a_spine(), 2, (12, 32), (-10, 10), hu, 4))

    assert find_implanted(seen) == [False, False, True, False, False, False]
    assert not any(find_metal_within(seen))


def test_what_is_denser_than_any_bone_is_metal_in_the_body_and_before_the_canal() -> None:
    filled = densities(changed(a_spine(), 2, (16, 26), (-6, 6), 2000.0, 5))
    screwed = densities(changed(a_spine(), 3, (-20, 30), (8, 14), 2800.0, 7))

    assert find_metal_within(filled) == [False, False, True, False, False, False]
    assert find_metal_within(screwed) == [False, False, False, True, False, False]


def test_a_dense_column_is_no_cement() -> None:
    seen = densities(a_spine(bone=820.0, noise=40.0))

    assert not any(find_implanted(seen))


@pytest.mark.parametrize("ends", [-2, 1, 4])
def test_a_body_of_soft_tissue_among_bodies_of_bone_is_destroyed(ends: int) -> None:
    spine = changed(a_spine(), 3, (6, 39), (-20, 20), 50.0, ends)

    assert find_destroyed(densities(spine)) == [False, False, False, True, False, False]


def test_a_porotic_body_without_walls_is_destroyed_too() -> None:
    """Given bone that is hardly denser than soft tissue, only the lost walls tell."""
    spine = changed(a_spine(bone=60.0), 2, (4, 41), (-20, 20), 50.0, -3)

    assert find_destroyed(densities(spine))[2]


@pytest.mark.parametrize("offset", [-100.0, 60.0, 100.0, 150.0])
def test_a_scale_that_is_off_is_shifted_back_and_said(offset: float) -> None:
    true = a_spine()
    off = replace(true, hu=(true.hu + np.float32(offset)).astype(np.float32))

    shifted, doubt = shift_to_hu_scale(off)

    assert doubt is not None
    assert doubt.kind == DoubtKind.HU_SCALE
    assert doubt.values["hu_of_soft_tissue"] == pytest.approx(45.0 + offset, abs=10.0)
    assert abs(float(np.median(shifted.hu - true.hu))) < 10.0


@pytest.mark.parametrize("offset", [-20.0, 0.0, 25.0])
def test_a_true_ct_is_not_changed(offset: float) -> None:
    true = a_spine()
    volume = replace(true, hu=(true.hu + np.float32(offset)).astype(np.float32))

    assert shift_to_hu_scale(volume) == (volume, None)


def test_fat_that_is_commoner_than_muscle_is_not_taken_for_it() -> None:
    spine = a_spine()
    hu = spine.hu.copy()
    hu[:, 20:44] -= 145.0
    hu[:, 90:, :70] -= 145.0

    assert measure_soft_tissue_hu(replace(spine, hu=hu)) == pytest.approx(45.0, abs=10.0)


def test_sound_bone_between_sclerotic_bodies_is_not_destroyed() -> None:
    spine = a_spine(bone=50.0)
    for number in (0, 2, 4, 5):
        spine = changed(spine, number, (2, 26), (-16, 17), 400.0, 2)
    seen = densities(spine)

    is_dense = [number in (0, 2, 4, 5) for number in range(COUNT)]

    assert find_destroyed(seen)[3]
    assert not any(find_destroyed(seen, is_dense))
