"""A batch is corrected and run again on the command line; the scene keeps both answers and gives them back."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from correction_samples import a_column

from VertebralFractureLib.cli.corrections import read_curve, with_corrections
from VertebralFractureLib.cli.main import main
from VertebralFractureLib.errors import UnusableCorrection
from VertebralFractureLib.export.scene import find_results, load_mrb, new_scene, read_report, save_mrb, write_scene
from VertebralFractureLib.export.scene.report_node import read_correction, write_correction
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline import Detection
from VertebralFractureLib.result import (
    CorrectedReport,
    Correction,
    corrected_from_json,
    correction_to_json,
    edits,
    report_from_json,
    report_to_json,
)
from VertebralFractureLib.result.report import REVISION
from VertebralFractureLib.volume import CTVolume, write_volume

FIRST_VERSION = Path(__file__).parent / "first_version"
"""What version 0.1.0 wrote before corrections, revision 1: a column of nine vertebrae in an empty volume."""
REVISION_4 = Path(__file__).parent / "schema_1_revision_4"
"""The same column with boxes, errors and bone density, as the last version of schema 1 wrote it, not corrected."""
SECRET_NAME, SECRET_FOLDER = "Doe_Jane_19450101", "private_patients"


def markups(points_ras, system="LPS"):
    sign = -1.0 if system == "LPS" else 1.0
    placed = [{"position": [sign * r, sign * a, s], "positionStatus": "defined"} for r, a, s in points_ras]
    placed.append({"position": [0.0, 0.0, 0.0], "positionStatus": "undefined"})
    return {"markups": [{"type": "Curve", "coordinateSystem": system, "controlPoints": placed}]}


@pytest.fixture(scope="module")
def a_curve(a_phantom):
    """The phantom's own canal, shifted by a millimeter: not what detection finds."""
    return [(r + 1.0, a, s) for r, a, s in np.array(a_phantom.reference.centerline.points_ras).tolist()]


