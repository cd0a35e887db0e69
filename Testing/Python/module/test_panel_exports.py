"""What the panel writes to files: whole or not at all, as it is shown, naming nobody; the scene stays as it was."""

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
import slicer
import vtk
from panel_helpers import content, detect, until
from PySide6.QtCore import QTimer

from VertebralFractureLib.report import report_from_json
from VertebralFractureLib.scene import find_results, load_mrb, read_report
from VertebralFractureLib.scene.corrected_scene import read_correction
from VertebralFracturePanel import export_section, view_pictures
from VertebralFracturePanel.result_export import ExportFailed

SECRET_NAME, SECRET_UID, SECRET_FOLDER = "Doe^Jane 19450101", "1.2.840.99999.7.7", "private_patients"
SECRETS = (SECRET_NAME, "Doe", "Jane", "19450101", SECRET_UID, SECRET_FOLDER)


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """What the user chooses when asked for a file or a folder; a name to begin with."""
    answers = {"name": ""}
    for dialog in ("getSaveFileName", "getExistingDirectory"):
        answer = staticmethod(lambda *_: str(tmp_path / SECRET_FOLDER / answers["name"]) if answers["name"] else "")
        monkeypatch.setattr(export_section.qt.QFileDialog, dialog, answer)
    (tmp_path / SECRET_FOLDER).mkdir()
    return answers


@pytest.fixture
def a_named_ct(a_ct, tmp_path):
    """A CT as Slicer's DICOM module leaves it: the patient in its name, its tags, its file, and in the data tree."""
    voxels = np.random.default_rng(0).normal(40, 100, (80, 100, 60)).astype(np.int16)
    slicer.util.updateVolumeFromArray(a_ct, voxels)
    a_ct.SetName(SECRET_NAME)
    a_ct.SetAttribute("DICOM.instanceUIDs", f"{SECRET_UID}.1 {SECRET_UID}.2")
    a_ct.SetDescription(f"{SECRET_NAME}, chest")
    a_ct.AddDefaultStorageNode(str(tmp_path / SECRET_FOLDER / f"{SECRET_NAME}.nrrd"))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_ct.GetScene())
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), SECRET_NAME)
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", SECRET_UID)
    hierarchy.CreateItem(patient, a_ct)
    return a_ct


@pytest.fixture
def a_result(widget, a_named_ct, a_successful_worker):  # noqa: ARG001
    """The worker that answers at once has detected; exports go through the true one."""
    widget.ui.inputSelector.setCurrentNode(a_named_ct)
    detect(widget)
    return find_results(slicer.mrmlScene)[0]


@pytest.fixture
def the_true_worker(monkeypatch, project_folder):
    from VertebralFracturePanel import detection_run

    def back():
        monkeypatch.setattr(detection_run, "WORKER_MODULE", "VertebralFractureLib.worker")
        monkeypatch.setattr(detection_run, "LIBRARY_FOLDER", project_folder)

    return back


@pytest.fixture
def export(widget, a_result, chosen, the_true_worker, tmp_path):  # noqa: ARG001
    """Press the button that belongs to a file's ending, and wait."""
    the_true_worker()
    buttons = {
        ".csv": widget.ui.exportTableButton,
        ".json": widget.ui.exportReportButton,
        ".html": widget.ui.exportPageButton,
        ".mrb": widget.ui.exportSceneButton,
    }

    def run(name, waits=True):
        chosen["name"] = name
        buttons[Path(name).suffix].click()
        if waits:
            until(lambda: not widget.view.exportSection.isExporting)
        return tmp_path / SECRET_FOLDER / name

    return run


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
    folders = [SECRET_FOLDER, tmp_path.name, str(Path.home()), "VertebralFracture-", "vertebral_fracture_"]

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
            color = node.GetDisplayNode().GetColor()
            for nth in range(node.GetNumberOfControlPoints()):
                labels = node.GetDisplayNode().GetPointLabelsVisibility()
                points[node.GetNthControlPointLabel(nth)] = [list(color), labels]
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
    export, widget, tmp_path
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
    assert seen["curve"] == [3, 1]
    assert seen["rows"] == [3, 3]
    assert set(seen["points"]) == {"L1 · 0.10", "T12 · 0.93", "T11 · not evaluable"}
    assert len({tuple(color) for color, _ in seen["points"].values()}) == 3
    assert all(labels for _, labels in seen["points"].values())
    assert seen["view"] == [1.0, 20.0, 40.0]
    assert seen["background"] == "vtkMRMLScalarVolumeNode1"


