"""The HTML report stands on its own: one file, nothing from elsewhere, both answers, nobody named unless asked."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from correction_samples import WEDGE, a_column

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.export.page import report_to_html
from VertebralFractureLib.export.page_pictures import draw_probability_plot
from VertebralFractureLib.result import Correction, apply_correction, edits
from VertebralFractureLib.result.deidentification import deidentify_report, deidentify_volume, voxels_sha256
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.volume import CTVolume


class Page(HTMLParser):
    """Tags with their attributes, and the words of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "line", "circle", "polygon", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def a_ct():
    matrix = np.diag([4.0, 4.0, 4.0, 1.0])
    matrix[:3, 3] = (-80.0, -80.0, -20.0)
    return CTVolume(
        np.zeros((80, 40, 40), np.int16), matrix, "DOE^JOHN", {"series_instance_uid": "1.2.3", "kvp": "120"}
    )


@pytest.fixture(scope="module")
def a_spine(a_ct):
    line = a_column().centerline
    return straighten(a_ct, Centerline(np.array(line.points_ras), np.array(line.confidence)))


@pytest.fixture(scope="module")
def a_corrected_report():
    report = a_column()
    correction = edits.set_level(Correction(), report, 0, "L5")
    shown = apply_correction(report, correction)
    correction = edits.assess(correction, shown, 4, "rejected", comment='old <b>&"scar"')
    return apply_correction(report, correction)


@pytest.fixture(scope="module")
def a_text(a_corrected_report, a_ct, a_spine):
    return report_to_html(a_corrected_report, a_ct, a_spine, b"\x89PNG overview", ["Reader and model differ."])


def test_nothing_is_loaded_from_anywhere(a_text):
    page = Page(a_text)

    assert page.open == []
    assert re.search(r"https?:|@import|url\(", a_text) is None
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert not any("href" in attributes for _, attributes in page.tags)
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert any("default-src 'none'" in meta.get("content", "") for meta in page.all("meta"))


def test_it_holds_the_overview_and_one_close_up_per_suspected_vertebra(a_text, a_corrected_report):
    pictures = [base64.b64decode(image["src"].split(",", 1)[1]) for image in Page(a_text).all("img")]

    assert pictures[0] == b"\x89PNG overview"
    assert len(pictures) == 1 + len(a_corrected_report.suspected)
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_the_plot_shows_nothing_beyond_the_scored_vertebrae():
    report = a_column()
    ends = {index: replace(report.vertebrae[index], status="not_evaluable", reason="cut") for index in (0, 1, 8)}
    cut = replace(report, vertebrae=tuple(ends.get(index, v) for index, v in enumerate(report.vertebrae)))

    plots = [re.search(r'class="curve" points="([^"]+)"', draw_probability_plot(one))[1] for one in (report, cut)]

    drawn = [[float(point.split(",")[0]) for point in plot.split()] for plot in plots]
    assert len(drawn[1]) == len(cut.judged_sequence.positions_mm) < len(drawn[0])
    assert set(drawn[1]) < set(drawn[0]), "the same positions stand at the same places"


def test_it_says_what_the_model_and_what_the_reader_said(a_text, a_corrected_report):
    text = " ".join(Page(a_text).text.split())

    assert write_impression(a_corrected_report) in text
    assert "Reader and model differ." in text
    assert f"{WEDGE}, 0.93, grade 2" in text
    assert 'rejected, grade 0: old <b>&"scar"' in text
    assert text.count(RESEARCH_USE_ONLY) == 2
    assert "20 %, 2 from 25 %, 3 from 40 %" in text
    assert "ab" * 32 in text


def test_tables_and_figures_are_not_cut_on_paper(a_text):
    style = a_text[a_text.index("<style>") : a_text.index("</style>")]

    assert "@page { size: A4" in style
    for rule in ("table", "tr", "figure"):
        assert re.search(rf"^{rule} {{[^}}]*break-inside: avoid", style, re.MULTILINE), rule


def test_a_report_without_corrections_has_no_columns_for_them(a_ct, a_spine):
    text = Page(report_to_html(a_column(), a_ct, a_spine, b"")).text

    assert "model, where corrected" not in text
    assert "reader" not in text.replace("a reader", "")


def test_a_scan_that_was_not_evaluable_says_so_and_shows_no_result(a_ct):
    from VertebralFractureLib.result.build_report import build_not_evaluable_report

    text = Page(report_to_html(build_not_evaluable_report(a_ct, "No canal.", {}), a_ct, None, b"")).text

    assert "Not evaluable: No canal." in text
    assert "Probability" not in text
    assert "Vertebrae" not in text


def test_a_report_deidentify_report_names_nobody_and_still_knows_its_scan(a_ct):
    from VertebralFractureLib.result.build_report import build_not_evaluable_report

    report = deidentify_report(build_not_evaluable_report(a_ct, "No canal.", {}))
    text = report_to_html(report, deidentify_volume(a_ct), None, b"")

    assert "DOE" not in text
    assert "1.2.3" not in text
    assert report.input.identifiers == {"kvp": "120", "voxels_sha256": voxels_sha256(a_ct)}
    assert voxels_sha256(a_ct) in text
    assert deidentify_volume(a_ct).source == {"kvp": "120"}
