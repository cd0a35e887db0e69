"""What the panel writes to files: as it is shown, naming nobody, and opening anywhere; the scene stays as it was."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from panel_helpers import SECRET_FOLDER, SECRET_NAME, SECRET_UID, content, not_evaluable

from VertebralFractureLib.export.scene import find_results, load_mrb, read_report, write_scene
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.result import report_from_json
from VertebralFracturePanel.export import export_section
from VertebralFracturePanel.export.result_export import ExportFailed

SECRETS = (SECRET_NAME, "Doe^Jane", "Doe%5eJane", "Doe%5EJane", "19450101", SECRET_UID, SECRET_FOLDER)


def pieces(path):
    """Name and bytes of a file and of every file that is packed into it, unpacked."""
    yield path.name, path.read_bytes()
    if path.suffix == ".mrb":
        with zipfile.ZipFile(path) as bundle:
            for name in bundle.namelist():
                yield name, bundle.read(name)


def mentions(path, words):
    """Where a file or what is packed into it holds one of ``words``, in either encoding."""
    found = []
    for name, blob in pieces(path):
        for word in words:
            spellings = (word.encode("utf-8"), word.encode("utf-16-le"), word.replace(" ", "%20").encode())
            if any(spelling in blob for spelling in spellings) or word in name:
                found.append((name, word))
    return found


def test_each_file_is_written_and_names_neither_patient_nor_folder(widget, export, tmp_path):
    folders = [SECRET_FOLDER, tmp_path.name, str(Path.home()), "VertebralFracture-", ".vertebral-fracture-"]

    for name in ("table.csv", "report.json", "page.html", "scene.mrb"):
        path = export(name)

        assert widget.ui.exportLabel.text == f"Written: {name}"
        assert path.stat().st_size > 100
        assert mentions(path, [*SECRETS, *folders]) == []
    assert sorted(path.name for path in (tmp_path / SECRET_FOLDER).iterdir()) == [
        "page.html",
        "report.json",
        "scene.mrb",
        "table.csv",
    ]


def test_identifiers_are_there_where_they_are_asked_for_and_never_by_themselves(widget, scene, export, add_volume):
    assert not widget.ui.identifiersCheckBox.checked
    widget.ui.identifiersCheckBox.checked = True

    for name in ("report.json", "page.html", "scene.mrb"):
        assert mentions(export(name), ["Doe^Jane"]), name

    scene.Clear()
    add_volume("Next patient")
    assert not widget.ui.identifiersCheckBox.checked


def test_an_export_leaves_the_users_scene_as_it_was(scene, export, a_named_ct):
    def state():
        nodes = [scene.GetNthNode(place) for place in range(scene.GetNumberOfNodes())]
        storages = [node for node in nodes if node.IsA("vtkMRMLStorageNode")]
        return (
            content(scene),
            [
                (node.GetID(), node.GetName(), node.GetMTime(), node.GetModifiedSinceRead())
                for node in nodes
                if node.IsA("vtkMRMLStorableNode")
            ],
            [(node.GetID(), node.GetFileName()) for node in storages],
            scene.GetURL(),
            scene.GetRootDirectory(),
            a_named_ct.GetImageData().GetMTime(),
        )

    before = state()
    export("scene.mrb")
    export("page.html")

    assert state() == before


PLAIN_READER = """
    import json, sys, slicer
    assert not any(name.startswith("VertebralFracture") for name in sys.modules)
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    kept = []
    for name in ("vtkSlicerVolumesLogic", "vtkSlicerMarkupsLogic", "vtkSlicerTablesLogic", "vtkSlicerTransformLogic",
                 "vtkSlicerPlotsLogic", "vtkSlicerSubjectHierarchyModuleLogic"):
        kept.append(getattr(slicer, name)())
        kept[-1].SetMRMLScene(scene)
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.GetCacheManager().SetRemoteCacheDirectory(sys.argv[2])
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLApplicationLogic(application)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    assert scene.ReadFromMRB(sys.argv[1], True)
    broken, points = [], {}
    for place in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(place)
        for number in range(node.GetNumberOfNodeReferenceRoles()):
            role = node.GetNthNodeReferenceRole(number)
            for nth in range(node.GetNumberOfNodeReferences(role)):
                if node.GetNthNodeReferenceID(role, nth) and node.GetNthNodeReference(role, nth) is None:
                    broken.append([node.GetName(), role])
        if node.IsA("vtkMRMLMarkupsFiducialNode") and node.GetDisplayNode().GetVisibility():
            display = node.GetDisplayNode()
            for nth in range(node.GetNumberOfControlPoints()):
                seen = points.setdefault(node.GetNthControlPointLabel(nth), [None, 0])
                if display.GetGlyphScale() > 0.0:
                    seen[0] = list(display.GetColor())
                seen[1] += display.GetPointLabelsVisibility()
    def names(kind):
        return [scene.GetNthNodeByClass(n, kind).GetName() for n in range(scene.GetNumberOfNodesByClass(kind))]
    def shape(place):
        return scene.GetNthNodeByClass(place, "vtkMRMLScalarVolumeNode").GetImageData().GetDimensions()
    def first(kind):
        return scene.GetFirstNodeByClass(kind)
    matrix = first("vtkMRMLSliceNode").GetSliceToRAS()
    print(json.dumps({
        "broken": broken, "points": points, "volumes": names("vtkMRMLScalarVolumeNode"),
        "shapes": [shape(0), shape(1)],
        "curve": [first("vtkMRMLMarkupsCurveNode").GetNumberOfControlPoints(),
                  first("vtkMRMLMarkupsCurveNode").GetDisplayVisibility()],
        "rows": [scene.GetNthNodeByClass(n, "vtkMRMLTableNode").GetTable().GetNumberOfRows() for n in range(2)],
        "view": [matrix.GetElement(row, 3) for row in range(3)],
        "background": first("vtkMRMLSliceCompositeNode").GetBackgroundVolumeID(),
    }))
