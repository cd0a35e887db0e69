"""Slicer's own slice and 3D views without its application: its logics and displayable managers, drawn off screen.

What is seen is what Slicer draws for the scene's nodes. The window around it (menus, panels, borders) is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from VertebralFractureLib.types import ByteArray

Picture = ByteArray
"""RGB ``[row, column, channel]``, the first row at the top."""

BONE_WINDOW_AND_LEVEL_HU = (1000.0, 300.0)

_DARK = (0.06, 0.06, 0.08)

_SLICE_MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
)
_THREED_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
)


class SlicerViews:
    """Views on one scene, which gets what the application would have put there."""

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        self._count = 0
        slicer.mrmlScene = scene
        self._application = slicer.vtkSlicerApplicationLogic()
        self._application.SetMRMLScene(scene)
        self._application.GetColorLogic().SetMRMLScene(scene)
        self._application.GetColorLogic().AddDefaultColorNodes()
        self._markups = slicer.vtkSlicerMarkupsLogic()
        self._markups.SetMRMLScene(scene)
        self._application.SetModuleLogic("Markups", self._markups)
        self._application.SetSliceLogics(vtk.vtkCollection())
        self._application.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        for display in slicer.util.getNodesByClass("vtkMRMLScalarVolumeDisplayNode"):
            if display.GetColorNode() is None:
                display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(*BONE_WINDOW_AND_LEVEL_HU)

    def slice_picture(
        self,
        orientation: str,
        volume: Any,
        center_ras: Any,
        height_mm: float,
        size: tuple[int, int],
        marks: str = "ruler and cube",
        turn: Callable[[], None] | None = None,
    ) -> Picture:
        """A slice view of ``volume`` centered at ``center_ras``; ``size`` is (width, height) in pixels.

        ``marks``: "ruler and cube", "ruler" or "none"; the cube names the directions. ``turn`` is called when the view
        is there, and may turn it.
        """
        window, renderer, interactor = _window()
        renderer.GetActiveCamera().ParallelProjectionOn()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        group = self._managers(factory, _SLICE_MANAGERS, renderer)
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application)
        self._application.GetSliceLogics().AddItem(logic)
        logic.SetMRMLScene(self.scene)
        view = logic.AddSliceNode(self._new_name())
        group.SetMRMLDisplayableNode(view)
        interactor.UpdateSize(*size)
        logic.ResizeSliceNode(*size)
        logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        view.SetOrientation(orientation)
        if marks != "none":
            view.SetRulerType(view.RulerTypeThin)
        if marks == "ruler and cube":
            view.SetOrientationMarkerType(view.OrientationMarkerTypeCube)
            view.SetOrientationMarkerSize(view.OrientationMarkerSizeSmall)
        view.SetFieldOfView(height_mm * size[0] / size[1], height_mm, 1.0)
        view.JumpSliceByCentering(*center_ras)
        if turn is not None:
            turn()
        mapper = vtk.vtkImageMapper()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        mapper.SetInputConnection(logic.GetImageDataConnection())
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        renderer.AddViewProp(actor)
        return _draw(window)

    def threed_picture(self, look_from: Any, focus_ras: Any, height_mm: float, size: tuple[int, int]) -> Picture:
        """A 3D view from the direction ``look_from`` (RAS) at ``focus_ras``, ``height_mm`` of it seen."""
        window, renderer, interactor = _window()
        renderer.SetUseDepthPeeling(True)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        group = self._managers(factory, _THREED_MANAGERS, renderer)
        logic = slicer.vtkMRMLViewLogic()
        logic.SetMRMLApplicationLogic(self._application)
        self._application.GetViewLogics().AddItem(logic)
        logic.SetMRMLScene(self.scene)
        view = logic.AddViewNode(self._new_name())
        group.SetMRMLDisplayableNode(view)
        interactor.UpdateSize(*size)
        view.SetBoxVisible(False)
        view.SetAxisLabelsVisible(False)
        view.SetBackgroundColor(*_DARK)
        view.SetBackgroundColor2(*_DARK)
        view.SetOrientationMarkerType(view.OrientationMarkerTypeCube)
        view.SetOrientationMarkerSize(view.OrientationMarkerSizeSmall)
        camera = renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        camera.SetFocalPoint(*focus_ras)
        direction = np.asarray(look_from, dtype=float)
        camera.SetPosition(*(np.asarray(focus_ras) + 1000.0 * direction / np.linalg.norm(direction)))
        camera.SetViewUp(0.0, 0.0, 1.0)
        camera.SetParallelScale(height_mm / 2.0)
        renderer.ResetCameraClippingRange()
        return _draw(window)

    def _new_name(self) -> str:
        """A name of its own for each view: those in the file are the application's, and are not ours to change."""
        self._count += 1
        return f"Picture{self._count}"

    def _managers(self, factory: Any, names: tuple[str, ...], renderer: Any) -> Any:
        factory.SetMRMLApplicationLogic(self._application)
        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(renderer)
        group.Initialize(factory, renderer)
        return group


def add_bone_surface(scene: Any, volume: Any, threshold_hu: float, bounds_ras: tuple[float, ...]) -> Any:
    """The bone of ``volume`` within ``bounds_ras`` (low and high R, A, S in mm) as a ``vtkMRMLModelNode``."""
    surface = vtk.vtkFlyingEdges3D()
    surface.ComputeScalarsOff()
    surface.SetInputData(volume.GetImageData())
    surface.SetValue(0, threshold_hu)
    to_ras = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(to_ras)
    transform = vtk.vtkTransform()
    transform.SetMatrix(to_ras)
    in_ras = vtk.vtkTransformPolyDataFilter()
    in_ras.SetTransform(transform)
    in_ras.SetInputConnection(surface.GetOutputPort())
    box = vtk.vtkBox()
    box.SetBounds(bounds_ras)
    cut = vtk.vtkClipPolyData()
    cut.SetClipFunction(box)
    cut.InsideOutOn()
    cut.SetInputConnection(in_ras.GetOutputPort())
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetNumberOfIterations(12)
    smooth.SetPassBand(0.08)
    smooth.SetInputConnection(cut.GetOutputPort())
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(smooth.GetOutputPort())
    normals.SplittingOff()
    normals.Update()
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "Bone")
    model.SetAndObservePolyData(normals.GetOutput())
    model.CreateDefaultDisplayNodes()
    model.GetDisplayNode().SetColor(0.93, 0.87, 0.76)
    model.GetDisplayNode().SetBackfaceCulling(False)
    return model


def _window() -> tuple[Any, Any, Any]:
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetMultiSamples(8)
    renderer = vtk.vtkRenderer()
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    interactor.Initialize()
    return window, renderer, interactor


def _draw(window: Any) -> Picture:
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    image = grab.GetOutput()
    width, height, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
    picture = np.ascontiguousarray(pixels[::-1, :, :3])
    window.Finalize()
    return picture
