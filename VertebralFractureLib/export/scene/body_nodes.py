"""The bodies as one model, whose cuts with the slices are the outlines: in the patient, and in straight space.

One node holds all bodies and, of those that are suspected, the lines that the heights are measured along. Each has the
color of its group, by an index into the result's grade colors, so that a Slicer without this extension shows it too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkCommonTransforms import vtkGeneralTransform
from vtkmodules.vtkFiltersCore import vtkAssignAttribute
from vtkmodules.vtkFiltersGeneral import vtkTransformPolyDataFilter

from VertebralFractureLib.export.palette import GROUPS, group_of
from VertebralFractureLib.export.scene.display_nodes import fill_grade_colors
from VertebralFractureLib.result.report import SpineReport, is_suspected
from VertebralFractureLib.types import FloatArray, IntArray
from VertebralFractureLib.vertebrae.body_solid import has_solid, list_height_strips, mesh_body

GROUP_SCALARS = "group"
_BESIDE_MM = 0.7
"""From the surface to what is drawn, so that the endplate itself stays to be seen."""
_LINE_PIXELS = 2


def add_bodies_node(scene: Any, shown: SpineReport, name: str, colors: Any, to_straight: Any = None) -> Any:
    """All traced bodies as a ``vtkMRMLModelNode`` that is seen in slice views only.

    Args:
        colors: the ``vtkMRMLColorTableNode`` of the groups.
        to_straight: ``vtkMRMLGridTransformNode`` of the straightening, for the bodies in straight space, which are
            hidden at first because they would lie beside the patient's anatomy; None: in the patient.
    """
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetVisibility3D(False)
    display.SetVisibility2D(True)
    display.SetSliceIntersectionThickness(_LINE_PIXELS)
    fill_bodies_node(node, shown, colors, to_straight)
    display.SetVisibility(to_straight is None)
    return node


def fill_bodies_node(node: Any, shown: SpineReport, colors: Any, to_straight: Any = None) -> None:
    """Let the node hold exactly the bodies of the report as it is shown."""
    surface = _surface_of(shown)
    if to_straight is not None:
        to_world = vtkGeneralTransform()
        to_straight.GetTransformToWorld(to_world)
        moving = vtkTransformPolyDataFilter()
        moving.SetTransform(to_world)
        moving.SetInputData(surface)
        moving.Update()
        surface = moving.GetOutput()
    was_modifying = node.StartModify()
    node.SetAndObservePolyData(surface)
    display = node.GetDisplayNode()
    if display is not None and colors is not None:
        fill_grade_colors(colors)
        display.SetAndObserveColorNodeID(colors.GetID())
        display.SetActiveScalar(GROUP_SCALARS, vtkAssignAttribute.POINT_DATA)
        display.SetScalarRangeFlag(display.UseManualScalarRange)
        display.SetScalarRange(0, len(GROUPS) - 1)
        display.SetScalarVisibility(True)
    node.EndModify(was_modifying)


def _surface_of(shown: SpineReport) -> Any:
    """``vtkPolyData`` in RAS mm with the number of the group at every point."""
    threshold = shown.scan.decision_threshold
    points: list[FloatArray] = [np.empty((0, 3))]
    triangles: list[IntArray] = [np.empty((0, 3), dtype=np.intp)]
    numbers: list[int] = []
    for vertebra in shown.vertebrae:
        if not has_solid(vertebra):
            continue
        parts = [mesh_body(vertebra, _BESIDE_MM)]
        if is_suspected(vertebra, threshold):
            parts.append(list_height_strips(vertebra))
        for own_points, own_triangles in parts:
            triangles.append(own_triangles + len(numbers))
            points.append(own_points)
            numbers += [GROUPS.index(group_of(vertebra, threshold))] * len(own_points)
    corners = np.concatenate(triangles)
    surface = vtkPolyData()
    places = vtkPoints()
    places.SetData(numpy_to_vtk(np.concatenate(points).astype(np.float32), deep=True))
    surface.SetPoints(places)
    cells = vtkCellArray()
    offsets = numpy_to_vtkIdTypeArray(3 * np.arange(len(corners) + 1, dtype=np.int64), deep=True)
    cells.SetData(offsets, numpy_to_vtkIdTypeArray(corners.astype(np.int64).ravel(), deep=True))
    surface.SetPolys(cells)
    scalars = numpy_to_vtk(np.array(numbers, dtype=np.int32), deep=True)
    scalars.SetName(GROUP_SCALARS)
    surface.GetPointData().SetScalars(scalars)
    return surface
