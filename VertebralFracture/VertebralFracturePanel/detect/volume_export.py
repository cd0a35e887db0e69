"""A volume node's voxels, slab by slab, in world coordinates: its parent transform included.

They go into a file in steps so short that Slicer's window never stands still.

A linear transform only changes the matrix. A warping one resamples each slab when it is asked for, because a warped
volume has no matrix; nothing is added to the scene for that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from VertebralFractureLib.volume.nrrd_stream import nrrd_header
from VertebralFracturePanel.process.event_loop_steps import finished

AIR_HU = -1024


class UnusableVolume(Exception):
    """The chosen node cannot be examined; the message is one sentence for the user."""


def exportOf(volumeNode: Any) -> VolumeExport:
    """Check ``volumeNode`` and give what reads it.

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
        return WarpedVolumeExport(volumeNode, transformNode)
    toWorld = vtk.vtkMatrix4x4()
    if transformNode is not None:
        transformNode.GetMatrixTransformToWorld(toWorld)
    return VolumeExport(volumeNode, slicer.util.arrayFromVTKMatrix(toWorld) @ _ijkToParent(volumeNode))


class VolumeExport:
    """``shape`` is (k, j, i), ``dtype`` int16 or float32, ``ijkToRas`` 4x4 to world RAS mm.

    ``slabBytes`` is how much can be asked for in one go, some 10 ms of work.
    """

    slabBytes = 8_000_000

    def __init__(self, volumeNode: Any, ijkToRas: np.ndarray) -> None:
        self.name = volumeNode.GetName()
        self._volumeNode = volumeNode
        voxels = slicer.util.arrayFromVolume(volumeNode)
        self.dtype = np.dtype(np.int16 if np.issubdtype(voxels.dtype, np.integer) else np.float32)
        self.shape = voxels.shape
        self.ijkToRas = ijkToRas

    @property
    def voxels(self) -> np.ndarray | None:
        """The whole volume as the node holds it, not copied; None where it has to be asked for slab by slab."""
        voxels = slicer.util.arrayFromVolume(self._volumeNode)
        return voxels if voxels.dtype == self.dtype else None

    def slab(self, first: int, last: int) -> np.ndarray:
        """A copy of the slices ``first`` to ``last`` (not included) as ``dtype``.

        Raises:
            UnusableVolume: when the volume is no longer what it was.
        """
        image = self._volumeNode.GetImageData()
        if image is None or image.GetDimensions()[::-1] != tuple(self.shape):
            raise UnusableVolume(f"The volume '{self.name}' was changed while it was read; detect again.")
        return self._compact(slicer.util.arrayFromVolume(self._volumeNode)[first:last])

    def _compact(self, voxels: np.ndarray) -> np.ndarray:
        if self.dtype == np.int16 and not np.can_cast(voxels.dtype, np.int16):
            limits = np.iinfo(np.int16)
            voxels = np.clip(voxels, max(limits.min, np.iinfo(voxels.dtype).min), limits.max)
        return np.ascontiguousarray(voxels.astype(self.dtype))


class WarpedVolumeExport(VolumeExport):
    """The grid keeps the volume's own axes and steps and covers all of it after warping."""

    slabBytes = 400_000
    voxels = None

    def __init__(self, volumeNode: Any, transformNode: Any) -> None:
        ijkToParent = _ijkToParent(volumeNode)
        super().__init__(volumeNode, ijkToParent)
        toWorld, fromWorld = vtk.vtkGeneralTransform(), vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(transformNode, None, toWorld)
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transformNode, fromWorld)
        edges = [np.linspace(-0.5, size - 0.5, 9) for size in reversed(self.shape)]
        grid = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)
        world = [toWorld.TransformPoint(point) for point in grid @ ijkToParent[:3, :3].T + ijkToParent[:3, 3]]
        ijk = (np.array(world) - ijkToParent[:3, 3]) @ np.linalg.inv(ijkToParent[:3, :3]).T
        low, high = np.floor(ijk.min(axis=0)), np.ceil(ijk.max(axis=0))
        self.shape = tuple(int(size) for size in (high - low + 1)[::-1])
        self.ijkToRas = ijkToParent.copy()
        self.ijkToRas[:3, 3] += ijkToParent[:3, :3] @ low
        toSource = vtk.vtkGeneralTransform()
        toSource.PostMultiply()
        toSource.Concatenate(slicer.util.vtkMatrixFromArray(self.ijkToRas))
        toSource.Concatenate(fromWorld)
        toSource.Concatenate(slicer.util.vtkMatrixFromArray(np.linalg.inv(ijkToParent)))
        self._reslice = vtk.vtkImageReslice()
        self._reslice.SetInputData(volumeNode.GetImageData())
        self._reslice.SetResliceTransform(toSource)
        self._reslice.SetInterpolationModeToLinear()
        self._reslice.SetBackgroundLevel(AIR_HU)
        self._reslice.SetOutputSpacing(1.0, 1.0, 1.0)
        self._reslice.SetOutputOrigin(0.0, 0.0, 0.0)

    def slab(self, first: int, last: int) -> np.ndarray:
        last = min(last, self.shape[0])
        self._reslice.SetOutputExtent(0, self.shape[2] - 1, 0, self.shape[1] - 1, first, last - 1)
        self._reslice.Update()
        voxels = vtk_to_numpy(self._reslice.GetOutput().GetPointData().GetScalars())
        return self._compact(voxels.reshape(last - first, *self.shape[1:]))


def exportSteps(
    export: VolumeExport, path: Path, background: ThreadPoolExecutor, progressed: Callable[[float], None]
) -> Generator[int, None, None]:
    """Write the volume into a file that another process can read, in steps, each with the pause in ms before the next.

    Args:
        progressed: gets the fraction that is written.

    Raises:
        UnusableVolume, OSError: when the volume is no longer what it was, or the file cannot be written.
    """
    bytesPerSlice = export.shape[1] * export.shape[2] * export.dtype.itemsize
    step = max(export.slabBytes // bytesPerSlice, 1)
    file, writing = path.open("wb"), Future[int]()
    writing.set_result(0)
    try:
        file.write(nrrd_header(export.shape, export.dtype, export.ijkToRas))
        for first in range(0, export.shape[0], step):
            slab = export.slab(first, min(first + step, export.shape[0]))
            yield 0
            writing = background.submit(file.write, slab)
            yield from finished(writing)
            progressed(first / export.shape[0])
    finally:
        # Not in the thread, which gets no turn while Slicer idles; a slab that is being written takes a moment.
        wait([writing])
        file.close()


def _ijkToParent(volumeNode: Any) -> np.ndarray:
    ijkToRas = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRas)
    return slicer.util.arrayFromVTKMatrix(ijkToRas)
