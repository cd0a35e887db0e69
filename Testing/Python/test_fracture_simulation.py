"""What is drawn into real scans to train on: fractures that a scanner could have seen, and what only looks like one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bone_stack_samples import BOXES, ORIGIN, a_stack_of_blocks

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume, lay_frame
from VertebralFractureLib.research.datasets import ReferenceSpine, ReferenceVertebra
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.metrics import auc
from VertebralFractureLib.research.evaluation.probe_artifacts import Textures, probe, textures
from VertebralFractureLib.research.simulation.fracture_shapes import CRUSH, WEDGE, Deformation, random_plan, resampled
from VertebralFractureLib.research.simulation.incidental_findings import (
    StraightGrid,
    add_findings,
    degenerated_disc,
    reacquired,
    schmorl_node,
)
from VertebralFractureLib.research.simulation.noise_texture import Layers, blurred
from VertebralFractureLib.research.simulation.simulate_fracture import simulate


def test_a_fracture_in_thick_slices_is_no_sharper_than_they_are() -> None:
    hu, inside = a_stack_of_blocks(slice_mm=5.0)
    before = np.abs(np.diff(hu[:, 45, 24])).max()

    broken = simulate(hu, inside, ORIGIN, BOXES, [Deformation(BOXES[1], CRUSH, 0.5)], np.random.default_rng(0), 5.0)

    assert np.abs(np.diff(broken.hu[:, 45, 24])).max() <= 1.15 * before


def test_a_broken_endplate_has_a_step() -> None:
    hu, inside = a_stack_of_blocks()
    whole = Deformation(BOXES[1], WEDGE, 0.0)

    broken = simulate(
        hu, inside, ORIGIN, BOXES, [Deformation(BOXES[1], WEDGE, 0.0, break_mm=3.0)], np.random.default_rng(0)
    )
    same = simulate(hu, inside, ORIGIN, BOXES, [whole], np.random.default_rng(0))

    lost = (same.hu - broken.hu).sum(axis=0) / 300.0
    behind, before = 8 + 20 + 6, 38 + 20 - 6
    assert lost[behind, 24] == pytest.approx(0.0, abs=0.2)
    assert lost[before, 24] == pytest.approx(3.0, abs=0.4)


def test_a_body_that_leans_to_one_side_loses_more_there() -> None:
    hu, inside = a_stack_of_blocks()

    leaning = simulate(
        hu, inside, ORIGIN, BOXES, [Deformation(BOXES[1], CRUSH, 0.3, lateral_tilt=0.5)], np.random.default_rng(0)
    )

    body = leaning.hu[44:62, 45] > 150.0
    left, right = (int(body[:, round(r - ORIGIN[0])].sum()) for r in (-13.0, 13.0))
    assert left - right >= 2


def test_a_map_by_half_a_voxel_keeps_the_strength_of_the_grain() -> None:
    hu, inside = a_stack_of_blocks()
    hu += np.random.default_rng(0).normal(0.0, 30.0, hu.shape).astype(np.float32)
    layers = Layers.of(hu, inside, ORIGIN, BOXES)
    k, j = (np.broadcast_to(n + 0.5, (138, 74, 49)).astype(np.float32) for n in np.mgrid[0:138, 0:74, 0:1][:2])

    moved = layers.sampled(k, j)

    window = (slice(48, 54), slice(36, 50), slice(18, 30))
    assert layers.sampled(k - 0.5, j - 0.5).hu == pytest.approx(hu[:138, :74], abs=0.01)
    assert moved.texture[window].std() == pytest.approx(layers.texture[window].std(), rel=0.1)


@pytest.mark.parametrize("shape", [WEDGE, CRUSH])
def test_the_core_of_a_collapsed_body_keeps_its_texture(shape: str) -> None:
    hu, inside = a_stack_of_blocks()
    noise = np.random.default_rng(1).normal(0.0, 60.0, hu.shape).astype(np.float32)
    for axis in range(3):
        noise = blurred(noise, 0.8, axis)
    hu += noise
    rng = np.random.default_rng(2)

    results = [
        simulate(hu, inside, ORIGIN, BOXES, plan, rng)
        for plan in ([], [replace(resampled(BOXES[1], rng), shape=shape, loss=0.35)])
    ]

    powers, likenesses = [], []
    for result in results:
        middle = round(0.5 * sum(result.middle_mm[1]) - ORIGIN[2])
        core = result.hu[middle - 4 : middle + 4, 36:52, 12:36]
        core = core - core.mean()
        powers.append(float((core**2).mean()))
        likenesses.append(float((core[1:] * core[:-1]).mean()) / powers[-1])
    assert powers[1] == pytest.approx(powers[0], rel=0.2)
    assert likenesses[1] == pytest.approx(likenesses[0], abs=0.08)


def test_beside_a_fracture_every_body_is_mapped_and_some_spines_stay_as_scanned() -> None:
    rng = np.random.default_rng(4)

    broken = [random_plan(BOXES, range(4), 1, 0.25, rng)[0] for _ in range(20)]
    whole = [random_plan(BOXES, range(4), 0, 0.0, rng)[0] for _ in range(60)]

    assert all(set(plan) == {0, 1, 2, 3} for plan in broken)
    assert 0.5 < np.mean([len(plan) == 4 for plan in whole]) < 0.85
    assert any(not plan for plan in whole)


def test_a_body_mapped_onto_itself_keeps_its_height() -> None:
    hu, inside = a_stack_of_blocks()
    rng = np.random.default_rng(5)

    result = simulate(hu, inside, ORIGIN, BOXES, [resampled(box, rng) for box in BOXES], rng)

    assert np.array(result.height_factors) == pytest.approx(1.0, abs=0.031)
    assert result.middle_mm[3] == pytest.approx((BOXES[3].s_inf, BOXES[3].s_sup), abs=0.65)


def test_a_plan_holds_as_many_fractures_as_asked_for_and_mimics_of_grade_0() -> None:
    rng = np.random.default_rng(3)

    plans = [random_plan(BOXES, range(4), 2, 0.5, rng) for _ in range(60)]

    for plan, grades in plans:
        assert set(plan) == set(grades)
        assert sum(grade > 0 for grade in grades.values()) == 2
        assert all(plan[index].loss <= 0.16 for index, grade in grades.items() if grade == 0)
    neighbors = [np.diff(sorted(i for i, g in grades.items() if g))[0] == 1 for _, grades in plans]
    assert np.mean(neighbors) > 0.55, "three of six pairs are neighbors by chance alone"


def test_findings_change_the_scan_and_name_the_bodies_that_got_cement() -> None:
    seen = {"metal": False, "cement": False, "cut": False}

    for seed in range(80):
        hu, inside = a_stack_of_blocks()
        cemented = add_findings(hu, inside, ORIGIN, BOXES, np.random.default_rng(seed))
        for index in cemented:
            rows = slice(int(BOXES[index].s_inf - ORIGIN[2]), int(BOXES[index].s_sup - ORIGIN[2]))
            assert inside[rows].mean() < 0.5 or hu[rows].max() > 1000.0
        seen["cement"] |= bool(cemented)
        seen["metal"] |= bool((hu > 2500.0).any())
        seen["cut"] |= not inside.all()
        assert np.all(hu[~inside] == -1024.0)

    assert all(seen.values())


def test_a_schmorl_node_is_dense_and_stays_in_its_body() -> None:
    rng = np.random.default_rng(3)
    box = BOXES[1]
    rows = slice(round(box.s_inf - ORIGIN[2]), round(box.s_sup - ORIGIN[2]) + 1)
    opened = 0

    for _ in range(20):
        hu, _ = a_stack_of_blocks()
        before = hu.copy()
        schmorl_node(hu, StraightGrid.of(hu.shape, ORIGIN), box, rng)
        changed = hu != before
        opened += int((hu < before - 100.0).any())
        assert (hu > before + 60.0).any()
        assert not changed[: rows.start].any()
        assert not changed[rows.stop :].any()

    assert 4 < opened < 20, "some broke through the endplate, and some are sclerosis alone"


def test_a_degenerated_disc_has_dense_endplates_and_leaves_the_middle_of_the_bodies_alone() -> None:
    hu, _ = a_stack_of_blocks()
    before = hu.copy()

    degenerated_disc(hu, StraightGrid.of(hu.shape, ORIGIN), BOXES[1], BOXES[2], np.random.default_rng(0))

    denser = (hu - before).max(axis=(1, 2))
    middle = [round(0.5 * (box.s_inf + box.s_sup) - ORIGIN[2]) for box in BOXES[1:3]]
    assert denser[middle[0] : middle[1]].max() > 60.0
    assert denser[middle].max() == 0.0
    assert denser[: middle[0]].max() == denser[middle[1] :].max() == 0.0


def test_another_scanner_leaves_the_field_of_view_and_may_take_thicker_slices() -> None:
    hu, inside = a_stack_of_blocks()
    inside[:20] = False
    thickness = set()

    for seed in range(12):
        taken, slice_mm = reacquired(hu, inside, 1.0, np.random.default_rng(seed))
        thickness.add(slice_mm)
        assert taken.shape == hu.shape
        assert np.all(taken[:20] == -1024.0)
        assert 200.0 < taken[30, 45, 24] < 480.0

    assert thickness == {1.0, 3.0, 5.0}


def test_a_probe_for_artifacts_finds_what_is_there_and_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(5)
    cubes = rng.normal(0.0, 1.0, (240, 8, 14, 14)).astype(np.float32)
    warped, folds = rng.random(240) < 0.5, np.arange(240) % 2
    told = cubes.copy()
    told[warped] = 0.5 * (told[warped] + np.roll(told[warped], 1, axis=1))
    patients = tuple(str(n) for n in range(240))

    areas = [
        auc(probe(Textures(content, warped, patients, folds), fold=1, steps=40), warped[folds == 1])
        for content in (told, cubes)
    ]

    assert areas[0] > 0.95
    assert 0.3 < areas[1] < 0.7


def test_a_probe_sees_the_middle_of_bodies_without_their_endplates() -> None:
    hu, inside = a_stack_of_blocks()
    points = np.stack([np.zeros(25), np.zeros(25), np.linspace(0.0, 120.0, 25)], axis=1)
    line = Centerline(points, np.ones(25))
    vertebrae = tuple(
        ReferenceVertebra(f"T{12 - n}", True, (0.0, 23.0, 20.0 + 26.0 * n), box, (20.0, 20.0, 20.0), 0, None)
        for n, box in enumerate(BOXES)
    )
    volume = StraightenedVolume(hu, inside, ORIGIN, (1.0, 1.0, 1.0), lay_frame(line))
    case = StraightCase("blocks", 1, False, True, volume, ReferenceSpine("b", line, vertebrae), None, (1.0, 1.0, 1.0))

    sets = textures([case], versions=6)

    assert 0 < sets.warped.sum() == 0.5 * len(sets.warped), "each body stands on both sides"
    assert np.abs(sets.cubes).max() < 0.2, "blocks of one density have no texture"
    assert set(sets.folds) == {1}
