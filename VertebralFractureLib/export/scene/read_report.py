"""A ``SpineReport`` from the nodes of a scene, so that what a person sees and edits there is the truth.

Table cells keep six significant digits in a saved scene; control points and attributes keep double precision.
"""

from __future__ import annotations

import json
from typing import Any

from VertebralFractureLib.export.scene.markups_nodes import read_centerline, read_landmarks
from VertebralFractureLib.export.scene.scene_nodes import ATTRIBUTE_PREFIX, SceneNodes, find_results
from VertebralFractureLib.export.scene.table_nodes import read_sequence_table, read_vertebra_table
from VertebralFractureLib.result.migration import check_schema
from VertebralFractureLib.result.report import (
    InputIdentity,
    ReportedCenterline,
    ReportedSequence,
    Software,
    SpineReport,
)
from VertebralFractureLib.result.report_json import scan_from_content


def read_report(scene: Any, nodes: SceneNodes | None = None) -> SpineReport:
    """The report that ``write_scene`` put into ``scene``; the newest one unless ``nodes`` names another.

    Raises:
        ValueError: when the scene holds no result, its table is damaged, or a newer version wrote it.
    """
    if nodes is None:
        results = find_results(scene)
        if not results:
            raise ValueError("This scene holds no VertebralFracture result.")
        nodes = results[-1]
    table = nodes.table

    def text(name: str) -> str:
        value = table.GetAttribute(ATTRIBUTE_PREFIX + name)
        if value is None:
            raise ValueError(f"The result's table has lost its attribute '{ATTRIBUTE_PREFIX}{name}'.")
        return str(value)

    check_schema(text("schema"), int(table.GetAttribute(ATTRIBUTE_PREFIX + "revision") or 1))
    volume, scan = json.loads(text("input")), json.loads(text("scan"))
    landmarks = {} if nodes.landmarks is None else read_landmarks(nodes.landmarks)
    return SpineReport(
        software=Software(
            text("softwareVersion"),
            json.loads(text("weightsSha256")),
            table.GetAttribute(ATTRIBUTE_PREFIX + "device") or None,
        ),
        input=InputIdentity(
            **{**volume, "shape_kji": tuple(volume["shape_kji"]), "spacing_mm": tuple(volume["spacing_mm"])}
        ),
        status=text("status"),
        reason=text("reason") or None,
        scan=scan_from_content(scan),
        centerline=ReportedCenterline((), ()) if nodes.centerline is None else read_centerline(nodes.centerline),
        sequence=ReportedSequence((), (), ()) if nodes.sequence is None else read_sequence_table(nodes.sequence),
        vertebrae=read_vertebra_table(table, landmarks),
        timings_s=json.loads(text("timingsS")),
        peak_memory_mb=json.loads(text("peakMemoryMb")),
    )
