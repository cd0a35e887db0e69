"""The report of a result in the scene: one text node beside the table, with both answers of the model and the edits.

It is the only place that a result is read from; all other nodes are views that are written from it. A scene of schema 1
may have no such node: its other nodes give the report once, when it is first read.
"""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.export.scene import scene_nodes as roles
from VertebralFractureLib.export.scene.legacy_scene import report_of_legacy_nodes
from VertebralFractureLib.export.scene.result_folder import put_into_folder
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes, find_results
from VertebralFractureLib.export.scene.table_nodes import write_run_attributes
from VertebralFractureLib.result import (
    CorrectedReport,
    Correction,
    SpineReport,
    corrected_from_json,
    corrected_to_json,
    correction_from_json,
    correction_to_json,
)

_EDITS_ATTRIBUTE = roles.ATTRIBUTE_PREFIX + "edits"
"""On the report node: edits that are newer than its text, while scores for them are awaited."""


def add_report_node(scene: Any, corrected: CorrectedReport) -> Any:
    """A ``vtkMRMLTextNode`` that holds ``corrected``, not connected to any result yet."""
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "VertebralFracture report")
    node.SetText(corrected_to_json(corrected, indent=None))
    return node


def write_correction(scene: Any, nodes: SceneNodes, corrected: CorrectedReport) -> Any:
    """Keep ``corrected`` as the result of ``nodes``; its ``vtkMRMLTextNode``, new or the one that was there."""
    import slicer

    node = _report_node(nodes)
    if node is not None:
        node.SetText(corrected_to_json(corrected, indent=None))
        node.RemoveAttribute(_EDITS_ATTRIBUTE)
        return node
    node = add_report_node(scene, corrected)
    roles.mark(node, roles.REPORT)
    nodes.table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + roles.REPORT, node.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    put_into_folder(hierarchy, hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table)), node)
    return node


def write_edits(nodes: SceneNodes, correction: Correction) -> None:
    """Keep ``correction`` with the result until ``write_correction`` writes the whole report, which takes longer."""
    _report_node(nodes).SetAttribute(_EDITS_ATTRIBUTE, correction_to_json(correction, indent=None))


def read_correction(scene: Any, nodes: SceneNodes) -> CorrectedReport:
    """The report of a result with a reader's edits; a result of schema 1 without a report node gets one by this.

    Raises:
        ValueError: when the report is missing or damaged, or was written by a newer version.
    """
    node = _report_node(nodes)
    if node is None or not node.GetText():
        report = report_of_legacy_nodes(nodes)
        node = write_correction(scene, nodes, CorrectedReport(report))
        # From now on the table is a view: it must not be taken for the report if the new node is deleted.
        write_run_attributes(nodes.table, report)
    corrected = corrected_from_json(node.GetText())
    edits = node.GetAttribute(_EDITS_ATTRIBUTE)
    return corrected if not edits else corrected.corrected_by(correction_from_json(edits))


def kept_text(nodes: SceneNodes) -> tuple[str, str]:
    """What ``read_correction`` would read, not parsed: to tell whether somebody else changed it."""
    node = _report_node(nodes)
    return ("", "") if node is None else (node.GetText() or "", node.GetAttribute(_EDITS_ATTRIBUTE) or "")


def _report_node(nodes: SceneNodes) -> Any:
    """``nodes`` may be older than the node; a result that is being removed lost its references only."""
    node = roles.nodes_of(nodes.table).report
    return nodes.report if node is None else node


def read_report(scene: Any, nodes: SceneNodes | None = None) -> SpineReport:
    """The report in ``scene``, with a reader's edits; the newest one unless ``nodes`` names another.

    Raises:
        ValueError: when the scene holds no result; else as ``read_correction``.
    """
    if nodes is None:
        results = find_results(scene)
        if not results:
            raise ValueError("This scene holds no VertebralFracture result.")
        nodes = results[-1]
    return read_correction(scene, nodes).shown
