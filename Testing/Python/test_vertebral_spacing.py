"""The distance between the slices, checked against the pitch of the vertebrae."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline, detect_canal
from VertebralFractureLib.canal.curve import SliceBoxes
from VertebralFractureLib.canal.vertebral_spacing import check_vertebral_spacing, measure_spacing_spectrum
from VertebralFractureLib.errors import ImplausibleGeometry
from VertebralFractureLib.research.evaluation.canal_changes import stretched
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom
from VertebralFractureLib.volume import CTVolume

STRAIGHT = Centerline(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 200.0]]), np.ones(2))


@pytest.fixture(scope="module")
def a_lumbar_phantom():
    options = PhantomOptions(
        seed=12, field_of_view="spine", caudal_level="L4", cranial_level="T8", spacing_mm=(2.0, 2.0, 2.0)
    )
    return make_phantom(options)


def boxes_of_width(width_mm: float) -> SliceBoxes:
    heights = np.arange(0.0, 201.0, 4.0)
    vertebra = np.tile([-0.5 * width_mm, 0.5 * width_mm, 8.0, 38.0], (len(heights), 1))
    return SliceBoxes(heights, np.tile([-9.0, 9.0, -8.0, 8.0], (len(heights), 1)), vertebra)


def pedicles_every(pitch_mm: float | None, noise_hu: float = 0.0) -> CTVolume:
    """Soft tissue, 1 x 1 x 2 mm, with bone beside the middle for half of every pitch (None: nowhere)."""
    s = np.arange(0.0, 201.0, 2.0)
    hu = np.full((len(s), 81, 81), 40.0)
    if pitch_mm is not None:
        bone = (s % pitch_mm) < 0.5 * pitch_mm
        hu[bone, :, :30] = hu[bone, :, 51:] = 400.0
    hu += np.random.default_rng(0).normal(0.0, max(noise_hu, 4.0), hu.shape)
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    matrix[:2, 3] = -40.0
    return CTVolume(hu.astype(np.int16), matrix)


@pytest.mark.parametrize(("pitch_mm", "width_mm"), [(16.0, 22.0), (21.0, 30.0), (32.0, 40.0)])
def test_the_pitch_of_children_and_adults_is_measured_and_plausible(pitch_mm, width_mm):
    ct, boxes = pedicles_every(pitch_mm), boxes_of_width(width_mm)

    pitches, power = measure_spacing_spectrum(ct, STRAIGHT, boxes)
    check_vertebral_spacing(ct, STRAIGHT, boxes)

    assert pitches[power.argmax()] * width_mm == pytest.approx(pitch_mm, rel=0.05)


@pytest.mark.parametrize(("pitch_mm", "width_mm"), [(11.0, 36.0), (62.0, 36.0)])
def test_a_pitch_that_no_spine_has_is_named_in_mm(pitch_mm, width_mm):
    with pytest.raises(ImplausibleGeometry, match="36 mm wide and follow each other every") as caught:
        check_vertebral_spacing(pedicles_every(pitch_mm), STRAIGHT, boxes_of_width(width_mm))

    assert float(re.findall(r"every (\d+) mm", str(caught.value))[0]) == pytest.approx(pitch_mm, rel=0.06)


@pytest.mark.parametrize("noise_hu", [0.0, 60.0])
def test_nothing_is_said_where_no_pitch_is_seen(noise_hu):
    check_vertebral_spacing(pedicles_every(None, noise_hu), STRAIGHT, boxes_of_width(36.0))


def test_a_stretch_of_lost_slices_is_not_taken_for_a_pitch():
    ct = pedicles_every(28.0)
    ct.hu[40:62] = -1024

    check_vertebral_spacing(ct, STRAIGHT, boxes_of_width(36.0))


@pytest.mark.parametrize("value", [0, 40])
def test_a_box_of_one_value_on_one_side_is_not_taken_for_a_pitch(value):
    """Given a spine of which 60 mm to the left hold one value, and pedicles of which little is seen beside that, when
    its spacing is checked, then nothing is said.
    """
    ct = pedicles_every(62.0)

    ct.hu[35:65, :, :42] = value

    check_vertebral_spacing(ct, STRAIGHT, boxes_of_width(36.0))


def test_nothing_is_said_of_a_curve_that_is_too_short():
    short = replace(STRAIGHT, points_ras=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 45.0]]))

    pitches, _ = measure_spacing_spectrum(pedicles_every(11.0), short, boxes_of_width(36.0))

    assert len(pitches) == 0
    check_vertebral_spacing(pedicles_every(11.0), short, boxes_of_width(36.0))


@pytest.mark.parametrize("factor", [0.42, 2.4])
def test_a_spacing_along_the_body_that_is_wrong_is_reported_and_not_measured(a_lumbar_phantom, factor):
    line = a_lumbar_phantom.reference.centerline
    false = stretched(2, factor)(a_lumbar_phantom.ct, line, np.random.default_rng(0)).ct

    detect_canal(a_lumbar_phantom.ct)
    with pytest.raises(ImplausibleGeometry, match="distance between the slices in the file cannot be true"):
        detect_canal(false)


def in_a_canal(ct: CTVolume, width_mm: float, depth_mm: float) -> CTVolume:
    """The same with a ring of bone around an elliptic canal."""
    j, i = np.mgrid[-40.0:41.0, -40.0:41.0]
    inside = (2.0 * i / width_mm) ** 2 + (2.0 * j / depth_mm) ** 2
    return replace(ct, hu=np.where((inside >= 1.0) & (inside < 1.6), 400, ct.hu).astype(np.int16))


def test_a_neck_whose_vertebrae_follow_each_other_closely_is_plausible_and_a_chest_with_that_spacing_is_not():
    pedicles, boxes = pedicles_every(16.0), boxes_of_width(35.0)

    check_vertebral_spacing(in_a_canal(pedicles, 24.0, 14.0), STRAIGHT, boxes)
    with pytest.raises(ImplausibleGeometry, match=r"is probably wrong.*every 16 mm"):
        check_vertebral_spacing(in_a_canal(pedicles, 17.0, 15.0), STRAIGHT, boxes)


def test_a_neck_with_a_spacing_that_no_neck_has_is_named():
    with pytest.raises(ImplausibleGeometry, match="cannot be true"):
        check_vertebral_spacing(in_a_canal(pedicles_every(8.5), 24.0, 14.0), STRAIGHT, boxes_of_width(35.0))
