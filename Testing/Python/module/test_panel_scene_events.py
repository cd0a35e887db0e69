"""Scenes come and go as Slicer loads them: within a batch, its own selector first, with or without side by side."""

import sys
import types
from concurrent.futures import Future
from typing import ClassVar

import pytest
import slicer
import slicer_stand_ins
from curve_helpers import drag, edit, settled
from panel_helpers import cells, choose, detect, load_scene, until
from PySide6.QtWidgets import QApplication

import VertebralFracture as module
from VertebralFractureLib.export.scene import find_results, new_scene, save_mrb
from VertebralFractureLib.export.scene.markups_nodes import control_points
from VertebralFracturePanel.detect import volume_export
from VertebralFracturePanel.process import event_loop_steps
from VertebralFracturePanel.read import side_by_side
from VertebralFracturePanel.read.side_by_side import LAYOUT_ID, registerLayout


class Batch:
    """Slicer loads a scene within one: its end comes after the end of the import."""

    def __init__(self, scene):
        self.scene = scene

    def __enter__(self):
        self.scene.StartState(self.scene.BatchProcessState)

    def __exit__(self, *_error):
        self.scene.EndState(self.scene.BatchProcessState)
        QApplication.processEvents()


@pytest.fixture
def layout(scene):
    """The scene's layout node with Slicer's own layout logic, which knows Slicer's own layouts and orientations."""
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    for name in ("Red", "Yellow", "Green"):  # Slicer's slice widgets make these
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetSingletonTag(name)
        composite.SetLayoutName(name)
        scene.AddNode(composite)
    yield scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    logic.SetMRMLScene(None)


def test_a_volume_that_is_added_within_a_batch_can_be_detected_at_once(widget, scene, add_volume):
    with Batch(scene):
        add_volume("CT of a batch")
        QApplication.processEvents()  # as Slicer does while it loads, to show how far it is

    assert widget.ui.detectButton.enabled


@pytest.mark.usefixtures("a_ct")
@pytest.mark.parametrize("isOpen", [True, False])
def test_a_scene_that_is_loaded_in_place_of_another_can_be_detected_at_once(widget, scene, tmp_path, isOpen):
    # Given a saved scene with a CT, and an open one without any, or with another
    save_mrb(scene, tmp_path / "one.mrb")
    if not isOpen:
        scene.Clear(0)
        QApplication.processEvents()
        assert not widget.ui.detectButton.enabled

    with Batch(scene):
        scene.Clear(0)
        QApplication.processEvents()
        load_scene(scene, tmp_path / "one.mrb")

    assert widget.ui.inputSelector.currentNode().GetName() == "Chest CT"
    assert widget.ui.detectButton.enabled


@pytest.mark.usefixtures("a_successful_worker")
@pytest.mark.parametrize("clears", [True, False])
def test_the_saved_choice_of_volume_and_vertebra_outlives_the_selectors_own(
    widget, scene, add_volume, tmp_path, clears
):
    # Given a scene of two CTs, saved with the second one and its T12 chosen
    add_volume("First CT")
    second = add_volume("Second CT")
    widget.ui.inputSelector.setCurrentNode(second)
    detect(widget)
    choose(widget, "T12")
    save_mrb(scene, tmp_path / "two.mrb")
    scene.Clear(0)
    QApplication.processEvents()

    # When it is loaded, in place of the open scene or into an empty one
    with Batch(scene):
        if clears:
            scene.Clear(0)
        load_scene(scene, tmp_path / "two.mrb")

    assert widget.ui.inputSelector.currentNode().GetName() == "Second CT"
    assert len(cells(widget.ui.vertebraTable)) == 3
    assert widget.ui.chosenLabel.text == "T12:"


def test_a_scene_saved_side_by_side_opens_with_views_where_the_layout_is_not_known(
    widget, scene, layout, a_spine_result, tmp_path
):
    # Given a result shown side by side
    assert a_spine_result.straightened is not None
    widget.ui.sideBySideButton.checked = True
    assert layout.GetViewArrangement() == LAYOUT_ID
    save_mrb(scene, tmp_path / "side_by_side.mrb")

    # When the file is opened in a scene without this module
    other = new_scene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(other, True)
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(other)
    opened = other.GetFirstNodeByClass("vtkMRMLLayoutNode")
    opened.SetViewArrangement(opened.SlicerLayoutFourUpView)
    load_scene(other, tmp_path / "side_by_side.mrb")

    # Then it keeps a layout that it knows
    assert opened.GetViewArrangement() == opened.SlicerLayoutFourUpView
    assert other.GetNumberOfNodesByClass("vtkMRMLSliceNode") >= 3


