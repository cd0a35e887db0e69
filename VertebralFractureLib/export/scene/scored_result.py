"""The model's answer along a corrected curve becomes the result that is shown, with the volume straightened along it.

Where nothing could be judged before, the nodes of an evaluable result are added; undo takes them out again.
"""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.export.scene import scene_nodes as roles
from VertebralFractureLib.export.scene.corrected_scene import read_correction
from VertebralFractureLib.export.scene.display_nodes import put_into_folder
from VertebralFractureLib.export.scene.remove_result import remove_nodes
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes, nodes_by_role, nodes_of
from VertebralFractureLib.export.scene.show_correction import show_correction
from VertebralFractureLib.export.scene.straight_picture import (
    DETECTED,
    StraightPicture,
    along_curve,
    mark_picture,
    show_picture,
)
from VertebralFractureLib.export.scene.write_scene import missing_nodes_steps
from VertebralFractureLib.result import EVALUABLE, CorrectedReport, SpineReport

_ALWAYS = (roles.TABLE, roles.INPUT, roles.REPORT)


def show_scored(
    scene: Any,
    nodes: SceneNodes,
    corrected: CorrectedReport,
    picture: StraightPicture | None,
    spine: StraightenedVolume | None = None,
) -> SceneNodes:
    """Keep and show ``corrected``, whose scores belong to its curve; the result's nodes, which may be more than before.

    Args:
        picture: the volume straightened along that curve; None leaves the one that is there.
        spine: the same with its frame, needed only where the result has no straightened volume yet.

    Raises:
        ValueError: when the result is damaged.
    """
    line = corrected.correction.centerline_ras
    along = along_curve(line)
    if picture is not None:
        show_picture(nodes, picture, along)
    show_correction(scene, nodes, corrected)
    report = read_correction(scene, nodes).shown
    if corrected.detected.status != EVALUABLE:
        if report.status == EVALUABLE:
            nodes = complete_result(scene, nodes, report, spine)
            mark_picture(nodes, along)
        elif along == DETECTED:
            nodes = _without_scores(scene, nodes, report)
    return nodes


def complete_result(scene: Any, nodes: SceneNodes, report: SpineReport, spine: StraightenedVolume | None) -> SceneNodes:
    """Add the nodes that ``report`` needs and the result lacks, in the result's folder."""
    import slicer

    known = nodes_by_role(nodes.table)
    made = dict(known)
    try:
        for _ in missing_nodes_steps(report, spine, scene, made):
            pass
    except BaseException:
        remove_nodes(scene, [node for role, node in made.items() if role not in known])
        raise
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table))
    for role, node in made.items():
        if role not in known:
            roles.mark(node, role)
            nodes.table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + role, node.GetID())
            put_into_folder(hierarchy, folder, node)
    return nodes_of(nodes.table)


def _without_scores(scene: Any, nodes: SceneNodes, report: SpineReport) -> SceneNodes:
    """Take out what only an evaluable result has."""
    kept = (*_ALWAYS, roles.CENTERLINE) if report.centerline.points_ras else _ALWAYS
    remove_nodes(scene, [node for role, node in nodes_by_role(nodes.table).items() if role not in kept])
    return nodes_of(nodes.table)
