"""How a result is being read: threshold and grading rule that the user chose, kept on the result and seen in its nodes.

The model's own answer stays in the vertebra table; point lists, colors, chart and the columns ``shown_*`` follow the
choice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from VertebralFractureLib.export.palette import GROUPS, group_of
from VertebralFractureLib.export.scene import scene_nodes as roles
from VertebralFractureLib.export.scene.corrected_scene import read_correction
from VertebralFractureLib.export.scene.display_nodes import put_into_folder, set_probability_colors
from VertebralFractureLib.export.scene.markups_nodes import add_group_node, fill_group_node
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes, nodes_of, refresh_colors
from VertebralFractureLib.export.scene.table_nodes import show_in_sequence_table, show_in_vertebra_table
from VertebralFractureLib.result import EVALUABLE, OWN_RULE, SpineReport, regrade

_READING_ATTRIBUTE = roles.ATTRIBUTE_PREFIX + "reading"


@dataclass(frozen=True)
class Reading:
    """``threshold``: probability from which a vertebra is suspected; ``rule``: a key of ``GRADING_RULES``."""

    threshold: float
    rule: str = OWN_RULE


def reading_of(nodes: SceneNodes, report: SpineReport) -> Reading:
    """The choice that is kept on the result; without one, the model's own threshold and grades."""
    text = nodes.table.GetAttribute(_READING_ATTRIBUTE)
    if not text:
        return Reading(report.scan.decision_threshold)
    content = json.loads(text)
    return Reading(float(content["threshold"]), str(content["rule"]))


def read_shown_report(scene: Any, nodes: SceneNodes) -> SpineReport:
    """The result as it is being read, with the reader's correction; ``read_correction`` gives the model's own answer.

    Raises:
        ValueError: as ``read_correction`` does.
    """
    report = read_correction(scene, nodes).shown
    reading = reading_of(nodes, report)
    return regrade(report, reading.threshold, reading.rule)


def show_reading(scene: Any, nodes: SceneNodes, reading: Reading) -> SpineReport:
    """Let all nodes of the result follow ``reading``, keep it on the result, and give the report as it then reads.

    Raises:
        ValueError: when the threshold or the rule is not one, or the result is damaged.
    """
    shown = regrade(read_correction(scene, nodes).shown, reading.threshold, reading.rule)
    nodes.table.SetAttribute(_READING_ATTRIBUTE, json.dumps({"threshold": reading.threshold, "rule": reading.rule}))
    nodes.table.SetAttribute(roles.ATTRIBUTE_PREFIX + "headline", shown.headline)
    show_in_vertebra_table(nodes.table, shown)
    if shown.status == EVALUABLE:
        _show_groups(scene, nodes, shown)
    if nodes.sequence is not None:
        show_in_sequence_table(nodes.sequence, shown)
    if nodes.probability_colors is not None:
        set_probability_colors(nodes.probability_colors, reading.threshold)
        refresh_colors(nodes)
    return shown


def _show_groups(scene: Any, nodes: SceneNodes, shown: SpineReport) -> None:
    for group in GROUPS:
        node = nodes.points.get(group.key)
        if node is not None:
            fill_group_node(node, group, shown.vertebrae)
        elif any(group_of(vertebra) is group for vertebra in shown.vertebrae):
            _add_group(scene, nodes, roles.POINTS_PREFIX + group.key, group, shown)


def _add_group(scene: Any, nodes: SceneNodes, role: str, group: Any, shown: SpineReport) -> None:
    import slicer

    node = add_group_node(scene, group, shown.vertebrae, f"Vertebrae {group.name}")
    roles.mark(node, role)
    nodes.table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + role, node.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    put_into_folder(hierarchy, hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table)), node)
    first = next(iter(nodes_of(nodes.table).points.values()))
    node.GetDisplayNode().SetVisibility(first.GetDisplayNode().GetVisibility())
    node.GetDisplayNode().SetOpacity(first.GetDisplayNode().GetOpacity())
