"""Volumes as MRML nodes, and the straightening as a grid transform that Slicer applies to any node."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk, vtk_to_numpy

from VertebralFractureLib.cpr import ReformatFrame, StraightenedVolume
from VertebralFractureLib.cpr.frame import DisplacementGrid, build_displacement_grid
from VertebralFractureLib.types import FloatArray
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
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
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
    image = vtk.vtkImageData()
    image.SetDimensions(*voxels.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True, array_type=get_vtk_array_type(np.int16))
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    was_modifying = node.StartModify()
    node.SetIJKToRASMatrix(_vtk_matrix(ijk_to_world))
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
    image = vtk.vtkImageData()
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


def _vtk_matrix(matrix: FloatArray) -> Any:
    result = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            result.SetElement(row, column, float(matrix[row, column]))
    return result
