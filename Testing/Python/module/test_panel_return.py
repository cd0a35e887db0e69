"""A saved scene comes back: of this version, of the first one, and of one that this version cannot read."""

import json
from pathlib import Path

import pytest
from panel_helpers import cells, close_and_load, detect, judge, panel_state
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import find_results, save_mrb
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.result.report import REVISION

FIRST_VERSION = Path(__file__).parents[1] / "first_version" / "scene.mrb"
FROM_THE_FUTURE = {"revision": REVISION + 1, "moonPhase": "waning"}


@pytest.fixture
def load(widget, scene):
    """Close what is open and load a file, as *File > Add Data* does; the panel chooses its volume."""

    def run(path):
        close_and_load(scene, path)
        widget.ui.inputSelector.setCurrentNode(find_results(scene)[-1].input_volume)
        QApplication.processEvents()

    return run


def test_a_scene_of_the_first_version_is_shown_in_full_and_editing_goes_on(widget, scene, load, tmp_path):
    load(FIRST_VERSION)
    assert len(cells(widget.ui.vertebraTable)) == 9
    assert "1 fracture suspected, T12" in widget.ui.impressionLabel.text
    assert read_correction(scene, widget.view.nodes).shown.vertebrae[2].reader.comment == "seen in the first version"

    judge(widget, "T12", "no fracture")
    widget.ui.thresholdSlider.value = 0.9
    before = panel_state(widget)
    save_mrb(scene, tmp_path / "again.mrb")
    load(tmp_path / "again.mrb")

    assert panel_state(widget) == before
    corrected = read_correction(scene, widget.view.nodes)
    assert [given.reader.assessment for given in corrected.correction.assessments] == ["rejected"]
    assert corrected.shown.vertebrae[2].reader.comment == "seen in the first version"
    judge(widget, "T11", "no fracture")
    assert len(read_correction(scene, widget.view.nodes).correction.assessments) == 2


@pytest.fixture
def a_scene_from_the_future(widget, scene, load, tmp_path):
    load(FIRST_VERSION)
    nodes = find_results(scene)[0]
    nodes.report.SetText(json.dumps({**json.loads(nodes.report.GetText()), **FROM_THE_FUTURE}))
    nodes.table.AddColumn().SetName("aura")
    save_mrb(scene, tmp_path / "future.mrb")
    load(tmp_path / "future.mrb")
    return widget


def is_whole(scene):
    nodes = find_results(scene)[0]
    kept = FROM_THE_FUTURE.items() <= json.loads(nodes.report.GetText()).items()
    return kept and nodes.table.GetTable().GetColumnByName("aura") is not None


def test_a_scene_of_a_newer_version_is_refused_in_words_and_nothing_in_it_is_lost(
    a_scene_from_the_future, scene, load, tmp_path
):
    ui = a_scene_from_the_future.ui

    assert "newer version of VertebralFracture" in ui.impressionLabel.text
    assert "update VertebralFracture to open it" in ui.impressionLabel.text
    assert ui.vertebraTable.rowCount == 0
    assert not ui.removeButton.enabled
    assert not ui.exportSceneButton.enabled
    assert ui.detectButton.enabled

    for button in (ui.nextButton, ui.ownCriteriaButton, ui.levelsUpButton, ui.undoEditButton, ui.sideBySideButton):
        button.click()
    save_mrb(scene, tmp_path / "again.mrb")
    load(tmp_path / "again.mrb")

    assert is_whole(scene)


@pytest.mark.usefixtures("a_successful_worker")
def test_detecting_again_does_not_replace_what_this_version_cannot_read(a_scene_from_the_future, scene):
    a_scene_from_the_future.ui.secondRunSelector.setCurrentIndex(1)

    detect(a_scene_from_the_future)

    assert len(find_results(scene)) == 2
    assert is_whole(scene)
    assert a_scene_from_the_future.ui.impressionLabel.text.startswith("1 fracture suspected, T12")


def test_an_exported_scene_restores_the_panel_and_editing_goes_on(widget, scene, export, load):
    judge(widget, "L1", "grade 1", "old")
    widget.ui.thresholdSlider.value = 0.05
    widget.ui.ruleSelector.setCurrentIndex(2)
    before = panel_state(widget)

    load(export("scene.mrb"))

    after = panel_state(widget)
    assert {name: after[name] for name in after if name not in ("input", "chosen row")} == {
        name: before[name] for name in before if name not in ("input", "chosen row")
    }
    assert after["input"] == "CT"
    judge(widget, "T12", "no fracture")
    reader = [vertebra.reader for vertebra in read_correction(scene, widget.view.nodes).shown.vertebrae]
    assert [one.assessment for one in reader] == ["regraded", "rejected", None]
    assert reader[0].comment == "old"
