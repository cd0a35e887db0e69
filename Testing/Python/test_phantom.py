"""The phantom: what it says is true agrees with what it draws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.cpr import lay_frame
from VertebralFractureLib.research.datasets import ReferenceVertebra
from VertebralFractureLib.research.phantom import (
    FractureOptions,
    Phantom,
    PhantomOptions,
    demo_options,
    make_phantom,
    numbering_options,
    random_options,
)
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL, LEVEL_NUMBERS

_SMALL = PhantomOptions(
    seed=11,
    scoliosis_deg=6.0,
    fractures=(
        FractureOptions("T11", "biconcave", 0.23),
        FractureOptions("T12", "wedge", 0.35),
        FractureOptions("L2", "crush", 0.45),
    ),
    field_of_view="spine",
    caudal_level="L3",
    cranial_level="T9",
    spacing_mm=(1.0, 1.0, 1.0),
    slice_thickness_mm=1.0,
    noise_hu=5.0,
)
_COARSE = replace(_SMALL, spacing_mm=(2.5, 2.5, 3.0), slice_thickness_mm=3.0)


@pytest.fixture(scope="module")
def a_phantom() -> Phantom:
    return make_phantom(_SMALL)


def _whole(phantom: Phantom) -> list[ReferenceVertebra]:
    return [vertebra for vertebra in phantom.reference.vertebrae if vertebra.complete]


def _sample(array: np.ndarray, phantom: Phantom, points_ras: np.ndarray) -> np.ndarray:
    i, j, k = np.round(phantom.ct.ras_to_ijk_points(points_ras)).astype(int).T
    return array[k, j, i]


def test_the_same_options_give_the_same_phantom_and_another_seed_another() -> None:
    first, again, other = make_phantom(_COARSE), make_phantom(_COARSE), make_phantom(replace(_COARSE, seed=12))

    assert np.array_equal(first.ct.hu, again.ct.hu)
    assert np.array_equal(first.body_labels, again.body_labels)
    assert first.reference.vertebrae == again.reference.vertebrae
    assert first.reference.vertebrae != other.reference.vertebrae


def test_options_survive_a_trip_through_json() -> None:
    for options in (demo_options(), random_options(3), _SMALL):
        assert PhantomOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_the_ct_and_its_labels_share_one_grid(a_phantom: Phantom) -> None:
    assert a_phantom.ct.hu.dtype == np.int16
    assert a_phantom.body_labels.dtype == np.uint8
    assert a_phantom.ct.shape_kji == a_phantom.body_labels.shape
    assert a_phantom.ct.name == "phantom-11"
    assert a_phantom.ct.spacing_mm == pytest.approx((1.0, 1.0, 1.0))


def test_levels_are_named_in_anatomical_order_and_all_are_labeled(a_phantom: Phantom) -> None:
    names = [str(vertebra.level) for vertebra in a_phantom.reference.vertebrae]

    caudal_to_cranial = [name for name in reversed(CRANIAL_TO_CAUDAL) if name != "T13"]
    first = caudal_to_cranial.index(names[0])
    assert names == caudal_to_cranial[first : first + len(names)]
    assert {LEVEL_NUMBERS[name] for name in names} == set(np.unique(a_phantom.body_labels)) - {0}


def test_a_vertebra_that_the_volume_cuts_is_not_complete(a_phantom: Phantom) -> None:
    complete = {vertebra.level: vertebra.complete for vertebra in a_phantom.reference.vertebrae}

    assert not complete["T9"]
    assert not complete["L3"]
    assert all(complete[level] for level in ("L2", "L1", "T12", "T11", "T10"))


def test_heights_measured_on_the_labels_agree_with_the_truth(a_phantom: Phantom) -> None:
    for vertebra in _whole(a_phantom):
        assert vertebra.landmarks_ras is not None
        marks = np.array(vertebra.landmarks_ras)
        for n, height in enumerate(vertebra.heights_mm):
            upper, lower = marks[n], marks[n + 3]
            along = np.linspace(-6.0, 6.0 + float(height or 0.0), 400)
            direction = (upper - lower) / np.linalg.norm(upper - lower)
            lines = [lower + along[:, None] * direction + np.array([r, 0.0, 0.0]) for r in np.linspace(-2.0, 2.0, 9)]
            inside = _sample(a_phantom.body_labels, a_phantom, np.concatenate(lines))

            measured = np.mean(inside == LEVEL_NUMBERS[str(vertebra.level)]) * (along[-1] - along[0])

            assert measured == pytest.approx(height, abs=0.8), (vertebra.level, n)


def test_endplates_lie_where_the_bone_begins_in_the_ct() -> None:
    phantom = make_phantom(replace(_SMALL, noise_hu=0.5, degeneration=0.0, blur_mm=0.3, fractures=()))
    errors = []
    for vertebra in _whole(phantom):
        marks = np.array(vertebra.landmarks_ras)
        upper, lower = marks[1], marks[4]
        direction = (upper - lower) / np.linalg.norm(upper - lower)
        side = np.array([1.0, 0.0, 0.0])
        for mark, outward in ((upper, direction), (lower, -direction)):
            t = np.arange(-1.5, 3.0, 0.1)
            lines = [mark + t[:, None] * outward + r * side for r in np.linspace(-2.0, 2.0, 9)]
            profile = np.mean([_linear(phantom, line) for line in lines], axis=0)
            disc, plate = profile[-3:].mean(), profile.max()
            peak = int(profile.argmax())
            beyond = np.flatnonzero(profile[peak:] < 0.5 * (disc + plate))[0] + peak
            errors.append(t[beyond])

    assert abs(float(np.median(errors))) < 0.2


def _linear(phantom: Phantom, points_ras: np.ndarray) -> np.ndarray:
    ijk = phantom.ct.ras_to_ijk_points(points_ras)
    low = np.floor(ijk).astype(int)
    share = ijk - low
    total = np.zeros(len(ijk))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(np.array(corner) == 1, share, 1.0 - share), axis=1)
        i, j, k = (low + np.array(corner)).T
        total += weight * phantom.ct.hu[k, j, i]
    return total


def test_boxes_hold_the_middle_of_the_labeled_bodies(a_phantom: Phantom) -> None:
    frame = lay_frame(a_phantom.reference.centerline)
    for vertebra in _whole(a_phantom):
        box = vertebra.box
        assert box is not None
        k, j, i = np.nonzero(a_phantom.body_labels == LEVEL_NUMBERS[str(vertebra.level)])
        points = frame.ras_to_straight(a_phantom.ct.ijk_to_ras_points(np.stack([i, j, k], axis=1)[::7]))
        middle_a, middle_s = 0.5 * (box.a_post + box.a_ant), 0.5 * (box.s_inf + box.s_sup)
        column = points[(np.abs(points[:, 0]) < 3.0) & (np.abs(points[:, 1] - middle_a) < 3.0)]
        row = points[(np.abs(points[:, 2] - middle_s) < 2.0) & (np.abs(points[:, 0]) < 3.0)]

        assert column[:, 2].min() == pytest.approx(box.s_inf, abs=2.0)
        assert column[:, 2].max() == pytest.approx(box.s_sup, abs=2.0)
        assert row[:, 1].min() == pytest.approx(box.a_post, abs=2.5)
        assert row[:, 1].max() == pytest.approx(box.a_ant, abs=2.5)


def test_grades_follow_from_the_heights_that_were_lost(a_phantom: Phantom) -> None:
    intact = {v.level: v for v in make_phantom(replace(_COARSE, fractures=())).reference.vertebrae}
    grades = {v.level: (v.grade, v.shape) for v in _whole(a_phantom)}
    wanted = {"T11": 0.23, "T12": 0.35, "L2": 0.45}

    assert grades["L2"] == (3, "crush")
    assert grades["T12"] == (2, "wedge")
    assert grades["T11"] == (1, "biconcave")
    assert grades["L1"] == grades["T10"] == (0, None)
    for vertebra in _whole(a_phantom):
        before = np.array(intact[vertebra.level].heights_mm, dtype=float)
        loss = 1.0 - np.array(vertebra.heights_mm, dtype=float) / before
        assert loss.max() == pytest.approx(wanted.get(str(vertebra.level), 0.0), abs=0.01)


def test_the_centerline_runs_in_the_canal_and_bone_surrounds_it_at_the_pedicles(a_phantom: Phantom) -> None:
    centerline = a_phantom.reference.centerline
    inner = centerline.positions_ras(np.arange(8.0, centerline.length_mm - 8.0, 1.0))
    frame = lay_frame(centerline)
    hu = _sample(a_phantom.ct.hu, a_phantom, inner).astype(float)

    assert np.all(np.diff(inner[:, 2]) > 0.0)
    assert hu.max() < 110.0
    assert hu.min() > -90.0
    for vertebra in _whole(a_phantom):
        box = vertebra.box
        assert box is not None
        level = box.s_inf + 0.68 * (box.s_sup - box.s_inf)
        ring = []
        for angle in np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False):
            reach = np.arange(5.0, 24.0, 0.5)
            ray = np.stack([reach * np.cos(angle), reach * np.sin(angle), np.full_like(reach, level)], axis=1)
            ring.append(_sample(a_phantom.ct.hu, a_phantom, frame.straight_to_ras(ray)).max() > 200)
        assert np.mean(ring) > 0.8, vertebra.level


def test_random_phantoms_are_half_without_fracture_and_keep_what_was_asked() -> None:
    options = [random_options(seed) for seed in range(200)]
    asked = random_options(5, field_of_view="spine", spacing_mm=(1.0, 1.0, 2.0), fractures=2)

    assert 0.4 < np.mean([not item.fractures for item in options]) < 0.6
    assert {fracture.grade for item in options for fracture in item.fractures} == {1, 2, 3}
    assert {fracture.shape for item in options for fracture in item.fractures} == {"wedge", "biconcave", "crush"}
    assert (asked.field_of_view, asked.spacing_mm, len(asked.fractures)) == ("spine", (1.0, 1.0, 2.0), 2)


@pytest.mark.parametrize(
    "change",
    [{"orientation": "sagittal", "spacing_mm": (2.0, 2.0, 3.0)}, {"tilt_deg": (9.0, -4.0)}, {"descending": True}],
)
def test_any_orientation_shows_the_same_anatomy_in_ras(change: dict[str, object]) -> None:
    phantom = make_phantom(replace(_COARSE, **change))  # type: ignore[arg-type]

    levels = {vertebra.level: vertebra for vertebra in phantom.reference.vertebrae}
    center = np.array(levels["L1"].center_ras)
    found = _sample(phantom.body_labels, phantom, center[None])

    assert found[0] == LEVEL_NUMBERS["L1"]
    assert center[1] > phantom.reference.centerline.points_ras[:, 1].min()


def test_impossible_options_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no level"):
        make_phantom(replace(_COARSE, caudal_level="L6"))
    with pytest.raises(ValueError, match="20 mm above"):
        make_phantom(replace(_COARSE, caudal_level="T9", cranial_level="L3"))
    with pytest.raises(ValueError, match="20 to 62"):
        FractureOptions("L1", "wedge", 0.1)


def test_a_phantom_up_to_the_skull_has_an_axis_with_a_dens_and_bone_above_it() -> None:
    stretch = replace(_COARSE, fractures=(), caudal_level="C7", cranial_level="C2", cranial_shift_mm=50.0)
    options = replace(stretch, to_skull=True)

    phantom = make_phantom(options)

    axis = next(vertebra for vertebra in phantom.reference.vertebrae if vertebra.level == "C2")
    assert axis.complete
    assert axis.box is not None
    frame = lay_frame(phantom.reference.centerline)
    middle_a = 0.5 * (axis.box.a_post + axis.box.a_ant)
    dens = frame.straight_to_ras(np.array([[0.0, middle_a - 3.0, axis.box.s_sup + above] for above in (6.0, 10.0)]))
    assert (_sample(phantom.ct.hu, phantom, dens) > 150).all()
    beside = frame.straight_to_ras(np.array([[11.0, middle_a - 3.0, axis.box.s_sup + 10.0]]))
    assert (_sample(phantom.ct.hu, phantom, beside) < 150).all()


def test_columns_for_counting_vary_the_count_and_the_last_ribs_and_often_reach_the_skull() -> None:
    drawn = [numbering_options(seed, (2.2, 2.2, 3.0)) for seed in range(60)]

    assert {options.thoracic_count for options in drawn} == {11, 12, 13}
    assert {options.lumbar_count for options in drawn} == {4, 5, 6}
    assert 15 < sum(options.to_skull for options in drawn) < 45
    lengths = [length for options in drawn for length in options.last_rib_mm or ()]
    assert min(lengths) < 30.0 < 120.0 < max(lengths)


def test_last_ribs_of_a_given_length_are_as_long_as_that() -> None:
    options = replace(_COARSE, fractures=(), caudal_level="L2", cranial_level="T10", cranial_shift_mm=0.0)

    short = make_phantom(replace(options, last_rib_mm=(0.0, 0.0)))
    long = make_phantom(replace(options, last_rib_mm=(120.0, 0.0)))

    added = long.ct.hu.astype(int) - short.ct.hu > 150
    i, j, k = np.argwhere(added)[:, ::-1].T
    right_ras = (long.ct.ijk_to_ras @ np.stack([i, j, k, np.ones(len(i))]))[0]
    assert len(right_ras) > 50
    assert (right_ras > 0.0).mean() > 0.95, "only the right rib was drawn longer"
