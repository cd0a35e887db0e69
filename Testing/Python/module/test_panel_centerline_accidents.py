"""What life does while the centerline is corrected: cancel, crash, deletion, closing, saving; the curve is kept."""

import pytest
from curve_helpers import drag, edit, grab, move, release, settled, state
from panel_helpers import LINE, close_and_load, until
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import find_results, save_mrb
from VertebralFractureLib.export.scene.markups_nodes import control_points
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.export.scene.volume_nodes import along_curve, picture_is_along


def test_a_new_drag_takes_the_place_of_scores_under_way_and_cancel_keeps_the_curve(
    widget, scene, a_spine_result, tmp_path
):
    (tmp_path / "delay").write_text("30", encoding="utf-8")
    edit(widget)
    drag(widget, 8, (3.0, 0.0, 0.0))
    until(lambda: widget.ui.rescoreBar.visible and widget.ui.rescoreBar.value > 50)
    assert widget.ui.rescoreButton.text == "Cancel"

    (tmp_path / "delay").write_text("0.2", encoding="utf-8")
    drag(widget, 4, (0.0, 2.0, 0.0))
    until(settled(widget))

    assert len(read_correction(scene, a_spine_result).correction.anchors_ras) == 2
    (tmp_path / "delay").write_text("30", encoding="utf-8")
    drag(widget, 12, (0.0, 2.0, 0.0))
    until(lambda: widget.ui.rescoreBar.value > 50)
    widget.ui.rescoreButton.click()
    until(lambda: not widget.logic.session.isBusy)
    assert len(read_correction(scene, a_spine_result).correction.anchors_ras) == 3
    assert "belong to another centerline" in widget.ui.centerlineLabel.text
    line = read_correction(scene, a_spine_result).correction.centerline_ras
    until(lambda: picture_is_along(a_spine_result) == along_curve(line))

    (tmp_path / "delay").write_text("0", encoding="utf-8")
    assert widget.ui.rescoreButton.text == "Score again"
    widget.ui.rescoreButton.click()
    until(settled(widget))
    assert not read_correction(scene, a_spine_result).needs_scores


def test_an_assessment_during_scoring_stays_and_does_not_start_it_again(widget, scene, a_spine_result, tmp_path):
    (tmp_path / "delay").write_text("0.5", encoding="utf-8")
    edit(widget)
    widget.ui.vertebraTable.cellClicked.emit(1, 0)
    drag(widget, 8, (3.0, 0.0, 0.0))
    until(lambda: widget.ui.rescoreBar.value > 50)
    asked = widget.logic.session._number

    widget.ui.assessmentSelector.setCurrentIndex(2)
    widget.ui.assessmentButton.click()
    until(settled(widget))

    kept = read_correction(scene, a_spine_result)
    assert kept.shown.vertebrae[1].reader.assessment == "rejected"
    assert not kept.needs_scores
    assert widget.logic.session._number == asked


@pytest.mark.parametrize("command", ["prepare", "repair", "rescore"])
def test_a_worker_that_dies_costs_the_scores_and_not_the_curve(widget, scene, a_spine_result, tmp_path, command):
    (tmp_path / "crash").write_text(command, encoding="utf-8")
    edit(widget)
    if command != "prepare":
        drag(widget, 8, (3.0, 0.0, 0.0))

    until(lambda: "the last words" in widget.ui.centerlineLabel.text)
    assert "What was corrected is kept" in widget.ui.centerlineLabel.text
    (tmp_path / "crash").unlink()
    if command == "prepare":
        drag(widget, 8, (3.0, 0.0, 0.0))
    QApplication.processEvents()
    assert (3.0, LINE[8][1], 40.0) in read_correction(scene, a_spine_result).correction.centerline_ras
    if widget.ui.rescoreButton.enabled and widget.ui.rescoreButton.text == "Score again":
        widget.ui.rescoreButton.click()
    until(settled(widget))

    assert not read_correction(scene, a_spine_result).needs_scores
    assert widget.ui.rescoreButton.text == "Score again"


