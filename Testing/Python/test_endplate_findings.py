"""Endplates as they are found on real scans: each kind is drawn where it belongs, and read from the voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_surface_fracture import a_trabecular_spine

from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.simulation import endplate_findings as findings
from VertebralFractureLib.research.simulation.collapsed_cases import with_endplate_findings
from VertebralFractureLib.research.simulation.fracture_shapes import random_fracture
from VertebralFractureLib.research.simulation.incidental_findings import add_findings
from VertebralFractureLib.research.simulation.simulate_fracture import simulate
from VertebralFractureLib.research.simulation.straight_grid import StraightGrid
from VertebralFractureLib.types import BoolArray, Float32Array

ORIGIN = (-28.0, -12.0, -12.0)
LOWER, UPPER = BodyBox(66.0, 88.0, 8.0, 36.0, -18.0, 18.0), BodyBox(94.0, 116.0, 8.0, 36.0, -18.0, 18.0)
SEEDS = range(4)


def a_quiet_spine() -> Float32Array:
    """Bodies of 180 HU between discs of 60 HU, without noise."""
    return np.where(np.asarray(a_trabecular_spine().volume.hu) > 120.0, 180.0, 60.0).astype(np.float32)


def mark(box: BodyBox, margin_mm: float = 0.0) -> BoolArray:
    """Voxels within a box, ``margin_mm`` outside its sides."""
    grid = StraightGrid.of(a_quiet_spine().shape, ORIGIN)
    within = (grid.s > box.s_inf - margin_mm) & (grid.s < box.s_sup + margin_mm)
    within = within & (grid.a > box.a_post - margin_mm) & (grid.a < box.a_ant + margin_mm)
    return np.asarray(within & (grid.r > box.r_left - margin_mm) & (grid.r < box.r_right + margin_mm))


def drawn_in_body(draw: findings.Drawing, seed: int) -> Float32Array:
    hu = a_quiet_spine()
    draw(hu, StraightGrid.of(hu.shape, ORIGIN), LOWER, np.random.default_rng(seed))
    return hu


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sclerotic_line_is_dense_thin_and_inside_the_body(seed: int) -> None:
    """Given a body, when a line is drawn, then a few rows below an endplate are denser and all else is as before."""
    added = drawn_in_body(findings.draw_sclerotic_line, seed) - a_quiet_spine()

    assert 60.0 < added.max() < 360.0
    assert not added[~mark(LOWER)].any()
    rows = np.flatnonzero(added.max(axis=(1, 2)) > 0.5 * added.max()) + ORIGIN[2]
    assert 1 <= len(rows) <= 6
    assert min(rows.mean() - LOWER.s_inf, LOWER.s_sup - rows.mean()) < 8.0


@pytest.mark.parametrize("seed", SEEDS)
def test_an_intravertebral_cleft_holds_gas_and_does_not_reach_an_endplate(seed: int) -> None:
    """Given a body, when a cleft is drawn, then it is gas, wider than high, and the body's ends stay bone."""
    hu = drawn_in_body(findings.draw_vacuum_cleft, seed)

    gas = np.argwhere(hu < -200.0)
    assert len(gas) > 20
    height, depth, width = np.ptp(gas, axis=0) + 1
    assert height <= 6 < min(depth, width)
    assert mark(LOWER)[tuple(gas.T)].all()
    assert hu[gas[:, 0].max() + 3 :].min() > 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limbus_is_cut_off_by_disc_with_dense_sides_at_the_front_corner(seed: int) -> None:
    """Given a body, when a limbus is drawn, then disc runs through its front corner and bone in front of it stays."""
    change = drawn_in_body(findings.draw_limbus, seed) - a_quiet_spine()

    assert change.min() < -60.0
    assert change.max() > 40.0
    assert not change[~mark(LOWER, 2.0)].any()
    cleft = np.argwhere(change < -40.0) + np.array(ORIGIN[::-1])
    from_end = np.minimum(cleft[:, 0] - LOWER.s_inf, LOWER.s_sup - cleft[:, 0])
    assert np.all(from_end < 14.0)
    assert np.median(cleft[:, 1]) > 0.5 * (LOWER.a_post + LOWER.a_ant)


@pytest.mark.parametrize("seed", SEEDS)
def test_dense_metastases_raise_the_density_of_the_body_alone(seed: int) -> None:
    """Given a body, when it is struck by blastic metastases, then it is denser inside its walls and nowhere else."""
    added = drawn_in_body(findings.draw_dense_metastases, seed) - a_quiet_spine()

    assert added.max() > 100.0
    assert added.min() >= 0.0
    assert not added[~mark(LOWER)].any()


