"""A mouse and a keyboard in Slicer's own slice view, with its own markups widgets; VTK must not complain of either."""

import numpy as np
import pytest
import slicer_stand_ins
from curve_helpers import edit, settled
from mouse_views import MouseView
from panel_helpers import LINE, choose, chosen_points, until
from PySide6.QtWidgets import QApplication

from VertebralFracture import VertebralFractureWidget
from VertebralFractureLib.export.scene.markups_nodes import control_points
from VertebralFractureLib.export.scene.report_node import read_correction


def measured_counts(curve):
    measurements = [curve.GetNthMeasurement(place) for place in range(curve.GetNumberOfMeasurements())]
    arrays = [measurement.GetControlPointValues() for measurement in measurements]
    return {values.GetNumberOfValues() for values in arrays if values is not None}


def labels(node):
    return " ".join(node.GetNthControlPointLabel(place) for place in range(node.GetNumberOfControlPoints()))


def between(index):
    return tuple(np.mean([LINE[index], LINE[index + 1]], axis=0))


def test_a_ctrl_click_adds_a_point_to_the_curve_without_a_complaint(widget, scene, a_spine_result):
    # Given the curve of a result, being edited
    widget.ui.findCanalCheckBox.checked = False
    edit(widget)
    view = MouseView(scene)

    # When two points are added, the second after the first has been followed
    for index in (8, 4):
        view.click(between(index), ctrl=True)
        until(settled(widget))

    # Then both are part of the corrected curve (and the fixture heard nothing from VTK)
    kept = read_correction(scene, a_spine_result).correction
    assert len(kept.centerline_ras) == len(LINE) + 2
    assert len(kept.anchors_ras) == 2
    widget.ui.editCenterlineButton.click()
    assert measured_counts(a_spine_result.centerline) == {len(LINE) + 2}


@pytest.mark.parametrize("shift", [False, True])
def test_a_vertebras_point_that_is_deleted_comes_back_at_once(widget, scene, a_spine_result, shift):
    # Given T12, chosen
    choose(widget, "T12")
    group = next(node for node in a_spine_result.points.values() if "T12" in labels(node))
    before = control_points(group)
    view = MouseView(scene)

    # When the key that deletes a point (with Shift: all points of a list) is pressed over it
    view.press("Delete", before[0], shift=shift)
    assert len(control_points(group)) < len(before), "Slicer's own widget heard the key"
    QApplication.processEvents()

    # Then it is there again, and stands out as before
    assert control_points(group) == before
    assert [label.split(" ")[0] for label in chosen_points(scene)] == ["T12"]


@pytest.mark.usefixtures("a_successful_worker")
def test_a_point_that_was_deleted_while_nobody_watched_comes_back_with_the_panel(a_ct, logic):
    # Given a result of a script, and a point of it that a script deleted
    group = next(node for node in logic.detectFractures(a_ct).points.values() if "T12" in labels(node))
    before = control_points(group)
    group.SetFixedNumberOfControlPoints(False)
    group.RemoveNthControlPoint(0)

    widget = VertebralFractureWidget(slicer_stand_ins.module_parent(), logic)
    widget.setup()
    QApplication.processEvents()

    assert control_points(group) == before
    widget.cleanup()
    assert group.GetFixedNumberOfControlPoints()