@pytest.mark.parametrize("sideBySide", [False, True])
def test_a_saved_scene_shows_outlines_and_labels_in_every_view_of_a_slicer_without_this_module(
    widget, scene, layout, a_spine_result, tmp_path, sideBySide
):
    # Given a result in a scene that was saved as it is, or side by side
    layout.SetViewArrangement(layout.SlicerLayoutConventionalView)
    assert a_spine_result.straightened is not None
    widget.ui.sideBySideButton.checked = sideBySide
    save_mrb(scene, tmp_path / "saved.mrb")

    # When it is opened in a scene with Slicer's own layouts alone, and looked at in several of them
    other = new_scene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(other, True)
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(other)
    opened = other.GetFirstNodeByClass("vtkMRMLLayoutNode")
    opened.SetViewArrangement(opened.SlicerLayoutConventionalView)
    load_scene(other, tmp_path / "saved.mrb")
    nodes = find_results(other)[0]
    assert opened.GetViewArrangement() == opened.SlicerLayoutConventionalView
    for arrangement in (
        opened.SlicerLayoutConventionalView,
        opened.SlicerLayoutFourUpView,
        opened.SlicerLayoutDual3DView,
        opened.SlicerLayoutTriple3DEndoscopyView,
        opened.SlicerLayoutThreeOverThreeView,
        opened.SlicerLayoutFourOverFourView,
    ):
        opened.SetViewArrangement(arrangement)
        views = [view for view in logic.GetViewNodes() if view is not None]
        assert views

        # Then each view shows points, labels and outlines of the patient, and none those of the straightened spine
        for view in views:
            for node in nodes.points.values():
                display = node.GetDisplayNode()
                assert display.IsDisplayableInView(view.GetID()), (arrangement, view.GetID())
                assert display.GetVisibility()
            for node in (nodes.labels, nodes.side_labels):
                display = node.GetDisplayNode()
                assert display.IsDisplayableInView(view.GetID()), (arrangement, view.GetID())
                assert display.GetVisibility()
                assert display.GetPointLabelsVisibility()
            outlines = nodes.bodies.GetDisplayNode()
            assert outlines.IsDisplayableInView(view.GetID())
            assert outlines.GetVisibility2D()
            for node in (nodes.straight_points, nodes.straight_labels, nodes.straight_bodies):
                straight = node.GetDisplayNode()
                assert not (straight.GetVisibility() and straight.IsDisplayableInView(view.GetID()))


def test_the_layout_is_known_once_slicer_has_started(scene, layout, monkeypatch):  # noqa: ARG001
    # Given Slicer's application, which tells the modules that it has started
    class Application:
        started: ClassVar[list] = []

        def connect(self, signal, listener):
            assert signal == "startupCompleted()"
            self.started.append(listener)

    monkeypatch.setattr(slicer, "app", Application(), raising=False)
    monkeypatch.setattr(slicer, "modules", types.SimpleNamespace(), raising=False)
    module.VertebralFracture(types.SimpleNamespace())
    assert not layout.IsLayoutDescription(LAYOUT_ID)

    for listener in Application.started:
        if listener is not module.registerSampleData:  # test_sample_data has that
            listener()

    assert layout.IsLayoutDescription(LAYOUT_ID)


def test_a_scene_saved_with_the_layout_opens_with_its_views_because_it_is_known_from_the_start(scene, layout):
    registerLayout()

    layout.SetViewArrangement(LAYOUT_ID)

    assert scene.GetSingletonNode(side_by_side.STRAIGHT_VIEW, "vtkMRMLSliceNode") is not None


@pytest.mark.usefixtures("a_spine_result")
def test_closing_the_scene_brings_the_former_layout_back(widget, scene, layout):
    former = layout.SlicerLayoutFourUpView
    layout.SetViewArrangement(former)
    widget.ui.sideBySideButton.checked = True

    scene.Clear(0)

    assert layout.GetViewArrangement() == former
    assert layout.GetSaveWithScene()


