"""Level and probability of every vertebra as labels off its body: words cover no endplate, no wall and no canal.

Slicer writes a label to the right of its point in the picture, at any zoom, and no saved scene can tell it otherwise.
These points have no glyph and stand where the words run away from the body in Slicer's own orientations: behind the
canal, where sagittal views show them, and to the patient's left of the body, where coronal and axial views do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from vtkmodules.vtkCommonDataModel import vtkVector3d

from VertebralFractureLib.export.scene.canal_axes import find_canal
from VertebralFractureLib.export.scene.markups_nodes import point_label, show_through_slices
from VertebralFractureLib.plain_text import one_line
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.body_axes import find_body_axes
from VertebralFractureLib.vertebrae.body_solid import bound_body, has_solid
from VertebralFractureLib.vertebrae.vertebra import Vertebra

_COLOR = (0.80, 0.84, 0.88)
"""Of no group; the body's outline beside it has the color of its grade."""
_CHOSEN_COLOR = (1.0, 1.0, 1.0)
_BEHIND_CANAL_MM = 14.0
"""From the center of the canal, which has up to 10 mm on that side."""
_BESIDE_MM = 8.0
"""From the left wall of a body, whose corners come up to 5 mm nearer where it leans by 25 degrees."""
_USUAL_LEFT_MM = 22.0
"""From the center of a body that was not measured to its left wall."""
_OFF_AXIAL_MM = 2.0
"""Of the points behind, from the axial plane through the body's center: that shows each name once, beside the body."""


def add_labels_node(scene: Any, name: str, report: SpineReport, *, at_side: bool = False) -> Any:
    """The labels in the patient as a locked ``vtkMRMLMarkupsFiducialNode``, behind the canal or beside the bodies."""
    node = _add_node(scene, name)
    # In 3D, those behind are enough.
    node.GetDisplayNode().SetVisibility3D(not at_side)
    fill_labels_node(node, report.vertebrae, label_places(report, at_side=at_side))
    return node


def add_straight_labels_node(scene: Any, name: str, vertebrae: Sequence[Vertebra], straight: FloatArray) -> Any:
    """The labels in straight space at ``straight``, ``(n, 3)`` mm, hidden at first as the points there are."""
    node = _add_node(scene, name)
    fill_labels_node(node, vertebrae, straight)
    show_through_slices(node)
    return node


def fill_labels_node(node: Any, vertebrae: Sequence[Vertebra], places: FloatArray) -> None:
    """Let the node hold exactly one label for each of ``vertebrae``, at ``places`` ``(n, 3)`` in mm."""
    was_modifying = node.StartModify()
    node.RemoveAllControlPoints()
    for vertebra, place in zip(vertebrae, places, strict=True):
        number = node.AddControlPoint(vtkVector3d(*place), one_line(point_label(vertebra)))
        node.SetNthControlPointSelected(number, False)
    node.EndModify(was_modifying)


def label_places(report: SpineReport, *, at_side: bool = False) -> FloatArray:
    """Where the labels of the report's vertebrae stand, ``(n, 3)`` in RAS mm: on the mid plane behind the canal.

    Args:
        at_side: to the left of the bodies instead, on the coronal plane through their centers.
    """
    origins, axes = find_canal(report)
    place = _place_beside if at_side else _place_behind
    places = [
        place(vertebra, origin, find_body_axes(vertebra, canal_axes))
        for vertebra, origin, canal_axes in zip(report.vertebrae, origins, axes, strict=True)
    ]
    return np.array(places).reshape(-1, 3)


def choose_label(node: Any, index: int | None) -> None:
    """Let the label of vertebra ``index`` stand out; None lets none."""
    for number in range(node.GetNumberOfControlPoints()):
        if bool(node.GetNthControlPointSelected(number)) != (number == index):
            node.SetNthControlPointSelected(number, number == index)


def _place_behind(vertebra: Vertebra, canal: FloatArray, axes: FloatArray) -> FloatArray:
    """At the height of the canal, not along the body's own axis, which in a wedge points to its neighbor."""
    center, anterior = np.array(vertebra.center_ras), axes[1]
    aside, _, above = axes @ (canal - _BEHIND_CANAL_MM * anterior - center)
    off_axial = np.copysign(max(abs(above), _OFF_AXIAL_MM), above) - above
    return np.asarray(canal - _BEHIND_CANAL_MM * anterior - aside * axes[0] + off_axial * axes[2])


def _place_beside(vertebra: Vertebra, _canal: FloatArray, axes: FloatArray) -> FloatArray:
    center, right = np.array(vertebra.center_ras), axes[0]
    left = float(((center - bound_body(vertebra)) @ right).max()) if has_solid(vertebra) else _USUAL_LEFT_MM
    return np.asarray(center - (left + _BESIDE_MM) * right)


def _add_node(scene: Any, name: str) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*_COLOR)
    display.SetSelectedColor(*_CHOSEN_COLOR)
    display.SetGlyphScale(0.0)
    display.SetTextScale(2.8)
    node.SetLocked(True)
    return node
