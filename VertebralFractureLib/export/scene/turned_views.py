"""Slice views of the CT turned to a vertebra: what is drawn of it (outline, height lines) lies in what is seen.

The sagittal view shows the vertebra's own mid plane, the axial one the plane across the body between its endplates, the
coronal one the plane at right angles to both. Each picture stays upright as the patient is. A view is turned only while
it shows one of Slicer's own orientations or was turned here; what a user rotated by hand stays as it is.

The orientation is kept as one more preset of the view, ``VertebraSagittal`` beside ``Sagittal``: so Slicer says in the
view's bar what is shown, linked views never take it for one another's, a saved scene opens with it anywhere, and one
choice of *Sagittal* leads back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from vtkmodules.vtkCommonMath import vtkMatrix3x3

from VertebralFractureLib.export.scene.canal_axes import find_canal
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.export.scene.slice_views import is_placing, list_slice_views
from VertebralFractureLib.export.scene.volume_nodes import find_composite
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.body_axes import find_body_axes
from VertebralFractureLib.vertebrae.outline import scale_to_unit

NORMALS = {"Sagittal": 0, "Coronal": 1, "Axial": 2}
"""The orientations that follow, and which of the vertebra's axes (right, front, top) stands on each."""
PREFIX = "Vertebra"
"""Of the presets; without a space, because Slicer writes their names into the names of XML attributes."""


def turn_views(scene: Any, nodes: SceneNodes, report: SpineReport, index: int) -> None:
    """Turn the views that show the result's CT to vertebra ``index`` (caudal first), and all others back.

    Does nothing while the user places points.
    """
    if is_placing(scene):
        return
    vertebra = report.vertebrae[index]
    patient_axes = np.array(report.centerline.patient_axes_ras)
    axes = find_body_axes(vertebra, find_canal(report)[1][index])
    for view in list_slice_views(scene):
        if not _shows(scene, view, nodes.input_volume):
            _turn_back(view)
            continue
        orientation = _orientation_to_follow(view)
        if orientation is not None:
            turned = _tilt(_read_preset(view, orientation), NORMALS[orientation], axes, patient_axes)
            was_modifying = view.StartModify()
            if view.HasSliceOrientationPreset(PREFIX + orientation):
                view.RemoveSliceOrientationPreset(PREFIX + orientation)
            view.AddSliceOrientationPreset(PREFIX + orientation, turned)
            view.SetOrientation(PREFIX + orientation)
            view.JumpSliceByCentering(*vertebra.center_ras)
            view.EndModify(was_modifying)


def turn_views_back(scene: Any) -> None:
    """Give every view that was turned here Slicer's own orientation again, at the place where it is."""
    for view in list_slice_views(scene):
        _turn_back(view)


def _orientation_to_follow(view: Any) -> str | None:
    """Which of Slicer's orientations the view shows, turned or not; None where a user rotated it by hand."""
    shown = view.GetOrientation()
    for orientation in NORMALS:
        if shown in (orientation, PREFIX + orientation) and view.HasSliceOrientationPreset(orientation):
            return orientation
    return None


def _tilt(preset: FloatArray, number: int, axes: FloatArray, patient_axes: FloatArray) -> Any:
    """``vtkMatrix3x3`` of a preset whose normal becomes the vertebra's axis ``number``; up stays as near as can be.

    Args:
        preset: ``(3, 3)``, columns to the right of the picture, up in it, and out of it; it may be left-handed.
        axes: of the vertebra, as ``find_body_axes`` gives them.
        patient_axes: ``(3, 3)`` rows: the patient's right, front and head as directions of the file.
    """
    normal = axes[number] * np.sign(preset[number, 2])
    up = patient_axes.T @ preset[:, 1]
    up = scale_to_unit(up - (up @ normal) * normal)
    across = np.cross(up, normal) * np.sign(np.linalg.det(preset))
    matrix = vtkMatrix3x3()
    for row, values in enumerate(np.stack([across, up, normal], axis=1)):
        for column, value in enumerate(values):
            matrix.SetElement(row, column, float(value))
    return matrix


def _turn_back(view: Any) -> None:
    shown = view.GetOrientation()
    was_modifying = view.StartModify()
    for orientation in NORMALS:
        if view.HasSliceOrientationPreset(PREFIX + orientation):
            if shown == PREFIX + orientation:
                view.SetOrientation(orientation)
            view.RemoveSliceOrientationPreset(PREFIX + orientation)
    view.EndModify(was_modifying)


def _read_preset(view: Any, name: str) -> FloatArray:
    matrix = view.GetSliceOrientationPreset(name)
    return np.array([[matrix.GetElement(row, column) for column in range(3)] for row in range(3)])


def _shows(scene: Any, view: Any, volume: Any) -> bool:
    """Whether a view shows the volume in any of its layers."""
    composite = find_composite(scene, view)
    if volume is None or composite is None:
        return False
    layers = (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID(), composite.GetLabelVolumeID())
    return volume.GetID() in layers
