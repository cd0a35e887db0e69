"""Step 7: the report as MRML nodes that 3D Slicer opens; the only step that imports ``slicer``."""

from VertebralFractureLib.export.scene.report_node import read_report
from VertebralFractureLib.export.scene.scene_file import load_mrb, new_scene, packing_result, save_mrb
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes, find_results, refresh_colors
from VertebralFractureLib.export.scene.write_scene import scene_steps, write_scene

__all__ = [
    "SceneNodes",
    "find_results",
    "load_mrb",
    "new_scene",
    "packing_result",
    "read_report",
    "refresh_colors",
    "save_mrb",
    "scene_steps",
    "write_scene",
]
