"""Which MRML nodes hold one result, and how they are found again after a scene was saved and loaded.

The vertebra table is the anchor: it carries a node reference to every other node, so that
several results can live in one scene, and a node that the user renames or moves is still found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.export.palette import GROUPS
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line

ATTRIBUTE_PREFIX = "VertebralFracture."
ROLE_ATTRIBUTE = ATTRIBUTE_PREFIX + "role"
DISCLAIMER_ATTRIBUTE = ATTRIBUTE_PREFIX + "disclaimer"

TABLE = "vertebra_table"
INPUT = "input"
CENTERLINE = "centerline"
STRAIGHTENED = "straightened"
TRANSFORM = "straightening_transform"
STRAIGHT_POINTS = "vertebrae_straight"
LANDMARKS = "landmarks"
BODIES = "bodies"
STRAIGHT_BODIES = "bodies_straight"
SEGMENTATION = "segmentation"
"""Made on demand and the user's from then on: no node reference leads to it, and it stays when a result is removed."""
LABELS = "labels"
SIDE_LABELS = "labels_side"
STRAIGHT_LABELS = "labels_straight"
SEQUENCE = "sequence_table"
GRADE_COLORS = "grade_colors"
PROBABILITY_COLORS = "probability_colors"
SERIES = "probability_series"
THRESHOLD_SERIES = "threshold_series"
CHART = "probability_chart"
REPORT = "correction"
"""The role of the report node keeps the name that scenes of schema 1 gave it."""
POINTS_PREFIX = "vertebrae_"


@dataclass(frozen=True)
class SceneNodes:
    """The nodes of one result; ``None`` where the result has no such node (or the user deleted it).

    Attributes:
        table: ``vtkMRMLTableNode``, one row per vertebra, cranial first.
        input_volume: the CT, ``vtkMRMLScalarVolumeNode``.
        centerline: ``vtkMRMLMarkupsCurveNode`` in RAS, locked.
        straightened: the spine volume, ``vtkMRMLScalarVolumeNode`` in straight space.
        transform: ``vtkMRMLGridTransformNode``; from its parent it maps straight space to RAS.
        points: ``vtkMRMLMarkupsFiducialNode`` per vertebra group (``grade_0`` ... ``not_evaluable``), in RAS.
        straight_points: all vertebrae in straight space, hidden at first.
        landmarks: six endplate points per measured vertebra in RAS, hidden at first.
        bodies: ``vtkMRMLModelNode``, the traced bodies in RAS, whose cuts with the slices are their outlines.
        straight_bodies: the same in straight space, hidden at first.
        labels: ``vtkMRMLMarkupsFiducialNode``, level and probability behind the canal, in RAS, without glyphs.
        side_labels: the same to the left of the bodies, for coronal and axial views.
        straight_labels: those behind the canal in straight space, hidden at first.
        sequence: ``vtkMRMLTableNode``, probability along the centerline.
        grade_colors, probability_colors: ``vtkMRMLColorTableNode``.
        series, threshold_series: ``vtkMRMLPlotSeriesNode``, the two lines of the chart.
        chart: ``vtkMRMLPlotChartNode`` of the probability along the spine.
        report: ``vtkMRMLTextNode`` with the model's answer and a reader's corrections as JSON; all others show it.
    """

    table: Any
    input_volume: Any = None
    centerline: Any = None
    straightened: Any = None
    transform: Any = None
    points: Mapping[str, Any] = field(default_factory=dict)
    straight_points: Any = None
    landmarks: Any = None
    bodies: Any = None
    straight_bodies: Any = None
    labels: Any = None
    side_labels: Any = None
    straight_labels: Any = None
    sequence: Any = None
    grade_colors: Any = None
    probability_colors: Any = None
    series: Any = None
    threshold_series: Any = None
    chart: Any = None
    report: Any = None

    @property
    def label_nodes(self) -> tuple[Any, ...]:
        """What writes level and probability beside the bodies; none in a scene of an earlier version."""
        return tuple(node for node in (self.labels, self.side_labels, self.straight_labels) if node is not None)

    @property
    def own(self) -> tuple[Any, ...]:
        """Every node that belongs to the result, one that refers to another before it; the input is the user's."""
        single = (
            self.table,
            self.chart,
            self.series,
            self.threshold_series,
            self.sequence,
            self.centerline,
            *self.points.values(),
            self.straight_points,
            self.landmarks,
            *self.label_nodes,
            self.bodies,
            self.straight_bodies,
            self.straightened,
            self.transform,
            self.grade_colors,
            self.probability_colors,
            self.report,
        )
        return tuple(node for node in single if node is not None)


def find_results(scene: Any) -> tuple[SceneNodes, ...]:
    """Every result in a ``vtkMRMLScene``, oldest first."""
    tables = (
        scene.GetNthNodeByClass(index, "vtkMRMLTableNode")
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLTableNode"))
    )
    return tuple(nodes_of(table) for table in tables if table.GetAttribute(ROLE_ATTRIBUTE) == TABLE)


def nodes_of(table: Any) -> SceneNodes:
    """The result that a vertebra table anchors."""

    def node(role: str) -> Any:
        return table.GetNodeReference(ATTRIBUTE_PREFIX + role)

    points = {group.key: node(POINTS_PREFIX + group.key) for group in GROUPS}
    return SceneNodes(
        table=table,
        input_volume=node(INPUT),
        centerline=node(CENTERLINE),
        straightened=node(STRAIGHTENED),
        transform=node(TRANSFORM),
        points={key: value for key, value in points.items() if value is not None},
        straight_points=node(STRAIGHT_POINTS),
        landmarks=node(LANDMARKS),
        bodies=node(BODIES),
        straight_bodies=node(STRAIGHT_BODIES),
        labels=node(LABELS),
        side_labels=node(SIDE_LABELS),
        straight_labels=node(STRAIGHT_LABELS),
        sequence=node(SEQUENCE),
        grade_colors=node(GRADE_COLORS),
        probability_colors=node(PROBABILITY_COLORS),
        series=node(SERIES),
        threshold_series=node(THRESHOLD_SERIES),
        chart=node(CHART),
        report=node(REPORT),
    )


def nodes_by_role(table: Any) -> dict[str, Any]:
    """Every node that the table refers to, and the table itself, by role."""
    found: dict[str, Any] = {TABLE: table}
    for place in range(table.GetNumberOfNodeReferenceRoles()):
        name = table.GetNthNodeReferenceRole(place)
        node = table.GetNodeReference(name) if name.startswith(ATTRIBUTE_PREFIX) else None
        if node is not None:
            found[name.removeprefix(ATTRIBUTE_PREFIX)] = node
    return found


def refresh_colors(nodes: SceneNodes) -> None:
    """Color the centerline again after a scene was loaded: Slicer reads the display before the points it applies to."""
    if nodes.centerline is not None and nodes.centerline.GetDisplayNode() is not None:
        nodes.centerline.GetDisplayNode().UpdateAssignedAttribute()


def node_name(name: str) -> str:
    """The name as a node may bear it: in one line that XML can hold, and without ``&``.

    Slicer writes an ``&`` of a node's name into the name of its file as it is, and no scene with one opens any more.
    """
    return one_line(name, NAME_LIMIT).replace("&", "+")


def mark(node: Any, role: str) -> None:
    """Write on a node of ours what it is and that it is for research only."""
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    node.SetAttribute(DISCLAIMER_ATTRIBUTE, RESEARCH_USE_ONLY)
