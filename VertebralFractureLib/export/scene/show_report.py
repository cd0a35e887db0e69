"""The views of a result follow its report: written anew, so that undo gives the very nodes that were there before.

How the report is read (threshold and grading rule of the reader) is kept on the table. The columns of the model's own
answer stay; point lists, colors, chart and the columns ``shown_*`` follow the reader's choice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from VertebralFractureLib.checked_json import parse_json
from VertebralFractureLib.checked_record import record_from_content
from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.export.palette import GROUPS
from VertebralFractureLib.export.scene import scene_nodes as roles
from VertebralFractureLib.export.scene.body_nodes import fill_bodies_node
from VertebralFractureLib.export.scene.display_nodes import set_probability_colors
from VertebralFractureLib.export.scene.label_nodes import fill_labels_node, label_places
from VertebralFractureLib.export.scene.markups_nodes import (
    add_group_node,
    fill_centerline_node,
    fill_group_node,
    fill_landmarks_node,
    fill_straight_points_node,
    list_members,
)
from VertebralFractureLib.export.scene.report_node import read_correction, write_correction
from VertebralFractureLib.export.scene.result_folder import put_into_folder, remove_nodes, remove_result
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes, nodes_by_role, nodes_of, refresh_colors
from VertebralFractureLib.export.scene.table_nodes import (
    fill_sequence_table,
    fill_vertebra_table,
    show_in_sequence_table,
    show_in_vertebra_table,
    write_run_attributes,
)
from VertebralFractureLib.export.scene.volume_nodes import (
    DETECTED,
    StraightPicture,
    along_curve,
    mark_picture,
    show_picture,
    straight_places,
)
from VertebralFractureLib.export.scene.write_scene import missing_nodes_steps
from VertebralFractureLib.result import (
    EVALUABLE,
    OWN_RULE,
    CorrectedReport,
    Correction,
    SpineReport,
    apply_display_criteria,
)
from VertebralFractureLib.result.correction import GivenAssessment
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.types import about
from VertebralFractureLib.vertebrae.grading import GRADING_RULES
from VertebralFractureLib.vertebrae.vertebra import ReaderAssessment

_CRITERIA_ATTRIBUTE = roles.ATTRIBUTE_PREFIX + "displayCriteria"
_FORMER_ATTRIBUTE = roles.ATTRIBUTE_PREFIX + "reading"
"""Of scenes of schema 1."""
_ALWAYS = (roles.TABLE, roles.INPUT, roles.REPORT)


@dataclass(frozen=True)
class DisplayCriteria:
    """``threshold``: probability from which a vertebra is suspected; ``rule``: a key of ``GRADING_RULES``."""

    threshold: float = field(metadata=about("probability from which a vertebra is suspected", least=0, most=1))
    rule: str = field(default=OWN_RULE, metadata=about("a key of GRADING_RULES", pattern="|".join(GRADING_RULES)))

    def apply(self, report: SpineReport) -> SpineReport:
        """The report as it is read.

        Raises:
            ValueError: when the threshold or the rule is not one.
        """
        return apply_display_criteria(report, self.threshold, self.rule)


def criteria_of(nodes: SceneNodes, report: SpineReport) -> DisplayCriteria:
    """The choice that is kept on the result; without one, the model's own threshold and grades."""
    text = nodes.table.GetAttribute(_CRITERIA_ATTRIBUTE) or nodes.table.GetAttribute(_FORMER_ATTRIBUTE)
    if not text:
        return DisplayCriteria(report.scan.decision_threshold)
    return record_from_content(DisplayCriteria, parse_json(text))


def read_shown_report(scene: Any, nodes: SceneNodes) -> SpineReport:
    """The result as it is being read, with the reader's correction; ``read_correction`` gives the model's own answer.

    Raises:
        ValueError: as ``read_correction`` does.
    """
    report = read_correction(scene, nodes).shown
    return criteria_of(nodes, report).apply(report)


def show_criteria(scene: Any, nodes: SceneNodes, criteria: DisplayCriteria) -> SpineReport:
    """Let all nodes of the result follow ``criteria``, keep it on the result, and give the report as it then reads.

    Raises:
        ValueError: when the threshold or the rule is not one, or the result is damaged.
    """
    return show_with_criteria(scene, nodes, read_correction(scene, nodes).shown, criteria)


def show_correction(scene: Any, nodes: SceneNodes, corrected: CorrectedReport) -> SpineReport:
    """Keep ``corrected`` as the result of ``nodes``, let them show it, and give the report as it then reads.

    The straightened volume stays: it is voxels, which no report holds (``straight_picture``).
    """
    write_correction(scene, nodes, corrected)
    return show_report(scene, nodes, corrected.shown, criteria_of(nodes, corrected.shown))


def show_scored(
    scene: Any,
    nodes: SceneNodes,
    corrected: CorrectedReport,
    picture: StraightPicture | None,
    spine: StraightenedVolume | None = None,
) -> SceneNodes:
    """Keep and show ``corrected``, whose scores belong to its curve; the result's nodes, which may be more than before.

    Where nothing could be judged before, the nodes of an evaluable result are added; the way back takes them out.

    Args:
        picture: the volume straightened along that curve; None leaves the one that is there.
        spine: the same with its frame, needed only where the result has no straightened volume yet.
    """
    along = along_curve(corrected.correction.centerline_ras)
    if picture is not None:
        show_picture(nodes, picture, along)
    show_correction(scene, nodes, corrected)
    report = corrected.shown
    if corrected.detected.status != EVALUABLE:
        if report.status == EVALUABLE:
            nodes = _complete(scene, nodes, report, spine)
            mark_picture(nodes, along)
        elif along == DETECTED:
            nodes = _without_scores(scene, nodes, report)
    return nodes_of(nodes.table)


