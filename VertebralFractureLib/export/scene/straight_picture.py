"""The straightened volume with its transform, taken out of a result's nodes and put back: what follows a centerline.

The straightened volume says along which curve it was made, so that a scene that was saved in the middle of a
correction does not pass off an old picture as the new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from VertebralFractureLib.cpr import ReformatGrid, StraightenedVolume
from VertebralFractureLib.cpr.frame import DisplacementGrid, build_displacement_grid
from VertebralFractureLib.export.scene import scene_nodes as roles
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes
from VertebralFractureLib.export.scene.volume_nodes import (
    fill_transform_node,
    fill_volume_node,
    int16_voxels,
    read_transform_node,
)
from VertebralFractureLib.types import Float32Array, FloatArray, IntArray, Point

_ALONG_ATTRIBUTE = roles.ATTRIBUTE_PREFIX + "straightenedAlong"
DETECTED = ""
"""``along`` of the picture that was made along the curve that the model detected."""


@dataclass(frozen=True)
class StraightPicture:
    """Voxels ``[k, j, i]``, their 4x4 from ``(i, j, k, 1)`` to straight mm, and the map to the patient."""

    voxels: NDArray[np.int16]
    ijk_to_straight: FloatArray
    grid: DisplacementGrid


def picture_of(spine: StraightenedVolume) -> StraightPicture:
    """As nodes hold a spine volume; a copy."""
    voxels = int16_voxels(spine.hu)
    return StraightPicture(voxels, spine.ijk_to_straight, build_displacement_grid(spine.frame))


def along_curve(points_ras: Sequence[Point] | None) -> str:
    """The name of a corrected curve, for ``show_picture``; ``DETECTED`` without one."""
    if points_ras is None:
        return DETECTED
    text = json.dumps([[round(value, 6) for value in point] for point in points_ras])
    return hashlib.sha256(text.encode()).hexdigest()


def read_picture(nodes: SceneNodes) -> StraightPicture | None:
    """A copy of what the nodes hold; None where one of them is gone."""
    if nodes.straightened is None or nodes.transform is None or nodes.straightened.GetImageData() is None:
        return None
    grid = read_transform_node(nodes.transform)
    image = nodes.straightened.GetImageData()
    if grid is None or image.GetPointData().GetScalars() is None:
        return None
    matrix = vtk.vtkMatrix4x4()
    nodes.straightened.GetIJKToRASMatrix(matrix)
    ijk_to_straight = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    return StraightPicture(_voxels(nodes.straightened).copy(), ijk_to_straight, grid)


def picture_is_along(nodes: SceneNodes) -> str | None:
    """The ``along`` of the picture that the nodes show; None where they show none."""
    if nodes.straightened is None or nodes.transform is None:
        return None
    return nodes.straightened.GetAttribute(_ALONG_ATTRIBUTE) or DETECTED


def grid_of(straightened: Any) -> ReformatGrid:
    """The grid that the straightened volume was made with, whatever its curve was."""
    steps, origin, size = (
        straightened.GetSpacing(),
        straightened.GetOrigin(),
        straightened.GetImageData().GetDimensions(),
    )
    right, anterior = ((origin[axis], origin[axis] + (size[axis] - 1) * steps[axis]) for axis in (0, 1))
    return ReformatGrid((steps[0], steps[1], steps[2]), right, anterior, margin_mm=max(-origin[2], 0.0))


def show_picture(nodes: SceneNodes, picture: StraightPicture, along: str) -> None:
    """Let the nodes show ``picture``, made along the curve of that name; nodes that are gone stay away."""
    if nodes.straightened is not None:
        fill_volume_node(nodes.straightened, picture.voxels, picture.ijk_to_straight)
        mark_picture(nodes, along)
    if nodes.transform is not None:
        fill_transform_node(nodes.transform, picture.grid)


def mark_picture(nodes: SceneNodes, along: str) -> None:
    """Note along which curve the straightened volume was made; a name of no curve while it is between two."""
    if nodes.straightened is None:
        return
    if along == DETECTED:
        nodes.straightened.RemoveAttribute(_ALONG_ATTRIBUTE)
    else:
        nodes.straightened.SetAttribute(_ALONG_ATTRIBUTE, along)


def show_rows(node: Any, rows: IntArray, hu: Float32Array) -> None:
    """Overwrite some rows (indices k) of the straightened volume with HU ``[row, j, i]``; the others stay untouched."""
    voxels = _voxels(node)
    voxels[rows] = int16_voxels(hu)
    scalars = node.GetImageData().GetPointData().GetScalars()
    scalars.Modified()
    node.GetImageData().Modified()


def _voxels(node: Any) -> NDArray[np.int16]:
    image = node.GetImageData()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    return np.asarray(voxels.reshape(image.GetDimensions()[::-1]))
