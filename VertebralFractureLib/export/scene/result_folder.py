"""The folder of a result in the data tree: nodes are put into it, taken out without a trace, and put back.

Nothing else is touched: the user's own nodes stay, also where they lie in the result's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from VertebralFractureLib.export.scene.scene_nodes import SceneNodes


def add_folder(scene: Any, input_node: Any, nodes: dict[str, Any], name: str) -> None:
    """Put ``nodes`` into one subject hierarchy folder beside the input; the input itself stays where it is."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parent = hierarchy.GetSceneItemID()
    input_item = hierarchy.GetItemByDataNode(input_node)
    if input_item:
        parent = hierarchy.GetItemParent(input_item)
    else:
        _own(hierarchy, hierarchy.CreateItem(parent, input_node), input_node)
    folder = hierarchy.CreateFolderItem(parent, name)
    hierarchy.SetItemOwnerPluginName(folder, "Folder")
    for node in nodes.values():
        put_into_folder(hierarchy, folder, node)


def put_into_folder(hierarchy: Any, folder: int, node: Any) -> None:
    """Make ``node`` a child of the subject hierarchy item ``folder``."""
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, folder)
    else:
        item = hierarchy.CreateItem(folder, node)
    _own(hierarchy, item, node)


def _own(hierarchy: Any, item: int, node: Any) -> None:
    """Name the plugin that Slicer would choose, which a scene written without the application would lack."""
    owners = (
        ("vtkMRMLMarkupsNode", "Markups"),
        ("vtkMRMLTableNode", "Tables"),
        ("vtkMRMLModelNode", "Models"),
        ("vtkMRMLSegmentationNode", "Segmentations"),
        ("vtkMRMLTransformNode", "Transforms"),
        ("vtkMRMLPlotChartNode", "Charts"),
        ("vtkMRMLPlotSeriesNode", "PlotSeries"),
        ("vtkMRMLScalarVolumeNode", "Volumes"),
    )
    for class_name, plugin in owners:
        if node.IsA(class_name) and not hierarchy.GetItemOwnerPluginName(item):
            hierarchy.SetItemOwnerPluginName(item, plugin)


@dataclass(frozen=True)
class RemovedResult:
    """What ``restore_result`` needs: the result's nodes, and all that was removed with them, in that order."""

    own: tuple[Any, ...]
    removed: tuple[Any, ...]
    input_volume: Any
    folder_name: str


def remove_result(scene: Any, nodes: SceneNodes) -> RemovedResult:
    """Remove every node of a result, and its folder unless something else lies in it."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table))
    name = hierarchy.GetItemName(folder)
    own = nodes.own
    return RemovedResult(own, tuple(remove_nodes(scene, own)), nodes.input_volume, name)


def restore_result(scene: Any, removed: RemovedResult) -> None:
    """Undo ``remove_result``; references between the nodes hold because each gets its ID back."""
    for node in reversed(removed.removed):
        scene.AddNode(node)
    if removed.input_volume is not None and scene.IsNodePresent(removed.input_volume):
        nodes = {node.GetID(): node for node in removed.own}
        add_folder(scene, removed.input_volume, nodes, removed.folder_name)


def remove_nodes(scene: Any, nodes: Sequence[Any]) -> list[Any]:
    """Remove ``nodes``, their display and storage nodes, and folders that this leaves empty; what was removed."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = {node: hierarchy.GetItemByDataNode(node) for node in nodes}
    folders = {hierarchy.GetItemParent(item) for item in items.values() if item}
    removed = []
    for node in nodes:
        # Slicer's own observer does this in the application; whatever the user put below an item moves up.
        if items[node]:
            hierarchy.RemoveItem(items[node], False, False)
        for part in (node, *_parts(node)):
            if part.GetScene() is scene and scene.IsNodePresent(part):
                removed.append(part)
                scene.RemoveNode(part)
    for folder in folders:
        if hierarchy.GetItemOwnerPluginName(folder) == "Folder" and hierarchy.GetNumberOfItemChildren(folder) == 0:
            hierarchy.RemoveItem(folder)
    return removed


def _parts(node: Any) -> list[Any]:
    parts = []
    if node.IsA("vtkMRMLDisplayableNode"):
        parts += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        parts += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    return [part for part in parts if part is not None]