def test_the_exported_scene_holds_the_very_volumes_and_the_result_as_it_is_read(export, widget, scene, a_result):
    widget.ui.thresholdSlider.value = 0.05
    widget.ui.pointsCheckBox.checked = False
    again = load_mrb(export("scene.mrb"))

    nodes = find_results(again)[0]
    for mine, theirs in ((a_result.input_volume, nodes.input_volume), (a_result.straightened, nodes.straightened)):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(theirs), slicer.util.arrayFromVolume(mine))
        matrices = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
        mine.GetIJKToRASMatrix(matrices[0])
        theirs.GetIJKToRASMatrix(matrices[1])
        np.testing.assert_allclose(*map(slicer.util.arrayFromVTKMatrix, matrices), atol=1e-9)
    ours = read_correction(scene, a_result)
    assert read_correction(again, nodes).shown.vertebrae == ours.shown.vertebrae
    assert nodes.table.GetAttribute("VertebralFracture.headline").startswith("2 fractures suspected, T12 and L1")
    assert all(points.GetDisplayVisibility() for points in nodes.points.values())
    for point in ((1.0, 5.0, 40.0), (0.0, -3.0, 20.0)):
        moved = [[0.0] * 3, [0.0] * 3]
        for transform, place in zip((a_result.transform, nodes.transform), moved, strict=True):
            transform.GetTransformFromParent().TransformPoint(point, place)
        assert moved[0] == pytest.approx(moved[1], abs=1e-6)


def test_a_transformed_ct_is_exported_where_it_lies(export, scene, a_result):
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", SECRET_NAME)
    matrix = np.eye(4)
    matrix[:3, 3] = (5.0, -7.0, 11.0)
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    a_result.input_volume.SetAndObserveTransformNodeID(shift.GetID())
    mine = vtk.vtkMatrix4x4()
    a_result.input_volume.GetIJKToRASMatrix(mine)

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


def test_a_script_exports_too_and_a_wrong_ending_is_refused(widget, a_result, the_true_worker, tmp_path):
    the_true_worker()
    for name in ("a.csv", "a.json", "a.html", "a.mrb"):
        widget.logic.exportResult(a_result, tmp_path / name)
        assert (tmp_path / name).is_file()

    with pytest.raises(ExportFailed, match=r"'a\.txt' must end in \.csv, \.json, \.html or \.mrb"):
        widget.logic.exportResult(a_result, tmp_path / "a.txt")


def test_the_report_as_json_is_the_models_and_the_table_as_it_is_read(export, widget, scene, a_result):
    widget.ui.ruleSelector.setCurrentIndex(1)

    report = report_from_json(export("report.json").read_text(encoding="utf-8"))
    table = export("table.csv").read_text(encoding="utf-8")

    assert [v.grade for v in report.vertebrae] == [v.grade for v in read_report(scene, a_result).vertebrae]
    assert report.input.name == "CT"
    assert table.count("wedge") == 2


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


@pytest.mark.usefixtures("a_result")
def test_without_its_ct_a_scene_is_refused_and_a_table_is_not(widget, scene, a_named_ct, tmp_path):
    scene.RemoveNode(a_named_ct)
    nodes = find_results(scene)[0]

    with pytest.raises(ExportFailed, match=r"'a\.mrb' could not be written: the CT of this result is no longer"):
        widget.logic.exportResult(nodes, tmp_path / "a.mrb")
    widget.logic.exportResult(nodes, tmp_path / "a.csv")

    assert (tmp_path / "a.csv").read_text(encoding="utf-8").count("\nT12,") == 1
    assert not (tmp_path / "a.mrb").exists()


@pytest.fixture
def a_big_export(export, scene, a_result):
    """The same with a CT of 63 MB of noise, which takes a second or two to pack."""
    rng = np.random.default_rng(0)
    slicer.util.updateVolumeFromArray(a_result.input_volume, rng.integers(0, 256, (120, 512, 512), dtype=np.int16))
    assert scene.GetNumberOfNodes() > 10
    return export


def test_the_window_never_stands_still_while_a_scene_is_exported(a_big_export, widget):
    longest, shares = [], []
    say = widget.view.exportSection._say
    widget.view.exportSection._say = lambda words: (shares.append(words), say(words))
    for _attempt in range(3):
        beats = [time.perf_counter()]
        timer = QTimer()
        timer.timeout.connect(lambda beats=beats: beats.append(time.perf_counter()))
        timer.start(0)
        path = a_big_export("scene.mrb")
        timer.stop()
        longest.append(max(np.diff(beats)))
        if longest[-1] < 0.1:
            break

    assert min(longest) < 0.1, longest
    assert path.stat().st_size > 20e6
    assert len(set(shares)) > 10


