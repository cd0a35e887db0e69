"""Simulated fractures on real scans, and what the evaluation counts as right: on block spines whose truth is plain."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_surface_fracture import a_trabecular_spine

from VertebralFractureLib.research.datasets.straight_case import StraightCase, load_case, write_case
from VertebralFractureLib.research.evaluation import evaluate_grades
from VertebralFractureLib.research.evaluation.broken_spines import (
    BrokenSpine,
    Simulation,
    break_spine,
    broken_spines,
    plan_fractures,
)
from VertebralFractureLib.research.evaluation.evaluate_grades import figures_of, format_table, grade_rows, product_judge
from VertebralFractureLib.research.phantom import Phantom
from VertebralFractureLib.vertebrae.grading import classify_shape, grade_from_loss
from VertebralFractureLib.vertebrae.vertebra import HeightLosses, Heights, Shape, Vertebra
from VertebralFractureLib.weights import weights_folder

BOTH = list(Simulation)


def what_a_perfect_reader_finds(spine: BrokenSpine, off_mm: float = 0.0, up: int = 0) -> list[Vertebra]:
    """Every vertebra with its true heights, grade and shape; heights too large by ``off_mm``, grades by ``up``."""
    found = []
    for index, vertebra in enumerate(spine.boxed):
        front, middle, back = (float(height or 0.0) + off_mm for height in vertebra.heights_mm)
        grade = vertebra.grade or 0
        found.append(
            Vertebra(
                center_ras=vertebra.center_ras,
                extent_mm=(0.0, 1.0),
                complete=True,
                detection_confidence=0.9,
                level=vertebra.level,
                grade=min(grade + up, 3) if grade else 0,
                shape=Shape(vertebra.shape) if vertebra.shape else None,
                heights_mm=Heights(front, middle, back),
                height_loss=max(spine.losses[index]) if index in spine.losses else 0.0,
            )
        )
    return found


@pytest.mark.parametrize("simulation", BOTH)
def test_a_reader_who_sees_the_truth_makes_no_error_in_either_simulation(simulation: Simulation) -> None:
    """Given a broken spine, when its own truth is what was found, then every figure is perfect."""
    spine = break_spine(a_trabecular_spine(), {1: (2, "wedge"), 4: (3, "crush")}, simulation)

    figures = figures_of(grade_rows(spine, what_a_perfect_reader_finds(spine)))

    broken = figures["fractures"]
    assert broken["count"] == 2
    for name in ("found", "called", "exact_grade", "within_one_grade", "shape_right"):
        assert broken[name]["value"] == 1.0
    assert broken["loss_error"]["median"] == pytest.approx(0.0, abs=1e-9)
    assert broken["height_error_mm"]["middle"] == {"count": 2, "median": 0.0, "p90": 0.0, "bias": 0.0}
    assert figures["beside"]["count"] == 4
    assert figures["beside"]["false_alarms"]["hits"] == 0


@pytest.mark.parametrize("simulation", BOTH)
def test_the_heights_of_both_simulations_lose_what_their_grade_says(simulation: Simulation) -> None:
    """Given bodies of 22 mm, when they break, then the largest loss among the true heights is of the grade."""
    for asked in ((1, "biconcave"), (2, "wedge"), (3, "crush")):
        spine = break_spine(a_trabecular_spine(), {2: asked}, simulation)
        heights = np.array(spine.boxed[2].heights_mm, dtype=float)
        assert spine.boxed[2].grade == spine.plan[2][0] == grade_from_loss(max(spine.losses[2]))
        assert spine.boxed[2].shape == spine.plan[2][1] == str(classify_shape(HeightLosses(*spine.losses[2])))
        assert max(spine.losses[2]) == pytest.approx(1.0 - heights.min() / 22.0, abs=0.03)


@pytest.mark.parametrize("simulation", BOTH)
def test_a_broken_spine_keeps_its_full_width_for_what_counts_the_levels(simulation: Simulation) -> None:
    """Given either simulation, when a spine breaks, then its volume is as large as before."""
    before = a_trabecular_spine()

    assert break_spine(before, {2: (3, "crush")}, simulation).case.volume.hu.shape == before.volume.hu.shape


def test_errors_are_told_with_their_sign_and_by_group() -> None:
    """Given heights 1 mm too large and grades one too high, when they are counted, then each figure says so."""
    spine = break_spine(a_trabecular_spine(), {1: (1, "wedge"), 3: (2, "biconcave")}, Simulation.SECOND)

    figures = figures_of(grade_rows(spine, what_a_perfect_reader_finds(spine, off_mm=1.0, up=1)))

    broken = figures["fractures"]
    assert broken["height_error_mm"]["anterior"]["bias"] == pytest.approx(1.0)
    assert (broken["exact_grade"]["hits"], broken["within_one_grade"]["hits"]) == (0, 2)
    assert figures["groups"]["grade 1"]["count"] == 1
    assert figures["groups"]["wedge"]["count"] == 1
    assert figures["groups"]["T11-L1"]["count"] == 1
    assert "| all | 2 |" in format_table(figures)


def test_a_body_that_was_broken_and_lost_too_little_is_counted_neither_as_a_fracture_nor_as_beside_one() -> None:
    """Given a body that the simulation changed and left with grade 0, when figures are made, then it is in none."""
    spine = break_spine(a_trabecular_spine(), {2: (1, "wedge"), 4: (2, "crush")}, Simulation.SECOND)
    rows = grade_rows(spine, what_a_perfect_reader_finds(spine))

    mild = [replace(row, grade=0, shape=None) if row.grade == 1 else row for row in rows]

    figures = figures_of(mild)
    assert (figures["fractures"]["count"], figures["beside"]["count"]) == (1, 4)


def test_a_fracture_that_is_not_graded_is_not_called_and_none_is_counted_as_a_right_grade() -> None:
    """Given nothing but a body without a grade, when figures are made, then it is missed and no grade is judged."""
    spine = break_spine(a_trabecular_spine(), {2: (3, "crush")}, Simulation.SECOND)
    seen = what_a_perfect_reader_finds(spine)
    found = [replace(v, grade=None, shape=None, height_loss=None, heights_mm=None) for v in seen]

    broken = figures_of(grade_rows(spine, found))["fractures"]
    lost = figures_of(grade_rows(spine, []))["fractures"]

    assert (broken["found"]["hits"], broken["called"]["hits"], broken["graded"]) == (1, 0, 0)
    assert broken["exact_grade"]["value"] is None
    assert lost["found"]["hits"] == 0


def test_the_same_vertebrae_break_in_both_simulations_and_shapes_take_turns() -> None:
    """Given several scans, when they are planned, then at most a third of each breaks, in all grades and shapes."""
    cases = [replace(a_trabecular_spine(), identifier=f"scan{number}") for number in range(6)]
    made = {simulation: list(broken_spines(cases[:2], simulation, None)) for simulation in BOTH}

    assert [set(spine.plan) for spine in made[Simulation.FIRST]] == [
        set(spine.plan) for spine in made[Simulation.SECOND]
    ]
    turn, kinds = 0, []
    for case in cases:
        plan = plan_fractures(case, turn)
        turn += len(plan)
        kinds += plan.values()
        assert len(plan) == 2
    assert len(set(kinds)) == 9


def test_thick_copies_have_the_truth_of_the_thin_ones() -> None:
    """Given slices of 5 mm, when a spine breaks, then its voxels are averaged and its truth stays."""
    thin, thick = (break_spine(a_trabecular_spine(), {2: (2, "wedge")}, Simulation.SECOND, mm) for mm in (None, 5.0))

    assert thick.boxed[2].heights_mm == thin.boxed[2].heights_mm
    assert max(thick.case.source_spacing_mm) == 5.0
    steps = [float(np.abs(np.diff(np.asarray(spine.case.volume.hu), axis=0)).max()) for spine in (thin, thick)]
    assert steps[1] < 0.6 * steps[0]


def test_a_run_goes_on_where_it_stopped_and_refuses_the_figures_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a run that judged one scan, when it runs again, then only the others are judged, and all are counted."""
    cases = [replace(a_trabecular_spine(), identifier=name) for name in ("one", "two")]
    asked: list[str] = []

    def judge(case: StraightCase) -> Sequence[Vertebra]:
        asked.append(case.identifier)
        return []

    monkeypatch.setattr(evaluate_grades, "load_or_build_cases", lambda *_: cases)
    monkeypatch.setattr(evaluate_grades, "product_judge", lambda *_, **__: judge)
    parser = ArgumentParser()
    evaluate_grades.add_arguments(parser)
    common = ["--data", "d", "--cache", "c", "--folds-folder", "f", "--out", str(tmp_path / "out.json")]

    evaluate_grades.run(parser.parse_args([*common, "--simulation", "first", "--scans", "one"]))
    evaluate_grades.run(parser.parse_args([*common, "--simulation", "first"]))

    assert asked == ["one", "two"]
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert content["scans"] == ["one", "two"]
    assert content["figures"]["fractures"]["count"] == 4
    with pytest.raises(ValueError, match="another run"):
        evaluate_grades.run(parser.parse_args([*common, "--simulation", "second"]))


@pytest.mark.parametrize("simulation", BOTH)
def test_the_program_finds_and_calls_a_severe_fracture_of_either_simulation(
    simulation: Simulation, a_phantom: Phantom, tmp_path: Path
) -> None:
    """Given a phantom whose L2 breaks severely, when the program judges it with its networks, then L2 is called."""
    write_case(tmp_path / "case", a_phantom.ct, a_phantom.reference, None)
    case = load_case(tmp_path / "case", "phantom", None, is_phantom=True, may_train=True)
    index = next(at for at, v in enumerate(case.reference.vertebrae) if v.level == "L2")
    spine = break_spine(case, {index: (3, "biconcave")}, simulation)

    rows = grade_rows(spine, product_judge(weights_folder(), with_networks=True)(spine.case))

    broken = [row for row in rows if row.family is not None]
    assert [(row.level, row.found, row.is_called) for row in broken] == [("L2", True, True)]
    assert broken[0].member_probability
    assert broken[0].found_loss is not None
    assert not any(row.is_called for row in rows if row.family is None)
