"""The report keeps what it is given, says what it does not know, and never sounds normal by default."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from correction_samples import a_column

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cli.table import format_report_table
from VertebralFractureLib.export.table import report_to_csv
from VertebralFractureLib.fracture import FractureSequence
from VertebralFractureLib.result import report_from_json, report_to_json
from VertebralFractureLib.result.build_report import build_not_evaluable_report, build_report
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.vertebrae.vertebra import Heights, Reason, Status, Vertebra
from VertebralFractureLib.volume import CTVolume


@pytest.fixture
def a_ct():
    matrix = np.diag([4.0, 4.0, 4.0, 1.0])
    matrix[:3, 3] = (-80.0, -80.0, 0.0)
    return CTVolume(np.zeros((40, 40, 40), np.int16), matrix, "a scan", {"modality": "CT"})


@pytest.fixture
def a_centerline():
    points = np.stack([np.zeros(29), np.zeros(29), np.linspace(5.0, 145.0, 29)], axis=1)
    return Centerline(points, np.full(29, 0.9))


@pytest.fixture
def a_sequence():
    positions = np.arange(0.0, 140.0, 6.0)
    values = np.full(len(positions), 0.1)
    return FractureSequence(positions, values, values / 2, np.ones(len(positions)), {"one": values}, 0.83)


def a_vertebra(level, s, probability, grade=0, status="scored"):
    return Vertebra(
        extent_mm=(s - 10.0, s + 10.0),
        center_ras=(0.0, 20.0, s + 5.0),
        complete=True,
        detection_confidence=0.9,
        landmarks_ras=tuple((0.0, a, s + 5.0 + half) for half in (10.0, -10.0) for a in (30.0, 20.0, 10.0)),
        level=level,
        level_probability=0.8,
        label=level,
        status=Status(status),
        reason=None if status == "scored" else Reason.TRUNCATED,
        fracture_probability=probability if status == "scored" else None,
        uncertainty=0.05 if status == "scored" else None,
        grade=grade,
        morphometric_grade=grade,
        shape="wedge" if grade else None,
        heights_mm=Heights(18.0, 19.0, 20.0),
        height_loss=(0.05, 0.22, 0.3)[grade],
    )


@pytest.fixture
def a_report(a_ct, a_centerline, a_sequence):
    vertebrae = [
        a_vertebra("L2", 20.0, None, status="not_evaluable"),
        a_vertebra("L1", 50.0, 0.92, grade=2),
        a_vertebra("T12", 80.0, 0.08),
        a_vertebra("T11", 110.0, 0.61, grade=1),
    ]
    return build_report(a_ct, a_centerline, a_sequence, vertebrae, {"cord": "ab" * 32})


def test_a_report_survives_json_without_loss(a_report):
    text = report_to_json(a_report)

    again = report_from_json(text)

    assert report_to_json(again) == text
    assert again.scan == a_report.scan
    assert [v.label for v in again.vertebrae] == ["L2", "L1", "T12", "T11"]


def test_json_has_every_promised_name_and_nothing_is_missing(a_report):
    content = json.loads(report_to_json(a_report))

    assert content["schema"] == "vertebral-fracture-report/2"
    assert content["disclaimer"] == RESEARCH_USE_ONLY
    assert set(content["scan"]) >= {"fracture_probability", "sdi", "fractured_levels"}
    names = "level level_probability label center_ras status reason fracture_probability uncertainty grade shape"
    names += " heights_mm height_loss trabecular_hu reader"
    assert set(content["vertebrae"][0]) >= set(names.split())
    assert content["vertebrae"][0]["trabecular_hu"] is None


def test_suspected_levels_are_listed_cranial_first_and_the_index_counts_only_them(a_report):
    assert a_report.scan.fractured_levels == ("T11", "L1")
    assert a_report.scan.sdi == 3
    assert write_impression(a_report) == "2 fractures suspected, T11 and L1; 3 vertebrae scored, 1 not evaluable"


def test_too_few_scored_vertebrae_make_the_scan_not_evaluable_and_leave_no_result(a_ct, a_centerline, a_sequence):
    two = [a_vertebra("L1", 50.0, 0.9, 2), a_vertebra("T12", 80.0, 0.1)]

    report = build_report(a_ct, a_centerline, a_sequence, two, {})

    assert report.status == "not_evaluable"
    assert "Only 2 thoracic or lumbar" in report.reason
    assert report.vertebrae == ()
    assert report.scan.fracture_probability is None
    assert "No fracture" not in format_report_table(report)


def test_a_not_evaluable_scan_keeps_a_row_with_its_reason_in_the_csv(a_ct):
    report = build_not_evaluable_report(a_ct, "No spine was found.", {})

    rows = list(csv.DictReader(io.StringIO(report_to_csv(report))))

    assert [row["reason"] for row in rows] == ["No spine was found."]
    assert rows[0]["scan_status"] == "not_evaluable"
    assert rows[0]["fracture_probability"] == ""


def test_csv_lists_vertebrae_cranial_first_with_the_disclaimer(a_report):
    rows = list(csv.DictReader(io.StringIO(report_to_csv(a_report))))

    assert [row["label"] for row in rows] == ["T11", "T12", "L1", "L2"]
    assert {row["disclaimer"] for row in rows} == {RESEARCH_USE_ONLY}
    assert rows[2]["fracture_probability"] == "0.92"


def test_a_report_of_another_schema_is_refused_by_name(a_report):
    text = report_to_json(a_report).replace("vertebral-fracture-report/2", "vertebral-fracture-report/9")

    with pytest.raises(ValueError, match="vertebral-fracture-report/9"):
        report_from_json(text)


def test_the_table_marks_suspected_vertebrae_in_words(a_report):
    lines = format_report_table(a_report).splitlines()

    assert any(line.startswith("L1") and "SUSPECTED" in line for line in lines)
    assert any(line.startswith("L2") and "partially imaged" in line for line in lines)
    assert lines[-1] == RESEARCH_USE_ONLY


def test_an_assessment_of_the_reader_does_not_touch_the_models_answer(a_report):
    vertebra = replace(a_report.vertebrae[1], reader=replace(a_report.vertebrae[1].reader, grade=0, comment="old"))
    changed = replace(a_report, vertebrae=(a_report.vertebrae[0], vertebra, *a_report.vertebrae[2:]))

    again = report_from_json(report_to_json(changed))

    assert (again.vertebrae[1].grade, again.vertebrae[1].reader.grade) == (2, 0)


def test_only_the_stretch_of_scored_vertebrae_is_drawn():
    report = a_column()
    unscored = [replace(report.vertebrae[at], status=Status.NOT_EVALUABLE, reason=Reason.TRUNCATED) for at in (0, -1)]
    cut = replace(report, vertebrae=(unscored[0], *report.vertebrae[1:-1], unscored[1]))
    low, high = cut.vertebrae[1].extent_mm[0], cut.vertebrae[-2].extent_mm[1]

    assert cut.judged_mm == (low, high)
    judged = cut.judged_sequence
    assert judged.positions_mm == tuple(s for s in report.sequence.positions_mm if low <= s <= high)
    assert judged.probability == tuple(
        p for s, p in zip(report.sequence.positions_mm, report.sequence.probability, strict=True) if low <= s <= high
    )
    assert 0 < len(judged.positions_mm) < len(report.sequence.positions_mm)
    nothing = replace(report, vertebrae=())
    assert nothing.judged_mm is None
    assert nothing.judged_sequence.positions_mm == ()
