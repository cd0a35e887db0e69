"""The panel: real widgets on PySide6, a real scene, a real worker process; the accidents of life included."""

import time

import pytest
import slicer_stand_ins
from panel_helpers import cells, until
from PySide6.QtWidgets import QApplication

import VertebralFracture as module
from VertebralFractureLib.export.scene import find_results
from VertebralFractureLib.result.words import write_impression
from VertebralFracturePanel.detect.progress_estimate import STAGE_WEIGHTS
from VertebralFracturePanel.detect.torch_installer import TorchInstaller, TorchMissing
from VertebralFracturePanel.read.results_table import COLUMNS


def test_nothing_can_be_detected_without_a_volume(widget, add_volume):
    assert not widget.ui.detectButton.enabled

    add_volume("Late CT")

    assert widget.ui.detectButton.enabled
    assert "Research use only" in widget.ui.disclaimerLabel.text


@pytest.mark.usefixtures("a_successful_worker", "a_ct")
def test_the_result_is_shown_in_words_and_colors(widget):
    widget.ui.detectButton.click()
    assert widget.ui.detectButton.text == "&Cancel"
    until(lambda: widget.run is None)

    assert widget.ui.impressionLabel.text == "1 fracture suspected, T12; 2 vertebrae scored, 1 not evaluable"
    assert cells(widget.ui.vertebraTable) == [
        ["T11", "–", "not evaluable", "–", "partially imaged", "–"],
        ["T12", "0.93", "2 moderate\nwedge", "18 20 26\nloss 31%", "fracture suspected", "–"],
        ["L1", "0.10", "0 none", "18 20 26\nloss 4%", "not suspected", "–"],
    ]
    colors = {widget.ui.vertebraTable.item(row, COLUMNS.index("Grade")).background().color().name() for row in range(3)}
    assert len(colors) == 3
    assert widget.ui.detectButton.text == "&Detect fractures"
    assert not widget.ui.progressBar.visible


@pytest.mark.usefixtures("a_ct")
def test_progress_names_the_step(widget, a_worker):
    a_worker('say(stage="fracture", fraction=0.5); time.sleep(300)')

    widget.ui.detectButton.click()
    until(lambda: widget.ui.progressBar.value > 0)

    until(lambda: widget.ui.stageLabel.text.startswith("Step 6 of 7: scoring patches along the spine"))
    before = ("export", "read", "canal", "cpr", "vertebrae")
    share = sum(STAGE_WEIGHTS[stage] for stage in before) + 0.5 * STAGE_WEIGHTS["fracture"]
    assert widget.ui.progressBar.value == round(100 * share / sum(STAGE_WEIGHTS.values()))


LONG_WORKER = """
    Path("alive").write_text("yes", encoding="utf-8")
    say(stage="canal", fraction=0.1)
    time.sleep(300)
"""


def start_long_work(widget, a_worker):
    a_worker(LONG_WORKER)
    widget.ui.detectButton.click()
    until(lambda: widget.ui.progressBar.value > 0)


@pytest.mark.usefixtures("a_ct")
def test_cancel_ends_the_worker_at_once(widget, scene, a_worker):
    start_long_work(widget, a_worker)
    started = time.monotonic()

    widget.ui.detectButton.click()

    assert widget.run is None
    assert time.monotonic() - started < 20.0
    assert widget.ui.stageLabel.text == "Cancelled."
    assert widget.ui.detectButton.text == "&Detect fractures"
    assert find_results(scene) == ()


def test_deleting_the_input_cancels(widget, scene, a_ct, a_worker):
    start_long_work(widget, a_worker)

    scene.RemoveNode(a_ct)

    assert widget.run is None
    assert not widget.ui.detectButton.enabled


@pytest.mark.usefixtures("a_ct")
def test_closing_the_scene_cancels_and_clears_the_panel(widget, scene, a_worker):
    start_long_work(widget, a_worker)

    scene.Clear()

    assert widget.run is None
    assert widget.ui.vertebraTable.rowCount == 0
    assert not widget.ui.detectButton.enabled


@pytest.mark.usefixtures("a_ct")
def test_leaving_slicer_ends_the_worker(widget, a_worker):
    start_long_work(widget, a_worker)

    widget.cleanup()

    assert widget.run is None


@pytest.mark.usefixtures("a_ct")
def test_a_failure_is_shown_in_words_and_the_next_run_works(widget, a_worker, a_report, request):
    a_worker('say(error="This is not a CT.", exit_code=2)')
    widget.ui.detectButton.click()
    until(lambda: widget.run is None)
    assert widget.ui.stageLabel.text == "This is not a CT."

    request.getfixturevalue("a_successful_worker")
    widget.ui.detectButton.click()
    until(lambda: widget.run is None)

    assert widget.ui.stageLabel.text == ""
    assert widget.ui.impressionLabel.text == write_impression(a_report)


@pytest.mark.usefixtures("a_successful_worker", "a_ct")
def test_a_second_run_shows_the_newest_result(widget, scene):
    for _ in range(2):
        widget.ui.detectButton.click()
        until(lambda: widget.run is None)

    assert len(find_results(scene)) == 2
    assert widget.ui.vertebraTable.rowCount == 3


@pytest.mark.usefixtures("a_successful_worker")
def test_a_new_panel_shows_what_the_scene_holds(scene, a_ct, logic, a_report):
    logic.detectFractures(a_ct)

    widget = module.VertebralFractureWidget(slicer_stand_ins.module_parent(), logic)
    widget.setup()

    assert widget.ui.impressionLabel.text == write_impression(a_report)
    widget.cleanup()
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") > 0


@pytest.mark.usefixtures("a_successful_worker", "a_ct")
def test_a_deleted_result_leaves_the_panel(widget, scene):
    widget.ui.detectButton.click()
    until(lambda: widget.run is None)

    scene.RemoveNode(find_results(scene)[0].table)
    QApplication.processEvents()

    assert widget.ui.impressionLabel.text == "No result for this volume yet."
    assert widget.ui.vertebraTable.rowCount == 0


@pytest.mark.usefixtures("a_successful_worker", "a_ct")
def test_a_click_on_a_row_centers_the_slice_views(widget, scene):
    slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    slice_node.SetOrientationToAxial()
    widget.ui.detectButton.click()
    until(lambda: widget.run is None)

    widget.ui.vertebraTable.cellClicked.emit(1, 0)

    position = [slice_node.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    assert position == [1.0, 20.0, 40.0]


class DeclinedInstallation(TorchInstaller):
    def ensureTorch(self):
        raise TorchMissing("Without PyTorch nothing can be detected; it was not installed.")


@pytest.mark.usefixtures("a_ct")
def test_without_pytorch_nothing_starts(scene):
    logic = module.VertebralFractureLogic(torchInstaller=DeclinedInstallation())
    widget = module.VertebralFractureWidget(slicer_stand_ins.module_parent(), logic)
    widget.setup()

    widget.ui.detectButton.click()

    assert widget.run is None
    assert "Without PyTorch" in widget.ui.stageLabel.text
    assert find_results(scene) == ()
    widget.cleanup()
