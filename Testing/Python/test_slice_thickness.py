"""Slices may be thicker than they lie apart (5 mm thick, 2.5 mm apart): what is measured depends on both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cpr_samples import BentSpine
from test_cpr_truth import endplates, staircase
from volume_samples import a_ct, write_dicom

from VertebralFractureLib.cpr import SMOOTH_THROUGH_SLICES, ReformatGrid, straighten
from VertebralFractureLib.options import SINGLE_MODEL, DetectionOptions
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.vertebrae.vertebra import Status
from VertebralFractureLib.volume import CTVolume, read_volume, with_acquisition


def a_report(phantom, thickness_mm: str | None) -> SpineReport:
    """What is reported of the phantom (slices 2 mm apart) when its header says this slice thickness."""
    ct = with_acquisition(phantom.ct, {"slice_thickness_mm": thickness_mm})
    options = DetectionOptions(members=SINGLE_MODEL)
    return detect(ct, centerline=phantom.reference.centerline, options=options).report


def test_heights_and_grades_are_as_uncertain_as_the_slices_of_the_header_are_thick(a_phantom) -> None:
    unknown, thin, thick, thickest = (a_report(a_phantom, text) for text in (None, "2", "3.5", "5"))

    spreads = {
        name: [v.height_sd_mm for v in report.vertebrae if v.height_sd_mm is not None]
        for name, report in (("unknown", unknown), ("thin", thin), ("thick", thick), ("thickest", thickest))
    }
    assert spreads["thin"] == spreads["unknown"]
    assert len(spreads["thick"]) == len(spreads["thin"]) >= 5
    assert min(np.array(spreads["thick"]) - spreads["thin"]) > 0.2
    assert min(np.array(spreads["thickest"]) - spreads["thick"]) > 0.5
    graded = [v for v in thickest.vertebrae if v.status == Status.SCORED]
    assert all(v.grade is not None and v.grade_range[0] <= v.grade <= v.grade_range[1] for v in graded)
    assert any(v.grade for v in thin.vertebrae)
    assert [v.level for v in thickest.vertebrae] == [v.level for v in thin.vertebrae]
    low, high = thickest.scan.sdi_range
    assert low <= thickest.scan.sdi <= high


def test_overlapping_dicom_slices_resolve_no_more_than_their_thickness(tmp_path: Path) -> None:
    overlapping = a_ct(spacing_mm=(0.8, 0.8, 2.5), shape_kji=(24, 80, 80))
    write_dicom(tmp_path, overlapping, extra_tags={"0018|0050": "5"})

    read = read_volume(tmp_path)

    assert read.spacing_mm == pytest.approx((0.8, 0.8, 2.5))
    assert read.resolution_mm == pytest.approx((0.8, 0.8, 5.0))
    assert read.resolution_along_patient_mm == pytest.approx(5.0)


def test_a_thickness_below_the_slice_distance_or_without_sense_changes_nothing() -> None:
    ct = a_ct(spacing_mm=(0.8, 0.8, 2.5))

    for text in ("1.25", "0", "-5", "", "thin", "nan", "inf"):
        told = replace(ct, source={"slice_thickness_mm": text})
        assert told.resolution_mm == ct.spacing_mm
        assert told.resolution_along_patient_mm == pytest.approx(2.5)


def test_thick_sagittal_slices_leave_the_resolution_along_the_patient_as_it_is() -> None:
    sagittal = np.eye(4)
    sagittal[:3, :3] = np.array([[0.0, 0.0, 2.5], [0.8, 0.0, 0.0], [0.0, 0.8, 0.0]])
    ct = CTVolume(np.zeros((8, 8, 8), np.int16), sagittal, source={"slice_thickness_mm": "5"})

    assert max(ct.resolution_mm) == pytest.approx(5.0)
    assert ct.resolution_along_patient_mm == pytest.approx(0.8)


@pytest.mark.parametrize(("step_mm", "thickness_mm", "is_linear"), [(2.5, 5.0, True), (3.0, 4.0, False)])
def test_slices_are_blended_in_the_way_that_leaves_less_of_a_staircase(
    step_mm: float, thickness_mm: float, is_linear: bool
) -> None:
    bent = BentSpine(towards=(0.0, 1.0))
    ct = bent.scan((0.8, 0.8, step_mm), thickness_mm)
    known, unknown = (replace(ct, source=source) for source in ({"slice_thickness_mm": str(thickness_mm)}, {}))
    box = {"right_mm": (-24.0, 24.0), "anterior_mm": (-4.0, 40.0)}
    smooth = ReformatGrid(**box, interpolation=SMOOTH_THROUGH_SLICES)

    chosen = straighten(known, bent.centerline(), grid=smooth)

    linear = straighten(known, bent.centerline(), grid=ReformatGrid(**box))
    # What is not known to overlap is blended as slices that touch are.
    touching = straighten(unknown, bent.centerline(), grid=smooth)
    better, worse = (linear, touching) if is_linear else (touching, linear)
    assert np.array_equal(chosen.hu, better.hu)
    assert np.mean([staircase(edge) for edge in endplates(better, bent)]) < 0.7 * np.mean(
        [staircase(edge) for edge in endplates(worse, bent)]
    )