def test_lytic_metastases_replace_bone_and_some_break_through_the_cortex() -> None:
    """Given many bodies, when each is struck by a lytic metastasis, then bone is soft tissue, outside in some only."""
    through = []
    for seed in range(12):
        change = drawn_in_body(findings.draw_lytic_metastasis, seed) - a_quiet_spine()
        assert change.min() < -100.0
        shell = mark(LOWER) & ~mark(LOWER, -1.5)
        through.append(bool((change[shell] < -60.0).any()))
    assert any(through)
    assert not all(through)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_vacuum_disc_is_gas_between_two_bodies_that_stay_bone(seed: int) -> None:
    """Given two bodies, when the disc between holds gas, then no voxel of either body does."""
    hu = a_quiet_spine()
    findings.draw_vacuum_disc(hu, StraightGrid.of(hu.shape, ORIGIN), LOWER, UPPER, np.random.default_rng(seed))

    gas = hu < -100.0
    assert gas.sum() > 10
    assert not (gas & (mark(LOWER) | mark(UPPER))).any()
    between = np.argwhere(gas)[:, 0] + ORIGIN[2]
    assert LOWER.s_sup - 0.5 <= between.min() <= between.max() <= UPPER.s_inf + 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fused_disc_is_bone_from_one_body_to_the_other(seed: int) -> None:
    """Given two bodies, when they are fused, then the line between them crosses bone only, and the canal none."""
    hu = a_quiet_spine()
    findings.draw_fused_disc(hu, StraightGrid.of(hu.shape, ORIGIN), LOWER, UPPER, np.random.default_rng(seed))

    gap = slice(int(LOWER.s_sup - ORIGIN[2]) + 1, int(UPPER.s_inf - ORIGIN[2]))
    assert hu[gap, 12 + 28, 28].min() > 110.0
    np.testing.assert_array_equal(hu[:, :12], a_quiet_spine()[:, :12])


def test_new_kinds_are_drawn_from_a_stream_of_their_own() -> None:
    """Given one seed, when findings are drawn with and without the new kinds, then what follows draws the same."""
    hu = a_quiet_spine()
    rng, other = np.random.default_rng(11), np.random.default_rng(11)

    add_findings(hu, np.ones(hu.shape, dtype=np.bool_), ORIGIN, [LOWER, UPPER], rng)
    findings.add_endplate_findings(hu, StraightGrid.of(hu.shape, ORIGIN), [LOWER, UPPER], other.spawn(1)[0])

    assert other.random() == np.random.default_rng(11).random()
    known = np.random.default_rng(11)
    add_findings(a_quiet_spine(), np.ones(hu.shape, dtype=np.bool_), ORIGIN, [LOWER, UPPER], known)
    assert rng.random() == known.random()


def test_every_new_kind_is_met_as_often_as_its_chance_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given many spines, when findings are drawn, then each kind comes about as often as it is said to."""
    met: dict[str, int] = {}
    kinds = ("sclerotic_line", "vacuum_cleft", "limbus", "dense_metastases", "lytic_metastasis", "vacuum_disc")
    for kind in (*kinds, "fused_disc"):
        monkeypatch.setattr(findings, f"draw_{kind}", lambda *_, kind=kind: met.update({kind: met.get(kind, 0) + 1}))
    hu, rng = np.zeros((1, 1, 1), dtype=np.float32), np.random.default_rng(0)
    boxes = [BodyBox(28.0 * n, 28.0 * n + 22.0, 8.0, 36.0, -18.0, 18.0) for n in range(10)]

    for _ in range(2000):
        findings.add_endplate_findings(hu, StraightGrid.of(hu.shape, ORIGIN), boxes, rng)

    expected = {"sclerotic_line": 800, "vacuum_cleft": 300, "limbus": 300, "vacuum_disc": 720, "fused_disc": 360}
    expected |= {"dense_metastases": 240, "lytic_metastasis": 180}
    for kind, count in expected.items():
        assert met[kind] == pytest.approx(count, rel=0.35)


def test_a_case_with_findings_keeps_its_truth_and_is_the_same_for_the_same_seed() -> None:
    """Given a case, when findings are drawn over it, then voxels change, and its reference does not."""
    case = replace(a_trabecular_spine(), identifier="found")

    made = [with_endplate_findings(case, seed) for seed in range(12)]

    assert all(one.reference is case.reference for one in made)
    assert sum(not np.array_equal(one.volume.hu, case.volume.hu) for one in made) >= 3
    np.testing.assert_array_equal(made[3].volume.hu, with_endplate_findings(case, 3).volume.hu)


def test_a_fracture_in_the_shape_of_a_v_has_its_truth_at_the_same_places() -> None:
    """Given a biconcave fracture, when its hollow is a V, then it is deepest at one line, straight beside."""
    case = a_trabecular_spine()
    rng = np.random.default_rng(3)
    bowl = replace(
        random_fracture(LOWER, 3, "biconcave", rng), break_mm=0.0, roughness_mm=0.0, lateral_tilt=0.0, bowl_center=0.5
    )
    boxes = [v.box for v in case.reference.vertebrae if v.box is not None]
    bowl = replace(bowl, box=boxes[2], dents=(), upper_share=1.0, valley=0.0)
    hu, inside = np.asarray(case.volume.hu), np.asarray(case.volume.inside)

    lost = {
        valley: simulate(hu, inside, ORIGIN, boxes, [replace(bowl, valley=valley)], np.random.default_rng(0))
        for valley in (0.0, 1.0)
    }

    before = boxes[2].s_sup
    deep = {valley: before - result.endplates_mm[2][1] for valley, result in lost.items()}
    assert deep[1.0][1] == pytest.approx(deep[0.0][1])
    assert deep[1.0][0] < 0.5 * deep[0.0][0]


def test_about_one_in_four_fractures_has_a_valley_and_the_rest_of_its_draw_stays() -> None:
    """Given many fractures, when they are drawn, then a quarter holds a V, and none that is mapped onto itself."""
    drawn = [random_fracture(LOWER, 2, "biconcave", np.random.default_rng(seed)) for seed in range(200)]

    assert sum(item.valley > 0.0 for item in drawn) == pytest.approx(50, abs=18)
    assert all(0.6 <= item.valley <= 1.0 for item in drawn if item.valley)
