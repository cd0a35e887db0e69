"""What a paper reports is right: areas and their variances, calibration, kappa, agreement, differences, subgroups."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, cohen_kappa_score, roc_auc_score

from VertebralFractureLib.research.evaluation.agreement import (
    failures,
    grade_agreement,
    height_agreement,
    level_agreement,
    weighted_kappa,
)
from VertebralFractureLib.research.evaluation.characteristics import groups_by_characteristic, with_characteristics
from VertebralFractureLib.research.evaluation.endpoints import (
    Chosen,
    Rows,
    all_endpoints,
    auc_interval,
    auc_parts,
    endpoint_figures,
    fit_calibration_line,
    operating_point,
    rows_of,
    threshold_for,
)
from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra
from VertebralFractureLib.research.evaluation.paired import compare_answers, compare_rows, scans_of_reader
from VertebralFractureLib.research.evaluation.simulated_study import StudyTruth, coverage, draw_study

HANLEY = (np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), np.array([False, False, True, False, True, True]))


def some_rows(count: int = 300, per_patient: int = 3, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(count // per_patient), per_patient)
    odds = -1.0 + rng.normal(0.0, 1.0, count // per_patient)[owner] + rng.normal(0.0, 1.0, count)
    p = 1.0 / (1.0 + np.exp(-odds))
    return Rows(np.round(p, 2), rng.random(count) < p, owner)


def delong_variance(score: np.ndarray, truth: np.ndarray) -> float:
    """DeLong et al. 1988, written out by its definition."""
    x, y = score[truth], score[~truth]
    kernel = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return float(kernel.mean(axis=1).var(ddof=1) / len(x) + kernel.mean(axis=0).var(ddof=1) / len(y))


def test_the_area_is_that_of_scikit_learn_and_its_variance_that_of_delong_when_every_patient_has_one_row() -> None:
    rows = some_rows(per_patient=1)

    parts = auc_parts(rows.score, rows.truth, rows.owner)

    assert parts.value == pytest.approx(roc_auc_score(rows.truth, rows.score))
    assert parts.variance == pytest.approx(delong_variance(rows.score, rows.truth), rel=0.02)


def test_rows_that_repeat_within_a_patient_widen_the_interval() -> None:
    once = some_rows(100, 1)
    thrice = Rows(*(np.repeat(column, 3) for column in (once.score, once.truth, once.owner)))

    single, repeated = (auc_parts(rows.score, rows.truth, rows.owner) for rows in (once, thrice))

    assert repeated.variance == pytest.approx(single.variance, rel=0.01), "three equal rows are worth one"


def test_the_interval_of_an_area_stays_below_one() -> None:
    found = auc_interval(auc_parts(*HANLEY, np.arange(6)))

    assert found["value"] == pytest.approx(8 / 9)
    assert 0.0 < found["low"] < found["value"] < found["high"] < 1.0
    perfect = auc_interval(auc_parts(np.arange(4.0), np.array([False, False, True, True]), np.arange(4)))
    assert perfect == {"value": 1.0, "low": None, "high": None}


def test_calibration_is_the_logistic_regression_of_scikit_learn() -> None:
    rows = some_rows(2000, 1)
    p = np.clip(rows.score, 0.01, 0.99)

    slope, intercept = fit_calibration_line(p, rows.truth)

    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(np.log(p / (1 - p))[:, None], rows.truth)
    assert (slope, intercept) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=1e-4)
    assert all(math.isnan(value) for value in fit_calibration_line(p, np.ones(2000, dtype=bool)))
    overconfident = 1.0 / (1.0 + ((1.0 - p) / p) ** 2)
    assert fit_calibration_line(overconfident, rows.truth)[0] == pytest.approx(slope / 2, rel=1e-3)


def test_calibration_in_the_large_tells_what_is_promised_too_much() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.6, 20_000)
    truth = rng.random(20_000) < p
    too_high = 1.0 / (1.0 + np.exp(-(np.log(p / (1.0 - p)) + 0.7)))

    assert fit_calibration_line(too_high, truth, slope=1.0)[1] == pytest.approx(-0.7, abs=0.06)


def test_operating_points_are_those_that_were_asked_for() -> None:
    rows = some_rows()

    for at in (0.8, 0.9, 0.95):
        point = operating_point(rows, threshold_for(rows, specificity=at))
        lower = operating_point(rows, np.nextafter(point["threshold"], 0.0) - 0.01)
        assert point["specificity"]["value"] >= at > lower["specificity"]["value"]
        point = operating_point(rows, threshold_for(rows, sensitivity=at))
        higher = operating_point(rows, point["threshold"] + 0.01)
        assert point["sensitivity"]["value"] >= at > higher["sensitivity"]["value"]


def test_a_point_s_counts_are_those_of_its_two_by_two_table() -> None:
    rows = Rows(np.array([0.9, 0.8, 0.7, 0.2, 0.1]), np.array([True, False, True, True, False]), np.arange(5))

    point = operating_point(rows, 0.5)

    counts = {name: (point[name]["hits"], point[name]["count"]) for name in point if name != "threshold"}
    assert counts == {
        "sensitivity": (2, 3),
        "specificity": (1, 2),
        "positive_predictive_value": (2, 3),
        "negative_predictive_value": (1, 2),
    }


def a_scan(name: str, *vertebrae: JudgedVertebra, patient: str | None = None, p: float | None = 0.5) -> JudgedScan:
    return JudgedScan(name, patient or name, p, vertebrae, 1.0)


def a_vertebra(truth: int, p: float | None, severe: float | None = None, **more: object) -> JudgedVertebra:
    return JudgedVertebra(truth, None, "T9", p, severe_probability=severe, **more)


def test_a_patient_has_what_any_of_their_scans_has_and_a_grade_1_is_negative_for_the_severe_endpoint() -> None:
    scans = [
        a_scan("a-2019", a_vertebra(0, 0.2, 0.1), patient="a", p=0.3),
        a_scan("a-2021", a_vertebra(1, 0.7, 0.2), patient="a", p=0.8),
        a_scan("b", a_vertebra(3, None), p=None),
        a_scan("c", a_vertebra(2, 0.9, 0.8), p=0.95),
    ]

    any_grade, severe = rows_of(scans, "patients", 1), rows_of(scans, "patients", 2)

    assert any_grade.truth.tolist() == [True, True, True]
    assert severe.truth.tolist() == [False, True, True]
    np.testing.assert_allclose(any_grade.score, [0.8, np.nan, 0.95])
    np.testing.assert_allclose(severe.score, [0.2, np.nan, 0.8])
    assert rows_of(scans, "vertebrae", 2).truth.tolist() == [False, False, True, True]


def test_figures_of_the_answered_stand_beside_those_by_intention_to_diagnose() -> None:
    rows = Rows(np.array([0.9, np.nan, 0.1, np.nan]), np.array([True, True, False, False]), np.arange(4))

    figures = endpoint_figures(rows, Chosen(0.5), 20)

    assert (figures["units"], figures["answered"]) == (4, 2)
    assert figures["operating_points"]["threshold 0.5"]["sensitivity"]["value"] == 1.0
    assert figures["intention_to_diagnose"]["sensitivity"]["value"] == 0.5
    assert figures["intention_to_diagnose"]["specificity"]["value"] == 0.5


def test_brier_is_that_of_scikit_learn() -> None:
    rows = some_rows()

    figures = endpoint_figures(rows, Chosen(0.5), 20)["calibration"]

    assert figures["brier"]["value"] == pytest.approx(brier_score_loss(rows.truth, rows.score))
    assert figures["brier"]["low"] < figures["brier"]["value"] < figures["brier"]["high"]


@pytest.mark.parametrize(("power", "weights"), [(1, "linear"), (2, "quadratic")])
def test_kappa_is_that_of_scikit_learn(power: int, weights: str) -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 200)
    found = np.clip(truth + rng.integers(-1, 2, 200), 0, 3)
    table = np.zeros((4, 4))
    np.add.at(table, (truth, found), 1)

    assert weighted_kappa(table, power) == pytest.approx(cohen_kappa_score(truth, found, weights=weights))
    assert math.isnan(weighted_kappa(np.diag([5.0, 0.0, 0.0, 0.0])))


def test_grades_that_were_not_measured_are_in_no_kappa() -> None:
    scans = [a_scan(str(n), a_vertebra(n % 4, 0.5, grade=n % 4 if n < 12 else None)) for n in range(16)]

    found = grade_agreement(scans, 20)

    assert found["vertebrae"] == 12
    assert found["kappa_quadratic"]["value"] == 1.0


def test_limits_of_agreement_are_bland_and_altman_s() -> None:
    rng = np.random.default_rng(3)
    scans = []
    for n in range(60):
        true = rng.normal(22.0, 2.0, 3)
        found = true + rng.normal(0.5, 1.0, 3)
        row = a_vertebra(0, 0.1, true_heights_mm=tuple(true), found_heights_mm=tuple(found))
        scans.append(a_scan(str(n), row))

    content = height_agreement(scans, 100)

    differences = np.array([point[1] for point in content["points"]])
    assert content["all"]["bias_mm"]["value"] == pytest.approx(differences.mean(), abs=1e-3)
    limit = differences.mean() + 1.96 * differences.std(ddof=1)
    assert content["all"]["upper_limit_mm"]["value"] == pytest.approx(limit, abs=1e-3)
    assert {content[part]["heights"] for part in ("anterior", "middle", "posterior")} == {60}
    assert content["all"]["bias_mm"]["low"] < 0.5 < content["all"]["bias_mm"]["high"]


def test_levels_are_counted_by_name_by_scan_and_by_subject() -> None:
    rows = [("T9", "T9"), ("T9", "T10"), ("T9", None)]
    named = [replace(a_vertebra(0, 0.1), level=true, found_level=found) for true, found in rows]
    scans = [
        a_scan("a1", named[0], named[0], patient="a"),
        a_scan("a2", named[0], named[1], patient="a"),
        a_scan("b", named[0], named[2]),
    ]

    found = level_agreement(scans)

    assert {unit: (found[unit]["hits"], found[unit]["count"]) for unit in found} == {
        "vertebrae": (4, 5),
        "scans": (2, 3),
        "patients": (1, 2),
    }


def test_what_failed_is_counted_by_reason_with_its_fractures() -> None:
    scans = [
        a_scan("a", a_vertebra(2, None, reason="not found"), a_vertebra(0, None, reason="metal or cement")),
        replace(a_scan("b", a_vertebra(1, None, reason="scan refused"), p=None), reason="The file is damaged."),
    ]

    found = failures(scans)

    assert found["scans"] == found["fractured_scans"] == {"The file is damaged.": 1}
    assert found["vertebrae"] == {"not found": 1, "metal or cement": 1, "scan refused": 1}
    assert found["fractured_vertebrae"] == {"not found": 1, "scan refused": 1}


def test_a_program_is_no_better_than_itself_and_worse_than_with_less_noise() -> None:
    rows = some_rows(600)
    noisy = replace(rows, score=rows.score + np.random.default_rng(1).normal(0.0, 0.5, 600))

    same, worse = compare_rows(rows, rows, (0.5, 0.5), 50), compare_rows(rows, noisy, (0.5, 0.5), 200)

    assert (same["auc"]["difference"]["value"], same["auc"]["p_delong"]) == (0.0, 1.0)
    assert worse["auc"]["p_delong"] < 0.01
    for interval in (worse["auc"]["difference"], worse["auc"]["difference_bootstrap"]):
        assert interval["low"] < interval["value"] < interval["high"] < 0.0


def test_only_what_both_answered_is_compared() -> None:
    rows = some_rows(60)
    first, second = rows.score.copy(), rows.score.copy()
    first[:5], second[:8] = np.nan, np.nan

    found = compare_rows(replace(rows, score=first), replace(rows, score=second), (0.5, 0.5), 10)

    assert (found["both_answered"], found["only_first"], found["only_second"]) == (52, 3, 0)


def test_a_reader_s_table_is_compared_like_other_weights(tmp_path: Path) -> None:
    """Given two scans with a fracture each, when a reader misses one, then the reader is less sensitive."""
    levels = [f"T{n}" for n in range(1, 13)]
    scans = []
    for name in ("a", "b"):
        rows = [replace(a_vertebra(2 if level == "T7" else 0, 0.1), level=level) for level in levels]
        rows[6] = replace(rows[6], probability=0.9, severe_probability=0.8)
        scans.append(a_scan(name, *rows, p=0.9))
    (tmp_path / "reader.csv").write_text("scan,level,grade\na,*,0\na,T7,2\nb,*,0\n", encoding="utf-8")

    reader = scans_of_reader(scans, tmp_path / "reader.csv")
    found = compare_answers(scans, reader.scans, (0.5, 0.3), 20)["vertebrae"]["any grade"]

    assert (found["sensitivity"]["first"], found["sensitivity"]["second"]) == (1.0, 0.5)
    assert (found["specificity"]["first"], found["specificity"]["second"]) == (1.0, 1.0)
    assert reader.said == "The table 'reader.csv' answers 24 of 24 graded vertebrae."
    with pytest.raises(ValueError, match="same vertebrae"):
        compare_answers(scans, reader.scans[:1], (0.5, 0.5))


def test_any_column_of_a_table_makes_subgroups() -> None:
    scans = [a_scan(str(n), a_vertebra(0, 0.1)) for n in range(12)]
    table = {
        str(n): {"sex": "mf"[n % 2], "age": str(50 + n), "name": f"n{n}", "site": "one", "kV": "120" if n else ""}
        for n in range(12)
    }

    groups = groups_by_characteristic(with_characteristics(scans, table))

    assert {column: {name: len(of) for name, of in found.items()} for column, found in groups.items()} == {
        "sex": {"f": 6, "m": 6},
        "age": {"above 53.6667 to 57.3333": 4, "above 57.3333": 4, "up to 53.6667": 4},
        "kV": {"120": 11, "unknown": 1},
    }


def test_a_simulated_study_has_the_same_figures_every_time_and_all_of_them() -> None:
    scans, _ = draw_study(StudyTruth(patients=30), 5)

    ends = all_endpoints(scans, Chosen(0.5), 20)

    assert draw_study(StudyTruth(patients=30), 5)[0] == scans
    assert ends["vertebrae"]["any grade"]["units"] == 360
    assert ends["patients"]["grade 2 or 3"]["auc"]["value"] is not None


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Given 200 patients with known AUC, kappa and bias, when 60 studies are drawn, 95 % intervals hold about 57.

    The bounds are those that chance leaves a figure whose intervals are right (binomial, 1 in 1000); the figures of 400
    studies are in docs/results/study.md.
    """
    found = coverage(StudyTruth(), 60, 100)

    assert {name: share for name, (_, share) in found.items() if share < 0.83} == {}


