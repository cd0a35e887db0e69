"""A scene with a CT, a report, and a session that answers at once, for the tests of the Slicer module.

The widgets are PySide6 (``slicer_stand_ins``), installed before any test file imports the module.
"""

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import slicer
import slicer_stand_ins
import vtk
from leaning_vertebra import add_layout, show_in_all_views
from panel_helpers import LINE, SECRET_FOLDER, SECRET_NAME, SECRET_UID, detect, until
from report_samples import a_reported_vertebra

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import ReformatGrid, straighten
from VertebralFractureLib.cpr.straightened_volume import save_straightened
from VertebralFractureLib.export.scene import find_results, new_scene
from VertebralFractureLib.result import report_to_json
from VertebralFractureLib.result.report import (
    InputIdentity,
    ReportedCenterline,
    ReportedSequence,
    ScanResult,
    Software,
    SpineReport,
)
from VertebralFractureLib.vertebrae.vertebra import Heights, Reason, Status
from VertebralFractureLib.volume import CTVolume

slicer_stand_ins.install()

SHIFT = np.zeros((4, 4))
SHIFT[:3, 3] = (-40.0, -40.0, -20.0)
RAS_FROM_IJK = np.array([[0.0, -0.7, 0.0, 30.0], [0.0, 0.0, -0.8, 60.0], [2.0, 0.0, 0.0, -50.0], [0, 0, 0, 1]])


def vertebra(label, s_mm, probability, grade, status="scored", reason=None):
    scored = status == "scored"
    return a_reported_vertebra(
        label,
        s_mm,
        12.0,
        center_ras=(1.0, 20.0, s_mm),
        status=Status(status),
        reason=reason,
        fracture_probability=probability if scored else None,
        uncertainty=0.05 if scored else None,
        grade=grade if scored else None,
        shape="wedge" if grade else None,
        heights_mm=Heights(18.0, 20.0, 26.0) if scored else None,
        height_loss=(0.31 if grade else 0.04) if scored else None,
        detection_confidence=0.9,
    )


@pytest.fixture
def a_report():
    return SpineReport(
        software=Software("0.1.0", {"cord": "00" * 32}),
        input=InputIdentity("input", (10, 12, 14), (2.0, 0.7, 0.8)),
        status="evaluable",
        reason=None,
        scan=ScanResult(0.93, 2, ("T12",), 0.5),
        centerline=ReportedCenterline(LINE, (0.9,) * len(LINE)),
        sequence=ReportedSequence((0.0, 40.0, 80.0), (0.1, 0.9, 0.1), (0.0, 0.1, 0.0)),
        vertebrae=(
            vertebra("L1", 10.0, 0.1, 0),
            vertebra("T12", 40.0, 0.93, 2),
            vertebra("T11", 70.0, None, None, "not_evaluable", Reason.TRUNCATED),
        ),
        timings_s={"total": 1.0},
    )


@pytest.fixture
def a_spine(a_report):
    """Straight space along the report's centerline, coarse and small."""
    line = a_report.centerline
    ct = CTVolume(np.zeros((60, 40, 40), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]) + SHIFT, "CT")
    centerline = Centerline(np.array(line.points_ras), np.array(line.confidence))
    return straighten(ct, centerline, grid=ReformatGrid((2.0, 2.0, 2.0), (-20.0, 20.0), (-16.0, 30.0)))


@pytest.fixture(autouse=True)
def nothing_raised_where_qt_and_vtk_swallow_it(monkeypatch):
    """An error in a slot or an observer is printed and forgotten by both; here it fails the test."""
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, _trace: raised.append(f"{kind.__name__}: {error}"))
    yield
    assert raised == []


@pytest.fixture(autouse=True)
def settings_of_nobody(tmp_path):
    """Slicer's settings, empty, in a folder of the test."""
    import qt

    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, str(tmp_path / "settings"))
    qt.QCoreApplication.setOrganizationName("Nobody")
    qt.QCoreApplication.setApplicationName("Slicer")


@pytest.fixture(autouse=True)
def vtk_says_no_error():
    """What VTK complains of goes to Slicer's error log, and a user sees a red cross; here it fails the test."""
    window = vtk.vtkStringOutputWindow()
    former = vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(window)
    yield window
    vtk.vtkOutputWindow.SetInstance(former)
    assert "ERROR:" not in (window.GetOutput() or ""), window.GetOutput()


@pytest.fixture
def scene(monkeypatch):
    scene = new_scene()
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    let_the_data_tree_follow(scene)
    yield scene
    scene.RemoveAllObservers()


def let_the_data_tree_follow(scene):
    """As Slicer's application does: a node that is about to go is taken out of the data tree first.

    Without it the tree keeps the address of the node, and complains when a later node gets the same one.
    """

    def tree():
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def take_out(_scene, _event, node):
        if not scene.IsClosing() and not node.IsA("vtkMRMLSubjectHierarchyNode"):
            item = tree().GetItemByDataNode(node)
            if item:
                tree().RemoveItem(item, False, False)

    def take_all_out(_scene, _event):
        items = []
        tree().GetItemChildren(tree().GetSceneItemID(), items, True)
        for item in reversed(items):
            tree().RemoveItem(item, False, False)

    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, take_out)
    scene.AddObserver(scene.StartCloseEvent, take_all_out)


@pytest.fixture
def add_volume(scene):
    def add(name):
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        voxels = np.arange(10 * 12 * 14, dtype=np.int16).reshape(10, 12, 14)
        slicer.util.updateVolumeFromArray(node, voxels)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(RAS_FROM_IJK))
        return node

    return add


