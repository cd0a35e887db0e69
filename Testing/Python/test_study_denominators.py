"""One definition of every denominator: what is ungraded, refused, unanswered or extra counts alike in all tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_evaluation import a_report, a_truth

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.research.datasets import ReferenceSpine, Source
from VertebralFractureLib.research.evaluation.compare import compare
from VertebralFractureLib.research.evaluation.judged import NOT_FOUND, SCAN_REFUSED, Outcome, judge, judged_scans
from VertebralFractureLib.research.evaluation.performance import performance
from VertebralFractureLib.research.evaluation.run_cases import Case, CaseResult
from VertebralFractureLib.research.evaluation.summary import height_errors_mm, summary_lines
from VertebralFractureLib.result.report import ScanResult, SpineReport
from VertebralFractureLib.vertebrae.vertebra import Heights

LEVELS = ["L1", "T12", "T11", "T10"]


def a_graded_truth(*grades: int | None) -> ReferenceSpine:
    truth = a_truth()
    rows = tuple(replace(v, grade=grade) for v, grade in zip(truth.vertebrae, grades, strict=True))
    return replace(truth, vertebrae=rows)


def a_result(name: str, truth: ReferenceSpine, report: SpineReport | None, message: str = "") -> CaseResult:
    case = Case(name, name, Path(f"{name}.nii.gz"), Path(f"{name}.json"))
    comparison = None if report is None else compare(report, truth)
    return CaseResult(case, truth, 2 if report is None else 0, message, 1.0, None, report, comparison)


def answered(*probabilities: float, at: tuple[float, ...] = (20, 50, 80, 110)) -> SpineReport:
    report = a_report(at, LEVELS, probabilities)
    return replace(report, scan=ScanResult(max(probabilities), 0, (), 0.5))


def a_study() -> list[CaseResult]:
    """Four scans with eleven graded vertebrae, four of them fractured; counted by hand in the tests."""
    return [
        # L1 fractured and called, T12 normal and called, T11 of unknown grade and called, T10 normal and spared.
        a_result("a", a_graded_truth(2, 0, None, 0), answered(0.9, 0.8, 0.7, 0.1)),
        # T12 fractured and found by nobody: what was found instead, 15 mm away, is called and is no vertebra.
        a_result("b", a_graded_truth(0, 3, 0, None), answered(0.1, 0.9, 0.1, 0.1, at=(20, 35.5, 80, 110))),
        # Refused, with two fractures.
        a_result("c", a_graded_truth(1, 0, 2, None), None, "The file is damaged."),
        # Nothing is known of it.
        a_result("d", a_graded_truth(None, None, None, None), answered(0.9, 0.1, 0.1, 0.1)),
        # The program cannot judge it; its one known vertebra is normal and does not become a true negative.
        a_result(
            "e", a_graded_truth(0, None, None, None), replace(answered(0.1, 0.1, 0.1, 0.1), status="not_evaluable")
        ),
    ]


def test_what_was_refused_or_not_answered_stays_in_the_denominator_of_intention_to_diagnose() -> None:
    figures = performance(judged_scans(a_study()), 0.5)
    called = figures["at_threshold"]["vertebrae"]

    assert (figures["scans"], figures["refused_scans"], figures["not_evaluable_scans"]) == (4, 1, 2)
    assert (figures["vertebrae"], figures["fractured_vertebrae"]) == (10, 4)
    assert (called["fractured"], called["answered_fractured"]) == (4, 1)
    assert (called["normal"], called["answered_normal"]) == (6, 5)
    assert called["sensitivity"] == pytest.approx(1 / 1)
    assert called["intention_to_diagnose"]["sensitivity"] == pytest.approx(1 / 4)
    assert called["specificity"] == pytest.approx(4 / 5)
    assert called["intention_to_diagnose"]["specificity"] == pytest.approx(4 / 6)
    scans = figures["at_threshold"]["scans"]
    assert (scans["fractured"], scans["answered_fractured"]) == (3, 2)
    assert scans["intention_to_diagnose"]["sensitivity"] == pytest.approx(2 / 3)


def test_a_detection_where_nothing_is_raises_an_alarm_and_is_no_normal_vertebra() -> None:
    figures = performance(judged_scans(a_study()), 0.5)

    assert figures["extra_vertebrae"] == 1
    assert figures["at_threshold"]["vertebrae"]["normal"] == 6
    assert figures["at_threshold"]["false_alarms_per_scan"] == pytest.approx(2 / 4)


def test_a_vertebra_of_unknown_grade_is_normal_in_no_table() -> None:
    results = a_study()

    said = "\n".join(summary_lines(results))

    assert results[0].comparison is not None
    assert results[0].comparison.false_alarms == ("T12",)
    assert results[0].comparison.called_ungraded == ("T11",)
    assert "False alarms: 2 in 4 scans (0.50 a scan)" in said, "T12 of a, and what is no vertebra in b"
    assert "2 more of unknown grade were called" in said, "T11 of a, and L1 of d"


def test_every_vertebra_without_an_answer_says_why() -> None:
    scans = {scan.identifier: scan for scan in map(judge, a_study())}

    assert [v.reason for v in scans["b"].vertebrae] == ["", NOT_FOUND, ""]
    assert {v.reason for v in scans["c"].vertebrae} == {SCAN_REFUSED}
    assert (scans["c"].outcome, scans["c"].reason) == (Outcome.REFUSED, "The file is damaged.")
    assert scans["d"].vertebrae == ()
    assert (scans["a"].ungraded, scans["a"].called_ungraded) == (1, 1)


def test_a_graded_row_whose_level_was_not_found_counts_as_missed_unless_the_program_finds_that_level() -> None:
    """Given a table's T9 and T8 that no annotated vertebra carries, when only a T9 is found, then T8 is missed."""
    truth = replace(a_graded_truth(0, 0, 0, 0), unplaced_grades={"T9": 3, "T8": 2})
    report = a_report([20, 50, 80, 110, 140], [*LEVELS, "T9"], [0.1, 0.1, 0.1, 0.1, 0.95])

    scan = judge(a_result("a", truth, replace(report, scan=ScanResult(0.95, 0, (), 0.5))))

    assert {v.level: (v.truth_grade, v.probability, v.reason) for v in scan.vertebrae if v.truth_grade} == {
        "T9": (3, 0.95, ""),
        "T8": (2, None, NOT_FOUND),
    }


