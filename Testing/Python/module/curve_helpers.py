"""The hand that corrects a centerline, and all that it may change, for the tests of the panel."""

from __future__ import annotations

import numpy as np
from panel_helpers import cells, until
from PySide6.QtWidgets import QApplication

from VertebralFractureLib.scene.corrected_scene import read_correction
from VertebralFractureLib.scene.markups_nodes import control_points
from VertebralFractureLib.scene.straight_picture import picture_is_along, read_picture


def state(nodes):
    """Everything that a correction of the centerline may change, voxels and transform included."""
    picture = read_picture(nodes)
    table = nodes.table.GetTable()
    attributes = {name: nodes.table.GetAttribute(name) for name in sorted(nodes.table.GetAttributeNames())}
    attributes.pop("VertebralFracture.reading", None)
    return {
        "curve": control_points(nodes.centerline),
        "locked": nodes.centerline.GetLocked(),
        "voxels": picture.voxels.tobytes(),
        "grid": (picture.grid.displacement_mm.tobytes(), picture.grid.origin_mm, picture.ijk_to_straight.tolist()),
        "along": picture_is_along(nodes),
        "table": [str(table.GetValue(r, c)) for r in range(table.GetNumberOfRows()) for c in range(29)],
        "sequence": [
            str(value)
            for value in nodes.sequence.GetTable().GetRow(1).GetNumberOfValues()
            and [nodes.sequence.GetTable().GetValue(r, 1) for r in range(nodes.sequence.GetTable().GetNumberOfRows())]
        ],
        "straight": [tuple(np.round(point, 1)) for point in control_points(nodes.straight_points)],
        "attributes": attributes,
        "report": read_correction(nodes.table.GetScene(), nodes).shown,
    }


def settled(widget):
    section = widget.view.centerlineSection
    QApplication.processEvents()
    return lambda: (
        not widget.view.correctionWorker.isBusy
        and not section.rescoring.isBusy
        and not section.rescoring.isStale(widget.view.nodes)
    )


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
