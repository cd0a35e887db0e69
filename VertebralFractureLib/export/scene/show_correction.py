"""A reader's correction becomes visible: table, curve, points, landmarks and chart of a result follow it at once.

Everything is written anew from the corrected report, so that undo gives the very nodes that were there before.
"""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.export.scene.corrected_scene import read_correction, write_correction
from VertebralFractureLib.export.scene.markups_nodes import (
    fill_centerline_node,
    fill_landmarks_node,
    fill_straight_points_node,
)
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.export.scene.shown_reading import reading_of, show_reading
from VertebralFractureLib.export.scene.straight_space import straight_places
from VertebralFractureLib.export.scene.table_nodes import (
    fill_sequence_table,
    fill_vertebra_table,
    write_run_attributes,
)
from VertebralFractureLib.result import CorrectedReport, SpineReport


def show_correction(scene: Any, nodes: SceneNodes, corrected: CorrectedReport) -> SpineReport:
    """Keep ``corrected`` with the result of ``nodes``, let its nodes show it, and give the report as it then reads.

    The straightened volume stays: it is voxels, which no report holds (``straight_picture``).

    Raises:
        ValueError: when the result is damaged.
    """
    before = read_correction(scene, nodes).shown
    reading = reading_of(nodes, before)
    write_correction(scene, nodes, corrected)
    # As it was kept, with rounded numbers, so that the same correction gives the same nodes however it came about.
    report = read_correction(scene, nodes).shown
    write_run_attributes(nodes.table, report)
    fill_vertebra_table(nodes.table, report)
    if nodes.centerline is not None:
        fill_centerline_node(nodes.centerline, report, nodes.probability_colors)
    if nodes.sequence is not None and report.sequence != before.sequence:
        fill_sequence_table(nodes.sequence, report)
    if nodes.landmarks is not None:
        fill_landmarks_node(nodes.landmarks, report.vertebrae)
    if nodes.straight_points is not None and nodes.transform is not None:
        centers = [vertebra.center_ras for vertebra in report.vertebrae]
        fill_straight_points_node(nodes.straight_points, straight_places(nodes.transform, centers), report.vertebrae)
    return show_reading(scene, nodes, reading)
