"""How well fractures are found is counted rightly: curves, operating points, subgroups, calibration, and the page."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.research.evaluation.html_report import html_report
from VertebralFractureLib.research.evaluation.image_measures import canal_noise_hu, vessel_hu
from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra
from VertebralFractureLib.research.evaluation.metrics import froc, reliability, roc, sensitivity_at
from VertebralFractureLib.research.evaluation.performance import (
    VertebraRows,
    estimate_by_patient,
    performance,
    scan_auc,
)
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom
from VertebralFractureLib.volume import CTVolume


def wilson_interval(hits, count):
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return interval.low, interval.high


def a_vertebra(probability, grade=0, level="T9", shape=None, measured=None):
    return JudgedVertebra(grade, shape or ("wedge" if grade else None), level, probability, 0.1, measured, 120.0)


def a_scan(name, vertebrae, probability, patient=None, slice_mm=1.0, extra=()):
    return JudgedScan(
        name, patient or name, probability, tuple(vertebrae), slice_mm, 12.0, extra_probabilities=tuple(extra)
    )


def four_scans():
    return [
        a_scan("a", [a_vertebra(0.9, 3), a_vertebra(0.2), a_vertebra(0.6)], 0.9),
        a_scan("b", [a_vertebra(0.4, 1, "L1", measured=0), a_vertebra(0.1)], 0.4, slice_mm=5.0),
        a_scan("c", [a_vertebra(0.3), a_vertebra(0.05)], 0.3),
        a_scan("d", [a_vertebra(None, 2, "T12", "crush"), a_vertebra(0.1)], None),
    ]


def test_froc_counts_only_normal_vertebrae_as_alarms_and_never_finds_the_unscored():
    rows = VertebraRows.of(four_scans())

    alarms, sensitivity = froc(rows.score, rows.truth, 4)

    assert sensitivity_at(alarms, sensitivity, 0.0) == pytest.approx(1 / 3)
    assert sensitivity_at(alarms, sensitivity, 0.25) == pytest.approx(2 / 3)
    assert sensitivity.max() == pytest.approx(2 / 3), "the third fracture was never judged"
    assert alarms.max() == pytest.approx(6 / 4)


def test_froc_of_severe_fractures_leaves_the_mild_ones_out():
    rows = VertebraRows.of(four_scans())

    _, sensitivity = froc(rows.score, rows.truth, 4, rows.grade >= 2)

    assert sensitivity.max() == pytest.approx(1 / 2)


def test_a_vertebra_that_is_none_raises_an_alarm():
    rows = VertebraRows.of([a_scan("a", [a_vertebra(0.9, 1)], 0.9, extra=(0.95,))])

    alarms, sensitivity = froc(rows.score, rows.truth, 1)

    assert sensitivity_at(alarms, sensitivity, 0.5) == 0.0
    assert sensitivity_at(alarms, sensitivity, 1.0) == 1.0


def test_the_area_below_the_roc_curve_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    score, truth = np.round(rng.random(200), 1), rng.random(200) < 0.3

    false_rate, true_rate = roc(score, truth)

    pairs = score[truth][:, None] - score[~truth][None]
    expected = float(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert float((np.diff(false_rate) * 0.5 * (true_rate[1:] + true_rate[:-1])).sum()) == pytest.approx(expected)


def test_an_interval_draws_patients_and_not_scans():
    twins = [
        a_scan(f"{n}{date}", [a_vertebra(0.1 + 0.8 * (n % 2), n % 2)], 0.5, f"p{n}") for n in range(8) for date in "xy"
    ]

    estimate = estimate_by_patient(twins, lambda chosen: float(len(chosen)))

    assert (estimate.patients, estimate.samples) == (8, 16)
    assert (estimate.low, estimate.high) == (16.0, 16.0), "both dates come along"
    assert scan_auc(twins) == pytest.approx(0.5)


def test_performance_says_what_a_reader_would_count_by_hand():
    figures = performance(four_scans(), 0.5)

    assert (figures["scans"], figures["fractured_scans"], figures["not_evaluable_scans"]) == (4, 3, 1)
    assert (figures["vertebrae"], figures["fractured_vertebrae"], figures["unscored_vertebrae"]) == (9, 3, 1)
    assert figures["by_grade"]["grade 3"]["sensitivity"] == 1.0
    assert figures["by_grade"]["grade 1"]["sensitivity"] == 0.0
    assert figures["by_shape"]["crush"]["fractured"] == 1
    assert figures["at_threshold"]["false_alarms_per_scan"] == pytest.approx(0.25)
    assert figures["at_threshold"]["false_alarms_per_unfractured_scan"] == 0.0
    assert figures["subgroups"]["slices above 3 mm"]["fractured"] == 1
    assert figures["subgroups"]["region T11-L1"]["fractured"] == 2
    assert figures["confusion"][1] == [1, 0, 0, 0, 0]
    assert figures["confusion"][2] == [0, 0, 0, 0, 1]
    assert figures["worst"][0]["scan"] == "a"
    assert json.loads(json.dumps(figures)) == figures


def test_a_set_without_fractures_has_no_area_but_has_false_alarms():
    figures = performance([a_scan("c", [a_vertebra(0.7), a_vertebra(0.05)], 0.7)], 0.5)

    assert figures["scan_auc"]["value"] is None
    assert figures["at_threshold"]["false_alarms_per_scan"] == 1.0
    with pytest.raises(ValueError, match="no scan"):
        performance([], 0.5)


def test_reliability_holds_probability_against_frequency():
    probability, truth = np.array([0.05, 0.08, 0.95, 0.99, 1.0]), np.array([False, False, True, True, False])

    bins = reliability(probability, truth)

    assert [b.count for b in bins] == [2, 3]
    assert (bins[1].low, bins[1].high) == (0.9, 1.0)
    assert bins[1].fraction_true == pytest.approx(2 / 3)


def test_the_page_shows_the_figures_and_the_pictures_of_the_worst():
    page = html_report({"Set <1>": performance(four_scans(), 0.5)}, {"a": "cases/a/overview.png"})

    assert "Set &lt;1&gt;" in page
    assert all(name in page for name in ("ROC", "FROC", "Reliability")), "its text is text, not outlines"
    assert '<img src="cases/a/overview.png"' in page
    assert "Not a medical device" in page


def test_the_plots_are_one_image_inside_the_page_and_the_same_bytes_every_time():
    figures = performance(four_scans(), 0.5)

    first, second = (html_report({"Set": figures}, {}) for _ in range(2))

    image = ElementTree.fromstring(first[first.index("<svg") : first.index("</svg>") + 6])
    assert len([group for group in image.iter() if group.get("id", "").startswith("axes_")]) == 3
    assert first == second
    assert 'xlink:href="http' not in first, "nothing is loaded from elsewhere"


def ten_patients_at_four_dates():
    """Six patients with a fracture, one of whom scores lowest of all; every date of a patient says the same."""
    fractured = {0, 5, 6, 7, 8, 9}
    return [
        a_scan(
            f"p{n}-{date}", [a_vertebra(0.05 + 0.1 * n, 2 if n in fractured else 0)], 0.05 + 0.1 * n, patient=f"p{n}"
        )
        for n in range(10)
        for date in range(4)
    ]


def test_four_dates_of_ten_patients_are_worth_ten_patients():
    figures = performance(ten_patients_at_four_dates(), 0.5)

    found = figures["scan_auc"]
    assert found["value"] == pytest.approx(5 / 6)
    assert (found["low"], found["high"]) == (0.5, 1.0), "counting scans would say 0.678 to 0.960"
    assert (found["patients"], found["scans"]) == (10, 40)
    called = figures["at_threshold"]["vertebrae"]
    assert (called["fractured"], called["fractured_patients"]) == (24, 6)
    assert called["sensitivity_interval"] == pytest.approx(wilson_interval(5, 6), abs=0.03), "and not of 20 of 24"


@pytest.mark.parametrize(("contrast", "least", "most"), [("none", 30.0, 83.0), ("portal", 111.0, 180.0)])
def test_contrast_medium_shows_in_the_vessels_before_the_spine(contrast, least, most):
    options = PhantomOptions(7, caudal_level="L3", cranial_level="T10", spacing_mm=(1.5, 1.5, 3.0), contrast=contrast)
    phantom = make_phantom(options)

    assert least < vessel_hu(phantom.ct, phantom.reference.centerline) < most


def test_nothing_is_said_of_contrast_medium_where_the_volume_ends_behind_the_vessels():
    line = Centerline(np.stack([np.full(20, 20.0), np.full(20, 35.0), np.linspace(0.0, 90.0, 20)], axis=1), np.ones(20))

    assert vessel_hu(CTVolume(np.zeros((100, 40, 40), dtype=np.int16), np.eye(4)), line) is None


def test_scans_are_grouped_by_contrast_medium():
    seen = {"a": 50.0, "b": 160.0, "c": None, "d": 94.0}
    scans = [replace(scan, vessel_hu=seen[scan.identifier]) for scan in four_scans()]

    groups = performance(scans, 0.5)["subgroups"]

    counts = {name: (groups[name]["fractured"], groups[name]["normal"]) for name in groups if "medium" in name}
    assert counts == {"contrast medium without": (2, 3), "contrast medium with": (1, 1)}


def test_noise_is_measured_in_the_canal():
    rng = np.random.default_rng(1)
    hu = rng.normal(10.0, 20.0, (30, 40, 40)).astype(np.float32)
    points = np.stack([np.full(20, 20.0), np.full(20, 20.0), np.arange(20.0)], axis=1)

    noise = canal_noise_hu(CTVolume(hu, np.eye(4)), Centerline(points, np.ones(20)))

    assert noise == pytest.approx(20.0, rel=0.1)
    assert canal_noise_hu(CTVolume(hu, np.eye(4)), Centerline(points + 500.0, np.ones(20))) is None
