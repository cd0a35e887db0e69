"""A new result takes the place of an older one, whose reader's verdicts go over to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from VertebralFractureLib.export.scene.corrected_scene import read_correction
from VertebralFractureLib.export.scene.remove_result import remove_result
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.export.scene.show_correction import show_correction
from VertebralFractureLib.result import Correction

_VERDICT_COLUMNS = ("reader_grade", "reader_comment")
_NO_GRADE = -1


def replace_result(scene: Any, older: SceneNodes, newer: SceneNodes) -> None:
    """Keep what the reader wrote about a vertebra of the same label, and remove ``older``.

    Verdicts that were given as corrections go over by their place in the patient; the reader's other corrections belong
    to the answer that is replaced and go with it.

    Raises:
        ValueError: when ``older`` is damaged or was written by a newer version; both stay as they were then.
    """
    verdicts = read_correction(scene, older).correction.verdicts
    source, target = older.table.GetTable(), newer.table.GetTable()
    rows = {source.GetColumnByName("label").GetValue(row): row for row in range(source.GetNumberOfRows())}
    grades, comments = (source.GetColumnByName(name) for name in _VERDICT_COLUMNS)
    for row in range(target.GetNumberOfRows()):
        former = rows.get(target.GetColumnByName("label").GetValue(row))
        if former is not None and (grades.GetValue(former) != _NO_GRADE or comments.GetValue(former)):
            for name in _VERDICT_COLUMNS:
                target.GetColumnByName(name).SetValue(row, source.GetColumnByName(name).GetValue(former))
    newer.table.Modified()
    if verdicts:
        given = Correction(verdicts=verdicts)
        show_correction(scene, newer, replace(read_correction(scene, newer), correction=given))
    remove_result(scene, older)
