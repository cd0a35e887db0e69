"""Volumes as MRML nodes, and the straightening as a grid transform that Slicer applies to any node.

The straightened volume of a result says along which curve it was made, so that a scene that was saved in the middle of
a correction does not pass off an old picture as the new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import get_vtk_array_type, numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkImageData, vtkVector3d
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr import ReformatFrame, ReformatGrid, StraightenedVolume
from VertebralFractureLib.cpr.frame import DisplacementGrid, build_displacement_grid
from VertebralFractureLib.export.scene import scene_nodes as roles
from VertebralFractureLib.export.scene.markups_nodes import control_points
from VertebralFractureLib.export.scene.scene_nodes import SceneNodes, node_name
from VertebralFractureLib.types import Float32Array, FloatArray, IntArray, Point
from VertebralFractureLib.volume import CTVolume
from VertebralFractureLib.volume.hu_windows import BONE_DISPLAY


def add_ct_node(scene: Any, ct: CTVolume) -> Any:
    """The CT as ``vtkMRMLScalarVolumeNode`` with its exact IJK-to-RAS matrix, int16."""
    return _add_volume_node(scene, ct.name, int16_voxels(ct.hu), ct.ijk_to_ras)


def add_straightened_node(scene: Any, spine: StraightenedVolume, voxels: NDArray[np.int16], name: str) -> Any:
    """The spine volume as ``vtkMRMLScalarVolumeNode``; its world is straight space (r, a, s) in mm.

    Args:
        voxels: ``int16_voxels(spine.hu)``, which takes long enough for a caller to want it in pieces.
    """
    return _add_volume_node(scene, name, voxels, spine.ijk_to_straight)


def int16_voxels(hu: NDArray[np.generic]) -> NDArray[np.int16]:
    """HU rounded and held to the range of int16; what is not a number becomes air."""
    if hu.dtype == np.int16:
        return np.asarray(hu, dtype=np.int16)
    rounded = np.round(np.nan_to_num(hu.astype(np.float32), nan=-1024.0))
    return rounded.clip(-32768, 32767).astype(np.int16)


def _add_volume_node(scene: Any, name: str, voxels: NDArray[np.int16], ijk_to_world: FloatArray) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", node_name(name))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(BONE_DISPLAY.width, BONE_DISPLAY.level)
    # Last, so that no window is computed from all voxels only to be replaced.
    fill_volume_node(node, voxels, ijk_to_world)
    return node


def fill_volume_node(node: Any, voxels: NDArray[np.int16], ijk_to_world: FloatArray) -> None:
    """Let the node hold a copy of ``voxels`` ``[k, j, i]`` on that grid."""
    image = vtkImageData()
    image.SetDimensions(*voxels.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True, array_type=get_vtk_array_type(np.int16))
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    was_modifying = node.StartModify()
    node.SetIJKToRASMatrix(to_vtk_matrix(ijk_to_world))
    node.SetAndObserveImageData(image)
    node.EndModify(was_modifying)


def add_transform_node(scene: Any, frame: ReformatFrame, name: str) -> Any:
    """The straightening as ``vtkMRMLGridTransformNode``.

    From parent it maps straight mm to RAS mm (``frame.straight_to_ras``), as a transform that resamples images must.
    A node in patient space that is put under it appears straightened; its inverse brings straight points back.
    """
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    fill_transform_node(node, build_displacement_grid(frame))
    return node


def fill_transform_node(node: Any, grid: DisplacementGrid) -> None:
    """Let the node hold the straightening that ``grid`` describes."""
    import slicer

    rows, columns_a, columns_r, _ = grid.displacement_mm.shape
    image = vtkImageData()
    image.SetDimensions(columns_r, columns_a, rows)
    image.SetOrigin(*grid.origin_mm)
    image.SetSpacing(*grid.spacing_mm)
    displacement = numpy_to_vtk(grid.displacement_mm.reshape(-1, 3), deep=True)
    displacement.SetName("displacement")
    image.GetPointData().SetScalars(displacement)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetInterpolationModeToCubic()
    node.SetAndObserveTransformFromParent(transform)
    first, last = grid.range_mm
    node.SetDescription(f"Straightens the spine: straight space from {first:.0f} to {last:.0f} mm along the canal.")


def read_transform_node(node: Any) -> DisplacementGrid | None:
    """What ``fill_transform_node`` put there; None where somebody put another kind of transform there."""
    transform = node.GetTransformFromParent()
    image = transform.GetDisplacementGrid() if hasattr(transform, "GetDisplacementGrid") else None
    if image is None or image.GetPointData().GetScalars() is None:
        return None
    columns_r, columns_a, rows = image.GetDimensions()
    displacement = vtk_to_numpy(image.GetPointData().GetScalars()).astype(np.float64)
    origin, spacing = (tuple(float(value) for value in get()) for get in (image.GetOrigin, image.GetSpacing))
    return DisplacementGrid(
        displacement.reshape(rows, columns_a, columns_r, 3),
        (origin[0], origin[1], origin[2]),
        (spacing[0], spacing[1], spacing[2]),
    )


def to_vtk_matrix(matrix: FloatArray) -> Any:
    """A 4x4 array as ``vtkMatrix4x4``."""
    result = vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            result.SetElement(row, column, float(matrix[row, column]))
    return result


def straight_places(transform: Any, points_ras: Sequence[Point] | FloatArray) -> FloatArray:
    """Points ``(n, 3)`` of the patient in straight space, mm: from its parent the node maps straight space to RAS."""
    to_world = vtkGeneralTransform()
    transform.GetTransformToWorld(to_world)
    return np.array([to_world.TransformPoint(tuple(point)) for point in points_ras]).reshape(-1, 3)


def patient_place(transform: Any, straight: Point) -> Point:
    """A point of straight space in the patient, RAS mm."""
    from_world = vtkGeneralTransform()
    transform.GetTransformFromWorld(from_world)
    r, a, s = (float(value) for value in from_world.TransformPoint(straight))
    return r, a, s


def shows_straight(scene: Any, nodes: SceneNodes, view: Any) -> bool:
    """Whether a slice view (``vtkMRMLSliceNode``) has the straightened volume of ``nodes`` in its background."""
    if nodes.straightened is None or nodes.transform is None:
        return False
    composite = find_composite(scene, view)
    return composite is not None and bool(composite.GetBackgroundVolumeID() == nodes.straightened.GetID())


def find_composite(scene: Any, view: Any) -> Any:
    """The ``vtkMRMLSliceCompositeNode`` that says which volumes a slice view shows; None where there is none yet."""
    for place in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(place, "vtkMRMLSliceCompositeNode")
        if composite.GetLayoutName() == view.GetLayoutName():
            return composite
    return None


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
    matrix = vtkMatrix4x4()
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


@dataclass(frozen=True)
class SpineNodes:
    """``vtkMRMLScalarVolumeNode`` in straight space, and the ``vtkMRMLGridTransformNode`` that straightens others."""

    volume: Any
    transform: Any


def add_spine_nodes(scene: Any, spine: StraightenedVolume, name: str) -> SpineNodes:
    """The nodes "``name`` straightened" (or "virtual sagittal") and "``name`` straightening"."""
    volume = add_straightened_node(scene, spine, int16_voxels(spine.hu), f"{name} {spine.frame.kind.replace('_', ' ')}")
    return SpineNodes(volume, add_transform_node(scene, spine.frame, f"{name} straightening"))


def add_curve_node(scene: Any, points_ras: FloatArray, name: str) -> Any:
    """A ``vtkMRMLMarkupsCurveNode`` through ``(n, 3)`` RAS mm points; not locked, so that it can be corrected."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode", name)
    node.CreateDefaultDisplayNodes()
    for index, point in enumerate(points_ras.tolist()):
        node.AddControlPoint(vtkVector3d(*point), f"{index + 1}")
    return node


def centerline_of(curve_node: Any) -> Centerline:
    """The centerline through the control points of a markup, whichever end was placed first.

    Raises:
        ValueError: when there are fewer than two points.
    """
    points = np.array(control_points(curve_node), dtype=np.float64).reshape(-1, 3)
    if len(points) < 2:
        raise ValueError("The centerline needs at least two points; place more of them along the spinal canal.")
    caudal_first = points if points[0, 2] <= points[-1, 2] else points[::-1]
    return Centerline(caudal_first, np.ones(len(points)))
