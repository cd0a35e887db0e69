"""Between the patient and straight space by a result's own grid transform, and which views show straight space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import vtk

from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.types import FloatArray, Point


def straight_places(transform: Any, points_ras: Sequence[Point] | FloatArray) -> FloatArray:
    """Points ``(n, 3)`` of the patient in straight space, mm: from its parent the node maps straight space to RAS."""
    to_world = vtk.vtkGeneralTransform()
    transform.GetTransformToWorld(to_world)
    return np.array([to_world.TransformPoint(tuple(point)) for point in points_ras]).reshape(-1, 3)


def patient_place(transform: Any, straight: Point) -> Point:
    """A point of straight space in the patient, RAS mm."""
    from_world = vtk.vtkGeneralTransform()
    transform.GetTransformFromWorld(from_world)
    r, a, s = (float(value) for value in from_world.TransformPoint(straight))
    return r, a, s


def shows_straight(scene: Any, nodes: SceneNodes, view: Any) -> bool:
    """Whether a slice view (``vtkMRMLSliceNode``) has the straightened volume of ``nodes`` in its background."""
    if nodes.straightened is None or nodes.transform is None:
        return False
    for place in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(place, "vtkMRMLSliceCompositeNode")
        if composite.GetLayoutName() == view.GetLayoutName():
            return bool(composite.GetBackgroundVolumeID() == nodes.straightened.GetID())
    return False
