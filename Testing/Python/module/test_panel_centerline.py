"""The centerline is corrected in the panel: what the hand does, and what follows."""

from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk
from curve_helpers import drag, edit, grab, move, probability, release, settled, state
from panel_helpers import LINE, content, detect, until
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import find_results
from VertebralFractureLib.export.scene.markups_nodes import control_points
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.export.scene.volume_nodes import along_curve, picture_is_along, read_picture, straight_places
from VertebralFractureLib.result import edits, report_to_json
from VertebralFractureLib.result.report import ReportedCenterline, ScanResult
from VertebralFractureLib.vertebrae.vertebra import Source
from VertebralFracturePanel.detect.detection_run import RunFailed
from VertebralFracturePanel.read.side_by_side import STRAIGHT_VIEW


def test_the_curve_is_locked_until_it_is_edited_and_afterwards(widget, a_spine_result):
    assert a_spine_result.centerline.GetLocked()
    edit(widget)
    assert not a_spine_result.centerline.GetLocked()

    widget.exit()

    assert a_spine_result.centerline.GetLocked()
    assert not widget.ui.editCenterlineButton.checked


def test_a_drag_moves_the_slab_at_once_and_brings_path_and_scores_after_it(widget, scene, a_spine_result):
    edit(widget)
    before = read_picture(a_spine_result).voxels
    followed = []
    widget.view.centerlineSection.live.followed.connect(lambda: followed.append(1))

    grab(a_spine_result.centerline)
    move(a_spine_result.centerline, 8, (4.0, 0.0, 0.0))
    until(lambda: followed)

    now = read_picture(a_spine_result).voxels
    changed = np.flatnonzero((now != before).any(axis=(1, 2)))
    assert 0 < len(changed) < len(before)
    assert read_correction(scene, a_spine_result).correction.is_empty, "nothing is kept before the point is let go"

    release(a_spine_result.centerline)
    until(settled(widget))

    kept = read_correction(scene, a_spine_result)
    assert (4.0, LINE[8][1], 40.0) in kept.correction.anchors_ras
    assert kept.correction.centerline_ras == control_points(a_spine_result.centerline)
    assert kept.rescored.centerline.points_ras == kept.correction.centerline_ras
    assert kept.detected.centerline.points_ras == LINE
    assert sum(point[0] == 0.5 for point in kept.correction.centerline_ras) == 4, "the way beside it was found"
    assert probability(widget) < 0.93
    assert not widget.ui.rescoreBar.visible
    straight = straight_places(a_spine_result.transform, [(4.0, LINE[8][1], 40.0)])[0]
    assert np.abs(straight[:2]).max() < 0.3, "the moved point lies on the axis of straight space now"


def test_without_the_network_nothing_but_the_point_moves(widget, scene, a_spine_result):
    widget.ui.findCanalCheckBox.checked = False
    edit(widget)

    drag(widget, 8, (4.0, 1.0, 0.0))
    until(settled(widget))

    moved = [point for point in read_correction(scene, a_spine_result).correction.centerline_ras if point not in LINE]
    assert moved == [(4.0, round(LINE[8][1] + 1.0, 6), 40.0)]


def test_points_are_added_and_removed(widget, scene, a_spine_result):
    widget.ui.findCanalCheckBox.checked = False
    edit(widget)
    a_spine_result.centerline.InsertControlPoint(9, vtk.vtkVector3d(1.0, 1.0, 42.0))
    until(settled(widget))
    assert (1.0, 1.0, 42.0) in read_correction(scene, a_spine_result).correction.anchors_ras

    a_spine_result.centerline.RemoveNthControlPoint(9)
    until(settled(widget))

    kept = read_correction(scene, a_spine_result).correction
    assert kept.centerline_ras == LINE
    assert kept.anchors_ras == ()


def test_the_last_two_points_cannot_be_removed(widget, scene, a_spine_result):
    edit(widget)
    curve = a_spine_result.centerline
    while curve.GetNumberOfControlPoints() > 1:
        curve.RemoveNthControlPoint(0)
    QApplication.processEvents()

    assert "at least two points" in widget.ui.centerlineLabel.text
    assert control_points(curve) == LINE
    assert read_correction(scene, a_spine_result).correction.is_empty


