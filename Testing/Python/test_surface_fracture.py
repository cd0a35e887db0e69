"""The second simulation of fractures: its truth lies on the bone that is drawn, in every column."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from test_vertebrae_training import a_block_spine

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import lay_frame
from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.body_surfaces import BodySurfaces
from VertebralFractureLib.research.simulation.loss_maps import SIDE, LossMap, draw_loss_map
from VertebralFractureLib.research.simulation.measured_losses import measure_loss_maps
from VertebralFractureLib.research.simulation.surface_fracture import SurfaceCase, with_surface_fractures
from VertebralFractureLib.research.training.surface_truth import BrokenSurface, FittedSurface
from VertebralFractureLib.vertebrae.grading import grade_from_loss
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.sitk_bridge import write_volume

BROKEN = 2
GRADES_AND_SHAPES = [(grade, shape) for grade in (1, 2, 3) for shape in ("wedge", "biconcave", "crush")]


def a_trabecular_spine(spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> StraightCase:
    """The block spine with the density of spongy bone, and noise, cropped to the bodies so that tests are fast."""
    case = a_block_spine()
    near = (slice(None), slice(36, 96), slice(36, 93))
    noise = np.random.default_rng(5).normal(0.0, 8.0, case.volume.hu[near].shape)
    hu = (np.where(case.volume.hu[near] > 300, 180.0, 60.0) + noise).astype(np.float32)
    volume = replace(case.volume, hu=hu, inside=case.volume.inside[near], origin_mm=(-28.0, -12.0, -12.0))
    return replace(case, volume=volume, source_spacing_mm=spacing_mm)


def broken(grade: int, shape: str | None, seed: int = 0, case: StraightCase | None = None) -> SurfaceCase:
    return with_surface_fractures(case or a_trabecular_spine(), {BROKEN: (grade, shape)}, np.random.default_rng(seed))


def falls_beside_mm(case: StraightCase, body: BodySurfaces, plate_mm: np.ndarray, sign: float) -> np.ndarray:
    """How far above a surface the voxels fall most from bone to disc, in every column of the core, below a voxel."""
    core = core_of(body)
    rows = case.volume.axis_mm("s")
    near = (rows > plate_mm[core].min() - 8.0) & (rows < plate_mm[core].max() + 8.0)
    fine = np.arange(rows[near][0], rows[near][-1], 0.05)
    columns = np.asarray(case.volume.hu, dtype=np.float64)[near][:, core]
    fall = -sign * CubicSpline(rows[near], columns).derivative()(fine)
    away = fine[:, None] - plate_mm[core]
    return np.asarray(away[np.where(np.abs(away) < 3.5, fall, -np.inf).argmax(axis=0), np.arange(away.shape[1])])


def core_of(body: BodySurfaces) -> np.ndarray:
    x, y = body.fractions()
    return (x > 0.2) & (x < 0.8) & (np.abs(y) < 0.6)


@pytest.mark.parametrize(("grade", "shape"), GRADES_AND_SHAPES)
def test_a_fracture_of_the_second_simulation_has_the_grade_and_the_shape_that_were_asked_for(
    grade: int, shape: str
) -> None:
    """Given a spine, when a body breaks, then its losses are of that grade, and its heights are its landmarks'."""
    result = broken(grade, shape)

    vertebra = result.case.reference.vertebrae[BROKEN]
    points = np.array(vertebra.landmarks_ras)
    heights = np.linalg.norm(points[:3] - points[3:], axis=1)
    losses = result.losses[BROKEN]
    assert (vertebra.grade, vertebra.shape) == (grade, shape)
    assert grade_from_loss(max(losses)) == grade
    assert vertebra.heights_mm == pytest.approx(heights)
    before = with_surface_fractures(a_trabecular_spine(), {}, np.random.default_rng(0)).case.reference.vertebrae
    assert heights == pytest.approx(22.0 * (1.0 - np.array(losses)), abs=1.2)
    assert before[BROKEN].heights_mm == (22.0, 22.0, 22.0)


@pytest.mark.parametrize("slice_mm", [1.0, 3.0])
@pytest.mark.parametrize(("grade", "shape"), [(3, "biconcave"), (2, "wedge"), (3, "crush"), (0, None)])
def test_the_surfaces_of_the_second_simulation_lie_where_the_voxels_fall(
    grade: int, shape: str | None, slice_mm: float
) -> None:
    """Given thin or thick slices, when a body breaks, then every column falls steepest at its endplate's surface."""
    result = broken(grade, shape, case=a_trabecular_spine((1.0, 1.0, slice_mm)))

    body = result.surfaces[BROKEN]
    for plate, sign in ((body.upper_mm, 1.0), (body.lower_mm, -1.0)):
        off = falls_beside_mm(result.case, body, plate, sign)
        assert abs(np.median(off)) < 0.2
        assert np.percentile(np.abs(off), 80) < 1.0


