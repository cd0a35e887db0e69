"""Networks and heights give one answer: monotone in both, as wide as they are uncertain, and without contradictions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from correction_samples import LEVELS, WEDGE, a_column, landmarks
from hypothesis import given
from hypothesis import strategies as st
from report_samples import a_reported_vertebra

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.fracture.grade_posterior import (
    choose_grade,
    choose_range,
    compute_posterior,
    load_table,
    sum_grades,
)
from VertebralFractureLib.fracture.vertebra_scores import join_witnesses, told_from
from VertebralFractureLib.result import apply_display_criteria, edits, report_from_json, report_to_json
from VertebralFractureLib.result.apply_correction import apply_correction
from VertebralFractureLib.result.correction import Correction
from VertebralFractureLib.result.report import is_suspected
from VertebralFractureLib.result.scan_result import scan_probability, summarize_scan
from VertebralFractureLib.result.words import describe_call, describe_grade, describe_index, write_impression
from VertebralFractureLib.vertebrae.grading import classify_shape, grade_vertebrae
from VertebralFractureLib.vertebrae.vertebra import HeightLosses, Heights, Shape, Source, Status, Vertebra

CHANCES = st.floats(0.0, 1.0)
LOSSES = st.none() | st.floats(0.0, 0.95)
DEVIATIONS = st.none() | st.floats(0.0, 0.3)


def at_least(posterior: tuple[float, ...]) -> np.ndarray:
    return np.cumsum(posterior[::-1])[::-1][1:]


@st.composite
def answers(draw: st.DrawFn) -> tuple[float, ...]:
    """Of the networks: none, the first alone, or all three."""
    drawn = sorted(draw(st.lists(CHANCES, min_size=3, max_size=3)), reverse=True)
    return tuple(drawn[: draw(st.sampled_from([1, 3]))])


@given(network=answers(), loss=LOSSES, sd=DEVIATIONS)
def test_a_posterior_is_a_distribution_whatever_is_known(
    network: tuple[float, ...], loss: float | None, sd: float | None
) -> None:
    posterior = compute_posterior(network, loss, sd)

    assert min(posterior) >= 0.0
    assert sum(posterior) == pytest.approx(1.0)


@given(network=answers() | st.just(()), loss=st.floats(0.0, 0.8), more=st.floats(0.0, 0.2), sd=DEVIATIONS)
def test_a_larger_loss_never_makes_a_higher_grade_less_likely(
    network: tuple[float, ...], loss: float, more: float, sd: float | None
) -> None:
    before, after = (compute_posterior(network, value, sd) for value in (loss, loss + more))

    assert np.all(at_least(after) >= at_least(before) - 1e-12)


@given(network=answers(), which=st.integers(0, 2), more=CHANCES, loss=LOSSES, sd=DEVIATIONS)
def test_a_larger_answer_of_the_networks_never_makes_a_higher_grade_less_likely(
    network: tuple[float, ...], which: int, more: float, loss: float | None, sd: float | None
) -> None:
    raised = list(network)
    index = min(which, len(raised) - 1)
    raised[index] += more * (1.0 - raised[index])

    before, after = (compute_posterior(values, loss, sd) for values in (network, raised))

    assert np.all(at_least(after) >= at_least(before) - 1e-12)


def test_without_any_witness_there_is_no_posterior() -> None:
    with pytest.raises(ValueError, match="network"):
        compute_posterior((), None)


def test_heights_count_less_the_more_the_slices_blur_them() -> None:
    network, alone = (0.6, 0.4, 0.1), compute_posterior((0.6, 0.4, 0.1), None)

    joined = [compute_posterior(network, 0.45, sd) for sd in (0.0, 0.05, 0.1, 9.0)]
    shifts = [abs(at_least(posterior)[1] - at_least(alone)[1]) for posterior in joined]

    assert shifts == sorted(shifts, reverse=True)
    assert shifts[0] > 0.2
    assert shifts[-1] < 0.05


def test_in_thick_slices_the_range_of_a_grade_is_no_narrower() -> None:
    network = (0.9, 0.6, 0.1)
    for loss in (0.22, 0.32, 0.45):
        thin, thick = (compute_posterior(network, loss, sd) for sd in (0.02, 0.12))

        widths = [high - low for low, high in (choose_range(p, choose_grade(p, 0.5)) for p in (thin, thick))]
        assert widths[1] >= widths[0]


def test_no_witness_is_certain_however_absurd_it_is() -> None:
    said_nothing, crushed = compute_posterior((1e-12,) * 3, 0.95), compute_posterior((1.0 - 1e-12,) * 3, 0.0)

    assert said_nothing == compute_posterior((1e-9,) * 3, 0.9)
    assert 0.001 < said_nothing[0] < 0.999
    assert 0.001 < crushed[0] < 0.999


@given(network=answers(), loss=LOSSES, sd=DEVIATIONS, threshold=st.floats(0.05, 0.95))
def test_a_grade_is_told_exactly_where_a_fracture_is_suspected(
    network: tuple[float, ...], loss: float | None, sd: float | None, threshold: float
) -> None:
    posterior = compute_posterior(network, loss, sd)

    grade = choose_grade(posterior, threshold)
    low, high = choose_range(posterior, grade)

    assert (grade >= 1) == (at_least(posterior)[0] >= threshold)
    assert low <= grade <= high
    assert low >= 1 or grade == 0


def test_the_index_of_sure_grades_is_their_sum_and_of_unsure_ones_a_range() -> None:
    sure, unsure = (0.0, 0.0, 1.0, 0.0), (0.4, 0.2, 0.2, 0.2)

    assert sum_grades([sure, sure]) == (4, 4)
    assert sum_grades([]) == (0, 0)
    low, high = sum_grades([sure, unsure, unsure])
    assert low <= 3 < 6 <= high


def test_the_table_that_ships_has_no_slope_below_zero_and_says_where_it_comes_from(project_folder) -> None:
    table = load_table()

    content = json.loads(
        (project_folder / "VertebralFractureLib" / "fracture" / "grade_posterior.json").read_text(encoding="utf-8")
    )
    for line in (table.joined, table.network_alone, table.loss_alone, table.first_joined, table.first_alone):
        assert line.network >= 0.0
        assert line.loss >= 0.0
    assert "calibrate_posterior" in content["source"]
    assert "patients" in content["set"]


def a_judged(label: str, s_mm: float, network: tuple[float, ...], front_mm: float | None) -> Vertebra:
    """A vertebra as two networks and its heights see it; not scored yet."""
    members = [{"a": value, "b": value} for value in network]
    vertebra = a_reported_vertebra(
        label,
        s_mm,
        11.0,
        center_ras=(0.0, 27.0, s_mm),
        member_probability=members[0],
        member_probability_of_2=members[1],
        member_probability_of_3=members[2],
        heights_mm=None if front_mm is None else Heights(front_mm, 23.0, 25.0),
        height_sd_mm=None if front_mm is None else 0.4,
        landmarks_ras=None if front_mm is None else landmarks(s_mm, front_mm, 23.0, 25.0),
    )
    return vertebra


@pytest.fixture
def a_report():
    """A column as this version judges it: one wedge, and one that the networks see and the heights do not."""
    said = {WEDGE: ((0.95, 0.9, 0.2), 17.0), "L2": ((0.9, 0.5, 0.05), 24.0)}
    column = a_column()
    vertebrae = [
        a_judged(level, v.center_ras[2], *said.get(level, ((0.02, 0.01, 0.001), 24.0)))
        for level, v in zip(LEVELS, column.vertebrae, strict=True)
    ]
    judged = tuple(join_witnesses(vertebra) for vertebra in grade_vertebrae(vertebrae))
    scan = summarize_scan(judged, 0.5, scan_probability(judged), None, 0.9)
    return replace(column, vertebrae=judged, scan=scan)


def named(report, level: str) -> Vertebra:
    return next(vertebra for vertebra in report.vertebrae if vertebra.level == level)


def test_no_report_says_suspected_and_grade_0_or_a_suspicious_scan_without_a_suspected_vertebra(a_report) -> None:
    for threshold in (0.05, 0.2, 0.5, 0.7, 0.95):
        shown = apply_display_criteria(a_report, threshold, "level_norms")

        assert all(bool(v.grade) == is_suspected(v, threshold) for v in shown.vertebrae)
        assert (shown.scan.fracture_probability >= threshold) == bool(shown.scan.fractured_levels)
        low, high = shown.scan.sdi_range
        assert low <= shown.scan.sdi <= high
        assert report_from_json(report_to_json(shown)).scan.fractured_levels == shown.scan.fractured_levels


def test_where_networks_and_heights_disagree_the_row_says_so_with_what_each_says(a_report) -> None:
    doubted = [v for v in a_report.vertebrae if DoubtKind.WITNESSES_DISAGREE in v.doubts]

    assert [v.level for v in doubted] == ["L2"]
    assert (doubted[0].network_probability, doubted[0].morphometric_grade) == (pytest.approx(0.9), 0)
    words = f"networks and heights disagree (networks 0.90, heights alone grade 0, loss {doubted[0].height_loss:.0%})"
    assert words in describe_call(doubted[0], 0.5)
    assert f"L2: {words}" in write_impression(a_report)


def test_the_impression_names_the_grade_with_its_range(a_report) -> None:
    wedge = named(a_report, WEDGE)

    assert wedge.shape == Shape.WEDGE
    assert f"{WEDGE} (" in write_impression(a_report)
    assert "grade" in write_impression(a_report)
    for low, high, words in ((2, 2, "2"), (2, 3, "at least 2"), (1, 3, "2 (1 to 3)"), (1, 2, "2 (1 to 2)")):
        assert describe_grade(replace(wedge, grade=2, grade_range=(low, high))) == words


def test_an_index_of_nothing_is_not_determined_and_never_0(a_report) -> None:
    above = tuple(replace(v, level="T2", label="T2") for v in a_report.vertebrae[:3])

    scan = summarize_scan(above, 0.5, scan_probability(above), None)

    assert scan.sdi is None
    assert scan.sdi_range is None
    assert describe_index(scan) == "not determined"


def test_an_index_of_0_over_nothing_graded_in_an_older_report_is_unknown_when_it_is_read() -> None:
    content = json.loads(report_to_json(a_column()))
    content["revision"] = 6
    for row in content["vertebrae"]:
        row |= {"grade": None, "shape": None, "height_loss": None, "heights_mm": None, "landmarks_ras": None}
    content["scan"]["sdi"] = 0
    for holder, names in (
        (content["scan"], ("sdi_range", "network_probability")),
        (content["sequence"], ("member_probability_of_2", "member_probability_of_3")),
    ):
        for name in names:
            del holder[name]

    assert report_from_json(json.dumps(content)).scan.sdi is None


def test_a_vertebra_without_heights_is_graded_by_the_networks_and_has_no_shape() -> None:
    seen = join_witnesses(a_judged("T10", 50.0, (0.97, 0.9, 0.1), None))

    assert seen.status == Status.SCORED
    assert (seen.grade, seen.shape, seen.morphometric_grade) == (2, None, None)
    assert DoubtKind.WITNESSES_DISAGREE not in seen.doubts


def test_heights_that_a_reader_placed_are_believed_whatever_the_networks_say(a_report) -> None:
    index = next(i for i, v in enumerate(a_report.vertebrae) if v.level == "L2")
    s = a_report.vertebrae[index].center_ras[2]

    lowered = edits.set_landmarks(Correction(), a_report, index, landmarks(s, 12.0, 20.0, 25.0))
    whole = edits.set_landmarks(Correction(), a_report, index, landmarks(s, 24.5, 23.5, 25.0))

    broken, sound = (apply_correction(a_report, one).vertebrae[index] for one in (lowered, whole))
    assert (broken.grade, broken.heights_source) == (3, Source.READER)
    assert sound.grade == 0
    assert sound.network_probability == pytest.approx(0.9)
    assert sound.model.grade == a_report.vertebrae[index].grade


def test_a_report_that_was_saved_is_corrected_to_the_same_as_the_one_in_memory(a_report) -> None:
    index = next(i for i, v in enumerate(a_report.vertebrae) if v.level == "L3")
    correction = edits.split_vertebra(Correction(), a_report, index)

    saved = report_from_json(report_to_json(a_report))
    direct, read = (apply_correction(report, correction) for report in (a_report, saved))

    for one, other in zip(direct.vertebrae, read.vertebrae, strict=True):
        assert one.fracture_probability == pytest.approx(other.fracture_probability, abs=1e-5)
        assert (one.grade, one.grade_range, one.doubts) == (other.grade, other.grade_range, other.doubts)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("grade_probability", [0.9, 0.2, 0.1, 0.1], "sums up"),
        ("grade_probability", [0.7, 0.1, 0.1, 0.1], "fracture_probability"),
        ("grade_range", [3, 3], "grade_range"),
        ("grade", None, "no 'grade'"),
        ("morphometric_grade", 3, "morphometric_grade"),
    ],
)
def test_a_file_whose_grade_contradicts_its_probabilities_is_refused(a_report, field, value, words) -> None:
    content = json.loads(report_to_json(a_report))
    row = next(row for row in content["vertebrae"] if row["level"] == "L4")
    row[field] = value

    with pytest.raises(RefusedContent, match=words):
        report_from_json(json.dumps(content))


def test_a_vertebra_of_an_older_report_stays_what_it_was_under_another_threshold() -> None:
    old = a_column().vertebrae[LEVELS.index(WEDGE)]

    assert told_from(old, 0.99) == old


@pytest.mark.parametrize(
    ("losses", "shape"),
    [
        (HeightLosses(0.30, 0.20, 0.05), Shape.WEDGE),
        (HeightLosses(0.30, 0.32, 0.05), Shape.WEDGE),
        (HeightLosses(0.20, 0.40, 0.10), Shape.BICONCAVE),
        (HeightLosses(0.30, 0.57, 0.25), Shape.BICONCAVE),
        (HeightLosses(0.42, 0.44, 0.38), Shape.CRUSH),
        (HeightLosses(0.25, 0.20, None), Shape.WEDGE),
    ],
)
def test_a_hollow_body_is_biconcave_even_where_its_bowl_reaches_the_back(losses, shape) -> None:
    assert classify_shape(losses) == shape
