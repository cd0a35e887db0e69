"""Points in the user's hand: a missed vertebra is clicked, height points are dragged or placed."""

import pytest
import slicer
import vtk
from panel_helpers import cells, content, detect, until
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import find_results
from VertebralFractureLib.export.scene.markups_nodes import EDITING_ATTRIBUTE, control_points
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.export.scene.volume_nodes import straight_places
from VertebralFractureLib.result import edits
from VertebralFracturePanel.read.side_by_side import STRAIGHT_VIEW

BODY = tuple((1.0, a, s) for s in (50.0, 30.0) for a in (34.0, 25.0, 16.0))
"""Six height points of a whole body around T12: 20 mm in front, in the middle and behind."""


@pytest.fixture
def a_result(widget, a_ct, a_successful_worker):  # noqa: ARG001
    detect(widget)
    return find_results(slicer.mrmlScene)[0]


@pytest.fixture
def a_measured_result(widget, a_result, logic):
    logic.correct(a_result, edits.set_landmarks, 1, BODY)
    widget.updatePanel()
    return find_results(slicer.mrmlScene)[0]


def commit():
    for _ in range(5):
        QApplication.processEvents()


def levels(widget):
    return [row[0] for row in cells(widget.ui.vertebraTable)]


def choose(widget, label):
    widget.ui.vertebraTable.cellClicked.emit(levels(widget).index(label), 0)


def points_in_hand(scene):
    nodes = [scene.GetNthNode(place) for place in range(scene.GetNumberOfNodes())]
    return next((node for node in nodes if node.GetAttribute(EDITING_ATTRIBUTE)), None)


def click_at(scene, point):
    """What Slicer's place mode does at a click into a view."""
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    scene.GetNodeByID(selection.GetActivePlaceNodeID()).AddControlPoint(vtk.vtkVector3d(*point))
    if not interaction.GetPlaceModePersistence():
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    commit()


def drag(node, place, *stations):
    """What Slicer's markups widget does from the press of the mouse to its release."""
    node.InvokeCustomModifiedEvent(node.PointStartInteractionEvent)
    for station in stations:
        node.SetNthControlPointPositionWorld(place, station)
        commit()
    return lambda: (node.InvokeCustomModifiedEvent(node.PointEndInteractionEvent), commit())


def test_a_click_adds_the_vertebra_that_was_missed_and_its_neighbors_name_it(widget, scene, a_result):
    choose(widget, "T12")
    widget.ui.removeVertebraButton.click()
    assert levels(widget) == ["T11", "L1"]

    widget.ui.addVertebraButton.click()
    click_at(scene, (1.0, 20.0, 40.0))

    assert levels(widget) == ["T11", "T12", "L1"]
    assert not widget.ui.addVertebraButton.checked
    assert widget.ui.chosenLabel.text == "T12:"
    assert points_in_hand(scene) is None
    until(lambda: not widget.logic.session.isBusy)
    added = read_correction(scene, a_result).shown.vertebrae[1]
    assert (added.source, added.grade) == ("reader", 0)
    assert added.network_probability == pytest.approx(0.9), "what the network said along the spine there"

    widget.ui.undoEditButton.click()

    assert levels(widget) == ["T11", "L1"]


@pytest.mark.usefixtures("a_result")
def test_a_click_where_a_vertebra_is_marked_already_says_so(widget, scene):
    widget.ui.addVertebraButton.click()
    click_at(scene, (1.0, 20.0, 42.0))

    assert widget.ui.correctLabel.text.startswith("T12 is at this place already")
    assert levels(widget) == ["T11", "T12", "L1"]


def test_a_click_into_the_straightened_view_means_the_place_in_the_patient(widget, scene, a_result, monkeypatch):
    # Given a session that does not measure what was added: it would move the vertebra to the body's own center
    monkeypatch.setattr(widget.view.readerVertebrae, "measure", lambda _result: None)
    choose(widget, "T12")
    widget.ui.removeVertebraButton.click()
    layout_logic = slicer.vtkMRMLLayoutLogic()
    layout_logic.SetMRMLScene(scene)
    widget.ui.sideBySideButton.checked = True
    view = scene.GetSingletonNode(STRAIGHT_VIEW, "vtkMRMLSliceNode")
    crosshair = scene.AddNewNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionXYZ([5.0, 5.0, 0.0], view)

    widget.ui.addVertebraButton.click()
    click_at(scene, straight_places(a_result.transform, [(1.0, 20.0, 40.0)])[0])

    added = read_correction(scene, a_result).shown.vertebrae[1]
    assert added.center_ras == pytest.approx((1.0, 20.0, 40.0), abs=0.05)


