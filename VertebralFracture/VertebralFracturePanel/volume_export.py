"""A volume node as a ``CTVolume`` in world coordinates, its parent transform included.

A linear transform only changes the matrix; a warping one resamples a copy, because a warped volume has no matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from VertebralFractureLib.volume import CTVolume


class UnusableVolume(Exception):
    """The chosen node cannot be examined; the message is one sentence for the user."""


def ctFromVolumeNode(volumeNode: Any) -> CTVolume:
    """Copy nothing but references where the transform allows it; voxels ``[k, j, i]``, matrix IJK to world RAS mm.

    Raises:
        UnusableVolume: when there is no node, no image in it, or more than one value per voxel.
    """
    if volumeNode is None:
        raise UnusableVolume("Choose a CT volume first.")
    image = volumeNode.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        raise UnusableVolume(f"The volume '{volumeNode.GetName()}' holds no image; load the CT again.")
    if image.GetNumberOfScalarComponents() != 1:
        raise UnusableVolume(f"The volume '{volumeNode.GetName()}' is a color image; choose the CT itself.")
    transformNode = volumeNode.GetParentTransformNode()
    if transformNode is not None and not transformNode.IsTransformToWorldLinear():
        return _warpedCopy(volumeNode, transformNode)
    toWorld = vtk.vtkMatrix4x4()
    if transformNode is not None:
        transformNode.GetMatrixTransformToWorld(toWorld)
    return _ct(volumeNode, slicer.util.arrayFromVTKMatrix(toWorld))


def _ct(volumeNode: Any, toWorld: np.ndarray) -> CTVolume:
    ijkToRas = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRas)
    voxels = slicer.util.arrayFromVolume(volumeNode)
    if np.issubdtype(voxels.dtype, np.integer):
        voxels = np.clip(voxels, -32768, 32767).astype(np.int16, copy=False)
    else:
        voxels = voxels.astype(np.float32, copy=False)
    return CTVolume(voxels, toWorld @ slicer.util.arrayFromVTKMatrix(ijkToRas), volumeNode.GetName())


def _warpedCopy(volumeNode: Any, transformNode: Any) -> CTVolume:
    scene = volumeNode.GetScene()
    copy = slicer.vtkSlicerVolumesLogic.CloneVolume(scene, volumeNode, volumeNode.GetName())
    try:
        copy.SetAndObserveTransformNodeID(transformNode.GetID())
        slicer.vtkSlicerTransformLogic.hardenTransform(copy)
        ct = _ct(copy, np.eye(4))
        return CTVolume(ct.hu.copy(), ct.ijk_to_ras, ct.name)
    finally:
        scene.RemoveNode(copy)
