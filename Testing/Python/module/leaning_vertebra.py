"""A vertebra of a bent spine, and Slicer's own slice views on it, for the tests of views and labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import slicer
from outline_samples import an_outline

VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
TURN_DEG, LEAN_DEG, TILT_DEG = 14.0, 9.0, 25.0
"""Of T12 about its long axis, to the side, and forward."""


def rotation(axis, degrees):
    """By so much about R, A or S (0, 1, 2)."""
    one, two = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix[one, one] = matrix[two, two] = cosine
    matrix[one, two], matrix[two, one] = -sine, sine
    return matrix


AXES = rotation(1, LEAN_DEG) @ rotation(0, -TILT_DEG) @ rotation(2, TURN_DEG)
"""Columns: to the right, front and top of T12, a body of a scoliosis with kyphosis."""


def lay(points, center):
    """Points about a body in the plane R = 0 at A = 27, S = 0 as those of T12."""
    around = np.array(points) - (0.0, 27.0, 0.0)
    return tuple(tuple(point) for point in np.round(around @ AXES.T + np.array(center), 3).tolist())


def let_t12_lean(report):
    """The report with T12 traced; the others were not."""
    marks = [(0.0, a, s) for s in (12.0, -12.0) for a in (40.0, 27.0, 14.0)]
    traced = [
        replace(v, outline_ras=lay(an_outline(0.0), v.center_ras), landmarks_ras=lay(marks, v.center_ras))
        if v.label == "T12"
        else v
        for v in report.vertebrae
    ]
    return replace(report, vertebrae=tuple(traced))


def find_vertebra(report, label):
    return next(v for v in report.vertebrae if v.label == label)


def add_layout(scene):
    """Slicer's layout and view nodes with their own logics: layout, presets, and what links views."""
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    layout, links = slicer.vtkMRMLLayoutLogic(), slicer.vtkMRMLSliceLinkLogic()
    links.SetMRMLScene(scene)  # first: it knows the views that are made while it watches
    layout.SetMRMLScene(scene)
    layout.GetLayoutNode().SetViewArrangement(layout.GetLayoutNode().SlicerLayoutFourUpView)
    for name in VIEWS:
        add_composite(scene, name)
    return layout, links


def add_composite(scene, name):
    """As Slicer's slice widget makes it for its view."""
    composite = slicer.vtkMRMLSliceCompositeNode()
    composite.SetSingletonTag(name)
    composite.SetLayoutName(name)
    return scene.AddNode(composite)


def view(scene, name):
    return scene.GetSingletonNode(name, "vtkMRMLSliceNode")


def show_in_all_views(scene, volume):
    for name in VIEWS:
        scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode").SetBackgroundVolumeID(volume.GetID())