def test_cancel_at_any_moment_leaves_the_former_file_and_nothing_else(a_big_export, widget, tmp_path):
    folder = tmp_path / SECRET_FOLDER
    (folder / "scene.mrb").write_bytes(b"the former file")
    for words in ("Writing scene.mrb, 1", "Writing scene.mrb, 3", "Writing scene.mrb, 6"):
        a_big_export("scene.mrb", waits=False)
        assert not widget.ui.exportSceneButton.enabled
        until(lambda words=words: widget.ui.exportLabel.text.startswith(words))

        widget.ui.cancelExportButton.click()

        assert widget.ui.exportLabel.text == "The export was cancelled; no file was changed."
        assert widget.ui.exportSceneButton.enabled
        until(lambda: all(export.isOver for export in widget.view.exportSection._exports), 5.0)
        assert [path.name for path in folder.iterdir()] == ["scene.mrb"]
        assert (folder / "scene.mrb").read_bytes() == b"the former file"


def test_closing_the_scene_or_the_panel_during_an_export_is_safe(a_big_export, widget, scene, tmp_path):
    a_big_export("scene.mrb", waits=False)
    until(lambda: widget.ui.exportLabel.text.startswith("Writing scene.mrb, 4"))

    scene.Clear()

    assert not widget.view.exportSection.isExporting
    assert widget.ui.exportLabel.text == ""
    until(lambda: all(export.isOver for export in widget.view.exportSection._exports), 5.0)
    assert list((tmp_path / SECRET_FOLDER).iterdir()) == []


KILLED = """
    import sys, time
    from pathlib import Path
    from VertebralFractureLib import export_files
    bundle, volume, target = map(Path, sys.argv[1:])
    def tell(fraction):
        print(fraction, flush=True)
        time.sleep(0.05)
    export_files.pack_scene(bundle, {"Data/CT.nrrd": volume}, target, tell)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.parametrize("lines", [1, 4])
def test_a_kill_during_the_export_leaves_the_former_file_whole(project_folder, tmp_path, lines):
    from VertebralFractureLib.volume.nrrd_stream import nrrd_header

    bundle, target = tmp_path / "scene", tmp_path / "scene.mrb"
    (bundle / "Data").mkdir(parents=True)
    (bundle / "scene.mrml").write_text("<MRML></MRML>")
    (bundle / "Data" / "CT.nrrd").write_bytes(b"placeholder")
    voxels = np.random.default_rng(0).integers(0, 2000, (40, 512, 512), dtype=np.int16)
    (tmp_path / "ct.nrrd").write_bytes(nrrd_header(voxels.shape, voxels.dtype, np.eye(4)) + voxels.tobytes())
    target.write_bytes(b"the former file")
    program = "\n".join(line.removeprefix("    ") for line in KILLED.splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(bundle), str(tmp_path / "ct.nrrd"), str(target)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_folder)},
    )
    for _ in range(lines):
        process.stdout.readline()

    process.kill()
    process.wait()
    process.stdout.close()

    assert target.read_bytes() == b"the former file"
    assert (tmp_path / ".scene.mrb.partial").is_file()  # it was killed while it wrote


def a_window_with_a_name(words):
    """A render window, off screen, with a sphere and what Slicer writes into its corner."""
    source, mapper, actor = vtk.vtkSphereSource(), vtk.vtkPolyDataMapper(), vtk.vtkActor()
    mapper.SetInputConnection(source.GetOutputPort())
    actor.SetMapper(mapper)
    corner = vtk.vtkCornerAnnotation()
    corner.SetText(2, words)
    renderer, window = vtk.vtkRenderer(), vtk.vtkRenderWindow()
    renderer.AddActor(actor)
    renderer.AddViewProp(corner)
    window.SetOffScreenRendering(True)
    window.SetSize(200, 160)
    window.AddRenderer(renderer)
    window.Render()
    return window, corner


def pixels(path):
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    values = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return values.reshape(image.GetDimensions()[1], image.GetDimensions()[0], -1)


def test_pictures_of_the_open_views_leave_out_what_names_the_patient(widget, a_result, chosen, tmp_path):  # noqa: ARG001
    window, corner = a_window_with_a_name(SECRET_NAME)
    bare, _ = a_window_with_a_name("")
    folder = tmp_path / SECRET_FOLDER
    view_pictures.writePicture(bare, folder / "bare.png", identifiers=True)
    widget.view.exportSection.openViews = lambda: [("Red", window), ("3D-1", window)]
    chosen["name"] = "."
    taken = {}

    for identifiers in (False, True):
        widget.ui.identifiersCheckBox.checked = identifiers
        widget.ui.exportPicturesButton.click()
        until(lambda: not widget.view.exportSection.isExporting)
        taken[identifiers] = pixels(folder / "view-Red.png")

    assert widget.ui.exportLabel.text == "Written: view-Red.png, view-3D-1.png"
    assert taken[False].shape == (160, 200, 3)
    np.testing.assert_array_equal(taken[False], pixels(folder / "bare.png"))
    assert (taken[True] != taken[False]).any()
    assert corner.GetVisibility()
    assert not list(folder.glob(".*"))
