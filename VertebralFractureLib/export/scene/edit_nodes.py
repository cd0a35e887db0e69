"""Nodes that are there only while somebody edits: not in Slicer's lists, not in a saved scene."""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.export.scene.scene_nodes import ATTRIBUTE_PREFIX

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
    display.SetTextScale(2.5)
    return node
