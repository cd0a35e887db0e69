"""What a person sees first after opening the file: the CT in the three slice views, at the first suspected vertebra.

Views belong to whoever owns the scene: they are added only where there are none, as in a scene made without Slicer.
"""

from __future__ import annotations

from typing import Any

import vtk

from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.types import Point

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
        matrix = vtk.vtkMatrix3x3()
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
