"""The slice views and the vertebrae: what is seen first, jumping to a vertebra, and the point that was clicked.

Views belong to whoever owns the scene: they are added only where there are none, as in a scene made without Slicer. A
view that shows the straightened volume jumps to a vertebra's place in straight space, all others to the patient's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from vtkmodules.vtkCommonMath import vtkMatrix3x3

from VertebralFractureLib.export.scene.label_nodes import choose_label
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.export.scene.volume_nodes import shows_straight
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import Vertebra

# Name, orientation, label, color and width in mm of Slicer's three default slice views.
_VIEWS = (
    ("Red", "Axial", "R", (0.952941, 0.290196, 0.2), 200.0),
    ("Yellow", "Sagittal", "Y", (0.929412, 0.835294, 0.298039), 320.0),
    ("Green", "Coronal", "G", (0.431373, 0.690196, 0.294118), 320.0),
)


def add_first_view(scene: Any, report: SpineReport, volume: Any) -> None:
    """Show ``volume`` (``vtkMRMLScalarVolumeNode``) in the slice views of a scene that has none."""
    import slicer

    if scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode") > 0:
        return
    r, a, s = _place(report, volume)
    for name, orientation, label, color, width in _VIEWS:
        composite = slicer.vtkMRMLSliceCompositeNode()
        view = slicer.vtkMRMLSliceNode()
        for node in (composite, view):
            node.SetSingletonTag(name)
            node.SetLayoutName(name)
            node.SetName(name)
            scene.AddNode(node)
        composite.SetBackgroundVolumeID(volume.GetID())
        view.SetLayoutLabel(label)
        view.SetLayoutColor(*color)
        _add_orientations(view)
        view.SetOrientation(orientation)
        view.SetFieldOfView(width, width, 1.0)
        view.JumpSliceByCentering(r, a, s)
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    if selection is not None:
        selection.SetActiveVolumeID(volume.GetID())


def _add_orientations(view: Any) -> None:
    """Teach the view the names that Slicer's own views know; without them a saved view loses its orientation."""
    for orientation, read in (
        ("Axial", view.GetAxialSliceToRASMatrix),
        ("Sagittal", view.GetSagittalSliceToRASMatrix),
        ("Coronal", view.GetCoronalSliceToRASMatrix),
    ):
        matrix = vtkMatrix3x3()
        read(matrix)
        view.AddSliceOrientationPreset(orientation, matrix)


def _place(report: SpineReport, volume: Any) -> Point:
    """The first suspected vertebra as one reads, from cranial; RAS mm.

    Without any, the most suspicious one, else the middle of the centerline, else that of the volume.
    """
    if report.suspected:
        return report.suspected[-1].center_ras
    scored = [vertebra for vertebra in report.vertebrae if vertebra.fracture_probability is not None]
    if scored:
        return max(scored, key=lambda vertebra: vertebra.fracture_probability or 0.0).center_ras
    points = report.centerline.points_ras
    if points:
        return points[len(points) // 2]
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    return 0.5 * (bounds[0] + bounds[1]), 0.5 * (bounds[2] + bounds[3]), 0.5 * (bounds[4] + bounds[5])


_SAME_PLACE_MM = 1.0


def jump_to_vertebra(scene: Any, nodes: SceneNodes, vertebrae: Sequence[Vertebra], index: int) -> None:
    """Center every slice view on vertebra ``index`` (caudal first); does nothing while the user places points."""
    if is_placing(scene):
        return
    straight = None
    if nodes.straight_points is not None and index < nodes.straight_points.GetNumberOfControlPoints():
        straight = nodes.straight_points.GetNthControlPointPositionWorld(index)
    for view in list_slice_views(scene):
        if not shows_straight(scene, nodes, view):
            view.JumpSliceByCentering(*vertebrae[index].center_ras)
        elif straight is not None:
            view.JumpSliceByCentering(*straight)


def highlight_vertebra(nodes: SceneNodes, vertebrae: Sequence[Vertebra], index: int | None) -> None:
    """Let the point and the label of vertebra ``index`` stand out; None lets none stand out."""
    center_ras = None if index is None else vertebrae[index].center_ras
    for labels in nodes.label_nodes:
        choose_label(labels, index)
    for node in nodes.points.values():
        for place in range(node.GetNumberOfControlPoints()):
            chosen = center_ras is not None and _is_there(node.GetNthControlPointPositionWorld(place), center_ras)
            if bool(node.GetNthControlPointSelected(place)) != chosen:
                node.SetNthControlPointSelected(place, chosen)


def vertebra_at(vertebrae: Sequence[Vertebra], point_ras: Point) -> int | None:
    """The place (caudal first) of the vertebra whose point this is."""
    for index, vertebra in enumerate(vertebrae):
        if _is_there(point_ras, vertebra.center_ras):
            return index
    return None


def _is_there(point: Point, center: Point) -> bool:
    return bool(np.linalg.norm(np.subtract(point, center)) < _SAME_PLACE_MM)


def list_slice_views(scene: Any) -> list[Any]:
    """Every ``vtkMRMLSliceNode`` of the scene."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")
    return [scene.GetNthNodeByClass(place, "vtkMRMLSliceNode") for place in range(count)]


def is_placing(scene: Any) -> bool:
    """Whether the next click in a view places a point."""
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    return interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place
