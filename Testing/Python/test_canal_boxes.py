"""Boxes of canal and vertebra: what they are taught from, how they follow a window, and what they say of a header."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.canal.axial_stack import AxialStack
from VertebralFractureLib.canal.bony_canal import measure_canal_walls
from VertebralFractureLib.canal.candidates import read_both_ways
from VertebralFractureLib.canal.curve import SliceBoxes
from VertebralFractureLib.canal.network import CHANNELS, CanalNetwork
from VertebralFractureLib.canal.plausibility import check_anatomy, check_bone_around, check_content
from VertebralFractureLib.errors import CanalFilled, ImplausibleGeometry, NoSpineFound
from VertebralFractureLib.research.datasets import BodyBox, ReferenceSpine, ReferenceVertebra
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom
from VertebralFractureLib.research.training.canal_cases import (
    LABELED,
    CanalCase,
    canal_at,
    make_canal_case,
    vertebra_walls,
)
from VertebralFractureLib.research.training.canal_windows import window_at
from VertebralFractureLib.research.training.train_canal import READ_IN_FRONT_MM
from VertebralFractureLib.volume import CTVolume


def a_spine(lean_deg: float) -> ReferenceSpine:
    """A straight canal that leans to the front, with two bodies whose walls are known."""
    s = np.arange(0.0, 101.0, 5.0)
    lean = np.radians(lean_deg)
    points = np.stack([0.0 * s, np.sin(lean) * s, np.cos(lean) * s], axis=1)
    bodies = tuple(
        ReferenceVertebra(
            level, True, (0.0, 0.0, 0.0), BodyBox(low, low + 25.0, 8.0, 40.0, -18.0, 20.0), (25,) * 3, 0, None
        )
        for level, low in (("L2", 10.0), ("L1", 60.0))
    )
    return ReferenceSpine("made", Centerline(points, np.ones(len(points))), bodies)


def test_walls_of_an_upright_spine_are_those_of_its_boxes():
    spine, heights = a_spine(0.0), np.array([5.0, 30.0, 50.0, 80.0, 95.0])

    walls = vertebra_walls(spine, heights, canal_at(spine.centerline, heights)[0])

    assert walls[1:4] == pytest.approx(np.tile([-18.0, 20.0, 8.0, 40.0], (3, 1)), abs=0.1)
    assert np.isnan(walls[[0, 4]]).all()


def test_an_axial_plane_cuts_a_leaning_vertebra_deeper():
    spine, heights = a_spine(30.0), np.array([40.0])

    walls = vertebra_walls(spine, heights, canal_at(spine.centerline, heights)[0])[0]

    assert walls[3] - walls[2] == pytest.approx(32.0 / np.cos(np.radians(30.0)), abs=0.3)
    assert walls[1] - walls[0] == pytest.approx(38.0, abs=0.1)


def test_the_bone_around_the_canal_is_measured_and_an_open_side_is_unknown():
    k, j, i = np.meshgrid(np.arange(20.0), np.arange(-40.0, 40.0), np.arange(-40.0, 40.0), indexing="ij")
    inside = (i > -9.0) & (i < 11.0) & (j > -7.0) & (j < 8.0)
    hu = np.where(inside, 30, np.where((np.abs(i) < 20) & (np.abs(j) < 20), 400, 50)).astype(np.int16)
    hu[:, j[0, :, 0] >= 8.0] = 50
    matrix = np.eye(4)
    matrix[:2, 3] = -40.0

    walls = measure_canal_walls(CTVolume(hu, matrix), np.array([10.0]), np.zeros((1, 2)))[0]

    assert walls[:3] == pytest.approx([-9.0, 11.0, -7.0], abs=1.0)
    assert np.isnan(walls[3])
    assert k.shape == hu.shape


def test_the_center_that_a_phantom_teaches_lies_between_its_walls_where_a_reader_would_put_it():
    options = PhantomOptions(
        seed=5, field_of_view="spine", caudal_level="L1", cranial_level="T11", spacing_mm=(1.0, 1.0, 4.0)
    )
    phantom = make_phantom(options)

    case = make_canal_case("made", phantom.ct, phantom.reference, forward_mm=READ_IN_FRONT_MM)

    middle = 0.5 * (case.walls_mm[:, 2] + case.walls_mm[:, 3])
    assert np.nanmedian(middle) == pytest.approx(-0.47, abs=0.35)
    assert np.nanmedian(0.5 * (case.walls_mm[:, 0] + case.walls_mm[:, 1])) == pytest.approx(0.0, abs=0.35)


def test_walls_follow_the_flips_and_the_scale_of_a_window():
    stack = AxialStack(np.zeros((60, 90, 90), np.int16), (0.0, 0.0, 0.0), (2.0, 2.0, 2.0), (0.0, 120.0))
    walls = np.array([-8.0, 9.0, -6.0, 7.0, -15.0, 19.0, 6.0, 33.0])
    case = CanalCase("made", stack, np.full((60, 2), 90.0), np.full(60, LABELED, np.int8), np.tile(walls, (60, 1)))
    random = np.random.default_rng(2)

    known = [window.walls_mm for window in (window_at(case, 30, random) for _ in range(80)) if window.present]
    known = np.array([own for own in known if np.isfinite(own).all()])

    across, deep = known[:, 1] - known[:, 0], known[:, 3] - known[:, 2]
    assert len(known) > 20
    assert np.all(across > 0.0)
    assert np.all(deep > 0.0)
    assert (known[:, 5] - known[:, 4]) / across == pytest.approx(np.full(len(known), 34.0 / 17.0))
    to_the_right = known[:, 5] > -known[:, 4]
    assert 0.2 < to_the_right.mean() < 0.8
    assert np.array_equal(to_the_right, known[:, 1] > -known[:, 0])


def test_a_mirrored_slice_is_read_as_the_mirror_image():
    torch.manual_seed(0)
    network, slices = CanalNetwork((8, 8)).eval(), torch.randn(2, CHANNELS, 32, 48)

    with torch.inference_mode():
        logits, boxes = read_both_ways(network, slices)
        mirrored_logits, mirrored_boxes = read_both_ways(network, slices.flip(-1))

    low_r, high_r, low_a, high_a = boxes[:, :4].unbind(1)
    assert torch.allclose(mirrored_logits.flip(-1), logits, atol=1e-5)
    assert torch.allclose(mirrored_boxes[:, 0].flip(-1), -high_r, atol=1e-4)
    assert torch.allclose(mirrored_boxes[:, 1].flip(-1), -low_r, atol=1e-4)
    assert torch.allclose(mirrored_boxes[:, 2:4].flip(-1), torch.stack([low_a, high_a], 1), atol=1e-4)
    assert not torch.allclose(network(slices)[0], logits, atol=1e-3)


def a_bony_canal(width_mm: float, depth_mm: float) -> CTVolume:
    """A block of bone of 90 mm with a canal along S around the origin; 1 x 1 x 4 mm voxels."""
    j, i = np.mgrid[-60.0:61.0, -60.0:61.0]
    row = np.where((np.abs(i) < 45.0) & (np.abs(j) < 45.0), 400, 0)
    row[(2.0 * i / width_mm) ** 2 + (2.0 * j / depth_mm) ** 2 < 1.0] = 30
    matrix = np.diag([1.0, 1.0, 4.0, 1.0])
    matrix[:2, 3] = -60.0
    return CTVolume(np.repeat(row[None].astype(np.int16), 40, axis=0), matrix)


def test_a_canal_that_is_filled_with_fat_is_the_marrow_of_a_long_bone():
    water, boxes = a_bony_canal(20.0, 17.0), boxes_of(36.0)
    hu = np.where(water.hu == 30, -70, water.hu)
    stacks = [
        AxialStack(values, (-60.0, -60.0, 0.0), (1.0, 1.0, 4.0), (-2.0, 158.0))
        for values in (water.hu, water.hu + 200, hu)
    ]

    check_bone_around(stacks[0], boxes, 1.0)
    check_bone_around(stacks[1], boxes, 1.0)
    with pytest.raises(NoSpineFound, match="filled with fat"):
        check_bone_around(stacks[2], boxes, 1.0)


def boxes_of(vertebra_width_mm: float) -> SliceBoxes:
    vertebra = np.tile([-0.5 * vertebra_width_mm, 0.5 * vertebra_width_mm, 8.0, 38.0], (40, 1))
    return SliceBoxes(4.0 * np.arange(40.0), np.tile([-9.0, 9.0, -8.0, 8.0], (40, 1)), vertebra)


def test_the_region_holds_canal_and_vertebra():
    assert boxes_of(40.0).region_ras[0].tolist() == [-20.0, 20.0, -8.0, 38.0]


@pytest.mark.parametrize(("width", "depth"), [(15.0, 13.0), (22.0, 17.0), (20.0, 20.0)])
def test_canals_of_children_and_adults_are_plausible(width, depth):
    check_anatomy(a_bony_canal(width, depth), boxes_of(36.0))


@pytest.mark.parametrize(("across", "deep"), [(0.42, 1.0), (2.4, 1.0), (1.0, 0.42), (1.0, 2.4)])
def test_a_spacing_that_is_wrong_by_the_factor_of_a_public_series_is_named(across, deep):
    with pytest.raises(ImplausibleGeometry, match="spacing in the file cannot be true") as caught:
        check_anatomy(a_bony_canal(20.0 * across, 17.0 * deep), boxes_of(36.0))

    measured = [float(number) for number in re.findall(r"(\d+) mm", str(caught.value))]
    assert measured == pytest.approx([20.0 * across, 17.0 * deep], rel=0.2, abs=1.0)


def a_spine_with_bodies(r_mm: float, a_mm: float, size: float = 1.0, canal_mm=(20.0, 17.0)) -> CTVolume:
    """A thin ring of bone around a canal, and bodies of 40 mm in the direction (r, a); 1 x 1 x 4 mm."""
    j, i = np.mgrid[-60.0:61.0, -60.0:61.0] / size
    canal = (2.0 * i / canal_mm[0]) ** 2 + (2.0 * j / canal_mm[1]) ** 2
    row = np.where((canal >= 1.0) & (canal < 1.8), 400, 30)
    row[np.hypot(i - 30.0 * r_mm, j - 30.0 * a_mm) < 20.0] = 300
    matrix = np.diag([1.0, 1.0, 4.0, 1.0])
    matrix[:2, 3] = -60.0
    return CTVolume(np.repeat(row[None].astype(np.int16), 40, axis=0), matrix)


@pytest.mark.parametrize(("r_mm", "side"), [(1.0, "right"), (-1.0, "left")])
def test_a_patient_on_the_side_is_named_with_the_side_and_not_as_a_false_spacing(r_mm, side):
    with pytest.raises(ImplausibleGeometry, match=f"lies on the side.*says the {side} of the body is"):
        check_anatomy(a_spine_with_bodies(r_mm, 0.0, canal_mm=(17.0, 20.0)), boxes_of(36.0))


def test_much_lateral_bone_fraction_a_canal_that_is_wider_than_deep_is_no_patient_on_the_side():
    check_anatomy(a_spine_with_bodies(1.0, 0.0), boxes_of(36.0))


@pytest.mark.parametrize("a_mm", [1.0, -1.0])
def test_bodies_in_front_of_the_canal_or_behind_it_are_no_patient_on_the_side(a_mm):
    check_anatomy(a_spine_with_bodies(0.0, a_mm), boxes_of(36.0))


def test_the_bodies_of_a_child_are_found_where_a_child_has_them():
    child = a_spine_with_bodies(0.0, 1.0, size=0.5)
    stack = AxialStack(child.hu, (-60.0, -60.0, 0.0), (1.0, 1.0, 4.0), (-2.0, 158.0))

    check_bone_around(stack, boxes_of(18.0), 1.0)
    with pytest.raises(NoSpineFound, match="no vertebrae beside them"):
        check_bone_around(stack, boxes_of(36.0), 1.0)


@pytest.mark.parametrize("width", [10.0, 90.0])
def test_vertebrae_of_a_size_that_nobody_has_are_named(width):
    with pytest.raises(ImplausibleGeometry, match=f"the vertebrae measure {width:.0f} mm across"):
        check_anatomy(a_bony_canal(20.0, 17.0), boxes_of(width))


@pytest.mark.parametrize(("width", "depth"), [(24.0, 14.0), (26.0, 13.0), (22.0, 11.0)])
def test_the_flat_canal_of_a_neck_and_a_narrowed_one_are_plausible(width, depth):
    check_anatomy(a_bony_canal(width, depth), boxes_of(36.0))


def test_a_canal_without_a_wall_behind_is_not_judged_by_its_shape():
    ct = a_bony_canal(20.0, 17.0)
    ct.hu[:, :60, 50:71] = 30

    check_anatomy(ct, boxes_of(36.0))


@pytest.mark.parametrize("contrast_hu", [350, 600])
def test_contrast_medium_in_the_canal_is_neither_bone_nor_the_measure_of_it(contrast_hu):
    spine = a_spine_with_bodies(0.0, 1.0)
    j, i = np.mgrid[-60.0:61.0, -60.0:61.0]
    sac = (2.0 * i / 15.0) ** 2 + (2.0 * j / 12.0) ** 2 < 1.0
    hu = np.where(sac, contrast_hu, spine.hu).astype(np.int16)
    myelogram = CTVolume(hu, spine.ijk_to_ras)
    stack = AxialStack(hu, (-60.0, -60.0, 0.0), (1.0, 1.0, 4.0), (-2.0, 158.0))

    check_anatomy(myelogram, boxes_of(36.0))
    check_bone_around(stack, boxes_of(36.0), 1.0)

    assert np.isnan(measure_canal_walls(myelogram, np.array([80.0]), np.zeros((1, 2)))).all()


def a_myelogram(contrast_hu: float, filled_until_mm: float) -> CTVolume:
    """A canal with a dark cord in it; contrast medium fills the sac from below up to a height."""
    spine = a_spine_with_bodies(0.0, 1.0)
    j, i = np.mgrid[-60.0:61.0, -60.0:61.0]
    ring = ((2.0 * i / 16.0) ** 2 + (2.0 * j / 13.0) ** 2 < 1.0) & ((2.0 * i / 9.0) ** 2 + (2.0 * j / 6.5) ** 2 >= 1.0)
    hu = spine.hu.copy()
    hu[: int(filled_until_mm / 4.0), ring] = contrast_hu
    return CTVolume(hu, spine.ijk_to_ras)


@pytest.mark.parametrize("contrast_hu", [350, 600])
@pytest.mark.parametrize("beside_mm", [0.0, 4.0])
def test_a_myelogram_is_refused_by_its_name_even_along_a_curve_beside_the_canal(contrast_hu, beside_mm):
    line = Centerline(np.array([[0.0, beside_mm, 2.0], [0.0, beside_mm, 154.0]]), np.ones(2))

    with pytest.raises(CanalFilled, match="CT myelogram"):
        check_content(a_myelogram(contrast_hu, 154.0), line, boxes_of(36.0))


@pytest.mark.parametrize("beside_mm", [0.0, 4.0])
def test_bone_beside_a_curve_metal_and_a_little_contrast_medium_make_no_myelogram(beside_mm):
    line = Centerline(np.array([[0.0, beside_mm, 2.0], [0.0, beside_mm, 154.0]]), np.ones(2))

    check_content(a_myelogram(30, 154.0), line, boxes_of(36.0))
    check_content(a_myelogram(3000, 154.0), line, boxes_of(36.0))
    check_content(a_myelogram(600, 30.0), line, boxes_of(36.0))