@pytest.fixture(scope="module")
def a_corrected_folder(a_phantom, a_curve, tmp_path_factory):
    """What ``detect --centerline --levels`` leaves for a file with a person's name in a private folder."""
    folder = tmp_path_factory.mktemp(SECRET_FOLDER)
    volume = folder / f"{SECRET_NAME}.nii.gz"
    write_volume(a_phantom.ct, volume)
    (folder / "curve.mrk.json").write_text(json.dumps(markups(a_curve)), encoding="utf-8")
    arguments = ["detect", str(volume), "--out", str(folder / "out"), "--progress", "none"]
    assert main([*arguments, "--centerline", str(folder / "curve.mrk.json"), "--levels", "+1", "L2=L4"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def a_corrected_result(a_corrected_folder):
    return corrected_from_json((a_corrected_folder / "report.json").read_text(encoding="utf-8"))


def test_a_corrected_centerline_and_levels_are_scored_and_both_answers_kept(a_corrected_result, a_curve):
    shown, detected, rescored = a_corrected_result.shown, a_corrected_result.detected, a_corrected_result.rescored

    assert shown.centerline.points_ras == pytest.approx(np.array(a_curve), abs=1e-5)
    assert detected.centerline.points_ras != rescored.centerline.points_ras
    assert "L4" in [v.label for v in shown.vertebrae]
    assert [v.label for v in shown.vertebrae] != [v.label for v in rescored.vertebrae]
    assert not a_corrected_result.needs_scores
    assert shown.scan.fractured_levels


def test_corrections_of_an_earlier_run_are_applied_to_a_new_one(a_corrected_folder, a_phantom_file, tmp_path):
    code = main(
        [
            *("detect", str(a_phantom_file), "--out", str(tmp_path / "again"), "--progress", "none"),
            *("--correction", str(a_corrected_folder / "report.json")),
        ]
    )

    before = json.loads((a_corrected_folder / "report.json").read_text())
    after = json.loads((tmp_path / "again" / "report.json").read_text())
    assert code == 0
    assert after["correction"]["edits"] == before["correction"]["edits"]
    assert [v["label"] for v in after["vertebrae"]] == [v["label"] for v in before["vertebrae"]]


def test_the_scene_gives_back_both_answers_and_editing_goes_on_after_save_and_load(a_corrected_folder, tmp_path):
    scene = load_mrb(a_corrected_folder / "scene.mrb")
    nodes = find_results(scene)[-1]
    corrected = read_correction(scene, nodes)

    second = edits.assess(corrected.correction, corrected.shown, 2, "regraded", grade=1, comment="“äö” <&>\nline")
    write_correction(scene, nodes, corrected.corrected_by(second))
    save_mrb(scene, tmp_path / "edited.mrb")
    scene = load_mrb(tmp_path / "edited.mrb")
    again = read_correction(scene, find_results(scene)[-1])

    assert corrected == corrected_from_json((a_corrected_folder / "report.json").read_text(encoding="utf-8"))
    assert again.correction == second
    assert again.detected == corrected.detected
    assert again.shown.vertebrae[2].reader.comment == "“äö” <&>\nline"


def test_nothing_in_any_file_names_the_patient_or_a_folder(a_corrected_folder, tmp_path):
    secrets = [SECRET_NAME, SECRET_FOLDER, str(tmp_path.parent.name), ".vertebral-fracture-", str(Path.home())]
    secrets += [part for part in a_corrected_folder.parts if len(part) > 3 and part != "out"]
    found = []
    for path in a_corrected_folder.iterdir():
        blobs = {path.name: path.read_bytes()}
        if path.suffix == ".mrb":
            with zipfile.ZipFile(path) as bundle:
                blobs |= {name: bundle.read(name) for name in bundle.namelist()}
        for name, blob in blobs.items():
            spellings = [(secret, secret.encode(code)) for secret in secrets for code in ("utf-8", "utf-16-le")]
            found += [(name, secret) for secret, spelling in spellings if spelling in blob or secret in name]

    assert found == []


def test_a_scene_without_our_code_shows_volume_curve_points_table_with_every_reference_intact(a_corrected_folder):
    scene = load_mrb(a_corrected_folder / "scene.mrb")

    def count(kind):
        return scene.GetNumberOfNodesByClass(kind)

    assert count("vtkMRMLScalarVolumeNode") == 2
    assert count("vtkMRMLMarkupsCurveNode") == 1
    assert count("vtkMRMLMarkupsFiducialNode") >= 3
    assert count("vtkMRMLTableNode") == 2
    assert count("vtkMRMLGridTransformNode") == 1
    broken, shown = [], 0
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        roles = [node.GetNthNodeReferenceRole(place) for place in range(node.GetNumberOfNodeReferenceRoles())]
        for role in roles:
            for place in range(node.GetNumberOfNodeReferences(role)):
                if node.GetNthNodeReferenceID(role, place) and node.GetNthNodeReference(role, place) is None:
                    broken.append((node.GetName(), role))
        if node.IsA("vtkMRMLMarkupsNode") and node.GetDisplayNode().GetVisibility():
            shown += node.GetNumberOfControlPoints() > 0
    assert broken == []
    assert shown >= 2


def test_a_scene_and_a_report_that_the_first_version_wrote_are_opened_and_corrected(tmp_path):
    scene = load_mrb(FIRST_VERSION / "scene.mrb")
    nodes = find_results(scene)[-1]
    was_without = nodes.report is None

    corrected = read_correction(scene, nodes)
    report = corrected_from_json((FIRST_VERSION / "report.json").read_text(encoding="utf-8"))
    shown = corrected.corrected_by(edits.set_level(corrected.correction, corrected.shown, 3, "T12"))
    write_correction(scene, nodes, shown)
    save_mrb(scene, tmp_path / "corrected.mrb")
    again = load_mrb(tmp_path / "corrected.mrb")

    assert was_without
    assert find_results(scene)[-1].report is not None
    assert corrected.correction == report.correction == Correction()
    for first, second in zip(corrected.shown.vertebrae, report.shown.vertebrae, strict=True):
        assert (first.label, first.grade, first.reader) == (second.label, second.grade, second.reader)
        assert first.landmarks_ras == pytest.approx(np.array(second.landmarks_ras), abs=1e-6)
    assert corrected.shown.vertebrae[2].reader.comment == "seen in the first version"
    assert read_correction(again, find_results(again)[-1]).correction == shown.correction


def test_every_field_of_the_last_version_of_schema_1_is_found_in_its_nodes_and_from_then_on_in_the_report():
    scene = load_mrb(REVISION_4 / "scene.mrb")
    (nodes,) = find_results(scene)
    expected = json.loads(report_to_json(report_from_json((REVISION_4 / "report.json").read_text(encoding="utf-8"))))

    found = json.loads(report_to_json(read_report(scene)))
    nodes.centerline.RemoveAllControlPoints()
    nodes.table.RemoveAllColumns()

    assert found == expected
    assert json.loads(report_to_json(read_report(scene))) == expected


@pytest.mark.parametrize("damage", ["column", "attribute"])
def test_a_damaged_scene_of_schema_1_is_refused_with_what_is_missing_and_left_as_it_is(damage):
    scene = load_mrb(REVISION_4 / "scene.mrb")
    (nodes,) = find_results(scene)
    if damage == "column":
        nodes.table.GetTable().RemoveColumnByName("grade")
    else:
        nodes.table.RemoveAttribute("VertebralFracture.scan")

    with pytest.raises(ValueError, match="no column 'grade'" if damage == "column" else "attribute '.*scan'"):
        read_report(scene)

    assert find_results(scene)[0].report is None


def test_a_scene_of_a_newer_version_is_refused_with_a_clear_word():
    scene = load_mrb(FIRST_VERSION / "scene.mrb")
    find_results(scene)[-1].table.SetAttribute("VertebralFracture.revision", str(REVISION + 1))

    with pytest.raises(ValueError, match="newer version of VertebralFracture"):
        read_report(scene)


def test_a_correction_is_written_into_one_node_however_often():
    scene = new_scene()
    nodes = write_scene(a_column(), CTVolume(np.zeros((4, 4, 4), np.int16), np.eye(4), "old"), None, scene)
    first = write_correction(scene, nodes, CorrectedReport(a_column()))
    nodes = find_results(scene)[-1]

    second = write_correction(
        scene, nodes, CorrectedReport(a_column(), edits.shift_levels(Correction(), a_column(), 1))
    )

    assert first is second
    assert scene.GetNumberOfNodesByClass("vtkMRMLTextNode") == 1
    assert nodes.report in nodes.own


EXPORT_FOREVER = """
import sys
from pathlib import Path
from VertebralFractureLib.export.scene import load_mrb, save_mrb
path = Path(sys.argv[1])
scene = load_mrb(path)
print("ready", flush=True)
while True:
    save_mrb(scene, path)
"""


def test_a_killed_export_leaves_the_former_file_whole(a_corrected_folder, project_folder, tmp_path):
    path = tmp_path / "scene.mrb"
    path.write_bytes((a_corrected_folder / "scene.mrb").read_bytes())
    for wait_s in (0.1, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-c", EXPORT_FOREVER, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(project_folder)},
        )
        assert process.stdout.readline() == "ready\n"
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()

        with zipfile.ZipFile(path) as bundle:
            assert bundle.testzip() is None
    scene = load_mrb(path)
    save_mrb(scene, tmp_path / "after.mrb")
    assert find_results(scene)


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_a_curve_is_read_in_either_coordinate_system_and_any_order(tmp_path, system):
    points = ((1.0, 2.0, 3.0), (1.5, 2.5, 30.0), (2.0, 3.0, 60.0))
    path = tmp_path / "curve.mrk.json"
    path.write_text(json.dumps(markups(points[::-1], system)), encoding="utf-8")

    assert read_curve(path) == points


def test_the_curve_of_a_report_is_read_as_well(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(report_to_json(a_column()), encoding="utf-8")

    assert read_curve(path) == a_column().centerline.points_ras


@pytest.mark.parametrize("content", ["{}", "no json", '{"markups": []}', json.dumps(markups([(0.0, 0.0, 1.0)]))])
def test_what_is_no_curve_is_refused_by_name(tmp_path, content):
    path = tmp_path / "curve.mrk.json"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(UnusableCorrection, match=r"curve\.mrk\.json"):
        read_curve(path)


def test_a_missing_or_wrong_correction_stops_before_anything_is_computed(a_phantom_file, tmp_path, capsys):
    wrong = tmp_path / "edits.json"
    wrong.write_text(correction_to_json(Correction()).replace("correction/2", "correction/7"), encoding="utf-8")
    arguments = ["detect", str(a_phantom_file), "--out", str(tmp_path / "out"), "--progress", "none", "--correction"]

    codes = [main([*arguments, str(path)]) for path in (wrong, tmp_path / "missing.json")]

    said = capsys.readouterr().err
    assert codes == [2, 2]
    assert "newer version" in said
    assert "'missing.json' cannot be read" in said
    assert not (tmp_path / "out").exists()


def test_a_level_that_is_not_there_is_refused_with_those_that_are():
    detection = Detection(a_column(), CTVolume(np.zeros((4, 4, 4), np.int16), np.eye(4)))

    for name in ("C3=T1", "T12", "T12=T14"):
        with pytest.raises(UnusableCorrection, match=f"--levels {name}: .*T1"):
            with_corrections(detection, Correction(), [name], options=DetectionOptions())
