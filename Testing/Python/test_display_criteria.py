"""What another threshold or another grading rule makes of a finished report, without detecting again."""

import dataclasses

import pytest
from report_samples import a_reported_vertebra

from VertebralFractureLib.result import OWN_RULE, apply_display_criteria
from VertebralFractureLib.result.report import (
    NOT_EVALUABLE,
    InputIdentity,
    ReportedCenterline,
    ReportedSequence,
    ScanResult,
    Software,
    SpineReport,
)
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.vertebrae import GRADING_RULES
from VertebralFractureLib.vertebrae.vertebra import Heights


@pytest.fixture
def a_report():
    measured = {"height_loss": 0.1, "grade": 0, "level_probability": 0.9}
    vertebrae = (
        a_reported_vertebra("L1", 10.0, 12.0, fracture_probability=0.2, heights_mm=Heights(24, 24, 24), **measured),
        a_reported_vertebra("T12", 40.0, 12.0, fracture_probability=0.6, heights_mm=Heights(17, 20, 24), **measured),
        a_reported_vertebra("T11", 70.0, 12.0, fracture_probability=0.9, heights_mm=Heights(24, 21, 14), **measured),
        a_reported_vertebra("T3", 95.0, 12.0, fracture_probability=0.7, heights_mm=Heights(12, 16, 16), **measured),
        a_reported_vertebra("T2", 120.0, 12.0, fracture_probability=0.7),
    )
    return SpineReport(
        software=Software("0.1.0", {}),
        input=InputIdentity("CT", (10, 10, 10), (1.0, 1.0, 1.0)),
        status="evaluable",
        reason=None,
        scan=ScanResult(0.9, 0, ("T2", "T3", "T11", "T12"), 0.5),
        centerline=ReportedCenterline((), ()),
        sequence=ReportedSequence((), (), ()),
        vertebrae=vertebrae,
        timings_s={},
    )


def test_the_models_own_rule_and_threshold_give_the_report_itself(a_report):
    assert apply_display_criteria(a_report, 0.5, OWN_RULE) == a_report


def test_a_threshold_moves_the_suspected_and_nothing_else(a_report):
    shown = apply_display_criteria(a_report, 0.65, OWN_RULE)

    assert shown.scan.fractured_levels == ("T2", "T3", "T11")
    assert write_impression(shown).startswith("3 fractures suspected, T2, T3 and T11")
    assert shown.vertebrae == a_report.vertebrae


def test_a_vertebra_exactly_at_the_threshold_is_suspected(a_report):
    assert "T12" in apply_display_criteria(a_report, 0.6, OWN_RULE).scan.fractured_levels


@pytest.mark.parametrize(
    ("rule", "grades", "shapes", "index"),
    [
        ("min_over_max", [0, 2, 3, 2, None], [None, "wedge", "crush", "wedge", None], 5),
        ("over_posterior", [0, 2, 0, 2, None], [None, "wedge", None, "wedge", None], 2),
    ],
)
def test_a_simple_rule_grades_from_the_three_heights(a_report, rule, grades, shapes, index):
    shown = apply_display_criteria(a_report, 0.5, rule)

    assert [v.grade for v in shown.vertebrae] == grades
    assert [v.shape for v in shown.vertebrae] == shapes
    # T3 and T2 lie above the levels of the index.
    assert shown.scan.sdi == index
    assert shown.vertebrae[1].height_loss == pytest.approx(1 - 17 / 24)


def test_a_loss_near_a_cut_off_is_called_borderline_by_every_rule(a_report):
    near = dataclasses.replace(a_report.vertebrae[0], heights_mm=Heights(19, 24, 24))
    report = dataclasses.replace(a_report, vertebrae=(near,))

    assert all(
        apply_display_criteria(report, 0.5, rule).vertebrae[0].borderline for rule in GRADING_RULES if rule != OWN_RULE
    )


def test_a_scan_that_is_not_evaluable_stays_so(a_report):
    report = dataclasses.replace(a_report, status=NOT_EVALUABLE, reason="too short", vertebrae=())

    shown = apply_display_criteria(report, 0.2, "min_over_max")

    assert shown.status == NOT_EVALUABLE
    assert shown.scan.sdi == a_report.scan.sdi


def test_a_wrong_threshold_or_rule_is_refused_by_name(a_report):
    with pytest.raises(ValueError, match=r"not at 1\.2"):
        apply_display_criteria(a_report, 1.2, OWN_RULE)
    with pytest.raises(ValueError, match="no grading rule 'mean'"):
        apply_display_criteria(a_report, 0.5, "mean")
