"""A new result takes the place of an older one, whose reader's assessments go over to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from VertebralFractureLib.export.scene.corrected_scene import read_correction
from VertebralFractureLib.export.scene.remove_result import remove_result
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.export.scene.show_report import show_correction
from VertebralFractureLib.result import Correction
from VertebralFractureLib.result.correction import GivenAssessment
from VertebralFractureLib.vertebrae.vertebra import ReaderAssessment


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
