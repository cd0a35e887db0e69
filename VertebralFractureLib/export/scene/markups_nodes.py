"""The centerline and the vertebrae as markups, and the markups that are there only while somebody edits.

Markups have no color per point: there is one point list per vertebra group, and the curve is colored by a static
measurement. What is there during an edit is not in Slicer's lists and not in a saved scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from vtkmodules.vtkCommonCore import vtkDoubleArray
from vtkmodules.vtkCommonDataModel import vtkVector3d
from vtkmodules.vtkFiltersCore import vtkAssignAttribute

from VertebralFractureLib.cpr import ReformatFrame
from VertebralFractureLib.export.palette import VertebraGroup, group_of
from VertebralFractureLib.export.scene.display_nodes import NOT_JUDGED
from VertebralFractureLib.export.scene.scene_nodes import ATTRIBUTE_PREFIX
from VertebralFractureLib.plain_text import one_line
from VertebralFractureLib.result.report import ReportedCenterline, SpineReport
from VertebralFractureLib.result.words import STATUS_WORDS, describe_grade, describe_reason
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra

PROBABILITY_MEASUREMENT = "fracture probability"
CONFIDENCE_MEASUREMENT = "canal confidence"
LANDMARK_NAMES = (
    "upper anterior",
    "upper middle",
    "upper posterior",
    "lower anterior",
    "lower middle",
    "lower posterior",
)
_CENTERLINE_COLOR = (0.45, 0.85, 0.75)
_CENTERLINE_DIAMETER_MM = 2.0
_LANDMARK_COLOR = (0.75, 0.95, 0.75)
_CHOSEN_COLOR = (1.0, 1.0, 1.0)
"""Of the vertebra that the user chose; no group has white, so it stands out from each."""


def point_label(vertebra: Vertebra) -> str:
    """What stands beside a vertebra, for example "T12 · 0.93" or "L4 · not evaluable"."""
    if vertebra.fracture_probability is None or vertebra.status != Status.SCORED:
        return f"{vertebra.label} · {STATUS_WORDS[vertebra.status]}"
    return f"{vertebra.label} · {vertebra.fracture_probability:.2f}"


def add_centerline_node(scene: Any, report: SpineReport, name: str, colors: Any) -> Any:
    """The centerline as a locked ``vtkMRMLMarkupsCurveNode``, colored by probability when there is a sequence."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", name)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetGlyphScale(0.5)
    display.SetCurveLineSizeMode(display.UseLineDiameter)
    display.SetLineDiameter(_CENTERLINE_DIAMETER_MM)
    # Where a curve leaves the slice, Slicer turns it red or blue, which would be read as a suspected fracture.
    display.SetLineColorFadingSaturation(0.0)
    display.SetColor(*_CENTERLINE_COLOR)
    display.SetSelectedColor(*_CENTERLINE_COLOR)
    fill_centerline_node(node, report, colors)
    node.SetLocked(True)
    return node


def fill_centerline_node(node: Any, report: SpineReport, colors: Any) -> None:
    """Let the node hold exactly the report's curve, with confidence and probability per point; its display stays."""
    points = report.centerline.points_ras
    was_modifying = node.StartModify()
    if defined_points(node) != points:
        node.RemoveAllControlPoints()
        for index, point in enumerate(points):
            node.AddControlPoint(vtkVector3d(*point), f"{index + 1}")
    _measure(node, CONFIDENCE_MEASUREMENT, report.centerline.confidence)
    along = _arc_lengths(report.centerline)
    if report.sequence.positions_mm and colors is not None and along is not None:
        values = np.interp(along, report.sequence.positions_mm, report.sequence.probability)
        low, high = report.judged_mm or (np.inf, -np.inf)
        values[(along < low) | (along > high)] = NOT_JUDGED
        _measure(node, PROBABILITY_MEASUREMENT, values.tolist())
        display = node.GetDisplayNode()
        if display is not None and display.GetColorNodeID() != colors.GetID():
            display.SetAndObserveColorNodeID(colors.GetID())
            display.SetActiveScalar(PROBABILITY_MEASUREMENT, vtkAssignAttribute.POINT_DATA)
            display.SetScalarRangeFlag(display.UseManualScalarRange)
            display.SetScalarRange(NOT_JUDGED, 1.0)
            display.SetScalarVisibility(True)
    node.EndModify(was_modifying)


def _arc_lengths(line: ReportedCenterline) -> np.ndarray | None:
    """Arc length of each point, mm; None where the points make no curve."""
    try:
        return np.asarray(line.curve().point_arc_lengths_mm)
    except ValueError:
        return None