def test_a_point_is_dragged_in_the_straightened_view_and_mapped_back(widget, scene, a_spine_result):
    layout_logic = slicer.vtkMRMLLayoutLogic()
    layout_logic.SetMRMLScene(scene)
    widget.ui.sideBySideButton.checked = True
    widget.ui.findCanalCheckBox.checked = False
    edit(widget)
    handles = slicer.util.getNode("Centerline in straightened coordinates")
    view = scene.GetSingletonNode(STRAIGHT_VIEW, "vtkMRMLSliceNode")
    assert list(handles.GetDisplayNode().GetViewNodeIDs()) == [view.GetID()]
    assert np.abs(np.array(control_points(handles))[:, :2]).max() < 0.01
    before = read_picture(a_spine_result).voxels

    grab(handles)
    move(handles, 8, (3.0, -2.0, 0.0))
    QApplication.processEvents()
    moved = control_points(a_spine_result.centerline)
    assert moved[8] == pytest.approx((3.0, LINE[8][1] - 2.0, 40.0), abs=0.2), "the patient's curve follows"
    assert [point for n, point in enumerate(moved) if n != 8] == [point for n, point in enumerate(LINE) if n != 8]
    assert np.array_equal(read_picture(a_spine_result).voxels, before), "the picture stands still under the mouse"
    release(handles)
    until(settled(widget))

    assert len(read_correction(scene, a_spine_result).correction.anchors_ras) == 1
    assert not np.array_equal(read_picture(a_spine_result).voxels, before)
    assert np.abs(np.array(control_points(handles))[:, :2]).max() < 0.05, "the handles lie on the new axis"
    widget.ui.editCenterlineButton.click()
    assert scene.GetFirstNodeByName("Centerline in straightened coordinates") is None


def test_undo_and_redo_need_no_worker_and_give_the_very_state(widget, a_spine_result):
    edit(widget)
    states = [state(a_spine_result)]
    for place, by in ((8, (3.0, 0.0, 0.0)), (4, (0.0, 2.0, 0.0)), (12, (-2.0, 1.0, 0.0))):
        drag(widget, place, by)
        until(settled(widget))
        states.append(state(a_spine_result))
    widget.logic.session.end()

    for expected in reversed(states[:-1]):
        widget.ui.undoEditButton.click()
        assert state(a_spine_result) == expected
    assert not widget.ui.undoEditButton.enabled
    for expected in states[1:]:
        widget.ui.redoEditButton.click()
        assert state(a_spine_result) == expected


def test_reset_goes_back_to_the_detected_curve_and_can_be_undone(widget, scene, a_spine_result):
    edit(widget)
    before = state(a_spine_result)
    drag(widget, 8, (3.0, 0.0, 0.0))
    until(settled(widget))
    corrected = state(a_spine_result)

    widget.ui.resetCenterlineButton.click()
    until(settled(widget))

    assert read_correction(scene, a_spine_result).correction.is_empty
    assert state(a_spine_result) == before
    widget.ui.undoEditButton.click()
    assert state(a_spine_result) == corrected


