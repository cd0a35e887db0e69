"""Turn a ``SpineReport`` into MRML nodes in a scene that we do not own: nodes are added, none of the user's is changed.

One text node holds the report; all others are views of it, where a person looks for what it says: table cells, control
points, attributes.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timezone
from typing import Any, cast

import numpy as np

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.export.palette import GROUPS
from VertebralFractureLib.export.scene import scene_nodes as roles
from VertebralFractureLib.export.scene.body_nodes import add_bodies_node
from VertebralFractureLib.export.scene.display_nodes import add_chart, add_grade_colors, add_probability_colors
from VertebralFractureLib.export.scene.label_nodes import add_labels_node, add_straight_labels_node, label_places
from VertebralFractureLib.export.scene.markups_nodes import (
    add_centerline_node,
    add_group_node,
    add_landmarks_node,
    add_straight_points_node,
    list_members,
)
from VertebralFractureLib.export.scene.report_node import add_report_node
from VertebralFractureLib.export.scene.result_folder import add_folder, remove_nodes
from VertebralFractureLib.export.scene.slice_views import add_first_view
from VertebralFractureLib.export.scene.table_nodes import (
    fill_sequence_table,
    fill_vertebra_table,
    write_run_attributes,
)
from VertebralFractureLib.export.scene.volume_nodes import (
    add_ct_node,
    add_straightened_node,
    add_transform_node,
    int16_voxels,
)
from VertebralFractureLib.result import EVALUABLE, CorrectedReport, SpineReport
from VertebralFractureLib.volume import CTVolume

_STRAIGHT_POINT_COLOR = (0.80, 0.80, 0.55)
_VOXELS_PER_STEP = 1_500_000
"""Of the straightened volume: some 20 ms."""


def write_scene(
    report: SpineReport | CorrectedReport,
    ct: CTVolume | None,
    spine: StraightenedVolume | None,
    scene: Any,
    input_node: Any = None,
) -> roles.SceneNodes:
    """Add the result to ``scene`` (``vtkMRMLScene``), in one folder beside the input; see ``scene_steps``."""
    steps = scene_steps(report, ct, spine, scene, input_node)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("roles.SceneNodes", end.value)


def scene_steps(
    report: SpineReport | CorrectedReport,
    ct: CTVolume | None,
    spine: StraightenedVolume | None,
    scene: Any,
    input_node: Any = None,
) -> Generator[float, None, roles.SceneNodes]:
    """``write_scene`` in short steps, between which an application can breathe; each yields the fraction that is done.

    The result counts as one (``find_results``) from the last step on; closed before that, it leaves nothing behind.

    Args:
        report: with a reader's corrections where there are any.
        ct: what becomes the input volume node; not used when ``input_node`` is given.
        spine: the straightened volume; None when the scan was not evaluable.
        input_node: the volume node that the user chose; it is referred to and left as it is.

    Raises:
        ValueError: when neither ``ct`` nor ``input_node`` is given.
    """
    if ct is None and input_node is None:
        raise ValueError("The scene needs the input: give the CT volume or its node.")
    corrected = report if isinstance(report, CorrectedReport) else CorrectedReport(report)
    shown = corrected.shown
    made: dict[str, Any] = {}
    try:
        made[roles.REPORT] = add_report_node(scene, corrected)
        yield 0.1
        volume = input_node
        if volume is None and ct is not None:
            volume = made[roles.INPUT] = add_ct_node(scene, ct)
            roles.mark(volume, roles.INPUT)
            yield 0.2
        yield from _result_steps(shown, spine, scene, made)
        add_first_view(scene, shown, volume)
        made.pop(roles.INPUT, None)
        add_folder(scene, volume, made, roles.node_name(f"VertebralFracture: {shown.input.name}"))
        yield 0.95
        _connect(made, volume)
    except BaseException:
        remove_nodes(scene, list(made.values()))
        raise
    return roles.nodes_of(made[roles.TABLE])


def _result_steps(
    report: SpineReport, spine: StraightenedVolume | None, scene: Any, made: dict[str, Any]
) -> Generator[float, None, None]:
    """Fill ``made`` with the result's nodes by role."""
    made[roles.TABLE] = scene.AddNewNodeByClass("vtkMRMLTableNode", "Vertebrae")
    fill_vertebra_table(made[roles.TABLE], report)
    made[roles.TABLE].SetAttribute(roles.ATTRIBUTE_PREFIX + "writtenAt", _now())
    write_run_attributes(made[roles.TABLE], report)
    yield 0.25
    yield from missing_nodes_steps(report, spine, scene, made)