def show_report(
    scene: Any, nodes: SceneNodes, report: SpineReport, criteria: DisplayCriteria, before: SpineReport | None = None
) -> SpineReport:
    """Let the views show ``report``, and give it as it then reads; nothing is kept.

    Args:
        before: what the views show already; what has not changed since is not written again.
    """
    same_vertebrae = before is not None and (before.vertebrae, before.scan) == (report.vertebrae, report.scan)
    same_sequence = before is not None and before.sequence == report.sequence
    if not (same_vertebrae and same_sequence):
        write_run_attributes(nodes.table, report)
        fill_vertebra_table(nodes.table, report)
    if nodes.centerline is not None:
        fill_centerline_node(nodes.centerline, report, nodes.probability_colors)
    if nodes.sequence is not None and not same_sequence:
        fill_sequence_table(nodes.sequence, report)
    if nodes.landmarks is not None and not same_vertebrae:
        fill_landmarks_node(nodes.landmarks, report.vertebrae)
    if nodes.straight_points is not None and nodes.transform is not None and not same_vertebrae:
        centers = [vertebra.center_ras for vertebra in report.vertebrae]
        fill_straight_points_node(nodes.straight_points, straight_places(nodes.transform, centers), report.vertebrae)
    if not same_vertebrae:
        _show_labels(nodes, report)
    if same_vertebrae and same_sequence:
        return criteria.apply(report)
    return show_with_criteria(scene, nodes, report, criteria)


def show_with_criteria(scene: Any, nodes: SceneNodes, report: SpineReport, criteria: DisplayCriteria) -> SpineReport:
    """Let the views that depend on it follow ``criteria`` of ``report``, and keep it on the result.

    Raises:
        ValueError: when the threshold or the rule is not one; nothing has changed then.
    """
    shown = criteria.apply(report)
    nodes.table.SetAttribute(_CRITERIA_ATTRIBUTE, json.dumps({"threshold": criteria.threshold, "rule": criteria.rule}))
    nodes.table.SetAttribute(roles.ATTRIBUTE_PREFIX + "impression", write_impression(shown))
    show_in_vertebra_table(nodes.table, shown)
    if shown.status == EVALUABLE:
        _show_groups(scene, nodes, shown)
        if nodes.bodies is not None:
            fill_bodies_node(nodes.bodies, shown, nodes.grade_colors)
        if nodes.straight_bodies is not None and nodes.transform is not None:
            fill_bodies_node(nodes.straight_bodies, shown, nodes.grade_colors, nodes.transform)
    if nodes.sequence is not None:
        show_in_sequence_table(nodes.sequence, shown)
    if nodes.probability_colors is not None:
        set_probability_colors(nodes.probability_colors, criteria.threshold)
        refresh_colors(nodes)
    return shown


def _show_labels(nodes: SceneNodes, report: SpineReport) -> None:
    if not nodes.label_nodes:
        return
    places = label_places(report)
    if nodes.labels is not None:
        fill_labels_node(nodes.labels, report.vertebrae, places)
    if nodes.side_labels is not None:
        fill_labels_node(nodes.side_labels, report.vertebrae, label_places(report, at_side=True))
    if nodes.straight_labels is not None and nodes.transform is not None:
        fill_labels_node(nodes.straight_labels, report.vertebrae, straight_places(nodes.transform, places))


def _show_groups(scene: Any, nodes: SceneNodes, shown: SpineReport) -> None:
    for group in GROUPS:
        node = nodes.points.get(group.key)
        if node is not None:
            fill_group_node(node, group, shown)
        elif list_members(shown, group):
            _add_group(scene, nodes, roles.POINTS_PREFIX + group.key, group, shown)


def _add_group(scene: Any, nodes: SceneNodes, role: str, group: Any, shown: SpineReport) -> None:
    import slicer

    node = add_group_node(scene, group, shown, f"Vertebrae {group.name}")
    roles.mark(node, role)
    nodes.table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + role, node.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    put_into_folder(hierarchy, hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table)), node)
    first = next(iter(nodes_of(nodes.table).points.values()))
    node.GetDisplayNode().SetVisibility(first.GetDisplayNode().GetVisibility())
    node.GetDisplayNode().SetOpacity(first.GetDisplayNode().GetOpacity())


def _complete(scene: Any, nodes: SceneNodes, report: SpineReport, spine: StraightenedVolume | None) -> SceneNodes:
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


def replace_result(scene: Any, older: SceneNodes, newer: SceneNodes) -> None:
    """Let what the reader said about each vertebra go over to ``newer`` by its place in the patient; remove ``older``.

    The reader's other corrections belong to the answer that is replaced and go with it.

    Raises:
        ValueError: when ``older`` is damaged or was written by a newer version; both stay as they were then.
    """
    shown = read_correction(scene, older).shown
    given = tuple(GivenAssessment(v.center_ras, v.reader) for v in shown.vertebrae if v.reader != ReaderAssessment())
    if given:
        corrected = read_correction(scene, newer)
        show_correction(scene, newer, replace(corrected, correction=Correction(assessments=given)))
    remove_result(scene, older)
