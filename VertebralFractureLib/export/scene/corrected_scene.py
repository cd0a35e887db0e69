"""A reader's corrections in a scene: one text node beside the result's table, which holds both answers and the edits.

The other nodes show the corrected report; this one keeps where it came from, so that editing goes on after a scene was
saved and loaded. A scene of an earlier version has no such node: what its nodes say is the model's answer then.
"""

from __future__ import annotations

import functools
from typing import Any

from VertebralFractureLib.export.scene import scene_nodes as roles
from VertebralFractureLib.export.scene.display_nodes import put_into_folder
from VertebralFractureLib.export.scene.read_report import read_report
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.result import CorrectedReport, corrected_from_json, corrected_to_json


def write_correction(scene: Any, nodes: SceneNodes, corrected: CorrectedReport) -> Any:
    """Keep ``corrected`` with the result of ``nodes``; its ``vtkMRMLTextNode``, new or the one that was there."""
    import slicer

    node = roles.nodes_of(nodes.table).correction  # ``nodes`` may be older than the correction
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLTextNode", "VertebralFracture report")
        roles.mark(node, roles.CORRECTION)
        nodes.table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + roles.CORRECTION, node.GetID())
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        put_into_folder(hierarchy, hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table)), node)
    node.SetText(corrected_to_json(corrected, indent=None))
    return node


def read_correction(scene: Any, nodes: SceneNodes) -> CorrectedReport:
    """What ``write_correction`` kept; without it, the report that the nodes hold, uncorrected.

    Raises:
        ValueError: when the result is damaged, or was written by a newer version.
    """
    node = roles.nodes_of(nodes.table).correction  # ``nodes`` may be older than the correction
    if node is None or not node.GetText():
        return CorrectedReport(read_report(scene, nodes))
    return _parsed(node.GetText())


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> CorrectedReport:
    """A panel reads the same text many times between two edits."""
    return corrected_from_json(text)
