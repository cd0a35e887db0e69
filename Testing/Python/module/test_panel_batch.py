"""Several CTs of one scene, detected one after the other from the panel."""

import pytest
import slicer
import vtk
from panel_helpers import until
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import find_results
from VertebralFracturePanel.detect.detection_batch import volumesWithoutResult

REFUSES_THE_SECOND = """
    Path("asked").write_text(Path("asked").read_text() + "." if Path("asked").exists() else ".")
    if len(Path("asked").read_text()) == 2:
        say(error="This is not a CT.", exit_code=2)
    else:
        (folder / "report.json").write_bytes(Path("answer.json").read_bytes())
        (folder / "spine.npz").write_bytes(Path("answer.npz").read_bytes())
        say(done=True, report=str(folder / "report.json"), exit_code=0)
"""


@pytest.fixture
def three_cts(add_volume):
    volumes = [add_volume(name) for name in ("First CT", "Second CT", "Third CT")]
    QApplication.processEvents()
    return volumes


def detect_all(widget):
    """Press the button, and give what was said and how many processes there were at a time until it is over."""
    said, processes = [], []
    widget.ui.nextStepButton.click()

    def isOver():
        session = widget.logic.session
        living = [process for process in (session._process, *session._leaving) if process and not process.isOver]
        said.append(widget.ui.stageLabel.text)
        processes.append(len(living))
        return widget.batch is None

    until(isOver)
    return said, max(processes)


@pytest.mark.usefixtures("a_successful_worker")
def test_all_cts_are_detected_one_after_the_other_each_with_its_own_result(widget, scene, three_cts):
    # Given three CTs, the second of which is chosen
    widget.ui.inputSelector.setCurrentNode(three_cts[1])
    assert widget.ui.nextStepLabel.text == "3 CTs of this scene have no result yet."

    # When all are detected
    said, most = detect_all(widget)

    # Then the progress says which is at work, one process at a time, and each has its result
    assert {words.split(".")[0] for words in said if words.startswith("CT ")} == {f"CT {n} of 3" for n in (1, 2, 3)}
    assert most == 1
    assert [nodes.input_volume for nodes in find_results(scene)] == three_cts
    # Then the panel is back at the CT that was chosen, and says what was found in each
    assert widget.ui.inputSelector.currentNode() is three_cts[1]
    assert widget.ui.vertebraTable.rowCount == 3
    assert widget.ui.stageLabel.text.splitlines() == [
        f"{name}: 1 fracture suspected, T12; 2 vertebrae scored, 1 not evaluable"
        for name in ("First CT", "Second CT", "Third CT")
    ]
    assert not widget.ui.nextStepButton.visible
    assert widget.ui.inputSelector.enabled


@pytest.mark.usefixtures("a_successful_worker")
def test_a_ct_that_is_refused_does_not_stop_the_others(
    widget,
    scene,
    three_cts,
    a_worker,
):
    a_worker(REFUSES_THE_SECOND)

    detect_all(widget)

    assert [nodes.input_volume for nodes in find_results(scene)] == [three_cts[0], three_cts[2]]
    assert widget.ui.stageLabel.text.splitlines()[1] == "Second CT: This is not a CT."


@pytest.mark.usefixtures("a_successful_worker")
def test_a_volume_that_cannot_even_be_read_does_not_stop_the_others(widget, scene, three_cts):
    three_cts[0].SetAndObserveImageData(vtk.vtkImageData())

    detect_all(widget)

    assert [nodes.input_volume for nodes in find_results(scene)] == three_cts[1:]
    assert widget.ui.stageLabel.text.splitlines()[0].startswith("First CT: The volume 'First CT' holds no image")


@pytest.mark.usefixtures("three_cts", "a_successful_worker")
def test_cancel_stops_all_and_keeps_what_is_done(widget, scene, a_worker, tmp_path):
    a_worker(REFUSES_THE_SECOND.replace('say(error="This is not a CT.", exit_code=2)', "time.sleep(300)"))
    widget.ui.nextStepButton.click()
    until(lambda: (tmp_path / "asked").exists() and (tmp_path / "asked").read_text() == "..")

    widget.ui.detectButton.click()

    assert widget.run is None
    assert widget.batch is None
    assert len(find_results(scene)) == 1
    assert widget.ui.stageLabel.text.splitlines()[1] == "Cancelled. 2 of 3 CTs were not examined."
    until(lambda: widget.logic.session.isGone)
    QApplication.processEvents()
    assert widget.run is None, "no further CT is begun"


@pytest.mark.usefixtures("a_successful_worker")
def test_a_ct_that_is_deleted_while_it_runs_or_waits_is_passed_over(
    widget,
    scene,
    three_cts,
    a_worker,
    tmp_path,
):
    a_worker(REFUSES_THE_SECOND.replace('say(error="This is not a CT.", exit_code=2)', "time.sleep(300)"))
    widget.ui.nextStepButton.click()
    until(lambda: (tmp_path / "asked").exists() and (tmp_path / "asked").read_text() == "..")

    scene.RemoveNode(three_cts[1])
    until(lambda: widget.batch is None)

    assert [nodes.input_volume for nodes in find_results(scene)] == [three_cts[0], three_cts[2]]


@pytest.mark.usefixtures("three_cts")
def test_closing_the_scene_gives_all_up(widget, scene, a_worker):
    a_worker("time.sleep(300)")
    widget.ui.nextStepButton.click()
    until(lambda: widget.run is not None)

    scene.Clear()

    assert widget.batch is None
    assert widget.run is None
    assert not widget.ui.detectButton.enabled


def test_only_what_may_be_a_ct_without_a_result_is_offered(widget, scene, a_spine_result, add_volume):  # noqa: ARG001
    # Given a CT with its result (and the straightened volume that belongs to it), a label map and a color image
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Bones")
    scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photograph")
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Without voxels")
    assert volumesWithoutResult(slicer.mrmlScene) == []

    new = add_volume("New CT")

    assert volumesWithoutResult(slicer.mrmlScene) == [new]
