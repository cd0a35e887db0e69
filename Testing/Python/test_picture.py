"""The picture that a person looks at first: sides, places, words and colors are right before it is pretty."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from report_samples import a_reported_vertebra

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import VIRTUAL_SAGITTAL, StraightenedVolume, lay_frame, straighten
from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.export.palette import (
    EXCLUDED,
    GRADE_GROUPS,
    GROUPS,
    NOT_EVALUABLE_GROUP,
    SUSPECTED,
    UNGRADED,
    group_of,
    probability_color,
)
from VertebralFractureLib.export.picture import HEIGHT, WIDTH, draw_overview, place_labels
from VertebralFractureLib.export.picture_canvas import (
    Canvas,
    fit_text,
    measure_text_width,
    shorten_text,
    wrap_text,
)
from VertebralFractureLib.export.picture_panel import Box, fit_panel, middle_frame
from VertebralFractureLib.result.report import (
    EVALUABLE,
    NOT_EVALUABLE,
    InputIdentity,
    ReportedCenterline,
    ReportedSequence,
    ScanResult,
    Software,
    SpineReport,
)
from VertebralFractureLib.vertebrae.vertebra import Reason, Status, Vertebra
from VertebralFractureLib.volume import CTVolume

BALL_RAS = np.array([[2.0, 18.0, 46.0]])


@pytest.fixture(scope="module")
def a_centerline() -> Centerline:
    s = np.linspace(0.0, 110.0, 23)
    points = np.stack([2.0 * np.sin(s / 40.0), -10.0 + 12.0 * np.sin(s / 45.0), -55.0 + s], axis=1)
    return Centerline(points, np.ones(len(points)))


@pytest.fixture(scope="module")
def a_ct_with_a_bright_ball() -> CTVolume:
    """Stored head first, columns to the left and rows to the back; a ball in front of the canal, above its middle."""
    matrix = np.array([[-2.0, 0.0, 0.0, 60.0], [0.0, -2.0, 0.0, 70.0], [0.0, 0.0, -2.0, 62.0], [0.0, 0.0, 0.0, 1.0]])
    ct = CTVolume(np.zeros((62, 70, 60), dtype=np.int16), matrix, "ball")
    k, j, i = np.indices(ct.shape_kji)
    places = ct.ijk_to_ras_points(np.stack([i, j, k], axis=-1).reshape(-1, 3).astype(np.float64))
    near = np.linalg.norm(places - BALL_RAS, axis=1).reshape(ct.shape_kji) < 6.0
    return CTVolume(np.where(near, 1500, 0).astype(np.int16), matrix, "ball")


@pytest.fixture(scope="module")
def a_spine(a_ct_with_a_bright_ball: CTVolume, a_centerline: Centerline) -> StraightenedVolume:
    return straighten(a_ct_with_a_bright_ball, a_centerline)


def _vertebra(spine: StraightenedVolume, label: str, s: float, status: str, grade: int | None, p: float) -> Vertebra:
    corners = np.array([(0.0, a, s + half) for half in (9.0, -9.0) for a in (32.0, 22.0, 12.0)])
    (center,) = spine.frame.straight_to_ras(np.array([[0.0, 22.0, s]])).tolist()
    scored = status == "scored"
    return a_reported_vertebra(
        label,
        s,
        9.0,
        level_probability=1.0,
        center_ras=tuple(center),
        status=Status(status),
        reason=None if scored else Reason.TRUNCATED,
        fracture_probability=p if scored else None,
        uncertainty=0.05 if scored else None,
        grade=grade,
        shape="wedge" if grade else None,
        complete=scored,
        landmarks_ras=tuple(tuple(p) for p in spine.frame.straight_to_ras(corners).tolist()) if scored else None,
    )


@pytest.fixture(scope="module")
def a_report(a_ct_with_a_bright_ball: CTVolume, a_spine: StraightenedVolume, a_centerline: Centerline) -> SpineReport:
    s = np.arange(0.0, 110.0, 4.0)
    bump = 0.95 * np.exp(-0.5 * ((s - 55.0) / 6.0) ** 2)
    ct = a_ct_with_a_bright_ball
    return SpineReport(
        software=Software("0.1.0", {"member": "ab" * 32}),
        input=InputIdentity(ct.name, ct.shape_kji, ct.spacing_mm),
        status=EVALUABLE,
        reason=None,
        scan=ScanResult(0.95, 3, ("T12",), 0.5),
        centerline=ReportedCenterline(
            tuple(tuple(p) for p in a_centerline.points_ras.tolist()), tuple(a_centerline.confidence.tolist())
        ),
        sequence=ReportedSequence(tuple(s.tolist()), tuple(bump.tolist()), tuple((0.1 * bump).tolist())),
        vertebrae=(
            _vertebra(a_spine, "L2", 9.0, "not_evaluable", None, 0.0),
            _vertebra(a_spine, "L1", 32.0, "scored", 0, 0.03),
            _vertebra(a_spine, "T12", 55.0, "scored", 3, 0.95),
            _vertebra(a_spine, "T11", 78.0, "scored", 0, 0.04),
        ),
        timings_s={},
    )


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def _count(pixels: np.ndarray, color: tuple[float, float, float]) -> int:
    return int(np.all(np.abs(pixels - 255.0 * np.array(color)) <= 3.0, axis=-1).sum())


def test_the_picture_shows_the_grades_that_were_found(a_report, a_ct_with_a_bright_ball, a_spine) -> None:
    pixels = _pixels(draw_overview(a_report, a_ct_with_a_bright_ball, a_spine))

    views = pixels[160:1300]
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert _count(views, GRADE_GROUPS[3].color) > 500
    assert _count(views, GRADE_GROUPS[0].color) > 300
    assert _count(views, GRADE_GROUPS[2].color) == 0


def test_a_scan_that_is_not_evaluable_shows_no_grade_at_all(a_report, a_ct_with_a_bright_ball) -> None:
    report = SpineReport(
        software=a_report.software,
        input=a_report.input,
        status=NOT_EVALUABLE,
        reason="The canal was found over 40 mm only.",
        scan=ScanResult(None, None, (), 0.5),
        centerline=ReportedCenterline((), ()),
        sequence=ReportedSequence((), (), ()),
        vertebrae=(),
        timings_s={},
    )

    pixels = _pixels(draw_overview(report, a_ct_with_a_bright_ball, None))

    assert [group.key for group in GRADE_GROUPS if _count(pixels, group.color)] == []


def test_a_long_name_never_runs_into_the_notice(a_report, a_ct_with_a_bright_ball, a_spine) -> None:
    long = dataclasses.replace(a_report, input=dataclasses.replace(a_report.input, name="a name without end " * 9))

    pictures = [_pixels(draw_overview(report, a_ct_with_a_bright_ball, a_spine)) for report in (a_report, long)]

    changed = np.nonzero((pictures[0] != pictures[1]).any(axis=(0, 2)))[0]
    notice = np.nonzero((np.abs(pictures[0][50:66] - (250, 194, 89)) < 40).all(axis=2).any(axis=0))[0]
    assert changed.size > 100
    assert changed.max() < notice.min() - 10


def test_doubts_that_need_more_than_a_line_are_all_written(a_report, a_ct_with_a_bright_ball, a_spine) -> None:
    """Given a report with one doubt and one with six, when both are drawn, then the second picture is taller by the
    lines that they take, each with its letters, and what lies below is the same.
    """
    kinds = (DoubtKind.PATIENT_ROTATED, DoubtKind.HU_SCALE, DoubtKind.UNEVEN_SLICES, DoubtKind.LOSSY_IMAGES)
    values = {"degrees": 180.0, "hu_of_soft_tissue": 120.0, "mm_at_least": 1.0, "mm_at_most": 3.0}
    one, many = (
        dataclasses.replace(a_report, doubts=tuple(Doubt(kind, values) for kind in some))
        for some in (kinds[3:], (*kinds, DoubtKind.NO_ORIGINAL_SERIES, DoubtKind.CORRECTION_OF_OTHER_VOXELS))
    )

    short, tall = (_pixels(draw_overview(report, a_ct_with_a_bright_ball, a_spine)) for report in (one, many))

    grown = len(tall) - HEIGHT
    is_notice = (np.abs(tall[110 : 140 + grown] - (250, 194, 89)) < 40).all(axis=2).any(axis=1)
    lines = int((np.diff(is_notice.astype(int)) == 1).sum())
    assert len(short) == HEIGHT
    assert grown > 0
    assert lines == 1 + grown // 25
    assert np.array_equal(tall[140 + grown :], short[140:])


def test_an_impression_with_many_suspected_levels_names_all_of_them(a_report, a_ct_with_a_bright_ball, a_spine) -> None:
    """Given a spine of which ten vertebrae are suspected, when it is drawn, then the impression goes on in a second
    line.
    """
    levels = ("L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8", "T7")
    vertebrae = [_vertebra(a_spine, level, 9.0 + 8.0 * n, "scored", 3, 0.95) for n, level in enumerate(levels)]
    report = dataclasses.replace(
        a_report, vertebrae=tuple(vertebrae), scan=dataclasses.replace(a_report.scan, fractured_levels=levels[::-1])
    )

    pixels = _pixels(draw_overview(report, a_ct_with_a_bright_ball, a_spine))

    grown = len(pixels) - HEIGHT
    is_text = (np.abs(pixels[82 : 134 + grown, :1160] - 255.0 * np.array(GRADE_GROUPS[2].color)) < 40).all(axis=2)
    assert int((np.diff(is_text.any(axis=1).astype(int), prepend=0) == 1).sum()) == 2 + grown // 25


def test_words_that_are_too_wide_are_written_smaller_before_they_are_cut() -> None:
    text = "0.40  grade at least 2 biconcave, dense focus"

    words, size = fit_text(text, (18, 16, 14), 330)

    assert (words, size < 18) == (text, True)
    assert measure_text_width(words, size) <= 330
    assert fit_text(text, (18, 16, 14), 90)[0].endswith("...")


def test_a_canal_that_does_not_rise_is_still_drawn(a_report, a_ct_with_a_bright_ball, a_spine) -> None:
    along = np.linspace(-30.0, 30.0, 13)
    level = tuple((0.0, float(place), 0.05 * float(place)) for place in along)
    report = dataclasses.replace(a_report, centerline=ReportedCenterline(level, (1.0,) * len(level)))

    pixels = _pixels(draw_overview(report, a_ct_with_a_bright_ball, a_spine))

    assert _count(pixels[160:1300], GRADE_GROUPS[3].color) > 500


def test_a_ct_with_unknown_values_is_drawn_without_holes(a_ct_with_a_bright_ball) -> None:
    ct = a_ct_with_a_bright_ball
    hu = ct.hu.astype(np.float32)
    hu[:20] = np.nan
    panel = fit_panel(*middle_frame(ct), Box(0, 0, 200, 200))

    gray = panel.gray(CTVolume(hu, ct.ijk_to_ras))

    assert np.isfinite(gray).all()


@pytest.mark.parametrize("kind", ["straightened", VIRTUAL_SAGITTAL])
def test_a_thing_in_the_patient_is_drawn_where_its_outline_would_be(
    kind: str, a_ct_with_a_bright_ball, a_centerline
) -> None:
    panel = fit_panel(lay_frame(a_centerline, kind), (-40.0, 60.0), (0.0, 105.0), Box(30, 50, 400, 400))

    gray = panel.gray(a_ct_with_a_bright_ball)

    y, x = np.nonzero(gray > 0.8)
    (expected,) = panel.ras_to_pixel(BALL_RAS)
    assert abs(x.mean() + panel.box.left - expected[0]) < 2.0
    assert abs(y.mean() + panel.box.top - expected[1]) < 2.0


def test_anterior_is_left_and_the_head_is_on_top(a_ct_with_a_bright_ball) -> None:
    panel = fit_panel(*middle_frame(a_ct_with_a_bright_ball), Box(0, 0, 300, 300))

    y, x = np.nonzero(panel.gray(a_ct_with_a_bright_ball) > 0.8)

    assert x.mean() < panel.box.width / 2
    assert y.mean() < panel.box.height / 2


def test_a_view_has_one_scale_in_both_directions(a_ct_with_a_bright_ball) -> None:
    frame, anterior, s = middle_frame(a_ct_with_a_bright_ball)

    panel = fit_panel(frame, anterior, s, Box(10, 20, 900, 300))

    assert panel.box.height == 300
    assert panel.box.width == pytest.approx(300 * (anterior[1] - anterior[0]) / (s[1] - s[0]), abs=1.0)


@pytest.mark.parametrize(
    "wanted",
    [[50.0, 52.0, 54.0, 300.0], [2.0, 3.0, 4.0, 5.0, 300.0], [390.0, 398.0, 399.0], [100.0, 118.0, 136.0, 154.0]],
)
def test_labels_never_overlap_and_stay_inside(wanted: list[float]) -> None:
    placed = place_labels(wanted, 20.0, 0.0, 400.0)

    assert np.diff(placed).min() >= 20.0 - 1e-9
    assert placed[0] >= 0.0
    assert placed[-1] <= 400.0


def test_labels_that_have_room_stay_where_they_belong() -> None:
    assert place_labels([10.0, 60.0, 200.0], 20.0, 0.0, 400.0) == [10.0, 60.0, 200.0]


def test_too_many_labels_share_the_height_evenly() -> None:
    assert place_labels([5.0] * 5, 50.0, 0.0, 100.0) == [0.0, 25.0, 50.0, 75.0, 100.0]


def test_text_is_upright_and_reads_from_the_left() -> None:
    canvas = Canvas(60, 60, (0.0, 0.0, 0.0))

    canvas.text("L", 10, 30, 40, (1.0, 1.0, 1.0))

    ink = np.asarray(canvas.picture)[:, :, 0] / 255.0
    rows, columns = np.nonzero(ink > 0.5)
    lowest_row = ink[rows.max() - 1]
    assert lowest_row.sum() > 2.0 * ink[rows.min() + 1].sum()
    assert columns.min() >= 10


def test_letters_that_the_font_lacks_are_written_without_accents_or_marked() -> None:
    def drawn(text: str) -> bytes:
        canvas = Canvas(300, 40, (0.0, 0.0, 0.0))
        canvas.text(text, 10, 20, 20, (1.0, 1.0, 1.0))
        return canvas.png()

    assert drawn("Müller–Große é") == drawn("Muller-Grosse e")
    assert drawn("東京") == drawn("??")


def test_long_words_are_cut_and_broken_to_the_width() -> None:
    text = "not evaluable: cut by the field of view on the caudal side"

    assert measure_text_width(shorten_text(text, 18, 200), 18) <= 200
    assert shorten_text(text, 18, 200).endswith("...")
    assert all(measure_text_width(line, 18) <= 200 for line in wrap_text(text, 18, 200))
    assert " ".join(wrap_text(text, 18, 200)) == text


def test_a_line_is_drawn_once_where_its_parts_meet() -> None:
    canvas = Canvas(40, 40, (0.0, 0.0, 0.0))

    canvas.line([(5, 20), (20, 20), (35, 20)], (1.0, 1.0, 1.0), width=1.0, opacity=0.5)

    drawn = np.asarray(canvas.picture)[:, :, 0] / 255.0
    assert drawn[20, 20] == pytest.approx(0.5, abs=0.5 / 255 + 1e-9)
    assert drawn[22].max() == 0.0


def test_only_a_scored_vertebra_is_ever_shown_with_a_grade(a_spine) -> None:
    assert group_of(_vertebra(a_spine, "L1", 30.0, "scored", 2, 0.9), 0.5) is GRADE_GROUPS[2]
    assert group_of(_vertebra(a_spine, "L1", 30.0, "scored", None, 0.1), 0.5) is UNGRADED
    assert group_of(_vertebra(a_spine, "L1", 30.0, "not_evaluable", 2, 0.9), 0.5) is NOT_EVALUABLE_GROUP
    assert group_of(_vertebra(a_spine, "L1", 30.0, "excluded_by_reader", 2, 0.9), 0.5) is EXCLUDED


@pytest.mark.parametrize("grade", [0, None])
def test_a_suspected_vertebra_never_looks_like_a_normal_one_whatever_its_grade(a_spine, grade: int | None) -> None:
    vertebra = _vertebra(a_spine, "L1", 30.0, "scored", grade, 0.6)

    assert group_of(vertebra, 0.5) is SUSPECTED
    assert group_of(vertebra, 0.7) is (UNGRADED if grade is None else GRADE_GROUPS[0])


def test_a_suspected_vertebra_of_grade_0_is_not_drawn_in_the_blue_of_a_normal_one(
    a_report, a_ct_with_a_bright_ball, a_spine
) -> None:
    flat = tuple(dataclasses.replace(v, grade=0, shape=None) for v in a_report.vertebrae if v.label == "T12")
    report = dataclasses.replace(a_report, vertebrae=flat)

    views = _pixels(draw_overview(report, a_ct_with_a_bright_ball, a_spine))[160:1300, :1400]

    assert _count(views, SUSPECTED.color) > 500
    assert _count(views, GRADE_GROUPS[0].color) == 0


def test_the_colors_of_any_two_groups_differ_in_lightness_or_hue_enough_to_tell_apart() -> None:
    colors = np.array([group.color for group in GROUPS])

    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1)

    assert distances[~np.eye(len(GROUPS), dtype=bool)].min() > 0.2


def test_the_probability_color_runs_from_calm_to_warning() -> None:
    assert probability_color(-1.0) == probability_color(0.0) == GRADE_GROUPS[0].color
    assert probability_color(1.0) == pytest.approx(GRADE_GROUPS[3].color)
    assert probability_color(0.5) == pytest.approx(GRADE_GROUPS[1].color)