@pytest.mark.parametrize("how", ["escape", "button", "leave", "close"])
@pytest.mark.parametrize("what", ["addVertebraButton", "landmarksButton"])
def test_waiting_for_a_click_can_be_ended_and_leaves_nothing(widget, scene, a_result, what, how):  # noqa: ARG001
    choose(widget, "T12")
    before = content(scene)
    button = getattr(widget.ui, what)
    button.click()
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.Place

    if how == "escape":
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    elif how == "button":
        button.click()
    elif how == "leave":
        widget.exit()
    else:
        scene.Clear()
    commit()

    assert not button.checked
    assert points_in_hand(scene) is None
    assert interaction.GetCurrentInteractionMode() != interaction.Place
    assert how == "close" or content(scene) == before


def test_while_a_height_point_is_dragged_the_heights_and_the_grade_follow(widget, scene, a_measured_result):
    choose(widget, "T12")
    before = cells(widget.ui.vertebraTable)
    kept = a_measured_result.report.GetText()
    widget.ui.landmarksButton.click()
    points = points_in_hand(scene)
    assert points.GetNumberOfControlPoints() == 6
    assert widget.ui.landmarksLabel.text.startswith("T12: 20.0, 20.0, 20.0 mm; grade 0")

    release = drag(points, 0, (1.0, 34.0, 45.0), (1.0, 34.0, 40.0))

    assert widget.ui.landmarksLabel.text.startswith("T12: 10.0, 20.0, 20.0 mm; grade 3")
    assert " wedge, height loss" in widget.ui.landmarksLabel.text
    assert cells(widget.ui.vertebraTable)[1][2].startswith("3 severe")
    assert a_measured_result.report.GetText() == kept, "nothing is stored before the point is let go"

    release()

    shown = read_correction(scene, a_measured_result)
    assert shown.shown.vertebrae[1].landmarks_ras[0] == (1.0, 34.0, 40.0)
    assert shown.shown.vertebrae[1].grade == 3
    assert shown.detected.vertebrae[1].landmarks_ras is None, "the model's own answer is as it was"
    assert "The model's own answer: T12" in widget.ui.vertebraTable.item(1, 0).toolTip()

    widget.ui.undoEditButton.click()

    assert cells(widget.ui.vertebraTable) == before
    assert points.GetNthControlPointPositionWorld(0) == pytest.approx(BODY[0])
    widget.ui.landmarksButton.click()
    assert points_in_hand(scene) is None


def test_a_vertebra_without_height_points_gets_them_by_six_clicks(widget, scene, a_result):
    choose(widget, "T12")
    widget.ui.landmarksButton.click()
    assert widget.ui.landmarksLabel.text == "Click the upper anterior height point of T12."

    for place, point in enumerate(BODY):
        assert read_correction(scene, a_result).correction.is_empty, place
        click_at(scene, point)

    assert read_correction(scene, a_result).shown.vertebrae[1].landmarks_ras == BODY
    assert widget.ui.landmarksLabel.text.startswith("T12: 20.0, 20.0, 20.0 mm")
    assert points_in_hand(scene).GetNumberOfControlPoints() == 6


def test_height_points_follow_the_chosen_vertebra_and_are_not_saved(widget, scene, a_measured_result, logic):
    other = tuple((r, a, s - 30.0) for r, a, s in BODY)
    logic.correct(a_measured_result, edits.set_landmarks, 0, other)
    widget.updatePanel()
    choose(widget, "T12")
    widget.ui.landmarksButton.click()

    choose(widget, "L1")

    points = points_in_hand(scene)
    assert points.GetNthControlPointPositionWorld(5) == pytest.approx(other[5])
    assert not points.GetSaveWithScene()
    assert points.GetHideFromEditors()
    widget.exit()
    assert points_in_hand(scene) is None


def test_a_height_point_that_is_dragged_out_of_the_body_goes_back_and_the_reason_is_said(
    widget, scene, a_measured_result
):
    choose(widget, "T12")
    widget.ui.landmarksButton.click()
    node = points_in_hand(scene)
    before = control_points(node)

    release = drag(node, 0, (1.0, 34.0, 900.0))
    release()

    assert control_points(node) == before
    assert "more than 150 mm from its vertebra" in widget.ui.correctLabel.text
    kept = read_correction(scene, a_measured_result).correction.landmarks
    assert kept[0].landmarks_ras == BODY