"""


def test_the_scene_opens_without_our_code_and_shows_everything_at_the_first_suspected_vertebra(
    export, widget, a_report, tmp_path
):
    widget.ui.thresholdSlider.value = 0.05  # L1 is suspected too, but T12 comes first as one reads
    path = export("scene.mrb")
    program = "\n".join(line.removeprefix("    ") for line in PLAIN_READER.splitlines())

    done = subprocess.run(
        [sys.executable, "-c", program, str(path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["broken"] == []
    assert seen["volumes"] == ["CT", "CT straightened"]
    assert seen["shapes"][0] == [60, 100, 80]
    assert min(seen["shapes"][1]) > 10
    assert seen["curve"] == [len(a_report.centerline.points_ras), 1]
    assert seen["rows"] == [3, len(a_report.sequence.positions_mm)]
    assert set(seen["points"]) == {"L1 · 0.10", "T12 · 0.93", "T11 · not evaluable"}
    assert len({tuple(color) for color, _ in seen["points"].values()}) == 3
    # Behind the canal and beside the body, and not on the point.
    assert [labels for _, labels in seen["points"].values()] == [2, 2, 2]
    assert seen["view"] == [1.0, 20.0, 40.0]
    assert seen["background"] == "vtkMRMLScalarVolumeNode1"


def test_the_exported_scene_holds_the_very_volumes_and_the_result_as_it_is_read(export, widget, scene, a_named_result):
    widget.ui.thresholdSlider.value = 0.05
    widget.ui.pointsCheckBox.checked = False
    again = load_mrb(export("scene.mrb"))

    nodes = find_results(again)[0]
    for mine, theirs in (
        (a_named_result.input_volume, nodes.input_volume),
        (a_named_result.straightened, nodes.straightened),
    ):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(theirs), slicer.util.arrayFromVolume(mine))
        matrices = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
        mine.GetIJKToRASMatrix(matrices[0])
        theirs.GetIJKToRASMatrix(matrices[1])
        np.testing.assert_allclose(*map(slicer.util.arrayFromVTKMatrix, matrices), atol=1e-9)
    ours = read_correction(scene, a_named_result)
    assert read_correction(again, nodes).shown.vertebrae == ours.shown.vertebrae
    assert nodes.table.GetAttribute("VertebralFracture.impression").startswith("2 fractures suspected, T12 and L1")
    assert all(points.GetDisplayVisibility() for points in nodes.points.values())
    for point in ((1.0, 5.0, 40.0), (0.0, -3.0, 20.0)):
        moved = [[0.0] * 3, [0.0] * 3]
        for transform, place in zip((a_named_result.transform, nodes.transform), moved, strict=True):
            transform.GetTransformFromParent().TransformPoint(point, place)
        assert moved[0] == pytest.approx(moved[1], abs=1e-6)


def test_a_transformed_ct_is_exported_where_it_lies(export, scene, a_named_result):
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", SECRET_NAME)
    matrix = np.eye(4)
    matrix[:3, 3] = (5.0, -7.0, 11.0)
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    a_named_result.input_volume.SetAndObserveTransformNodeID(shift.GetID())
    mine = vtk.vtkMatrix4x4()
    a_named_result.input_volume.GetIJKToRASMatrix(mine)

    path = export("scene.mrb")

    theirs = vtk.vtkMatrix4x4()
    find_results(load_mrb(path))[0].input_volume.GetIJKToRASMatrix(theirs)
    np.testing.assert_allclose(
        slicer.util.arrayFromVTKMatrix(theirs), matrix @ slicer.util.arrayFromVTKMatrix(mine), atol=1e-9
    )
    assert mentions(path, SECRETS) == []


def test_the_page_is_one_file_with_pictures_as_it_is_read(export, widget):
    widget.ui.thresholdSlider.value = 0.05

    page = export("page.html").read_text(encoding="utf-8")

    assert page.startswith("<!DOCTYPE html>")
    assert page.count("data:image/png;base64,") == 3  # the overview and one for each of two suspected vertebrae
    assert "2 fractures suspected, T12 and L1" in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_script_exports_too_and_a_wrong_ending_is_refused(widget, a_named_result, tmp_path):
    for name in ("a.csv", "a.json", "a.html", "a.mrb"):
        widget.logic.exportResult(a_named_result, tmp_path / name)
        assert (tmp_path / name).is_file()

    with pytest.raises(ExportFailed, match=r"'a\.txt' must end in \.csv, \.json, \.html or \.mrb"):
        widget.logic.exportResult(a_named_result, tmp_path / "a.txt")


def test_the_report_as_json_is_the_models_and_the_table_as_it_is_read(export, widget, scene, a_named_result):
    widget.ui.ruleSelector.setCurrentIndex(1)

    report = report_from_json(export("report.json").read_text(encoding="utf-8"))
    table = export("table.csv").read_text(encoding="utf-8")

    assert [v.grade for v in report.vertebrae] == [v.grade for v in read_report(scene, a_named_result).vertebrae]
    assert report.input.name == "CT"
    assert table.count("wedge") == 2


@pytest.mark.parametrize(
    ("region", "separator", "heights"),
    [("de_DE", ";", ";18,0;20,0;26,0;"), ("en_US", ",", ",18.0,20.0,26.0,")],
)
def test_a_table_is_written_as_the_spreadsheets_of_this_computer_read_it(
    export, widget, monkeypatch, region, separator, heights
):
    """Given a computer whose region writes 0,5 or 0.5, when the table is exported, then cells and decimals are written
    so, and the panel says where that is unusual.
    """
    locale = export_section.qt.QLocale(region)
    monkeypatch.setattr(export_section.qt.QLocale, "system", staticmethod(lambda: locale))

    table = export("table.csv").read_text(encoding="utf-8")

    assert f"\nT12{separator}" in table
    assert heights in table
    assert ("with semicolons and decimal commas" in widget.ui.exportLabel.text) == (separator == ";")


@pytest.mark.parametrize("name", ["missing/table.csv", "missing/page.html", "missing/scene.mrb"])
def test_what_cannot_be_written_is_said_and_leaves_nothing(export, widget, tmp_path, name):
    export(name)

    assert "could not be written" in widget.ui.exportLabel.text
    assert widget.ui.exportTableButton.enabled
    assert list((tmp_path / SECRET_FOLDER).iterdir()) == []


def test_no_choice_of_a_file_writes_nothing(export, widget, chosen):
    export("scene.mrb")
    chosen["name"] = ""

    widget.ui.exportSceneButton.click()

    assert not widget.view.exportSection.isExporting


@pytest.mark.usefixtures("a_named_result")
def test_without_its_ct_a_scene_is_refused_and_a_table_is_not(widget, scene, a_named_ct, tmp_path):
    scene.RemoveNode(a_named_ct)
    nodes = find_results(scene)[0]

    with pytest.raises(ExportFailed, match=r"'a\.mrb' could not be written: the CT of this result is no longer"):
        widget.logic.exportResult(nodes, tmp_path / "a.mrb")
    widget.logic.exportResult(nodes, tmp_path / "a.csv")

    assert (tmp_path / "a.csv").read_text(encoding="utf-8").count("\nT12,") == 1
    assert not (tmp_path / "a.mrb").exists()


def test_a_scan_that_is_not_evaluable_is_exported_with_its_reason(widget, scene, a_named_ct, a_report, tmp_path):
    nothing = not_evaluable(a_report, "The canal was found over 40 mm only.")
    nodes = write_scene(nothing, None, None, scene, a_named_ct)

    for name in ("a.csv", "a.json", "a.html", "a.mrb"):
        widget.logic.exportResult(nodes, tmp_path / name)

    assert "over 40 mm only" in (tmp_path / "a.html").read_text(encoding="utf-8")
    again = load_mrb(tmp_path / "a.mrb")
    assert read_report(again).reason == nothing.reason
    assert slicer.util.arrayFromVolume(find_results(again)[0].input_volume).shape == (80, 100, 60)
    assert mentions(tmp_path / "a.mrb", SECRETS) == []