@pytest.mark.usefixtures("a_spine_result")
def test_the_own_layout_is_never_the_one_to_go_back_to(widget, layout):
    # Given a scene that an earlier version saved side by side
    registerLayout()
    layout.SetViewArrangement(LAYOUT_ID)

    widget.ui.sideBySideButton.checked = True
    widget.ui.sideBySideButton.checked = False

    assert layout.GetViewArrangement() == layout.SlicerLayoutConventionalView


def test_a_panel_without_a_parent_sets_itself_up(scene, logic):  # noqa: ARG001  the panel finds the scene by itself
    widget = module.VertebralFractureWidget(logic=logic)

    assert "Research use only" in widget.ui.disclaimerLabel.text
    widget.cleanup()


@pytest.mark.usefixtures("a_spine_result")
def test_a_point_whose_position_was_cleared_comes_back_at_once(scene):
    # Given a vertebra's point whose position Slicer's menu has cleared
    nodes = find_results(scene)[0]
    group = next(node for node in nodes.points.values() if node.GetNumberOfControlPoints())
    before = control_points(group)
    group.UnsetNthControlPointPosition(0)
    assert group.GetNthControlPointPositionStatus(0) != group.PositionDefined

    QApplication.processEvents()

    assert control_points(group) == before
    assert group.GetNthControlPointPositionStatus(0) == group.PositionDefined


class NoTurn:
    """Threads in Slicer's idle event loop: what is submitted runs only where the main thread waits for it."""

    waiting: ClassVar[list] = []

    def __init__(self, *_arguments, **_named):
        pass

    def submit(self, work, *arguments):
        future = Future()
        NoTurn.waiting.append((future, work, arguments))
        return future

    def shutdown(self, **_how):
        pass


@pytest.fixture
def threads_that_get_no_turn(monkeypatch):
    def wait(futures, timeout=None):  # noqa: ARG001
        while NoTurn.waiting:
            future, work, arguments = NoTurn.waiting.pop(0)
            future.set_result(work(*arguments))
        return futures, set()

    for part in (event_loop_steps, volume_export):
        monkeypatch.setattr(part, "wait", wait, raising=False)
    for name, part in list(sys.modules.items()):
        if name.startswith("VertebralFracturePanel") and hasattr(part, "ThreadPoolExecutor"):
            monkeypatch.setattr(part, "ThreadPoolExecutor", NoTurn)


@pytest.mark.usefixtures("threads_that_get_no_turn", "a_successful_worker", "a_ct")
def test_no_patients_voxels_stay_on_the_disk_while_slicer_idles(scene, tmp_path, monkeypatch, logic):  # noqa: ARG001
    # Given temporary folders that are known, and threads that never run by themselves
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    from VertebralFracture import VertebralFractureLogic

    fresh = VertebralFractureLogic(logic.torchInstaller, logic.session._createProcess)
    widget = module.VertebralFractureWidget(slicer_stand_ins.module_parent(), fresh)
    widget.setup()

    detect(widget)
    until(lambda: not widget.logic.session.isBusy)

    assert list(folder.rglob("*.nrrd")) == []
    assert NoTurn.waiting == []
    widget.cleanup()


@pytest.fixture
def temporary(threads_that_get_no_turn, tmp_path, monkeypatch):  # noqa: ARG001
    """The folder for temporary files, of this test alone, where threads never run by themselves."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("name", ["page.html", "scene.mrb"])
def test_no_copy_of_the_ct_stays_after_an_export_while_slicer_idles(temporary, export, name):
    export(name)

    until(lambda: not list(temporary.glob("*/request.json")))
    assert list(temporary.rglob("*.nrrd")) == []
    assert NoTurn.waiting == []


def test_no_scores_stay_on_the_disk_after_a_correction_while_slicer_idles(temporary, widget, scene, a_spine_result):  # noqa: ARG001
    edit(widget)
    until(settled(widget))
    drag(widget, 8, (2.0, 0.0, 0.0))

    until(settled(widget))
    assert list(temporary.rglob("report.json")) == []
    assert list(temporary.rglob("spine.npz")) == []
    assert NoTurn.waiting == []


def test_no_copy_of_the_ct_stays_after_a_detection_was_cancelled_while_slicer_idles(temporary, widget, a_ct, a_worker):  # noqa: ARG001
    a_worker("time.sleep(300)")
    widget.ui.detectButton.click()
    until(lambda: list(temporary.rglob("*.nrrd")))

    widget.ui.detectButton.click()

    until(lambda: widget.logic.session.isGone)
    assert list(temporary.rglob("*.nrrd")) == []
    assert NoTurn.waiting == []
