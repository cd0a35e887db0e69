"""Slicer's own slice view with its own markups widgets, off screen, for tests that click and press keys in it."""

from __future__ import annotations

import slicer
import vtk

_SIZE = 400


class MouseView:
    """A sagittal slice view on ``scene``, ``width_mm`` wide; positions are RAS mm and are brought into the slice."""

    def __init__(self, scene, width_mm=60.0):
        self._application = slicer.vtkSlicerApplicationLogic()
        self._application.SetMRMLScene(scene)
        self._application.SetSliceLogics(vtk.vtkCollection())
        self._markups = slicer.vtkSlicerMarkupsLogic()
        self._markups.SetMRMLScene(scene)
        self._application.SetModuleLogic("Markups", self._markups)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        renderer = vtk.vtkRenderer()
        renderer.GetActiveCamera().ParallelProjectionOn()
        self._window.AddRenderer(renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetInteractor(self._interactor)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(self._application)
        if not factory.IsDisplayableManagerRegistered("vtkMRMLMarkupsDisplayableManager"):
            factory.RegisterDisplayableManager("vtkMRMLMarkupsDisplayableManager")
        self._managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._managers.SetRenderer(renderer)
        self._managers.Initialize(factory, renderer)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(self._application)
        self._application.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(scene)
        self._view = self._logic.AddSliceNode("MouseView")
        self._managers.SetMRMLDisplayableNode(self._view)
        self._style.SetDisplayableManagers(self._managers)
        self._style.SetSliceLogic(self._logic)
        self._interactor.UpdateSize(_SIZE, _SIZE)
        self._logic.ResizeSliceNode(_SIZE, _SIZE)
        self._view.SetOrientation("Sagittal")
        self._view.SetFieldOfView(width_mm, width_mm, 1.0)

    def click(self, point_ras, *, ctrl=False):
        """Move the mouse there, and click."""
        self._point(point_ras, ctrl=ctrl)
        for event in ("LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self._send(event, ctrl=ctrl)

    def press(self, key, point_ras, *, shift=False):
        """Move the mouse there, and press a key: "Delete" or "BackSpace"."""
        self._point(point_ras)
        self._send("KeyPressEvent", shift=shift, key=key)

    def _point(self, point_ras, *, ctrl=False):
        self._view.JumpSliceByCentering(*point_ras)
        to_view = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._view.GetXYToRAS(), to_view)
        self._at = [round(value) for value in to_view.MultiplyPoint([*point_ras, 1.0])[:2]]
        for event in ("EnterEvent", "MouseMoveEvent"):
            self._send(event)
        if ctrl:
            self._send("MouseMoveEvent", ctrl=True)

    def _send(self, event, *, ctrl=False, shift=False, key=None):
        code = {"Delete": chr(127), "BackSpace": chr(8)}.get(key, chr(0))
        self._interactor.SetEventInformation(*self._at, int(ctrl), int(shift), code, 0, key)
        self._interactor.InvokeEvent(event)
