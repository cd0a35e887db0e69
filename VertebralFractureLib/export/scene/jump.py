"""From a vertebra to the views and back: slice views jump to it, its point stands out, a clicked point is recognized.

A view that shows the straightened volume jumps to the vertebra's place in straight space, all others to the patient's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.export.scene.straight_space import shows_straight
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import Vertebra

_SAME_PLACE_MM = 1.0


def jump_to_vertebra(scene: Any, nodes: SceneNodes, vertebrae: Sequence[Vertebra], index: int) -> None:
    """Center every slice view on vertebra ``index`` (caudal first); does nothing while the user places points."""
    if _is_placing(scene):
        return
    straight = None
    if nodes.straight_points is not None and index < nodes.straight_points.GetNumberOfControlPoints():
        straight = nodes.straight_points.GetNthControlPointPositionWorld(index)
    for place in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        view = scene.GetNthNodeByClass(place, "vtkMRMLSliceNode")
        if not shows_straight(scene, nodes, view):
            view.JumpSliceByCentering(*vertebrae[index].center_ras)
        elif straight is not None:
            view.JumpSliceByCentering(*straight)


def highlight_vertebra(nodes: SceneNodes, center_ras: Point | None) -> None:
    """Let the vertebra there stand out among the points of all groups; None lets none stand out."""
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


def _is_placing(scene: Any) -> bool:
    interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
    return interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place