def test_no_view_moves_and_the_chosen_vertebra_stays(widget, scene, a_spine_result):  # noqa: ARG001
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    widget.ui.vertebraTable.cellClicked.emit(1, 0)
    view.JumpSliceByCentering(7.0, 8.0, 9.0)
    edit(widget)

    drag(widget, 8, (3.0, 0.0, 0.0))
    until(settled(widget))

    assert [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == [7.0, 8.0, 9.0]
    assert widget.ui.chosenLabel.text == "T12:"


def test_a_centerline_is_drawn_from_scratch(widget, scene, a_spine_result):
    before = content(scene)
    widget.ui.drawCenterlineButton.click()
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    for point in ((2.0, 0.0, 70.0), (2.0, 0.0, 5.0), (1.0, 1.0, 40.0)):
        assert interaction.GetCurrentInteractionMode() == interaction.Place
        scene.GetNodeByID(selection.GetActivePlaceNodeID()).AddControlPoint(vtk.vtkVector3d(*point))
        QApplication.processEvents()
    assert "3 so far" in widget.ui.centerlineLabel.text

    widget.ui.drawCenterlineButton.click()
    until(lambda: widget.ui.resetCenterlineButton.enabled)
    until(settled(widget))

    line = np.array(read_correction(scene, a_spine_result).correction.centerline_ras)
    assert line[0].tolist() == [2.0, 0.0, 5.0]
    assert len(line) > 10
    assert content(scene) == before
    widget.ui.undoEditButton.click()
    assert read_correction(scene, a_spine_result).correction.is_empty


@pytest.mark.usefixtures("a_spine_ct")
def test_where_nothing_was_found_a_drawn_centerline_makes_a_spine_result_and_undo_takes_it_back(
    widget, scene, a_report, a_worker, tmp_path
):
    nothing = replace(
        a_report,
        status="not_evaluable",
        reason="no spine was found",
        scan=ScanResult(None, None, (), 0.5),
        centerline=ReportedCenterline((), ()),
        vertebrae=(),
    )
    (tmp_path / "answer.json").write_text(report_to_json(nothing), encoding="utf-8")
    a_worker("""
        (folder / "report.json").write_bytes(Path("answer.json").read_bytes())
        say(done=True, report=str(folder / "report.json"), exit_code=3)
    """)
    detect(widget)
    assert widget.ui.impressionLabel.text == "Not evaluable: no spine was found"
    assert not widget.ui.editCenterlineButton.enabled
    before = content(scene)
    (tmp_path / "answer.json").write_text(report_to_json(a_report), encoding="utf-8")

    widget.ui.drawCenterlineButton.click()
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    for point in ((0.0, 0.0, 70.0), (0.0, 0.0, 5.0)):
        scene.GetNodeByID(selection.GetActivePlaceNodeID()).AddControlPoint(vtk.vtkVector3d(*point))
        QApplication.processEvents()
    widget.ui.drawCenterlineButton.click()
    until(lambda: widget.ui.vertebraTable.rowCount == 3)
    until(settled(widget))

    nodes = find_results(scene)[0]
    assert widget.ui.impressionLabel.text.startswith("1 fracture suspected, T12")
    assert nodes.straightened is not None
    assert nodes.chart is not None
    assert control_points(nodes.centerline) == read_correction(scene, nodes).correction.centerline_ras
    edit(widget)
    drag(widget, 5, (2.0, 0.0, 0.0))
    until(settled(widget))
    assert probability(widget) < 0.93
    widget.ui.editCenterlineButton.click()

    while widget.ui.undoEditButton.enabled:
        widget.ui.undoEditButton.click()

    assert widget.ui.impressionLabel.text == "Not evaluable: no spine was found"
    assert widget.ui.vertebraTable.rowCount == 0
    assert content(scene) == before


def test_a_clicked_vertebra_is_measured_as_part_of_its_step(widget, scene, a_spine_result):
    widget.ui.vertebraTable.cellClicked.emit(1, 0)
    widget.ui.removeVertebraButton.click()
    removed = read_correction(scene, a_spine_result).correction
    widget.ui.addVertebraButton.click()
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    scene.GetNodeByID(selection.GetActivePlaceNodeID()).AddControlPoint(vtk.vtkVector3d(1.0, 20.0, 40.0))
    until(lambda: read_correction(scene, a_spine_result).correction.landmarks)

    added = read_correction(scene, a_spine_result).shown.vertebrae[1]
    assert added.label == "T12"
    assert added.heights_mm is not None
    widget.ui.undoEditButton.click()
    assert read_correction(scene, a_spine_result).correction == removed


@pytest.mark.parametrize("button", ["splitButton", "mergeButton"])
def test_what_a_split_or_a_merge_made_is_measured_as_part_of_its_step(widget, scene, a_spine_result, button):
    before = read_correction(scene, a_spine_result).correction
    widget.ui.vertebraTable.cellClicked.emit(1, 0)

    getattr(widget.ui, button).click()
    made = [one for one in read_correction(scene, a_spine_result).shown.vertebrae if one.source == Source.READER]
    assert [one.heights_mm for one in made] == [None] * (2 if button == "splitButton" else 1)
    until(lambda: read_correction(scene, a_spine_result).correction.landmarks)

    measured = [one for one in read_correction(scene, a_spine_result).shown.vertebrae if one.source == Source.READER]
    assert len(measured) == len(made)
    assert all(one.heights_mm is not None for one in measured)
    widget.ui.undoEditButton.click()
    assert read_correction(scene, a_spine_result).correction == before


def test_a_script_corrects_a_centerline_and_gets_its_scores_without_an_event_loop(logic, scene, a_spine_result):
    line = tuple((r + 2.0, a, s) for r, a, s in LINE)
    logic.correct(a_spine_result, lambda correction, _shown: edits.set_centerline(correction, line))

    nodes = logic.scoreAgain(a_spine_result)

    kept = read_correction(scene, nodes)
    assert not kept.needs_scores
    assert kept.shown.vertebrae[1].fracture_probability == pytest.approx(0.93 / 3.0, abs=0.01)
    assert picture_is_along(nodes) == along_curve(line)


def test_a_script_hears_why_there_are_no_scores(logic, a_spine_result, tmp_path):
    (tmp_path / "crash").write_text("rescore", encoding="utf-8")

    with pytest.raises(RunFailed, match="the last words"):
        logic.scoreAgain(a_spine_result)


def test_a_right_click_is_promised_only_where_slicer_has_a_menu(widget, scene, a_spine_result):  # noqa: ARG001
    # Given the curve and its handles in straightened coordinates, whose node is hidden from editors
    edit(widget)
    curves = slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")
    (straight,) = [node for node in curves if node.GetHideFromEditors()]
    assert straight is not a_spine_result.centerline

    # Then the tip names the views of the patient, whose node has Slicer's menu
    assert "right-click on a point deletes it, in views of the patient" in widget.ui.editCenterlineButton.toolTip
    assert not a_spine_result.centerline.GetHideFromEditors()


def test_while_the_curve_is_edited_its_line_is_thinner_than_its_handles(widget, a_spine_result):
    display = a_spine_result.centerline.GetDisplayNode()
    assert display.GetCurveLineSizeMode() == display.UseLineDiameter

    widget.ui.editCenterlineButton.checked = True
    assert display.GetCurveLineSizeMode() == display.UseLineThickness
    assert display.GetLineThickness() < 0.5

    widget.ui.editCenterlineButton.checked = False
    assert display.GetCurveLineSizeMode() == display.UseLineDiameter
