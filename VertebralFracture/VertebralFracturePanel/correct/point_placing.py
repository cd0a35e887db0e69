"""The user clicks points into the views: Slicer's place mode with a list of its own, which is gone afterwards.

A click into the view of the straightened volume is converted from straightened coordinates to RAS mm.
"""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.markups_nodes import add_edit_points, defined_points, remove_edit_node
from VertebralFractureLib.export.scene.volume_nodes import patient_place, shows_straight
from VertebralFracturePanel.process.signal import Signal


class PointPlacing(VTKObservationMixin):
    """Signals: ``placed(points)`` with all that there are so far, RAS mm; ``ended()`` when the user or Slicer ended it.

    Both come from Slicer's event loop, never from within an event of the node, which may still be at work.
    """

    def __init__(self, name: str, count: int | None = None) -> None:
        """
        Args:
            count: how many points are wanted; None lets the user go on until ``stop``.
        """
        VTKObservationMixin.__init__(self)
        self.placed = Signal()
        self.ended = Signal()
        self._name = name
        self._count = count
        self._nodes: SceneNodes | None = None
        self._node: Any = None
        self._straightenedIndices: set[int] = set()
        self._emittedCount = 0
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._emit)

    @property
    def isActive(self) -> bool:
        return self._node is not None

    def start(self, nodes: SceneNodes) -> None:
        """Wait for clicks; ``nodes`` says which view is the straightened one."""
        self.stop()
        scene = slicer.mrmlScene
        self._nodes = nodes
        self._node = add_edit_points(scene, self._name)
        self._straightenedIndices, self._emittedCount = set(), 0
        self.addObserver(self._node, self._node.PointPositionDefinedEvent, self._onPlaced)
        selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
        interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
        selection.SetActivePlaceNodeID(self._node.GetID())
        interaction.SetPlaceModePersistence(0 if self._count == 1 else 1)
        interaction.SetCurrentInteractionMode(interaction.Place)
        self.addObserver(interaction, interaction.InteractionModeChangedEvent, self._onModeChanged)

    def stop(self) -> None:
        """Leave the place mode, and take the list out of the scene."""
        node, self._node = self._node, None
        if node is None:
            return
        self.removeObservers()
        self._timer.stop()
        scene = node.GetScene()
        if scene is None:
            return
        interaction = scene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        if interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        remove_edit_node(node)

    def _onPlaced(self, node: Any, _event: str) -> None:
        view = _viewOfTheClick(slicer.mrmlScene)
        if view is not None and shows_straight(slicer.mrmlScene, self._nodes, view):
            self._straightenedIndices.add(len(defined_points(node)) - 1)
        self._timer.start(0)

    def _onModeChanged(self, interaction: Any, _event: str) -> None:
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            self._timer.start(0)

    def _emit(self) -> None:
        node = self._node
        if node is None:
            return
        for index in self._straightenedIndices:
            at = node.GetNthControlPointPositionWorld(index)
            node.SetNthControlPointPositionWorld(index, patient_place(self._nodes.transform, at))
        self._straightenedIndices.clear()
        points = defined_points(node)
        if len(points) > self._emittedCount:
            self._emittedCount = len(points)
            self.placed.emit(points)
        interaction = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLInteractionNode")
        isOver = interaction is None or interaction.GetCurrentInteractionMode() != interaction.Place
        if self._node is node and (isOver or self._emittedCount == self._count):
            self.stop()
            self.ended.emit()


def _viewOfTheClick(scene: Any) -> Any:
    """The slice view that the mouse is in; None in a 3D view."""
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    return None if crosshair is None else crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])
