"""Curves, corrections and levels that do not fit this scan are refused by their true name, or said in the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from correction_samples import a_column

from VertebralFractureLib.canal import canal_evidence
from VertebralFractureLib.canal.reader_curve import compare_with_canal, refuse_curve_outside, refuse_foreign_curve
from VertebralFractureLib.cli.corrections import read_correction, read_curve, with_corrections
from VertebralFractureLib.cli.main import main
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.errors import UnusableCorrection
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline import Detection, detect, reader_centerline
from VertebralFractureLib.result import CorrectedReport, Correction, apply_correction, correction_to_json, edits
from VertebralFractureLib.result.made_for import MadeFor, judge_origin
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.volume import CTVolume

MIRROR = np.array([-1.0, -1.0, 1.0])
OTHER_VOXELS = "f" * 64


@pytest.fixture(scope="module")
def seen(a_phantom: Any) -> Any:
    return canal_evidence(a_phantom.ct)


@pytest.fixture(scope="module")
def canal_ras(a_phantom: Any) -> Any:
    return a_phantom.reference.centerline.points_ras


def test_the_canal_itself_is_taken_without_a_word(a_phantom: Any, seen: Any, canal_ras: Any) -> None:
    line = reader_centerline(canal_ras)

    refuse_foreign_curve(a_phantom.ct, seen, line, "curve.mrk.json")

    assert not compare_with_canal(a_phantom.ct, seen, line).is_doubtful


def test_numbers_of_the_other_coordinate_system_are_refused_with_what_to_write(
    a_phantom: Any, seen: Any, canal_ras: Any
) -> None:
    with pytest.raises(UnusableCorrection, match=r"other coordinate system than it says.*coordinateSystem.*RAS"):
        refuse_foreign_curve(a_phantom.ct, seen, reader_centerline(canal_ras * MIRROR), "curve.mrk.json")


@pytest.mark.parametrize(
    ("shift", "words"),
    [((30.0, 0.0, 0.0), "clearly seen 30 mm beside it"), ((0.0, 0.0, 400.0), "0 of .* mm lie inside this scan")],
)
def test_the_curve_of_another_scan_is_refused_with_where_the_canal_is(
    a_phantom: Any, seen: Any, canal_ras: Any, shift: tuple[float, float, float], words: str
) -> None:
    with pytest.raises(UnusableCorrection, match=words):
        refuse_foreign_curve(a_phantom.ct, seen, reader_centerline(canal_ras + np.array(shift)), "curve.mrk.json")


def test_a_curve_outside_the_scan_is_refused_without_any_network(a_phantom: Any, canal_ras: Any) -> None:
    far = reader_centerline(canal_ras + np.array([0.0, 0.0, 1000.0]))

    with pytest.raises(UnusableCorrection, match="lie inside this scan"):
        refuse_curve_outside(a_phantom.ct, far, "curve.mrk.json")


def test_a_readers_curve_where_nothing_is_seen_stays_usable_and_is_said() -> None:
    """Given voxels without any canal, when a reader draws a curve, then it is taken and the report can say so."""
    hu = np.random.default_rng(1).normal(0.0, 20.0, (60, 96, 96)).astype(np.int16)
    ct = CTVolume(hu, np.diag([2.0, 2.0, 3.0, 1.0]), "noise")
    line = reader_centerline([(96.0, 96.0, 10.0), (96.0, 96.0, 160.0)])
    seen = canal_evidence(ct)

    refuse_foreign_curve(ct, seen, line, "curve.mrk.json")

    fit = compare_with_canal(ct, seen, line)
    assert fit.is_doubtful
    assert fit.is_off(20.0, 40.0)


def test_vertebrae_beside_a_stretch_off_the_canal_and_the_scan_are_in_doubt(
    a_phantom: Any, seen: Any, canal_ras: Any
) -> None:
    """Given a curve whose upper third leaves the canal, then the rows beside it carry the doubt, the others do not."""
    bent = canal_ras.copy()
    above = bent[:, 2] > np.quantile(bent[:, 2], 0.67)
    bent[above, 0] += np.linspace(0.0, 16.0, above.sum())

    report = detect(a_phantom.ct, centerline=reader_centerline(bent), evidence=seen).report

    kinds = [doubt.kind for doubt in report.doubts]
    rows = [DoubtKind.CURVE_OFF_CANAL in vertebra.doubts for vertebra in report.vertebrae]
    assert DoubtKind.CURVE_OFF_CANAL in kinds
    assert "runs where no spinal canal is seen" in write_impression(report)
    assert not any(rows[: len(rows) // 2])
    assert report.status == "not_evaluable" or rows[-1]


def a_detection(**known: Any) -> CorrectedReport:
    report = a_column()
    identifiers = {"voxels_sha256": "a" * 64}
    return CorrectedReport(replace(report, input=replace(report.input, identifiers=identifiers), **known))


def assessed(report: Any, shift_mm: float = 0.0) -> Correction:
    moved = tuple(
        replace(v, center_ras=(v.center_ras[0] + shift_mm, v.center_ras[1], v.center_ras[2])) for v in report.vertebrae
    )
    return edits.assess(Correction(), replace(report, vertebrae=moved), 3, "rejected")


def test_a_correction_of_this_scan_is_taken_without_a_word() -> None:
    detected = a_detection()
    corrected = detected.corrected_by(assessed(detected.detected))

    assert judge_origin(MadeFor.of_report(detected.detected), corrected.correction, corrected) == ()
    assert judge_origin(None, corrected.correction, corrected) == ()


def test_a_correction_of_another_file_of_the_same_scan_is_taken_and_said() -> None:
    detected = a_detection()
    corrected = detected.corrected_by(assessed(detected.detected))
    elsewhere = replace(MadeFor.of_report(detected.detected), voxels_sha256=OTHER_VOXELS)

    (doubt,) = judge_origin(elsewhere, corrected.correction, corrected)

    assert doubt.kind == DoubtKind.CORRECTION_OF_OTHER_VOXELS


def test_a_correction_of_another_scan_is_refused() -> None:
    detected = a_detection()
    other = MadeFor(
        OTHER_VOXELS, tuple((r + 9.0, a, s) for r, a, s in MadeFor.of_report(detected.detected).centers_ras)
    )
    near, far = assessed(detected.detected, 9.0), assessed(detected.detected, 60.0)

    with pytest.raises(UnusableCorrection, match="made for another scan"):
        judge_origin(other, near, detected.corrected_by(near))
    with pytest.raises(UnusableCorrection, match="made for another scan"):
        judge_origin(None, far, detected.corrected_by(far))
    # Nothing but one point that lies in a vertebra by chance: it is taken, and said.
    (doubt,) = judge_origin(None, near, detected.corrected_by(near))
    assert doubt.kind == DoubtKind.CORRECTION_OF_OTHER_VOXELS


def test_a_file_of_edits_says_which_scan_it_was_made_for(tmp_path: Path) -> None:
    detected = a_detection()
    path = tmp_path / "edits.json"
    made_for = MadeFor.of_report(detected.detected)
    path.write_text(correction_to_json(assessed(detected.detected), made_for=made_for), encoding="utf-8")

    assert read_correction(path, None) == (assessed(detected.detected), made_for)


def test_an_edit_that_means_no_vertebra_is_not_left_out_without_a_word() -> None:
    report = a_column()
    correction = replace(assessed(report), levels=edits.set_level(Correction(), report, 2, "L2").levels)
    gone = replace(correction, levels=(replace(correction.levels[0], at_ras=(90.0, 0.0, 0.0)),))

    shown = apply_correction(report, gone)

    assert [(doubt.kind, doubt.values) for doubt in shown.doubts] == [(DoubtKind.EDIT_WITHOUT_VERTEBRA, {"edits": 1})]


def test_levels_far_from_those_of_the_model_or_against_each_other_are_said() -> None:
    report = replace(a_column(), vertebrae=tuple(replace(v, level_probability=0.99) for v in a_column().vertebrae))
    one_up = apply_correction(report, edits.shift_levels(Correction(), report, 1))
    neck = apply_correction(report, edits.set_level(Correction(), report, 3, "C4"))
    twisted = edits.pin_level(edits.set_level(Correction(), report, 2, "T5"), report, 6, "L3")

    assert one_up.doubts == ()
    assert DoubtKind.LEVELS_MOVED_FAR in [doubt.kind for doubt in neck.doubts]
    assert DoubtKind.LEVELS_CONTRADICT in [doubt.kind for doubt in apply_correction(report, twisted).doubts]


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        (["L1=X9"], "say OLD=NEW"),
        (["T12"], "say OLD=NEW"),
        (["L1=T12", "L1=L2"], "names L1 twice"),
        (["+2"], "say OLD=NEW"),
        (["L1=T12"] * 100, "at most 60"),
    ],
)
def test_levels_that_no_scan_can_make_right_are_refused_before_anything_is_read(
    levels: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["detect", str(tmp_path / "none.nii.gz"), "--out", str(tmp_path / "out"), "--levels", *levels])

    assert code == 2
    assert words in capsys.readouterr().err


def test_levels_that_do_not_fit_the_number_of_vertebrae_are_refused() -> None:
    """Given T8 to L4, when L2 is called L1 and T8 is called T11, then seven vertebrae have room for four names."""
    detection = Detection(a_column(), CTVolume(np.zeros((4, 4, 4), np.int16), np.eye(4)))

    with pytest.raises(UnusableCorrection, match="L1 and T11 do not fit the number of vertebrae"):
        with_corrections(detection, Correction(), ["T8=T11", "L2=L1"], options=DetectionOptions())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"coordinateSystem": "IJK"}, "'coordinateSystem' holds 'IJK'"),
        ({"coordinateUnits": "cm"}, "'coordinateUnits' holds 'cm'"),
        ({"type": "ClosedCurve"}, "0 curves among 1 markups"),
        ({"controlPoints": [{"position": [0, 0]}] * 2}, "it holds a list of 2; allowed is a list of 3"),
        ({"controlPoints": [{"position": [0, 0, 9.0]}] * 3}, "holds 1 points; a curve has at least two"),
    ],
)
def test_a_curve_that_is_none_is_refused_with_the_field_that_is_wrong(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    points = [{"position": [0.0, 0.0, 20.0 * n]} for n in range(3)]
    path = tmp_path / "curve.mrk.json"
    path.write_text(json.dumps({"markups": [{"type": "Curve", "controlPoints": points, **change}]}), encoding="utf-8")

    with pytest.raises(UnusableCorrection, match=f"'curve.mrk.json' cannot be used: .*{words}"):
        read_curve(path)
