"""A reader's correction becomes visible: table, points and landmarks of a result follow it at once.

Everything is written anew from the corrected report, so that undo gives the very nodes that were there before.
"""

from __future__ import annotations

import json
from typing import Any

from VertebralFractureLib.correction import CorrectedReport
from VertebralFractureLib.report import SpineReport
from VertebralFractureLib.report.report_json import report_content
from VertebralFractureLib.scene import scene_nodes as roles
from VertebralFractureLib.scene.corrected_scene import read_correction, write_correction
from VertebralFractureLib.scene.markups_nodes import fill_landmarks_node, fill_straight_points_node
from VertebralFractureLib.scene.scene_nodes import SceneNodes
from VertebralFractureLib.scene.shown_reading import reading_of, show_reading
from VertebralFractureLib.scene.straight_space import straight_places
from VertebralFractureLib.scene.table_nodes import fill_vertebra_table


def show_correction(scene: Any, nodes: SceneNodes, corrected: CorrectedReport) -> SpineReport:
    """Keep ``corrected`` with the result of ``nodes``, let its nodes show it, and give the report as it then reads.

    The curve and the straightened volume stay: they follow a centerline, not a correction of what lies on it.

    Raises:
        ValueError: when the result is damaged.
    """
    reading = reading_of(nodes, read_correction(scene, nodes).shown)
    write_correction(scene, nodes, corrected)
    # As it was kept, with rounded numbers, so that the same correction gives the same nodes however it came about.
    report = read_correction(scene, nodes).shown
    nodes.table.SetAttribute(roles.ATTRIBUTE_PREFIX + "scan", json.dumps(report_content(report)["scan"]))
    was_modifying = nodes.table.StartModify()
    nodes.table.RemoveAllColumns()
    fill_vertebra_table(nodes.table, report)
    nodes.table.EndModify(was_modifying)
    if nodes.landmarks is not None:
        fill_landmarks_node(nodes.landmarks, report.vertebrae)
    if nodes.straight_points is not None and nodes.transform is not None:
        centres = [vertebra.centre_ras for vertebra in report.vertebrae]
        fill_straight_points_node(nodes.straight_points, straight_places(nodes.transform, centres), report.vertebrae)
    return show_reading(scene, nodes, reading)
