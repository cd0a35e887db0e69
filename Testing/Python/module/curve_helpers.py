"""The hand that corrects a centerline, and all that it may change, for the tests of the panel."""

from __future__ import annotations

import numpy as np
import vtk
from panel_helpers import cells, until
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.export.scene.markups_nodes import EDITING_ATTRIBUTE, control_points
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.export.scene.volume_nodes import picture_is_along, read_picture


def state(nodes):
    """Everything that a correction may change: every cell, point, voxel and attribute, and the whole report.

    Straight points are told to 0.1 mm: they come through the grid of the node, which is sampled (0.0005 mm off). A list
    of a group that lost its last member stays, empty.
    """
    picture = read_picture(nodes)
    attributes = {name: nodes.table.GetAttribute(name) for name in nodes.table.GetAttributeNames()}
    attributes.pop("VertebralFracture.displayCriteria", None)
    straight = (nodes.straight_points, nodes.straight_labels)
    own = (*nodes.points.values(), nodes.landmarks, nodes.labels, nodes.side_labels, *straight)
    lists = [node for node in own if node is not None]
    return {
        "curve": control_points(nodes.centerline),
        "measured": [
            [values.GetValue(place) for place in range(values.GetNumberOfValues())]
            for n in range(nodes.centerline.GetNumberOfMeasurements())
            if (values := nodes.centerline.GetNthMeasurement(n).GetControlPointValues()) is not None
        ],
        "voxels": picture.voxels.tobytes(),
        "grid": (picture.grid.displacement_mm.tobytes(), picture.grid.origin_mm, picture.ijk_to_straight.tolist()),
        "along": picture_is_along(nodes),
        "table": _columns(nodes.table),
        "sequence": _columns(nodes.sequence),
        "points": {
            node.GetName(): [
                (
                    tuple(np.round(point, 1)) if node in straight else point,
                    node.GetNthControlPointLabel(place),
                    node.GetNthControlPointDescription(place),
                )
                for place, point in enumerate(control_points(node))
            ]
            for node in lists
            if node.GetNumberOfControlPoints()
        },
        "attributes": attributes,
        "report": read_correction(nodes.table.GetScene(), nodes),
    }


def _columns(node):
    table = node.GetTable()
    columns = [table.GetColumn(place) for place in range(table.GetNumberOfColumns())]
    rows = range(table.GetNumberOfRows())
    return [(column.GetName(), [str(column.GetVariantValue(row).ToString()) for row in rows]) for column in columns]


def settled(widget):
    section = widget.view.centerlineSection
    QApplication.processEvents()
    return lambda: not widget.logic.session.isBusy and not section.rescoring.isBusy and widget.view.result.isUpToDate


def edit(widget):
    widget.ui.editCenterlineButton.click()
    until(lambda: widget.view.centerlineSection.live.isReady)


def grab(node):
    node.InvokeCustomModifiedEvent(node.PointStartInteractionEvent)


def move(node, place, by):
    at = np.array(node.GetNthControlPointPositionWorld(place)) + by
    node.SetNthControlPointPositionWorld(place, at)


def release(node):
    node.InvokeCustomModifiedEvent(node.PointEndInteractionEvent)
    QApplication.processEvents()


def drag(widget, place, by):
    curve = widget.view.nodes.centerline
    grab(curve)
    move(curve, place, by)
    release(curve)


def probability(widget, label="T12"):
    return next(float(row[1]) for row in cells(widget.ui.vertebraTable) if row[0] == label)


def random_edits(widget, scene, rng):
    """What a restless hand does to a result, by name, with how often: any of it at any time."""
    ui = widget.ui

    def event(name):
        def act():
            nodes = [n for n in (scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())) if _is_in_hand(n)]
            if nodes:
                node = rng.choice(nodes)
                node.InvokeCustomModifiedEvent(getattr(node, name))

        return act

    def change_points():
        nodes = [n for n in (scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())) if _is_in_hand(n)]
        node = rng.choice(nodes) if nodes else None
        if node is None or node.GetNumberOfControlPoints() == 0:
            return
        place = rng.randrange(node.GetNumberOfControlPoints())
        at = np.array(node.GetNthControlPointPositionWorld(place)) + [rng.uniform(-5, 5) for _ in range(3)]
        kind = rng.random()
        if kind < 0.7:
            node.SetNthControlPointPositionWorld(place, at)
        elif kind < 0.85:
            node.InsertControlPoint(place, vtk.vtkVector3d(*at))
        else:
            node.RemoveNthControlPoint(place)

    def place_point():
        interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
        node = scene.GetNodeByID(selection.GetActivePlaceNodeID() or "")
        if node is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
            node.AddControlPoint(vtk.vtkVector3d(rng.uniform(-5, 5), rng.uniform(-5, 30), rng.uniform(0, 80)))

    def leave_place_mode():
        interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def assess():
        ui.assessmentSelector.setCurrentIndex(rng.randrange(ui.assessmentSelector.count))
        ui.levelSelector.setCurrentIndex(rng.randrange(ui.levelSelector.count))
        rng.choice(
            (ui.assessmentButton, ui.levelButton, ui.pinLevelButton, ui.levelsUpButton, ui.levelsDownButton)
        ).click()

    return {
        "edit the centerline": (6, ui.editCenterlineButton.click),
        "grab": (8, event("PointStartInteractionEvent")),
        "change points": (24, change_points),
        "let go": (10, event("PointEndInteractionEvent")),
        "find the canal": (2, ui.findCanalCheckBox.click),
        "draw the centerline": (3, ui.drawCenterlineButton.click),
        "reset the centerline": (2, ui.resetCenterlineButton.click),
        "score again or cancel": (4, ui.rescoreButton.click),
        "add a vertebra": (4, ui.addVertebraButton.click),
        "height points": (5, ui.landmarksButton.click),
        "place a point": (8, place_point),
        "leave the place mode": (2, leave_place_mode),
        "judge and name": (6, assess),
        "split, merge, remove": (
            3,
            lambda: rng.choice((ui.splitButton, ui.mergeButton, ui.removeVertebraButton)).click(),
        ),
        "undo": (8, ui.undoEditButton.click),
        "redo": (4, ui.redoEditButton.click),
    }


def _is_in_hand(node):
    """Whether a mouse could take hold of its points."""
    isOurs = node.GetAttribute(EDITING_ATTRIBUTE) or node.GetAttribute("VertebralFracture.role") == "centerline"
    return bool(isOurs) and node.IsA("vtkMRMLMarkupsNode") and not node.GetLocked()
