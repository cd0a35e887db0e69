"""What a step doubts is said wherever the answer is shown: impression, table, page, JSON, CSV, picture, scene."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from correction_samples import a_column

from VertebralFractureLib.cli.table import format_report_table
from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.export.page import report_to_html
from VertebralFractureLib.export.picture import draw_overview
from VertebralFractureLib.export.table import report_to_csv
from VertebralFractureLib.result import report_from_json, report_to_json
from VertebralFractureLib.result.words import DOUBT_WORDS, describe_doubt, write_impression
from VertebralFractureLib.volume import CTVolume


@pytest.fixture
def a_doubted_report():
    """The scan's scale is in doubt, and the height of its lowest vertebra, L4."""
    report = a_column()
    lowest, *others = report.vertebrae
    doubted = replace(lowest, doubts=(DoubtKind.UNUSUAL_HEIGHT,))
    scale = Doubt(DoubtKind.HU_SCALE, {"hu_of_soft_tissue": 150.0})
    return replace(report, vertebrae=(doubted, *others), doubts=(scale,))


def test_every_kind_of_doubt_has_words():
    assert set(DOUBT_WORDS) == set(DoubtKind)


def test_the_impression_ends_with_the_doubts_and_whom_they_concern(a_doubted_report):
    said = write_impression(a_doubted_report)

    assert said.endswith(
        f"In doubt: {DOUBT_WORDS[DoubtKind.HU_SCALE]} (soft tissue at 150 HU); "
        f"L4: {DOUBT_WORDS[DoubtKind.UNUSUAL_HEIGHT]}"
    )


def test_a_doubt_of_all_vertebrae_is_said_once(a_doubted_report):
    counted = tuple(replace(v, doubts=(DoubtKind.LEVEL_BY_COUNTING,)) for v in a_doubted_report.vertebrae)

    said = write_impression(replace(a_doubted_report, vertebrae=counted))

    assert said.endswith(f"; every vertebra: {DOUBT_WORDS[DoubtKind.LEVEL_BY_COUNTING]}")


def test_doubts_come_back_from_json(a_doubted_report):
    again = report_from_json(report_to_json(a_doubted_report))

    assert again.doubts == a_doubted_report.doubts
    assert again.vertebrae[0].doubts == (DoubtKind.UNUSUAL_HEIGHT,)


def test_the_row_in_the_terminal_and_in_the_csv_says_the_doubt(a_doubted_report):
    row = next(line for line in format_report_table(a_doubted_report).splitlines() if line.startswith("L4 "))
    cells = list(csv.DictReader(io.StringIO(report_to_csv(a_doubted_report))))

    assert DOUBT_WORDS[DoubtKind.UNUSUAL_HEIGHT] in row
    assert cells[-1]["doubts"] == "unusual_height"
    assert cells[0]["doubts"] == ""


def test_the_probability_of_a_level_stands_beside_it_in_terminal_and_page():
    report = a_column()
    lowest, *others = report.vertebrae
    unsure = replace(report, vertebrae=(replace(lowest, level_probability=0.71), *others))
    ct = CTVolume(np.zeros((40, 40, 40), np.int16), np.diag([4.0, 4.0, 8.0, 1.0]))

    row = next(line for line in format_report_table(unsure).splitlines() if line.startswith("L4 "))

    assert row.split()[:2] == ["L4", "0.71"]
    assert '<td class="word">L4</td><td class="number">0.71</td>' in report_to_html(unsure, ct, None, b"")
    unnamed = replace(lowest, level=None, label="V1", level_probability=0.3)
    row = next(line for line in format_report_table(replace(report, vertebrae=(unnamed,))).splitlines() if "V1" in line)
    assert row.split()[:2] == ["V1", "-"]


def test_page_and_picture_show_doubts_and_look_as_before_without(a_doubted_report):
    ct = CTVolume(np.zeros((40, 40, 40), np.int16), np.diag([4.0, 4.0, 8.0, 1.0]))
    certain = replace(a_doubted_report, doubts=(), vertebrae=a_column().vertebrae)

    assert "In doubt" in report_to_html(a_doubted_report, ct, None, b"")
    assert "In doubt" not in report_to_html(certain, ct, None, b"")
    refused = replace(a_doubted_report, status="not_evaluable", reason="none was found")
    assert draw_overview(refused, ct, None) != draw_overview(replace(refused, doubts=(), vertebrae=()), ct, None)


def test_what_was_measured_is_said_with_its_place_and_unit_or_by_its_own_name():
    gap = Doubt(DoubtKind.SLICES_EMPTY, {"slice_before": 45.0, "slices": 3.0})
    unknown = Doubt(DoubtKind.SLICES_EMPTY, {"slices": 3.0})

    assert describe_doubt(gap) == "slices hold no image (3 after slice 45)"
    assert describe_doubt(unknown) == "slices hold no image (3 slices)"
