"""What a person does with a result: choose vertebrae, change how it is read, show, export, remove, save and load it."""

from dataclasses import replace

import pytest
import slicer
from panel_helpers import cells, chosen_points, content, detect, judge, load_scene, not_evaluable, panel_state, until
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import find_results, read_report, save_mrb
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.vertebrae.vertebra import Reason
from VertebralFracturePanel.read.results_table import COLUMNS, hoverText
from VertebralFracturePanel.read.side_by_side import LAYOUT_ID, STRAIGHT_VIEW


@pytest.fixture
def a_result(widget, a_ct, a_successful_worker):  # noqa: ARG001
    detect(widget)
    return find_results(slicer.mrmlScene)[0]


def rows(widget):
    return [row[0] for row in cells(widget.ui.vertebraTable)]


def selected_level(widget):
    levels = {
        widget.ui.vertebraTable.item(index.row(), 0).text() for index in widget.ui.vertebraTable.selectedIndexes()
    }
    return levels.pop() if levels else None


@pytest.mark.usefixtures("a_result")
def test_a_click_on_a_row_leads_the_views_and_lets_its_point_stand_out(widget, scene):
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")

    widget.ui.vertebraTable.cellClicked.emit(rows(widget).index("T12"), 0)

    assert [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == [1.0, 20.0, 40.0]
    assert chosen_points(scene) == ["T12 · 0.93"]
    assert selected_level(widget) == "T12"


def test_a_click_on_a_point_selects_its_row_and_leads_the_other_views(widget, scene, a_result):
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    display = a_result.points["grade_0"].GetDisplayNode()

    display.SetActiveComponent(display.ComponentControlPoint, 0)
    display.InvokeEvent(display.JumpToPointEvent)

    assert selected_level(widget) == "L1"
    assert view.GetSliceToRAS().GetElement(2, 3) == 10.0


@pytest.mark.usefixtures("a_result")
def test_up_and_down_walk_the_suspected_vertebrae_only(widget, scene):
    widget.ui.thresholdSlider.value = 0.05
    widget.parent.show()
    widget.parent.activateWindow()
    widget.ui.vertebraTable.setFocus()
    until(lambda: widget.ui.vertebraTable.hasFocus())
    walked = []

    for key in (Qt.Key_Down, Qt.Key_Down, Qt.Key_Down, Qt.Key_Up):
        QTest.keyClick(widget.ui.vertebraTable, key)
        walked.append(selected_level(widget))

    # T11 is not evaluable; L1 is the last one.
    assert walked == ["T12", "L1", "L1", "T12"]
    assert chosen_points(scene) == ["T12 · 0.93"]


@pytest.mark.usefixtures("a_result")
def test_hovering_tells_heights_and_why(widget):
    tips = {row: widget.ui.vertebraTable.item(row, 4).toolTip() for row in range(3)}

    assert "anterior 18.0, middle 20.0, posterior 26.0 mm" in tips[1]
    assert "Probability 0.93 ± 0.05; suspected from 0.50" in tips[1]
    assert "Grade 2, moderate, wedge, height loss 31%" in tips[1]
    assert "not evaluable, partially imaged" in tips[0]


def test_hovering_tells_how_sure_a_height_is_and_why_there_are_no_hu(a_report):
    measured = replace(
        a_report.vertebrae[1], height_sd_mm=0.52, height_loss_sd=0.04, trabecular_reason=Reason.FRACTURED
    )

    tip = hoverText(measured, 0.5)

    assert "posterior 26.0 mm, each ± 0.5" in tip
    assert "height loss 31% ± 4%" in tip
    assert "Trabecular bone: no HU, fractured" in tip
    assert "±" not in hoverText(replace(a_report.vertebrae[1], uncertainty=None), 0.5)


def test_threshold_and_rule_act_at_once_and_the_models_answer_stays(widget, scene, a_result, a_report):
    widget.ui.thresholdSlider.value = 0.05
    assert widget.ui.impressionLabel.text.startswith("2 fractures suspected, T12 and L1")

    widget.ui.ruleSelector.setCurrentIndex(1)

    assert [row[2] for row in cells(widget.ui.vertebraTable)] == [
        "not evaluable",
        "2 moderate\nwedge",
        "2 moderate\nwedge",
    ]
    assert a_result.points["grade_0"].GetNumberOfControlPoints() == 0
    assert [v.grade for v in read_report(scene).vertebrae] == [v.grade for v in a_report.vertebrae]
    assert widget.run is None

    widget.ui.ownCriteriaButton.click()

    assert widget.ui.impressionLabel.text == write_impression(a_report)
    assert a_result.points["grade_0"].GetNumberOfControlPoints() == 1


@pytest.mark.usefixtures("a_result")
def test_the_readers_threshold_is_used_for_the_next_volume_too(widget, add_volume):
    widget.ui.thresholdSlider.value = 0.05

    widget.ui.inputSelector.setCurrentNode(add_volume("Other"))
    assert widget.ui.impressionLabel.text == "No result for this volume yet."
    detect(widget)

    assert widget.ui.impressionLabel.text.startswith("2 fractures suspected")


def test_boxes_and_opacity_act_on_the_nodes_and_show_their_state(widget, a_result):
    display = a_result.points["grade_2"].GetDisplayNode()

    widget.ui.pointsCheckBox.checked = False
    widget.ui.landmarksCheckBox.checked = True
    widget.ui.opacitySlider.value = 0.5

    assert not display.GetVisibility()
    assert a_result.landmarks.GetDisplayNode().GetVisibility()
    assert a_result.centerline.GetDisplayNode().GetOpacity() == 0.5

    display.SetVisibility(True)
    widget.updatePanel()

    assert widget.ui.pointsCheckBox.checked


@pytest.fixture
def a_layout(scene):
    """Slicer's own logic that makes the view nodes of a layout."""
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    node = logic.GetLayoutNode()
    node.SetViewArrangement(node.SlicerLayoutFourUpView)
    return logic


def test_side_by_side_shows_both_spaces_and_leaves_everything_as_it_was(widget, scene, a_layout, a_result):
    layout = a_layout.GetLayoutNode()
    red = scene.GetSingletonNode("Red", "vtkMRMLSliceCompositeNode")
    red.SetBackgroundVolumeID(None)

    widget.ui.sideBySideButton.click()

    assert layout.GetViewArrangement() == LAYOUT_ID
    straight_view = scene.GetSingletonNode(STRAIGHT_VIEW, "vtkMRMLSliceNode")
    straight = scene.GetSingletonNode(STRAIGHT_VIEW, "vtkMRMLSliceCompositeNode")
    assert straight.GetBackgroundVolumeID() == a_result.straightened.GetID()
    assert red.GetBackgroundVolumeID() == a_result.input_volume.GetID()
    assert a_result.straight_points.GetDisplayNode().GetVisibility()
    assert a_result.straight_points.GetDisplayNode().IsDisplayableInView(straight_view.GetID())
    assert not a_result.points["grade_2"].GetDisplayNode().IsDisplayableInView(straight_view.GetID())
    plot = scene.GetFirstNodeByClass("vtkMRMLPlotViewNode")
    assert plot.GetPlotChartNodeID() == a_result.chart.GetID()

    widget.ui.vertebraTable.cellClicked.emit(rows(widget).index("T12"), 0)
    point = a_result.straight_points.GetNthControlPointPositionWorld(1)
    assert [straight_view.GetSliceToRAS().GetElement(row, 3) for row in range(3)] == pytest.approx(list(point))

    widget.exit()

    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView
    assert red.GetBackgroundVolumeID() is None
    assert not a_result.straight_points.GetDisplayNode().GetVisibility()
    assert a_result.points["grade_2"].GetDisplayNode().GetNumberOfViewNodeIDs() == 0
    assert not widget.ui.sideBySideButton.checked


@pytest.mark.usefixtures("a_ct", "a_successful_worker")
def test_removing_leaves_the_users_scene_and_undo_brings_the_panel_back(widget, scene):
    widget.logic.parameters.threads = None
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    detect(widget)
    widget.ui.removeButton.click()
    before = content(scene)
    detect(widget)
    widget.ui.vertebraTable.cellClicked.emit(1, 0)
    full, shown = content(scene), panel_state(widget)

    widget.ui.removeButton.click()
    QApplication.processEvents()
    assert content(scene) == before
    assert widget.ui.vertebraTable.rowCount == 0

    widget.ui.undoRemoveButton.click()
    QApplication.processEvents()
    assert content(scene) == full
    assert panel_state(widget) == shown


@pytest.mark.usefixtures("a_result")
def test_the_panel_of_a_saved_closed_and_loaded_scene_is_the_same(widget, scene, tmp_path):
    widget.ui.thresholdSlider.value = 0.05
    widget.ui.ruleSelector.setCurrentIndex(2)
    widget.ui.opacitySlider.value = 0.5
    widget.ui.labelsCheckBox.checked = False
    widget.ui.outlinesCheckBox.checked = False
    widget.ui.followCheckBox.checked = False
    widget.ui.secondRunSelector.setCurrentIndex(1)
    widget.ui.vertebraTable.cellClicked.emit(rows(widget).index("L1"), 0)
    before = panel_state(widget)
    points = chosen_points(scene)
    save_mrb(scene, tmp_path / "scene.mrb")

    scene.Clear()
    QApplication.processEvents()
    assert widget.ui.vertebraTable.rowCount == 0
    load_scene(scene, tmp_path / "scene.mrb")

    assert panel_state(widget) == before
    assert chosen_points(scene) == points == ["L1 · 0.10"]
    centerline = find_results(scene)[0].centerline
    assert centerline.GetCurveWorld().GetPointData().GetScalars().GetName() == "fracture probability"


@pytest.mark.usefixtures("a_result")
def test_several_results_can_be_chosen_from(widget, scene):
    widget.ui.thresholdSlider.value = 0.05
    first = widget.view.nodes.table
    widget.ui.ownCriteriaButton.click()
    detect(widget)
    assert len(find_results(scene)) == 2
    assert widget.ui.resultSelector.visible
    assert widget.view.nodes.table is not first

    widget.ui.resultSelector.setCurrentIndex(1)

    assert widget.view.nodes.table is first


def test_replacing_keeps_the_readers_assessments_and_nothing_else_of_the_old_result(widget, scene, a_result):
    before = content(scene)
    judge(widget, "T12", "grade 3")
    widget.ui.secondRunSelector.setCurrentIndex(1)

    detect(widget)

    (only,) = find_results(scene)
    assert only.table is not a_result.table
    assert content(scene) == before
    assert [v.reader.grade for v in read_report(scene).vertebrae] == [None, 3, None]
    assert cells(widget.ui.vertebraTable)[1][5] == "grade 3"


@pytest.mark.usefixtures("a_ct")
def test_a_scan_that_is_not_evaluable_shows_the_reason_and_no_table(widget, scene, a_worker, a_report, tmp_path):
    from VertebralFractureLib.result import report_to_json

    nothing = not_evaluable(a_report, "The canal was found over 40 mm only.")
    (tmp_path / "answer.json").write_text(report_to_json(nothing), encoding="utf-8")
    a_worker("""
        (folder / "report.json").write_bytes(Path("answer.json").read_bytes())
        say(done=True, report=str(folder / "report.json"), exit_code=3)
    """)

    detect(widget)

    assert widget.ui.impressionLabel.text == "Not evaluable: The canal was found over 40 mm only."
    assert not widget.ui.vertebraTable.visible
    assert find_results(scene)[0].points == {}


def test_a_damaged_result_is_named_and_does_not_break_the_panel(widget, a_result):
    a_result.report.SetText("not a report")

    widget.updatePanel()

    assert "This result cannot be shown" in widget.ui.impressionLabel.text
    assert widget.ui.vertebraTable.rowCount == 0
    assert widget.ui.detectButton.enabled


def test_a_result_whose_report_was_deleted_says_so_and_its_views_are_not_taken_for_it(widget, scene, a_result):
    scene.RemoveNode(a_result.report)
    QApplication.processEvents()

    assert "its report was deleted from the scene" in widget.ui.impressionLabel.text
    assert widget.ui.vertebraTable.rowCount == 0
    assert find_results(scene)[0].report is None


@pytest.mark.usefixtures("a_result")
def test_a_parameter_node_with_nonsense_gives_the_defaults(widget):
    node = widget.logic.getParameterNode()
    for name in ("Threshold", "GradingRule", "SecondRun", "Threads", "ChosenVertebra"):
        node.SetParameter(name, "nonsense")

    widget.restoreFromScene()

    parameters = widget.logic.parameters
    assert (parameters.threshold, parameters.rule, parameters.secondRun) == (None, "level_norms", "add")
    assert (parameters.threads, parameters.chosenVertebra) == (None, None)


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("points", [9, 12, 15])
@pytest.mark.usefixtures("a_successful_worker", "a_ct")
def test_no_word_of_a_cell_is_wider_than_its_column(widget, points, judged):
    # Given a result, with and without a reader's assessment, in type of some size
    table = widget.ui.vertebraTable
    font = table.font()
    font.setPointSize(points)
    table.setFont(font)
    widget.parent.resize(420, 900)
    widget.parent.show()
    detect(widget)
    if judged:
        judge(widget, "T12", "no fracture")
    heights = COLUMNS.index("Heights")
    font.setBold(True)
    metrics = QFontMetrics(font)

    # When the panel becomes wider and narrower, then no word is ever cut, and the heights are there where there is room
    for width in (420, 700, 360, 1100):
        widget.parent.resize(width, 900)
        QApplication.processEvents()
        for row in cells(table):
            for column, words in enumerate(row):
                widest = max(metrics.horizontalAdvance(word) for word in words.split())
                assert table.isColumnHidden(column) or widest <= table.columnWidth(column), (width, words)
    assert not table.isColumnHidden(heights)
    assert not table.horizontalScrollBar().isVisible()


def test_the_readers_column_is_there_once_a_reader_has_said_something(widget, a_successful_worker, a_ct):  # noqa: ARG001
    detect(widget)
    reader = COLUMNS.index("Reader")
    assert widget.ui.vertebraTable.isColumnHidden(reader)

    judge(widget, "T12", "no fracture")

    assert not widget.ui.vertebraTable.isColumnHidden(reader)