def missing_nodes_steps(
    report: SpineReport, spine: StraightenedVolume | None, scene: Any, made: dict[str, Any]
) -> Generator[float, None, None]:
    """Add to ``made`` the nodes that show ``report`` and are not in it yet, each under its role."""
    evaluable = report.status == EVALUABLE
    threshold = report.scan.decision_threshold
    if evaluable and roles.GRADE_COLORS not in made:
        made[roles.GRADE_COLORS] = add_grade_colors(scene, "Vertebra grades")
    if evaluable and roles.PROBABILITY_COLORS not in made:
        made[roles.PROBABILITY_COLORS] = add_probability_colors(scene, "Fracture probability", threshold)
    yield 0.3
    if report.centerline.points_ras and roles.CENTERLINE not in made:
        colors = made.get(roles.PROBABILITY_COLORS)
        made[roles.CENTERLINE] = add_centerline_node(scene, report, "Spinal canal centerline", colors)
    yield 0.4
    if not evaluable:
        return
    for group in GROUPS:
        role = roles.POINTS_PREFIX + group.key
        if role not in made and list_members(report, group):
            made[role] = add_group_node(scene, group, report, f"Vertebrae {group.name}")
            yield 0.45
    if roles.LABELS not in made:
        made[roles.LABELS] = add_labels_node(scene, "Vertebra labels", report)
    if roles.SIDE_LABELS not in made:
        made[roles.SIDE_LABELS] = add_labels_node(scene, "Vertebra labels beside the bodies", report, at_side=True)
    yield 0.5
    if roles.LANDMARKS not in made:
        made[roles.LANDMARKS] = add_landmarks_node(scene, report.vertebrae, "Vertebra landmarks")
    if roles.BODIES not in made:
        made[roles.BODIES] = add_bodies_node(scene, report, "Vertebral bodies", made[roles.GRADE_COLORS])
    yield 0.55
    if roles.SEQUENCE not in made:
        sequence = made[roles.SEQUENCE] = scene.AddNewNodeByClass("vtkMRMLTableNode", "Probability along the spine")
        fill_sequence_table(sequence, report)
        made[roles.SERIES], made[roles.THRESHOLD_SERIES], made[roles.CHART] = add_chart(
            scene, sequence, "Fracture probability"
        )
    yield 0.65
    if spine is not None:
        yield from _straight_steps(report, spine, scene, made)


def _straight_steps(
    report: SpineReport, spine: StraightenedVolume, scene: Any, made: dict[str, Any]
) -> Generator[float, None, None]:
    if roles.STRAIGHTENED not in made:
        voxels = np.empty(spine.hu.shape, np.int16)
        slices = max(_VOXELS_PER_STEP // max(voxels[0].size, 1), 1)
        for start in range(0, len(voxels), slices):
            part = slice(start, start + slices)
            voxels[part] = int16_voxels(spine.hu[part])
            yield 0.7
        made[roles.STRAIGHTENED] = add_straightened_node(scene, spine, voxels, f"{report.input.name} straightened")
        yield 0.8
    if roles.TRANSFORM not in made:
        made[roles.TRANSFORM] = add_transform_node(scene, spine.frame, "Straighten the spine")
    yield 0.85
    if roles.STRAIGHT_POINTS not in made:
        made[roles.STRAIGHT_POINTS] = add_straight_points_node(
            scene, spine.frame, report.vertebrae, "Vertebrae in straight space", _STRAIGHT_POINT_COLOR
        )
    if roles.STRAIGHT_LABELS not in made:
        straight = spine.frame.ras_to_straight(label_places(report))
        made[roles.STRAIGHT_LABELS] = add_straight_labels_node(
            scene, "Vertebra labels in straight space", report.vertebrae, straight
        )
    if roles.STRAIGHT_BODIES not in made:
        made[roles.STRAIGHT_BODIES] = add_bodies_node(
            scene, report, "Vertebral bodies in straight space", made[roles.GRADE_COLORS], made[roles.TRANSFORM]
        )
    yield 0.9


def _connect(made: dict[str, Any], volume: Any) -> None:
    table = made[roles.TABLE]
    table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + roles.INPUT, volume.GetID())
    for role, node in made.items():
        roles.mark(node, role)
        if role != roles.TABLE:
            table.SetNodeReferenceID(roles.ATTRIBUTE_PREFIX + role, node.GetID())


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