@pytest.fixture
def ct_ras_from_ijk():
    return RAS_FROM_IJK


@pytest.fixture
def a_ct(add_volume):
    return add_volume("Chest CT")


@pytest.fixture
def add_spine_volume(scene):
    """Adds a volume in which the report's centerline runs, so that it can be straightened."""

    def add(name):
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        voxels = np.random.default_rng(5).integers(-200, 900, (60, 40, 40)).astype(np.int16)
        slicer.util.updateVolumeFromArray(node, voxels)
        node.SetSpacing(2.0, 2.0, 2.0)
        node.SetOrigin(-40.0, -40.0, -20.0)
        return node

    return add


@pytest.fixture
def a_spine_ct(add_spine_volume):
    return add_spine_volume("Spine CT")


@pytest.fixture
def a_spine_result(widget, a_spine_ct, a_successful_worker):  # noqa: ARG001
    """Nodes of a detection on that volume, shown in the panel; its session is ``session_stand_in``."""
    widget.ui.detectButton.click()
    until(lambda: widget.run is None)
    return find_results(slicer.mrmlScene)[0]


@pytest.fixture
def a_worker(tmp_path, monkeypatch):
    """Give what a session answers to ``detect`` in place of the real one, with ``request`` and ``say`` at hand.

    Corrections are answered by ``session_stand_in``; exports are made by the real one.
    """
    from VertebralFracturePanel.process import session_process

    here = Path(__file__).resolve()

    def install(body, obeys=True):
        (tmp_path / "detect_stand_in.py").write_text(textwrap.dedent(body), encoding="utf-8")
        source = f"""
            import sys
            sys.path[:0] = [{str(here.parent)!r}, {str(here.parents[3])!r}]
            import session_stand_in
            sys.exit(session_stand_in.main(sys.argv[1:], {obeys}))
        """
        (tmp_path / "fast_session.py").write_text(textwrap.dedent(source), encoding="utf-8")
        monkeypatch.setattr(session_process, "SESSION_MODULE", "fast_session")
        monkeypatch.setattr(session_process, "LIBRARY_FOLDER", tmp_path)

    return install


@pytest.fixture
def a_successful_worker(a_worker, a_report, a_spine, tmp_path):
    (tmp_path / "answer.json").write_text(report_to_json(a_report), encoding="utf-8")
    save_straightened(a_spine, tmp_path / "answer.npz")
    a_worker("""
        for stage in ("read", "canal", "cpr", "vertebrae", "fracture"):
            say(stage=stage, fraction=0.5)
            time.sleep(0.02)
        (folder / "report.json").write_bytes(Path("answer.json").read_bytes())
        (folder / "spine.npz").write_bytes(Path("answer.npz").read_bytes())
        say(done=True, report=str(folder / "report.json"), exit_code=0)
    """)


@pytest.fixture
def logic():
    """The module's logic with nothing to install and this Python for the session."""
    from VertebralFracture import VertebralFractureLogic
    from VertebralFracturePanel.detect.torch_installer import TorchInstaller
    from VertebralFracturePanel.process.json_process import JsonProcess

    class NoInstallation(TorchInstaller):
        def ensureTorch(self):
            pass

    logic = VertebralFractureLogic(NoInstallation(), lambda: JsonProcess(sys.executable))
    yield logic
    logic.session.endNow()


@pytest.fixture
def widget(scene, logic):  # noqa: ARG001  the widget finds the scene where Slicer keeps it
    from VertebralFracture import VertebralFractureWidget

    widget = VertebralFractureWidget(slicer_stand_ins.module_parent(), logic)
    widget.setup()
    yield widget
    widget.cleanup()


@pytest.fixture
def a_phantom_node(scene, a_phantom):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Phantom")
    slicer.util.updateVolumeFromArray(node, a_phantom.ct.hu)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(a_phantom.ct.ijk_to_ras))
    return node


@pytest.fixture
def the_real_widget(scene):  # noqa: ARG001  the widget finds the scene where Slicer keeps it
    from VertebralFracture import VertebralFractureWidget

    widget = VertebralFractureWidget(slicer_stand_ins.module_parent())
    widget.setup()
    yield widget
    widget.cleanup()


@pytest.fixture
def logics(scene):
    """Slicer's logic of the slice views, as long as a test runs."""
    logics = add_layout(scene)
    yield logics
    for logic in logics:
        logic.SetMRMLScene(None)


@pytest.fixture
def seen_result(widget, scene, logics, a_spine_ct, a_successful_worker):  # noqa: ARG001
    detect(widget)
    show_in_all_views(scene, a_spine_ct)
    return find_results(scene)[0]


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """What the user chooses when asked for a file or a folder; a name to begin with."""
    import qt

    answers = {"name": ""}
    for dialog in ("getSaveFileName", "getExistingDirectory"):
        answer = staticmethod(lambda *_: str(tmp_path / SECRET_FOLDER / answers["name"]) if answers["name"] else "")
        monkeypatch.setattr(qt.QFileDialog, dialog, answer)
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
def a_named_result(widget, a_named_ct, a_successful_worker):  # noqa: ARG001
    widget.ui.inputSelector.setCurrentNode(a_named_ct)
    detect(widget)
    return find_results(slicer.mrmlScene)[0]


@pytest.fixture
def export(widget, a_named_result, chosen, tmp_path):  # noqa: ARG001
    """Press the button that belongs to a file's ending, and wait."""
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
