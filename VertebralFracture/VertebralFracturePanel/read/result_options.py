"""The options that a result was made with, so that the same networks answer its corrections, on the same grid."""

from __future__ import annotations

from dataclasses import replace

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.report_node import read_report
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.options import COARSEST_MM, FINEST_MM, DetectionOptions
from VertebralFractureLib.weights import weights_names


def optionsLike(nodes: SceneNodes, options: DetectionOptions) -> DetectionOptions:
    """``options`` with the fracture networks and the spacing of the result, where these are known and still exist."""
    used = read_report(nodes.table.GetScene(), nodes).software.weights_sha256
    members = tuple(name.removeprefix(PREFIX) for name in weights_names(PREFIX, options.weights_folder) if name in used)
    spacing = options.spacing_mm
    if nodes.straightened is not None:
        spacing = min(max(round(max(nodes.straightened.GetSpacing()), 6), FINEST_MM), COARSEST_MM)
    return replace(options, members=members or options.members, spacing_mm=spacing)