def test_a_reader_s_rows_that_find_no_vertebra_are_told(tmp_path: Path) -> None:
    scans = [a_scan("a", replace(a_vertebra(0, 0.1), level="T9"), replace(a_vertebra(1, 0.8), level="T10"))]
    (tmp_path / "reader.csv").write_text("scan,level,grade\na,T9,0\na,L5,2\nb,T9,1\n", encoding="utf-8")

    said = scans_of_reader(scans, tmp_path / "reader.csv").said

    assert said == (
        "The table 'reader.csv' answers 1 of 2 graded vertebrae. Rows without a scan (1): b. "
        "Rows without a graded vertebra (1): a L5."
    )


def test_nothing_is_certain_of_a_few_patients_or_where_all_agree() -> None:
    """Given three patients, or a hundred without a single error, then figures come without an interval."""
    few = [a_scan(str(n), a_vertebra(n % 2, 0.2 + 0.3 * n, grade=n % 2)) for n in range(3)]
    perfect = [a_scan(str(n), a_vertebra(n % 2, 0.1 + 0.8 * (n % 2), grade=n % 2)) for n in range(100)]

    of_few = endpoint_figures(rows_of(few, "vertebrae", 1), Chosen(0.5), 50)
    of_perfect = endpoint_figures(rows_of(perfect, "vertebrae", 1), Chosen(0.5), 50)

    for figures in (of_few, of_perfect):
        for name in ("auc", "auc_bootstrap"):
            assert figures[name]["value"] is not None
            assert (figures[name]["low"], figures[name]["high"]) == (None, None)
    assert of_few["calibration"]["brier"]["low"] is None
    assert grade_agreement(perfect, 50)["kappa_quadratic"] == {"value": 1.0, "low": None, "high": None}
    sensitivity = of_perfect["operating_points"]["threshold 0.5"]["sensitivity"]
    assert (sensitivity["value"], sensitivity["high"]) == (1.0, pytest.approx(1.0))
    assert sensitivity["low"] == pytest.approx(0.929, abs=0.001), "Wilson's interval of 50 of 50"