def test_a_mild_crush_is_found_for_bodies_that_are_lower_in_front() -> None:
    """Given a body whose front is 20 % lower by nature, when a mild crush is asked for, then it is made."""
    case = a_trabecular_spine()
    vertebrae = [replace(v, heights_mm=(18.0, 20.0, 22.0)) for v in case.reference.vertebrae]
    case = replace(case, reference=replace(case.reference, vertebrae=tuple(vertebrae)))

    for seed in range(3):
        losses = broken(1, "crush", seed, case).losses[BROKEN]
        assert 0.2 <= losses[2] <= max(losses) < 0.25


def test_a_body_in_a_bend_of_the_spine_keeps_the_heights_that_were_read_before_it_breaks() -> None:
    """Given a kyphosis in which the planes fan out, when a body is drawn anew, then its heights follow the reader's."""
    case = a_trabecular_spine()
    turn = np.arange(38) * 5.0 / 110.0
    points = 110.0 * np.column_stack([np.zeros(38), 1.0 - np.cos(turn), np.sin(turn)])
    frame = lay_frame(Centerline(points, np.ones(38)))
    case = replace(case, volume=replace(case.volume, frame=frame))
    drawn = broken(0, None, case=case)

    before, after = (np.array(one.reference.vertebrae[BROKEN].heights_mm) for one in (case, drawn.case))
    assert after / before == pytest.approx(1.0 - np.array(drawn.losses[BROKEN]), abs=0.02)


def test_what_lies_between_a_sunken_endplate_and_where_it_was_is_disc() -> None:
    """Given a deep biconcave fracture, when its voxels are read, then disc and no bone fills the hollow."""
    result = broken(3, "biconcave", seed=3)

    body, hu = result.surfaces[BROKEN], np.asarray(result.case.volume.hu)
    s = result.case.volume.axis_mm("s")[:, None, None]
    was = a_trabecular_spine().reference.vertebrae[BROKEN].box
    assert was is not None
    hollow = (s > body.upper_mm + 2.0) & (s < was.s_sup - 1.0) & core_of(body)
    assert hollow.sum() > 50
    assert abs(float(hu[hollow].mean()) - 60.0) < 15.0


def test_the_bodies_above_a_crush_sink_and_keep_their_heights_and_their_voxels() -> None:
    """Given a crush, when the column sinks, then each box above lies on its own bone again."""
    result = broken(3, "crush", seed=1)

    case, before = result.case, a_trabecular_spine()
    sunk = before.reference.vertebrae[4].box, case.reference.vertebrae[4].box
    assert sunk[0] is not None
    assert sunk[1] is not None
    down = sunk[0].s_sup - sunk[1].s_sup
    assert down > 3.0
    assert sunk[1].s_sup - sunk[1].s_inf == pytest.approx(sunk[0].s_sup - sunk[0].s_inf, abs=1e-6)
    rows = case.volume.axis_mm("s")
    column = np.asarray(case.volume.hu)[:, 12 + 22, 28]
    inner = (rows > sunk[1].s_inf + 2.0) & (rows < sunk[1].s_sup - 2.0)
    assert np.mean(column[inner] > 120.0) > 0.95
    assert case.reference.vertebrae[4].grade == 0
    assert not result.case.volume.inside[-3:].any()


def test_the_second_simulation_is_the_same_for_the_same_seed_and_leaves_its_case_alone() -> None:
    """Given one case, when it is broken twice with one seed, then both are equal and the case is untouched."""
    case = a_trabecular_spine()
    kept = np.array(case.volume.hu)

    one, again, other = (broken(2, "biconcave", seed, case) for seed in (4, 4, 5))

    np.testing.assert_array_equal(one.case.volume.hu, again.case.volume.hu)
    assert not np.array_equal(one.case.volume.hu, other.case.volume.hu)
    np.testing.assert_array_equal(case.volume.hu, kept)
    assert one.case.volume.hu.shape == case.volume.hu.shape


def test_two_broken_neighbors_are_told_where_they_ended_up() -> None:
    """Given two fractures, when the lower one sinks the upper one, then the upper one's surfaces moved along."""
    case = a_trabecular_spine()
    both = with_surface_fractures(case, {1: (3, "crush"), 2: (2, "biconcave")}, np.random.default_rng(2))

    body = both.surfaces[2]
    for plate, sign in ((body.upper_mm, 1.0), (body.lower_mm, -1.0)):
        off = falls_beside_mm(both.case, body, plate, sign)
        assert abs(np.median(off)) < 0.6
    box = both.case.reference.vertebrae[2].box
    assert box is not None
    assert box.s_sup == pytest.approx(body.box.s_sup, abs=0.3)


def test_every_family_of_loss_maps_is_drawn_and_loses_at_most_what_it_says() -> None:
    """Given the three shapes, when maps are drawn, then each is a field of largest loss one, of several families."""
    rng = np.random.default_rng(0)
    maps = [draw_loss_map(shape, rng) for shape in ("wedge", "biconcave", "crush") for _ in range(12)]

    assert {"ramp", "step", "cap", "valley", "flat", "burst", "wedge with back wall"} <= {m.family for m in maps}
    for one in maps:
        assert one.upper.shape == one.lower.shape == (SIDE, SIDE)
        assert 0.8 < float((one.upper + one.lower).max()) < 1.2
    with pytest.raises(ValueError, match="family"):
        draw_loss_map("fork", rng)