def add_group_node(scene: Any, group: VertebraGroup, shown: SpineReport, name: str) -> Any:
    """The vertebrae of one group of the report as a ``vtkMRMLMarkupsFiducialNode`` in RAS.

    Its points are locked, not the node: a locked node would not tell which point was clicked.
    """
    node = _add_points_node(scene, name, group.color)
    node.GetDisplayNode().SetSelectedColor(*_CHOSEN_COLOR)
    node.SetFixedNumberOfControlPoints(True)
    fill_group_node(node, group, shown)
    return node


def list_members(shown: SpineReport, group: VertebraGroup) -> list[Vertebra]:
    """The report's vertebrae of a group, caudal to cranial."""
    threshold = shown.scan.decision_threshold
    return [vertebra for vertebra in shown.vertebrae if group_of(vertebra, threshold) is group]


def fill_group_node(node: Any, group: VertebraGroup, shown: SpineReport) -> None:
    """Let the node hold exactly the group's members; does nothing where it already does."""
    if holds_group(node, group, shown):
        return
    was_modifying = node.StartModify()
    was_fixed = node.GetFixedNumberOfControlPoints()
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveAllControlPoints()
    for label, description, center in _group_points(group, shown):
        _add_point(node, center, label, description)
    node.SetFixedNumberOfControlPoints(was_fixed)
    node.SetLocked(False)
    node.EndModify(was_modifying)


def holds_group(node: Any, group: VertebraGroup, shown: SpineReport) -> bool:
    """Whether the node holds exactly the group's members, each with its position."""
    points = range(node.GetNumberOfControlPoints())
    places = control_points(node)
    held = [(node.GetNthControlPointLabel(n), node.GetNthControlPointDescription(n), places[n]) for n in points]
    # A position that the user cleared is still told; only its status says that it is gone.
    return held == _group_points(group, shown) and defined_points(node) == places


def _group_points(group: VertebraGroup, shown: SpineReport) -> list[tuple[str, str, Point]]:
    """Label, description and position of each member."""
    return [(point_label(one), describe(one), one.center_ras) for one in list_members(shown, group)]


def add_straight_points_node(
    scene: Any,
    frame: ReformatFrame,
    vertebrae: Sequence[Vertebra],
    name: str,
    color: tuple[float, float, float],
) -> Any:
    """All vertebrae in straight space, hidden at first because they would lie beside the patient's anatomy."""
    node = _add_points_node(scene, name, color)
    straight = frame.ras_to_straight(np.array([vertebra.center_ras for vertebra in vertebrae]).reshape(-1, 3))
    fill_straight_points_node(node, straight, vertebrae)
    show_through_slices(node)
    return node


def show_through_slices(node: Any) -> None:
    """For points in straight space: hidden at first, and then all of them on every slice.

    Bodies lie a few mm beside the canal: without projection, one sagittal slice would show some of the points only.
    """
    display = node.GetDisplayNode()
    display.SetVisibility(False)
    display.SetSliceProjection(True)
    display.SetSliceProjectionOpacity(1.0)


def fill_straight_points_node(node: Any, straight: np.ndarray, vertebrae: Sequence[Vertebra]) -> None:
    """Let the node hold exactly ``vertebrae``, whose places in straight space are ``straight``, (N, 3) mm."""
    was_modifying = node.StartModify()
    node.RemoveAllControlPoints()
    for vertebra, (r, a, s) in zip(vertebrae, straight.tolist(), strict=True):
        _add_point(node, (r, a, s), point_label(vertebra), describe(vertebra))
    node.EndModify(was_modifying)


def add_landmarks_node(scene: Any, vertebrae: Sequence[Vertebra], name: str) -> Any:
    """Six endplate points per measured vertebra in RAS, hidden at first; the description holds the vertebra's place."""
    node = _add_points_node(scene, name, _LANDMARK_COLOR)
    fill_landmarks_node(node, vertebrae)
    node.GetDisplayNode().SetVisibility(False)
    return node


def fill_landmarks_node(node: Any, vertebrae: Sequence[Vertebra]) -> None:
    """Let the node hold exactly the landmarks of ``vertebrae``."""
    was_modifying = node.StartModify()
    node.RemoveAllControlPoints()
    for index, vertebra in enumerate(vertebrae):
        for point, place in zip(vertebra.landmarks_ras or (), LANDMARK_NAMES, strict=False):
            _add_point(node, point, f"{vertebra.label} {place}", str(index))
    node.EndModify(was_modifying)


def move_points(node: Any, points_ras: Sequence[Point], labels: Sequence[str]) -> None:
    """Let the node hold exactly these points, which can be dragged; those that are there move, so a drag goes on."""
    was_modifying = node.StartModify()
    node.SetFixedNumberOfControlPoints(False)
    while node.GetNumberOfControlPoints() > len(points_ras):
        node.RemoveNthControlPoint(node.GetNumberOfControlPoints() - 1)
    for place, (point, label) in enumerate(zip(points_ras, labels, strict=True)):
        if place == node.GetNumberOfControlPoints():
            node.AddControlPoint(vtkVector3d(*point), label)
        else:
            node.SetNthControlPointPositionWorld(place, point)
            node.SetNthControlPointLabel(place, label)
    node.EndModify(was_modifying)


