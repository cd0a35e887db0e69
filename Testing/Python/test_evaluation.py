"""The evaluation itself is right: matching, level shifts, false alarms, areas under curves and their intervals."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_samples import a_reported_vertebra
from scipy.stats import binomtest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cli.main import main
from VertebralFractureLib.research.datasets import ReferenceSpine, ReferenceVertebra
from VertebralFractureLib.research.datasets.reference_set import fold_of_scan, patient_of_scan
from VertebralFractureLib.research.evaluation.case_sets import FIRST_OOD_SEED, ood_options
from VertebralFractureLib.research.evaluation.compare import compare
from VertebralFractureLib.research.evaluation.metrics import bootstrap_by_patient, proportion_by_patient
from VertebralFractureLib.research.evaluation.run_cases import Case, CaseResult
from VertebralFractureLib.research.evaluation.summary import accuracy_lines, summary_lines
from VertebralFractureLib.result.report import (
    InputIdentity,
    ReportedCenterline,
    ReportedSequence,
    ScanResult,
    Software,
    SpineReport,
)


def a_truth(levels=("L1", "T12", "T11", "T10"), fractured=()):
    points = np.stack([np.zeros(31), np.zeros(31), np.linspace(0.0, 150.0, 31)], axis=1)
    vertebrae = tuple(
        ReferenceVertebra(
            level, True, (0.0, 25.0, 30.0 * index + 20.0), None, (None,) * 3, 2 if level in fractured else 0, None
        )
        for index, level in enumerate(levels)
    )
    return ReferenceSpine("case", Centerline(points, np.ones(31)), vertebrae)


def a_report(centers, levels, probabilities, shift_mm=0.0):
    points = tuple((shift_mm, 0.0, float(z)) for z in range(0, 151, 5))
    vertebrae = tuple(
        a_reported_vertebra(level, center, 10.0, fracture_probability=probability, uncertainty=0.0)
        for center, level, probability in zip(centers, levels, probabilities, strict=True)
    )
    return SpineReport(
        Software("0", {}),
        InputIdentity("case", (1, 1, 1), (1.0, 1.0, 1.0)),
        "evaluable",
        None,
        ScanResult(0.5, 0, (), 0.5),
        ReportedCenterline(points, (1.0,) * len(points)),
        ReportedSequence((), (), ()),
        vertebrae,
        {},
    )


def test_a_perfect_report_has_nothing_missed_shifted_or_extra():
    report = a_report([20, 50, 80, 110], ["L1", "T12", "T11", "T10"], [0.1] * 4, shift_mm=0.1)

    result = compare(report, a_truth())

    assert all(pair.found is not None for pair in result.pairs)
    assert (result.level_shift, result.levels_right, result.levels_named) == (0, 4, 4)
    assert (result.extra, result.false_alarms) == ((), ())
    assert result.centerline.mean_mm == pytest.approx(0.1, abs=0.02)
    assert result.centerline.coverage == 1.0


def test_a_missed_and_an_invented_vertebra_are_counted():
    result = compare(a_report([20, 35.5, 80, 110], ["L1", "T12", "T11", "T10"], [0.1] * 4), a_truth())

    assert [pair.truth.level for pair in result.pairs if pair.found is None] == ["T12"]
    assert len(result.extra) == 1


def test_a_report_that_names_everything_one_level_too_low_is_shifted_by_one():
    result = compare(a_report([20, 50, 80, 110], ["L2", "L1", "T12", "T11"], [0.1] * 4), a_truth())

    assert (result.level_shift, result.levels_right) == (1, 0)


def test_calls_on_unfractured_vertebrae_are_false_alarms_and_on_fractured_ones_are_not():
    report = a_report([20, 50, 80, 110], ["L1", "T12", "T11", "T10"], [0.9, 0.1, 0.9, 0.1])

    result = compare(report, a_truth(fractured=("T11",)))

    assert result.false_alarms == ("L1",)


def test_a_shifted_centerline_shows_its_shift_and_loses_coverage_beyond_five_millimeters():
    near = compare(a_report([20], ["L1"], [0.1], shift_mm=3.0), a_truth()).centerline
    far = compare(a_report([20], ["L1"], [0.1], shift_mm=6.0), a_truth()).centerline

    assert near.mean_mm == pytest.approx(3.0, abs=0.05)
    assert (near.coverage, far.coverage) == (1.0, 0.0)


def test_a_bootstrap_interval_holds_its_estimate_and_is_reproducible():
    values = np.random.default_rng(0).normal(5.0, 1.0, 50)
    patients = [str(number) for number in range(50)]

    first, second = (bootstrap_by_patient(values.tolist(), patients, np.mean) for _ in range(2))

    assert first == second
    assert first.low < first.value < first.high
    assert first.high - first.low == pytest.approx(2 * 1.96 / np.sqrt(50), rel=0.3)
    assert (first.patients, first.samples) == (50, 50)


def test_with_one_answer_a_patient_the_interval_is_that_of_wilson():
    expected = binomtest(81, 263).proportion_ci(method="wilson")

    found = proportion_by_patient([number < 81 for number in range(263)], map(str, range(263)))

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662), "Newcombe 1998"


@pytest.mark.parametrize(("hits", "vertebrae"), [(5, 4), (10, 4), (0, 12)])
def test_answers_that_repeat_within_a_patient_count_once(hits, vertebrae):
    once = binomtest(hits, 10).proportion_ci(method="wilson")
    answers = [patient < hits for patient in range(10) for _ in range(vertebrae)]

    found = proportion_by_patient(answers, [str(patient) for patient in range(10) for _ in range(vertebrae)])

    assert (found.count, found.patients) == (10 * vertebrae, 10)
    assert (found.low, found.high) == pytest.approx((once.low, once.high), abs=0.02)


def test_answers_that_differ_within_a_patient_are_worth_more_than_their_patients_and_no_more_than_their_number():
    answers, patients = [True, False] * 20, [str(number // 4) for number in range(40)]

    found = proportion_by_patient(answers, patients)

    by_answer = binomtest(20, 40).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((by_answer.low, by_answer.high), abs=1e-6)


def test_of_nothing_no_proportion_is_known():
    found = proportion_by_patient([], [])

    assert (found.value, found.low, found.high, found.patients) == (None, 0.0, 1.0, 0)


def test_both_dates_of_one_patient_are_in_one_fold():
    for first, second in (("hcc-007a", "hcc-007b"), ("hcc-009a", "hcc-009b")):
        assert fold_of_scan(first) == fold_of_scan(second)
        assert patient_of_scan(first) == patient_of_scan(second)


def test_scans_with_a_non_commercial_license_are_in_no_fold():
    assert [fold_of_scan(name) for name in ("lung1-001", "lung1-002", "lung1-141")] == [None] * 3


def test_ood_phantoms_lie_outside_the_range_of_the_training_in_one_way_each():
    options = [ood_options(seed) for seed in range(FIRST_OOD_SEED, FIRST_OOD_SEED + 6)]

    assert sorted(item.spacing_mm[2] > 5.0 for item in options) == [False] * 4 + [True] * 2
    assert sorted(item.noise_hu > 75.0 for item in options) == [False] * 4 + [True] * 2
    assert sorted(abs(item.scoliosis_deg) >= 40.0 for item in options) == [False] * 4 + [True] * 2
    assert {len(item.fractures) for item in options} <= {0, 1, 2}
    assert any(item.fractures for item in options)
    assert ood_options(FIRST_OOD_SEED) == ood_options(FIRST_OOD_SEED)


def a_result(patient, date, probability, fractured):
    report = a_report([20, 50, 80, 110], ["L1", "T12", "T11", "T10"], [0.01, probability, 0.01, 0.01])
    report = replace(report, scan=ScanResult(probability, 0, (), 0.5))
    truth = a_truth(fractured=("T12",) if fractured else ())
    name = f"p{patient}-{date}"
    case = Case(name, f"p{patient}", Path(f"{name}.nii.gz"), Path(f"{name}.json"))
    return CaseResult(case, truth, 0, "", 1.0, None, report, compare(report, truth))


def test_a_summary_of_ten_patients_at_four_dates_each_rests_on_ten_patients():
    fractured = {0, 5, 6, 7, 8, 9}
    results = [
        a_result(patient, date, 0.05 + 0.1 * patient, patient in fractured)
        for patient in range(10)
        for date in range(4)
    ]

    said = "\n".join([*summary_lines(results), *accuracy_lines(results)])

    assert "Scan AUC: 0.833 (0.500 to 1.000, n = 10 patients, 40 scans)" in said, "by scan it was 0.678 to 0.960"
    assert "Complete vertebrae found: 160 of 160 in 10 patients (100.0%, 72.2% to 100.0%)" in said
    assert "Suspected of grade 2: 20 of 24 in 6 patients" in said


def test_a_command_whose_library_is_missing_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for name in [name for name in sys.modules if name.startswith("VertebralFractureLib.research.evaluation")]:
        monkeypatch.delitem(sys.modules, name)

    code = main(["evaluate", "--phantoms", "1", "--out", str(tmp_path / "out")])

    assert code == 2
    assert "pip install 'VertebralFracture[research]'" in capsys.readouterr().err