def test_a_measured_map_is_taken_where_it_leads_to_the_shape() -> None:
    """Given a map measured on a body, when a fracture of its shape is asked for, then it may be that map."""
    x = np.linspace(0.0, 1.0, SIDE)[:, None] + np.zeros((SIDE, SIDE))
    own = LossMap("of a label", np.clip(1.0 - np.abs(2.0 * x - 1.0), 0.0, 1.0), np.zeros((SIDE, SIDE)))
    taken = {
        with_surface_fractures(
            a_trabecular_spine(), {BROKEN: (2, "biconcave")}, np.random.default_rng(seed), [own]
        ).families[BROKEN]
        for seed in range(4)
    }

    assert "of a label" in taken


def test_the_loss_map_of_a_labeled_body_is_what_it_lacks_against_an_intact_one(tmp_path: Path) -> None:
    """Given two labels, one with a trough of 8 mm in its upper endplate, when it is measured, then the map is that."""
    labels = np.zeros((70, 60, 60), dtype=np.int16)
    labels[5:30, 15:45, 12:48] = 21
    labels[38:63, 15:45, 12:48] = 20
    labels[55:63, 24:36, 12:48] = 0
    volume = CTVolume(labels, np.eye(4))
    write_volume(volume, tmp_path / "labels.nii.gz")
    centroids: list[dict[str, object]] = [
        {"direction": ["R", "A", "S"]},
        {"label": 21, "X": 30.0, "Y": 29.5, "Z": 17.0},
        {"label": 20, "X": 30.0, "Y": 29.5, "Z": 50.0},
    ]
    (tmp_path / "ctd.json").write_text(json.dumps(centroids), encoding="utf-8")

    found = measure_loss_maps(tmp_path / "labels.nii.gz", tmp_path / "ctd.json", {"L1": ["L2"]})["L1"]

    middle, back = found.upper[SIDE // 2, SIDE // 2], found.upper[4, SIDE // 2]
    assert middle == pytest.approx(8.0 / 25.0, abs=0.06)
    assert back == pytest.approx(0.0, abs=0.05)
    assert np.abs(found.lower[4:-4, 4:-4]).max() < 0.06
    with pytest.raises(ValueError, match="no center"):
        measure_loss_maps(tmp_path / "labels.nii.gz", tmp_path / "ctd.json", {"T12": ["L2"]})


def a_broken_surface(bulge_mm: float = 0.0, dent_mm: float = 0.0) -> BrokenSurface:
    """A cylinder of 15 mm radius around (r, a) = (0, 25), from s 40 to 60, its upper endplate dented in the middle."""
    whole = FittedSurface(
        plane=MidPlane.of_canal(),
        middle=(25.0, 50.0),
        r_mm=np.arange(-20.0, 21.0, 2.0),
        a_mm=np.arange(-20.0, 21.0, 2.0),
        upper=np.full((21, 21), 10.0),
        lower=np.full((21, 21), -10.0),
        radius=np.full((9, 48), 15.0),
        front_mm=15.0,
    )
    a, r = np.arange(0.0, 60.0), np.arange(-30.0, 31.0)
    dent = dent_mm * np.exp(-0.5 * (((a[:, None] - 25.0) / 4.0) ** 2 + (r[None] / 4.0) ** 2))
    box = BodyBox(r_left=-15.0, r_right=15.0, a_post=10.0, a_ant=40.0 + bulge_mm, s_inf=40.0, s_sup=60.0)
    plates = BodySurfaces(box, a, r, 60.0 - dent, 40.0 + 0.0 * dent, np.hypot(a[:, None] - 25.0, r[None]) < 15.0)
    return BrokenSurface(whole, plates)


def test_the_true_surface_of_a_broken_body_lies_on_its_endplates_and_walls():
    surface = a_broken_surface(dent_mm=6.0)

    on_it = np.array([[0.0, 25.0, 54.0], [0.0, 25.0, 40.0], [0.0, 40.0, 50.0], [0.0, 10.0, 50.0], [15.0, 25.0, 50.0]])
    assert np.abs(surface.distance(on_it)).max() < 0.35
    assert surface.distance(np.array([[0.0, 25.0, 57.0]]))[0] > 1.0
    assert surface.distance(np.array([[0.0, 25.0, 47.0]]))[0] < -5.0


def test_the_front_of_a_broken_body_bulges_as_far_as_its_box():
    surface = a_broken_surface(bulge_mm=2.0)

    assert abs(surface.distance(np.array([[0.0, 42.0, 50.0]]))[0]) < 0.2
    assert abs(surface.distance(np.array([[0.0, 10.0, 50.0]]))[0]) < 0.2
