"""Two hundred random corrections of every kind, taken back and done again one by one."""

import random

import slicer
import vtk
from curve_helpers import drag, edit, settled, state
from panel_helpers import until
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene import find_results
from VertebralFractureLib.export.scene.markups_nodes import EDITING_ATTRIBUTE, LANDMARK_NAMES

EDITS = 200


def points_in_hand(scene):
    nodes = (scene.GetNthNode(place) for place in range(scene.GetNumberOfNodes()))
    return next(n for n in nodes if n.GetAttribute(EDITING_ATTRIBUTE) and n.GetName() == "Height points")


def test_two_hundred_random_edits_and_as_many_undos_give_the_identical_state(widget, scene, a_spine_result):
    dice = random.Random(8)
    ui, curve = widget.ui, a_spine_result.centerline
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")

    def click(*places):
        node = scene.GetNodeByID(selection.GetActivePlaceNodeID())
        for place in places:
            node.AddControlPoint(vtk.vtkVector3d(*place))
            QApplication.processEvents()

    def drag_curve():
        ui.findCanalCheckBox.checked = dice.random() < 0.5
        place = dice.randrange(curve.GetNumberOfControlPoints())
        drag(widget, place, (dice.uniform(-2.0, 2.0), dice.uniform(-2.0, 2.0), 0.0))

    def insert_point():
        ui.findCanalCheckBox.checked = False
        curve.InsertControlPoint(3, vtk.vtkVector3d(dice.uniform(-1.0, 1.0), 0.0, dice.uniform(2.0, 78.0)))

    def remove_point():
        if curve.GetNumberOfControlPoints() > 6:
            curve.RemoveNthControlPoint(dice.randrange(curve.GetNumberOfControlPoints()))

    def add_vertebra():
        ui.addVertebraButton.click()
        click((dice.uniform(-2.0, 2.0), 20.0, dice.uniform(5.0, 75.0)))

    def height_points():
        if not ui.landmarksButton.enabled:
            return
        ui.landmarksButton.click()
        if ui.landmarksLabel.text.startswith("Click"):
            click(*((0.0, a, dice.uniform(20.0, 60.0)) for a in range(len(LANDMARK_NAMES))))
        else:
            node = points_in_hand(scene)
            node.InvokeCustomModifiedEvent(node.PointStartInteractionEvent)
            node.SetNthControlPointPositionWorld(dice.randrange(6), (0.0, 20.0, dice.uniform(20.0, 60.0)))
            node.InvokeCustomModifiedEvent(node.PointEndInteractionEvent)
            QApplication.processEvents()
        ui.landmarksButton.click()

    actions = [
        ui.assessmentButton.click,
        ui.levelButton.click,
        ui.pinLevelButton.click,
        ui.splitButton.click,
        ui.mergeButton.click,
        ui.removeVertebraButton.click,
        ui.levelsUpButton.click,
        ui.levelsDownButton.click,
        ui.resetLevelsButton.click,
        add_vertebra,
        height_points,
        drag_curve,
        insert_point,
        remove_point,
        ui.resetCenterlineButton.click,
    ]
    edit(widget)
    until(settled(widget))
    steps, kinds = [state(a_spine_result)], set()
    while len(steps) <= EDITS:
        if ui.vertebraTable.rowCount:
            ui.vertebraTable.cellClicked.emit(dice.randrange(ui.vertebraTable.rowCount), 0)
        ui.assessmentSelector.setCurrentIndex(dice.randrange(ui.assessmentSelector.count))
        ui.levelSelector.setCurrentIndex(dice.randrange(ui.levelSelector.count))
        past = len(widget.view.result.history.past)
        action = dice.choice(actions)
        action()
        QApplication.processEvents()
        until(settled(widget))
        if len(widget.view.result.history.past) > past:
            kinds.add(actions.index(action))
            steps.append(state(find_results(slicer.mrmlScene)[0]))
    assert len(kinds) == len(actions), "every kind of edit was among them"

    for expected in reversed(steps[:-1]):
        ui.undoEditButton.click()
        until(settled(widget))
        assert state(find_results(slicer.mrmlScene)[0]) == expected
    assert not ui.undoEditButton.enabled

    while ui.redoEditButton.enabled:
        ui.redoEditButton.click()
    until(settled(widget))
    assert state(find_results(slicer.mrmlScene)[0]) == steps[-1]
