"""What a reader corrects in the panel: assessments, levels, vertebrae; with undo, redo, saving and loading."""

import numpy as np
import pytest
import slicer
from panel_helpers import cells, choose, close_and_load, detect, judge, panel_state, until

from VertebralFractureLib.export.scene import find_results, save_mrb
from VertebralFractureLib.export.scene.markups_nodes import control_points
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.result import corrected_from_json, edits
from VertebralFractureLib.result.words import write_impression
from VertebralFracturePanel.export import export_section


@pytest.fixture
def a_result(widget, a_ct, a_successful_worker):  # noqa: ARG001
    detect(widget)
    return find_results(slicer.mrmlScene)[0]


def reader_column(widget):
    return {row[0]: row[5].replace("\n", " ") for row in cells(widget.ui.vertebraTable)}


@pytest.mark.usefixtures("a_result")
def test_an_assessment_stands_beside_the_models_answer_and_agreement_is_counted(widget, scene, a_report):
    judge(widget, "T12", "no fracture", "limbus vertebra")
    judge(widget, "L1", "agrees")

    assert reader_column(widget) == {"T11": "–", "T12": "no fracture", "L1": "agrees"}
    assert cells(widget.ui.vertebraTable)[1][2] == "2 moderate\nwedge"
    assert widget.ui.agreementLabel.text == "Reader and model agree on 1 of 2 vertebrae; only the model: T12"
    kept = read_correction(scene, find_results(scene)[0])
    assert kept.detected.vertebrae[1].reader.assessment is None
    assert write_impression(kept.detected) == write_impression(a_report)
    assert kept.shown.vertebrae[1].reader.comment == "limbus vertebra"


@pytest.mark.usefixtures("a_result")
def test_who_and_when_are_kept_only_when_ticked(widget, scene):
    widget.ui.whoEdit.text = "Dr. Example"
    judge(widget, "L1", "agrees")
    assert "Dr. Example" not in find_results(scene)[0].report.GetText()

    widget.ui.whoCheckBox.checked = True
    judge(widget, "L1", "grade 1")

    reader = read_correction(scene, find_results(scene)[0]).shown.vertebrae[0].reader
    assert reader.who == "Dr. Example"
    assert reader.when


@pytest.mark.usefixtures("a_result")
def test_a_vertebra_that_cannot_be_judged_is_no_longer_suspected(widget):
    judge(widget, "T12", "not judged")

    assert "fracture suspected" not in [row[4] for row in cells(widget.ui.vertebraTable)]
    assert widget.ui.impressionLabel.text.startswith("No fracture suspected")


def test_one_level_set_lets_the_rest_follow_and_grades_and_points_with_it(widget, a_result):
    places = control_points(a_result.straight_points)
    choose(widget, "L1")
    widget.ui.levelSelector.setCurrentIndex(widget.ui.levelSelector.findText("L2"))

    widget.ui.levelButton.click()

    assert [row[0] for row in cells(widget.ui.vertebraTable)] == ["T12", "L1", "L2"]
    labels = [a_result.straight_points.GetNthControlPointLabel(n).split(" ")[0] for n in range(3)]
    assert labels == ["L2", "L1", "T12"]
    assert np.allclose(control_points(a_result.straight_points), places, atol=0.01)
    assert "The model's own answer: T12, grade 2" in widget.ui.vertebraTable.item(1, 0).toolTip()

    widget.ui.levelsUpButton.click()

    assert [row[0] for row in cells(widget.ui.vertebraTable)] == ["T11", "T12", "L1"]


@pytest.mark.usefixtures("a_result")
def test_pinned_levels_leave_room_for_a_thirteenth_thoracic_vertebra(widget):
    for label, level in (("L1", "L1"), ("T11", "T12")):
        choose(widget, label)
        widget.ui.levelSelector.setCurrentIndex(widget.ui.levelSelector.findText(level))
        widget.ui.pinLevelButton.click()

    assert [row[0] for row in cells(widget.ui.vertebraTable)] == ["T12", "T13", "L1"]


@pytest.mark.usefixtures("a_result")
def test_what_cannot_be_corrected_is_said_and_changes_nothing(widget):
    choose(widget, "L1")
    for _ in range(30):
        widget.ui.levelsUpButton.click()
    top = cells(widget.ui.vertebraTable)
    widget.ui.levelsUpButton.click()

    assert widget.ui.correctLabel.visible
    assert widget.ui.correctLabel.text.startswith("There is no level 1 above")
    assert cells(widget.ui.vertebraTable) == top


@pytest.mark.usefixtures("a_result")
def test_a_correction_survives_saving_loading_and_a_second_edit(widget, scene, tmp_path):
    judge(widget, "T12", "grade 1", "old")
    widget.ui.levelsDownButton.click()
    before = panel_state(widget)
    save_mrb(scene, tmp_path / "scene.mrb")

    close_and_load(scene, tmp_path / "scene.mrb")

    assert panel_state(widget) == before
    assert not widget.ui.undoEditButton.enabled
    judge(widget, "L2", "no fracture")
    assert reader_column(widget) == {"T12": "–", "L1": "grade 1", "L2": "no fracture"}
    widget.ui.undoEditButton.click()
    assert panel_state(widget)["cells"] == before["cells"]


def test_the_same_corrections_without_a_panel(logic, scene, a_ct, a_successful_worker):  # noqa: ARG001
    nodes = logic.detectFractures(a_ct)

    logic.correct(nodes, edits.assess, 1, "rejected", comment="Scheuermann")
    logic.correct(nodes, edits.shift_levels, 1)

    shown = read_correction(scene, nodes).shown
    assert [vertebra.level for vertebra in shown.vertebrae] == ["T12", "T11", "T10"]
    assert shown.vertebrae[1].reader.comment == "Scheuermann"


@pytest.mark.usefixtures("a_result")
def test_the_exported_report_holds_both_answers(widget, tmp_path, monkeypatch, a_report):
    path = tmp_path / "report.json"
    monkeypatch.setattr(export_section.qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
    widget.ui.levelsUpButton.click()
    judge(widget, "T11", "no fracture")

    widget.ui.exportReportButton.click()
    until(path.exists)

    kept = corrected_from_json(path.read_text(encoding="utf-8"))
    assert [v.level for v in kept.detected.vertebrae] == [v.level for v in a_report.vertebrae]
    assert [v.level for v in kept.shown.vertebrae] == ["T12", "T11", "T10"]
    assert kept.shown.vertebrae[1].reader.assessment == "rejected"


@pytest.mark.usefixtures("a_result")
def test_assessments_go_over_to_the_result_that_replaces_this_one(widget, scene):
    judge(widget, "T12", "no fracture", "limbus vertebra")
    judge(widget, "L1", "not judged")
    widget.ui.secondRunSelector.setCurrentIndex(1)

    detect(widget)

    (only,) = find_results(scene)
    assert reader_column(widget) == {"T11": "–", "T12": "no fracture", "L1": "cannot judge"}
    assert read_correction(scene, only).shown.vertebrae[1].reader.comment == "limbus vertebra"


@pytest.mark.usefixtures("a_result")
def test_the_last_vertebra_that_was_removed_comes_back(widget):
    before = cells(widget.ui.vertebraTable)
    for _ in before:
        widget.ui.vertebraTable.cellClicked.emit(0, 0)
        widget.ui.removeVertebraButton.click()
    assert widget.ui.vertebraTable.rowCount == 0
    assert widget.ui.correctSection.visible

    for _ in before:
        widget.ui.undoEditButton.click()

    assert cells(widget.ui.vertebraTable) == before