def control_points(node: Any) -> tuple[Point, ...]:
    """A markup's control points in world mm."""
    points = []
    for place in range(node.GetNumberOfControlPoints()):
        r, a, s = node.GetNthControlPointPositionWorld(place)
        points.append((float(r), float(a), float(s)))
    return tuple(points)


def defined_points(node: Any) -> tuple[Point, ...]:
    """``control_points`` without those that have no position: under the mouse before the click, or cleared by it."""
    points = control_points(node)
    defined = (node.GetNthControlPointPositionStatus(place) == node.PositionDefined for place in range(len(points)))
    return tuple(point for point, is_defined in zip(points, defined, strict=True) if is_defined)


def describe(vertebra: Vertebra) -> str:
    """One line about a vertebra, for example "grade 2 wedge, height loss 31 %"."""
    if vertebra.status != Status.SCORED:
        return describe_reason(vertebra) or STATUS_WORDS[vertebra.status]
    if vertebra.grade is None:
        return "scored, grade not determined"
    words = f"grade {describe_grade(vertebra)}" + (f" {vertebra.shape}" if vertebra.shape else "")
    if vertebra.height_loss is not None:
        words += f", height loss {100.0 * vertebra.height_loss:.0f} %"
    return words


def _add_points_node(scene: Any, name: str, color: tuple[float, float, float]) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*color)
    display.SetSelectedColor(*color)
    display.SetGlyphScale(2.0)
    # What a point is called stands beside the body (``label_nodes``), where it covers no endplate.
    display.SetPointLabelsVisibility(False)
    node.SetLocked(True)
    return node


def _add_point(node: Any, point: Point, label: str, description: str) -> None:
    place = node.AddControlPoint(vtkVector3d(*point), one_line(label))
    node.SetNthControlPointDescription(place, one_line(description))
    node.SetNthControlPointLocked(place, True)
    node.SetNthControlPointSelected(place, False)


def _measure(curve: Any, name: str, values: Sequence[float]) -> None:
    import slicer

    array = vtkDoubleArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(value)
    for place in range(curve.GetNumberOfMeasurements()):
        if curve.GetNthMeasurement(place).GetName() == name:
            curve.GetNthMeasurement(place).SetControlPointValues(array)
            return
    measurement = slicer.vtkMRMLStaticMeasurement()
    measurement.SetName(name)
    measurement.SetControlPointValues(array)
    measurement.SetEnabled(True)
    curve.AddMeasurement(measurement)


def spare_measured_values(curve: Any, spare: int) -> None:
    """Let each measurement of the curve hold ``spare`` more values than there are points, or just as many for 0.

    Slicer inserts a point without a value for it, and complains of each measurement that has fewer values than points.
    """
    count = curve.GetNumberOfControlPoints() + spare
    for place in range(curve.GetNumberOfMeasurements()):
        values = curve.GetNthMeasurement(place).GetControlPointValues()
        if values is None or values.GetNumberOfValues() in (0, count):
            continue
        held = [values.GetValue(index) for index in range(min(values.GetNumberOfValues(), count))]
        _measure(curve, curve.GetNthMeasurement(place).GetName(), held + held[-1:] * (count - len(held)))


EDITING_ATTRIBUTE = ATTRIBUTE_PREFIX + "editing"
_COLOR = (1.0, 0.85, 0.2)


def add_edit_points(scene: Any, name: str) -> Any:
    """An empty ``vtkMRMLMarkupsFiducialNode`` for points that a person places or drags."""
    return _add(scene, "vtkMRMLMarkupsFiducialNode", name)


def add_edit_curve(scene: Any, name: str) -> Any:
    """An empty ``vtkMRMLMarkupsCurveNode`` for the same."""
    return _add(scene, "vtkMRMLMarkupsCurveNode", name)


def remove_edit_node(node: Any) -> None:
    """Out of its scene, with its display."""
    scene = node.GetScene()
    if scene is None:
        return
    display = node.GetDisplayNode()
    scene.RemoveNode(node)
    if display is not None and display.GetScene() is scene:
        scene.RemoveNode(display)


def _add(scene: Any, class_name: str, name: str) -> Any:
    import slicer

    node = getattr(slicer, class_name)()
    node.SetName(name)
    # Before it enters the scene, so that Slicer's data tree does not show it for a moment.
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetAttribute(EDITING_ATTRIBUTE, "1")
    node = scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetColor(*_COLOR)
    display.SetSelectedColor(*_COLOR)
    display.SetGlyphScale(2.0)
    # The panel says which point is which; beside it, its name would cover the endplate that it is put on.
    display.SetPointLabelsVisibility(False)
    return node
