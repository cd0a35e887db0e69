"""Whole detections of a phantom whose Hounsfield scale is off, or which was operated on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline import detect
from VertebralFractureLib.research.simulation.operated_spines import OPERATIONS
from VertebralFractureLib.result import SpineReport
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.vertebrae.vertebra import Reason
from VertebralFractureLib.volume import CTVolume

pytest.importorskip("torch")
OPTIONS = DetectionOptions(members=("25d-straightened",), threads=1)


def report_of(ct: CTVolume, line: Centerline | None = None) -> SpineReport:
    return detect(ct, options=OPTIONS, centerline=line).report


@pytest.fixture(scope="module")
def true_report(a_phantom) -> SpineReport:
    return report_of(a_phantom.ct)


@pytest.fixture(scope="module")
def shifted_report(a_phantom) -> SpineReport:
    hu = np.clip(a_phantom.ct.hu.astype(np.float32) + 150.0, -1024.0, 3071.0)
    return report_of(replace(a_phantom.ct, hu=hu.astype(np.int16)))


def test_a_true_scan_is_in_no_doubt(true_report: SpineReport) -> None:
    assert DoubtKind.HU_SCALE not in {doubt.kind for doubt in true_report.doubts}
    kinds = {kind for vertebra in true_report.vertebrae for kind in vertebra.doubts}
    assert not kinds & {DoubtKind.VERTEBRA_MISSING, DoubtKind.UNUSUAL_HEIGHT, DoubtKind.METAL}
    reasons = {vertebra.reason for vertebra in true_report.vertebrae}
    assert not reasons & {Reason.NO_BONE, Reason.OFF_CANAL, Reason.CURVE_ENDS, Reason.NOT_SEPARATED}


def test_150_hu_more_change_no_name_and_no_call_and_are_said(
    true_report: SpineReport, shifted_report: SpineReport
) -> None:
    true, shifted = true_report.vertebrae, shifted_report.vertebrae

    assert [v.label for v in shifted] == [v.label for v in true]
    assert [v.reason for v in shifted] == [v.reason for v in true]
    assert [v.label for v in shifted_report.suspected] == [v.label for v in true_report.suspected]
    assert DoubtKind.HU_SCALE in {doubt.kind for doubt in shifted_report.doubts}
    assert "Hounsfield" in write_impression(shifted_report)


def test_rods_are_said_and_a_destroyed_body_is_not_scored(a_phantom) -> None:
    """Given the phantom with rods and hooks over most of its length, and L2 turned into soft tissue."""
    line = a_phantom.reference.centerline
    ct = OPERATIONS["rods and hooks"](a_phantom.ct, line, np.random.default_rng(4))
    lost = next(v for v in a_phantom.reference.vertebrae if v.level == "L2")
    k, j, i = np.indices(ct.hu.shape)
    ras = ct.ijk_to_ras_points(np.stack([i, j, k], axis=-1).reshape(-1, 3)) - np.array(lost.center_ras)
    near = (((np.abs(ras) / (24.0, 18.0, 15.0)) ** 4).sum(axis=1) <= 1.0).reshape(ct.hu.shape)
    noise = np.random.default_rng(0).normal(50.0, 15.0, ct.hu.shape)
    ct = replace(ct, hu=np.where(near, noise, ct.hu).astype(np.int16))

    report = report_of(ct, line)

    said = [v for v in report.vertebrae if DoubtKind.METAL in v.doubts]
    assert len(said) >= 3
    assert "metal" in write_impression(report)
    there = [v for v in report.vertebrae if abs(v.center_ras[2] - lost.center_ras[2]) < 12.0]
    assert all(v.fracture_probability is None for v in there)
