"""The trials of the canal detection: changes that can be undone, an unlearned baseline, and an honest calibration."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.canal.curve import calibrate_canal_confidence
from VertebralFractureLib.research.datasets import reference_to_json
from VertebralFractureLib.research.evaluation import measure_canal
from VertebralFractureLib.research.evaluation.baseline_canal import classical_centerline
from VertebralFractureLib.research.evaluation.canal_changes import (
    ROBUSTNESS,
    half_field_of_view,
    half_field_to_the_side,
    stretched,
)
from VertebralFractureLib.research.evaluation.canal_trials import _beyond, coronal_cobb_deg
from VertebralFractureLib.research.evaluation.evaluate_canal import centerline_errors
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom
from VertebralFractureLib.research.release.calibrate_canal import (
    calibrated_by_others,
    confidence_error,
    confidence_map,
)
from VertebralFractureLib.volume import CTVolume, write_volume

MARK_RAS = np.array([6.0, -14.0, 52.0])
LINE = Centerline(np.array([[6.0, -14.0, 4.0], [6.0, -14.0, 90.0]]), np.ones(2))


@pytest.fixture(scope="module")
def a_spine_phantom():
    options = PhantomOptions(
        seed=31, field_of_view="spine", caudal_level="L3", cranial_level="T9", spacing_mm=(1.5, 1.5, 3.0)
    )
    return make_phantom(options)


def a_scan_with_a_mark() -> CTVolume:
    """Soft tissue with a bright ball of 6 mm around ``MARK_RAS``; 2 mm voxels, 100 x 120 x 96 mm."""
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:2, 3] = -50.0, -60.0
    k, j, i = np.meshgrid(np.arange(48), np.arange(60), np.arange(50), indexing="ij")
    points = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    hu = np.where(np.linalg.norm(points - MARK_RAS, axis=-1) < 6.0, 2000, 20).astype(np.int16)
    return CTVolume(hu, matrix)


@pytest.mark.parametrize("name", ROBUSTNESS)
def test_what_lies_at_a_place_of_a_changed_scan_is_taken_back_to_where_it_was(name):
    changed = ROBUSTNESS[name](a_scan_with_a_mark(), LINE, np.random.default_rng(0))

    found = np.argwhere(changed.ct.hu > 400)
    bright = np.average(found[:, ::-1], axis=0, weights=changed.ct.hu[tuple(found.T)])
    there = changed.ct.ijk_to_ras_points(bright[None])[0]
    back = changed.taken_back(Centerline(np.stack([there, there + 1.0]), np.ones(2))).points_ras[0]

    assert back == pytest.approx(MARK_RAS, abs=0.6)


def test_half_the_field_of_view_is_half_as_wide_and_deep_and_keeps_the_canal():
    ct = a_scan_with_a_mark()

    for change in (half_field_of_view, half_field_to_the_side):
        part = change(ct, LINE, np.random.default_rng(0)).ct
        canal = part.ras_to_ijk_points(LINE.points_ras)[:, :2]
        size = np.array(part.hu.shape[:0:-1])

        assert part.hu.shape == (48, 30, 25)
        assert np.all(canal >= 11.0)
        assert np.all(canal <= size - 11.0)


def test_a_false_spacing_stretches_the_file_and_not_the_voxels():
    ct = a_scan_with_a_mark()

    false = stretched(0, 2.4)(ct, LINE, np.random.default_rng(0)).ct

    assert false.spacing_mm == pytest.approx((4.8, 2.0, 2.0))
    assert false.hu is ct.hu


def test_the_part_beside_the_spine_begins_where_it_was_asked_to():
    part = _beyond(a_scan_with_a_mark(), 0, -20.0, 1.0)

    assert part is not None
    assert part.ijk_to_ras_points(np.zeros((1, 3)))[0, 0] == pytest.approx(-18.0)
    assert _beyond(a_scan_with_a_mark(), 0, 20.0, 1.0) is None


def test_the_baseline_finds_the_ring_of_a_phantoms_canal(a_spine_phantom):
    line = classical_centerline(a_spine_phantom.ct)

    assert line is not None
    errors = centerline_errors(line, a_spine_phantom.reference)
    assert errors.median_mm < 2.5
    assert errors.coverage > 0.8


def test_the_baseline_finds_nothing_where_nothing_is():
    assert classical_centerline(replace(a_scan_with_a_mark(), hu=np.full((48, 60, 50), 20, np.int16))) is None


def test_a_bow_of_a_circle_has_its_angle_as_cobb_angle():
    angle = np.radians(np.linspace(-30.0, 30.0, 80))
    bow = Centerline(np.stack([300.0 * np.cos(angle), 0.0 * angle, 300.0 * np.sin(angle)], axis=1), np.ones(80))

    assert coronal_cobb_deg(bow) == pytest.approx(60.0 - np.degrees(25.0 / 300.0), abs=1.0)


def test_calibrated_confidence_is_how_often_points_were_near_and_never_falls():
    rng = np.random.default_rng(0)
    raw = rng.uniform(0.0, 1.0, 20_000)
    far = rng.uniform(0.0, 1.0, 20_000) > raw**2
    points = np.column_stack([raw, np.where(far, 9.0, 1.0)])

    mapping = confidence_map(points)

    asked = np.array([0.3, 0.6, 0.9])
    assert calibrate_canal_confidence(asked, {"confidence": mapping}) == pytest.approx(asked**2, abs=0.07)
    assert np.all(np.diff(mapping["calibrated"]) >= 0.0)
    assert np.array_equal(calibrate_canal_confidence(asked, {}), asked)


def test_the_calibration_error_is_the_mean_gap_between_what_was_promised_and_what_was_kept():
    kept = np.tile([[0.5, 1.0], [0.5, 9.0]], (50, 1))
    bold = np.tile([[0.97, 1.0], [0.97, 9.0]], (50, 1))

    assert confidence_error(kept) == pytest.approx(0.0)
    assert confidence_error(bold) == pytest.approx(0.47)
    assert confidence_error(np.concatenate([kept, bold])) == pytest.approx(0.235)


def test_a_patient_is_judged_by_the_map_of_the_others_on_both_dates():
    raw = np.linspace(0.8, 0.99, 200)
    records = [
        {"scan": scan, "change": "unchanged", "points": np.stack([raw, np.full(200, distance_mm)], axis=1)}
        for scan, distance_mm in (("hcc-009a", 9.0), ("hcc-009b", 9.0), ("lidc-0001", 1.0), ("r01-142", 1.0))
    ]

    judged = calibrated_by_others(records)

    assert len(judged) == 800
    assert judged[:400, 0] == pytest.approx(np.ones(400), abs=0.01)
    assert judged[400:, 0] == pytest.approx(np.full(400, 1.0 / 3.0), abs=0.1)


def test_whose_a_scan_is_follows_the_record_and_not_its_name_where_a_table_said_it():
    """Given two scans whose names tell two patients and whose table told one, then neither calibrates the other."""
    raw = np.linspace(0.8, 0.99, 200)
    records = [
        {
            "scan": scan,
            "patient": patient,
            "fold": 0,
            "change": "unchanged",
            "points": np.stack([raw, np.full(200, distance_mm)], axis=1),
        }
        for scan, patient, distance_mm in (("x_1", "A", 9.0), ("y_1", "A", 9.0), ("z_1", "B", 1.0), ("w_1", "C", 1.0))
    ]

    judged = calibrated_by_others(records)

    assert judged[:400, 0] == pytest.approx(np.ones(400), abs=0.01), "of A, by B and C, who are always near"


def test_the_measuring_command_prints_a_row_per_scan(a_spine_phantom, tmp_path, capsys):
    write_volume(a_spine_phantom.ct, tmp_path / "own.nii.gz")
    annotation = json.dumps(reference_to_json(a_spine_phantom.reference))
    (tmp_path / "own.json").write_text(annotation, encoding="utf-8")

    code = measure_canal.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--parts", "accuracy"])

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| own")]
    record = json.loads((tmp_path / "out" / "accuracy.json").read_text(encoding="utf-8"))[0]
    assert code == 0
    assert len(rows) == 1
    assert f"{record['network']['mean_mm']:.2f}" in rows[0]
    assert record["network"]["coverage"] > 0.9
    assert record["vertebra_overlap"] > 0.6