@pytest.mark.parametrize(
    ("moment", "what"),
    [
        *(("drag", what) for what in ("input", "curve", "straightened", "result", "scene", "panel")),
        *(("repair", what) for what in ("input", "scene", "panel")),
        *(("rescore", what) for what in ("curve", "straightened", "result", "scene", "panel")),
    ],
)
def test_what_is_deleted_or_closed_meanwhile_does_no_harm(
    widget, scene, a_spine_result, a_spine_ct, tmp_path, moment, what
):
    (tmp_path / "delay").write_text("0.3", encoding="utf-8")
    edit(widget)
    curve = a_spine_result.centerline
    grab(curve)
    move(curve, 8, (3.0, 0.0, 0.0))
    if moment != "drag":
        release(curve)
    if moment == "rescore":
        until(lambda: widget.ui.rescoreBar.value > 50)

    if what == "scene":
        scene.Clear()
    elif what == "panel":
        widget.exit()
    elif what == "result":
        widget.ui.removeButton.click()
    else:
        scene.RemoveNode({"input": a_spine_ct, "curve": curve, "straightened": a_spine_result.straightened}[what])
    for _ in range(20):
        QApplication.processEvents()
    until(lambda: not widget.logic.session.isBusy)
    for _ in range(20):
        QApplication.processEvents()

    assert widget.ui.editCenterlineButton.checked == (what == "straightened")
    if what == "panel":
        assert curve.GetLocked()
        if moment == "drag":
            assert control_points(curve) == LINE, "what was not let go is not kept"
            assert widget.view.result.isUpToDate
        if moment != "drag":
            until(settled(widget))


def test_a_corrected_curve_survives_saving_loading_and_a_second_edit(widget, scene, a_spine_result, tmp_path):
    edit(widget)
    drag(widget, 8, (3.0, 0.0, 0.0))
    until(settled(widget))
    before = state(a_spine_result)
    save_mrb(scene, tmp_path / "scene.mrb")

    close_and_load(scene, tmp_path / "scene.mrb")

    nodes = find_results(scene)[0]
    after = state(nodes)
    assert after["report"] == before["report"]
    assert after["voxels"] == before["voxels"]
    assert nodes.centerline.GetLocked()
    assert scene.GetFirstNodeByName("Centerline in straightened coordinates") is None
    assert not widget.ui.rescoreButton.enabled, "nothing is stale"
    edit(widget)
    drag(widget, 4, (0.0, 2.0, 0.0))
    until(settled(widget))
    kept = read_correction(scene, nodes)
    assert len(kept.correction.anchors_ras) == 2
    assert kept.detected.centerline.points_ras == LINE
    widget.ui.resetCenterlineButton.click()
    until(settled(widget))
    assert control_points(nodes.centerline) == LINE
    assert picture_is_along(nodes) == ""


@pytest.mark.usefixtures("a_spine_result")
def test_a_scene_saved_before_the_scores_came_says_so_and_computes_nothing_by_itself(widget, scene, tmp_path):
    (tmp_path / "delay").write_text("30", encoding="utf-8")
    edit(widget)
    drag(widget, 8, (3.0, 0.0, 0.0))
    until(lambda: widget.ui.rescoreBar.value > 50)
    save_mrb(scene, tmp_path / "scene.mrb")
    close_and_load(scene, tmp_path / "scene.mrb")
    (tmp_path / "delay").unlink()

    assert "belong to another centerline" in widget.ui.centerlineLabel.text
    assert not widget.logic.session.isBusy
    assert find_results(scene)[0].centerline.GetLocked()
    widget.ui.rescoreButton.click()
    until(settled(widget))

    assert not read_correction(scene, find_results(scene)[0]).needs_scores


def test_quitting_in_the_middle_leaves_no_worker(widget, a_spine_result, tmp_path):  # noqa: ARG001
    (tmp_path / "delay").write_text("30", encoding="utf-8")
    edit(widget)
    drag(widget, 8, (3.0, 0.0, 0.0))
    until(lambda: widget.ui.rescoreBar.value > 50)

    widget.cleanup()

    assert widget.logic.session.isGone
    for _ in range(20):
        QApplication.processEvents()
