"""A spine volume that stands alone, without a report: its volume, the transform that leads back, and its curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.export.scene.markups_nodes import control_points
from VertebralFractureLib.export.scene.volume_nodes import add_straightened_node, add_transform_node, int16_voxels
from VertebralFractureLib.types import FloatArray


@dataclass(frozen=True)
class SpineNodes:
    """``vtkMRMLScalarVolumeNode`` in straight space, and the ``vtkMRMLGridTransformNode`` that straightens others."""

    volume: Any
    transform: Any


def add_spine_nodes(scene: Any, spine: StraightenedVolume, name: str) -> SpineNodes:
    """The nodes "``name`` straightened" (or "virtual sagittal") and "``name`` straightening"."""
    volume = add_straightened_node(scene, spine, int16_voxels(spine.hu), f"{name} {spine.frame.kind.replace('_', ' ')}")
    return SpineNodes(volume, add_transform_node(scene, spine.frame, f"{name} straightening"))


def add_curve_node(scene: Any, points_ras: FloatArray, name: str) -> Any:
    """A ``vtkMRMLMarkupsCurveNode`` through ``(n, 3)`` RAS mm points; not locked, so that it can be corrected."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", name)
    node.CreateDefaultDisplayNodes()
    for index, point in enumerate(points_ras.tolist()):
        node.AddControlPoint(vtk.vtkVector3d(*point), f"{index + 1}")
    return node


def centerline_of(curve_node: Any) -> Centerline:
    """The centerline through the control points of a markup, whichever end was placed first.

    Raises:
        ValueError: when there are fewer than two points.
    """
    points = np.array(control_points(curve_node), dtype=np.float64).reshape(-1, 3)
    if len(points) < 2:
        raise ValueError("The centerline needs at least two points; place more of them along the spinal canal.")
    caudal_first = points if points[0, 2] <= points[-1, 2] else points[::-1]
    return Centerline(caudal_first, np.ones(len(points)))