def test_nothing_is_measured_against_the_program_s_own_answer() -> None:
    """Given a reference that an import made of the program's own findings, then no distance of 0.00 mm is told."""
    report = answered(0.1, 0.1, 0.1, 0.1)
    found = tuple(replace(v, heights_mm=Heights(20.0, 19.0, 21.0)) for v in report.vertebrae)
    report = replace(report, vertebrae=found)
    own = replace(
        a_graded_truth(0, 0, 0, 0),
        centerline=Centerline(np.array(report.centerline.points_ras), np.ones(31)),
        centerline_by=Source.PROGRAM,
    )
    vertebrae = tuple(
        replace(
            v,
            heights_mm=(20.0, 19.0, 21.0),
            center_by=Source.PROGRAM,
            heights_by=Source.PROGRAM,
            level_by=Source.PROGRAM,
        )
        for v in own.vertebrae
    )
    result = a_result("a", replace(own, vertebrae=vertebrae), report)

    said = "\n".join(summary_lines([result]))

    assert result.comparison is not None
    assert result.comparison.centerline is None
    assert height_errors_mm([result]) == []
    assert said.count("not measured; the reference has none, or the program's own.") == 4
    assert "0.00 mm" not in said


def test_a_centerline_that_is_the_program_s_to_the_last_digit_is_taken_for_its_own() -> None:
    """Annotations of earlier versions do not say where their centerline comes from."""
    report = answered(0.1, 0.1, 0.1, 0.1)
    points = np.round(np.array(report.centerline.points_ras), 4)
    truth = replace(a_graded_truth(0, 0, 0, 0), centerline=Centerline(points, np.ones(len(points))))
    moved = replace(truth, centerline=Centerline(points + 0.05, np.ones(len(points))))

    assert compare(report, truth).centerline is None
    assert compare(report, moved).centerline is not None
