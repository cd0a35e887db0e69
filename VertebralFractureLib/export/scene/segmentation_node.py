"""The bodies by level as a ``vtkMRMLSegmentationNode``, for every tool of Slicer that goes on from there."""

from __future__ import annotations

from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import numpy_to_vtk

from VertebralFractureLib.export.scene.volume_nodes import to_vtk_matrix
from VertebralFractureLib.export.segmentation import LabelMap
from VertebralFractureLib.types import FloatArray

_TERMINOLOGY_TAG = "TerminologyEntry"


def add_segmentation_node(scene: Any, label_map: LabelMap, name: str) -> Any:
    """One segment a body, with its level's name and SNOMED CT codes, in world coordinates on the label map's grid."""
    import slicer

    image = _oriented_image(label_map.volume.hu.astype(np.uint8), label_map.volume.ijk_to_ras)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    segmentation = node.GetSegmentation()
    binary = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    segmentation.SetSourceRepresentationName(binary)
    for segment in label_map.segments:
        one = slicer.vtkSegment()
        one.SetName(segment.name)
        one.SetColor(*segment.color)
        one.SetLabelValue(segment.number)
        one.SetTag(_TERMINOLOGY_TAG, segment.terminology)
        # All share one image: bodies do not overlap.
        one.AddRepresentation(binary, image)
        segmentation.AddSegment(one, f"vertebra_{segment.number}")
    return node


def _oriented_image(voxels: np.ndarray, ijk_to_ras: FloatArray) -> Any:
    import slicer

    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*voxels.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    image.SetGeometryFromImageToWorldMatrix(to_vtk_matrix(ijk_to_ras))
    return image
