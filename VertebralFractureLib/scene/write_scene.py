"""Turn a ``SpineReport`` into MRML nodes in a scene that we do not own: nodes are added, none of the user's is changed.

Every field of the report goes to where a person looks for it (table cells, control points, attributes), so that
``read_report`` restores the report from the nodes, with what a reader changed in them.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from VertebralFractureLib.report import SpineReport, report_to_json
from VertebralFractureLib.report.palette import GROUPS, group_of
from VertebralFractureLib.report.spine_report import EVALUABLE
from VertebralFractureLib.scene import scene_nodes as roles
from VertebralFractureLib.scene.display_nodes import add_chart, add_folder, add_grade_colors, add_probability_colors
from VertebralFractureLib.scene.first_view import add_first_view
from VertebralFractureLib.scene.markups_nodes import (
    add_centerline_node,
    add_group_node,
    add_landmarks_node,
    add_straight_points_node,
)
from VertebralFractureLib.scene.table_nodes import fill_sequence_table, fill_vertebra_table
from VertebralFractureLib.scene.volume_nodes import add_ct_node, add_straightened_node, add_transform_node
from VertebralFractureLib.spine import SpineVolume
from VertebralFractureLib.volume import CTVolume

_STRAIGHT_POINT_COLOR = (1.0, 1.0, 1.0)


def write_scene(
    report: SpineReport,
    ct: CTVolume | None,
    spine: SpineVolume | None,
    scene: Any,
    input_node: Any = None,
) -> roles.SceneNodes:
    """Add the result to ``scene`` (``vtkMRMLScene``), in one folder beside the input.

    Args:
        ct: what becomes the input volume node; not used when ``input_node`` is given.
        spine: the straightened volume; None when the scan was not evaluable.
        input_node: the volume node that the user chose; it is referred to and left as it is.

    Raises:
        ValueError: when neither ``ct`` nor ``input_node`` is given.
    """
    if ct is None and input_node is None:
        raise ValueError("The scene needs the input: give the CT volume or its node.")
    evaluable = report.status == EVALUABLE
    made: dict[str, Any] = {}
    made[roles.TABLE] = scene.AddNewNodeByClass("vtkMRMLTableNode", "Vertebrae")
    fill_vertebra_table(made[roles.TABLE], report.vertebrae, report.reason)
    _write_attributes(made[roles.TABLE], report)
    volume = input_node
    if volume is None and ct is not None:
        volume = add_ct_node(scene, ct)
        roles.mark(volume, roles.INPUT)
    if evaluable:
        made[roles.GRADE_COLORS] = add_grade_colors(scene, "Vertebra grades")
        made[roles.PROBABILITY_COLORS] = add_probability_colors(scene, "Fracture probability")
    if report.centerline.points_ras:
        colors = made.get(roles.PROBABILITY_COLORS)
        made[roles.CENTERLINE] = add_centerline_node(scene, report, "Spinal canal centerline", colors)
    if evaluable:
        for group in GROUPS:
            if any(group_of(vertebra) is group for vertebra in report.vertebrae):
                role = roles.POINTS_PREFIX + group.key
                made[role] = add_group_node(scene, group, report.vertebrae, f"Vertebrae {group.name}")
        made[roles.LANDMARKS] = add_landmarks_node(scene, report.vertebrae, "Vertebra landmarks")
        made[roles.SEQUENCE] = scene.AddNewNodeByClass("vtkMRMLTableNode", "Probability along the spine")
        fill_sequence_table(made[roles.SEQUENCE], report.sequence)
        made[roles.SERIES], made[roles.CHART] = add_chart(scene, made[roles.SEQUENCE], "Fracture probability")
    if evaluable and spine is not None:
        made[roles.STRAIGHTENED] = add_straightened_node(scene, spine, f"{report.input.name} straightened")
        made[roles.TRANSFORM] = add_transform_node(scene, spine.frame, "Straighten the spine")
        made[roles.STRAIGHT_POINTS] = add_straight_points_node(
            scene, spine.frame, report.vertebrae, "Vertebrae in straight space", _STRAIGHT_POINT_COLOR
        )
    add_first_view(scene, report, volume)
    _connect(made, volume)
    add_folder(scene, volume, made, f"VertebralFracture: {report.input.name}")
    return roles.nodes_of(made[roles.TABLE])


def _connect(made: dict[str, Any], volume: Any) -> None:
    table = made[roles.TABLE]
    table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + roles.INPUT, volume.GetID())
    for role, node in made.items():
        roles.mark(node, role)
        if role != roles.TABLE:
            table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + role, node.GetID())


def _write_attributes(table: Any, report: SpineReport) -> None:
    """Whatever belongs to the run and not to one vertebra, with the very numbers of ``report.json``."""
    content = json.loads(report_to_json(report))
    values: dict[str, Any] = {
        "schema": content["schema"],
        "softwareVersion": content["software"]["version"],
        "weightsSha256": content["software"]["weights_sha256"],
        "input": content["input"],
        "status": content["status"],
        "reason": content["reason"] or "",
        "headline": report.headline,
        "scan": content["scan"],
        "timingsS": content["timings_s"],
        "peakMemoryMb": content["peak_memory_mb"],
        "writtenAt": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
        table.SetAttribute(roles.ATTRIBUTE_PREFIX + name, text)
