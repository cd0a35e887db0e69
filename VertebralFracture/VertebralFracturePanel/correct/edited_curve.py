"""Edit the centerline's points: drag, add and remove them, in the patient or in straightened coordinates.

Straightened coordinates have a curve of their own, shown only in the view of the straightened volume while editing.
While a point is dragged there, that view stands still under the mouse and the patient's curve follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
import slicer
from slicer.util import VTKObservationMixin

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.markups_nodes import (
    add_edit_curve,
    defined_points,
    move_points,
    remove_edit_node,
    spare_measured_values,
)
from VertebralFractureLib.export.scene.volume_nodes import patient_place, straight_places
from VertebralFractureLib.types import Point
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.read.side_by_side import STRAIGHT_VIEW

_HANDLE_SCALE = 1.6
_LINE_PER_HANDLE = 0.25
"""Thickness of the line over the size of a handle, on the screen."""
_SAME_POINT_MM = 1e-4
_SPARE_VALUES = 16
"""Points that can be inserted between two turns of Slicer's event loop."""


class EditedCurve(VTKObservationMixin):
    """Signals: ``grabbed()`` when a point is taken, ``moved()`` during its drag in the patient, ``changed()`` after it.

    The last two come from the event loop, once for all that happened in one go; never from within an event of a node.
    """

    def __init__(self) -> None:
        VTKObservationMixin.__init__(self)
        self.grabbed = Signal()
        self.moved = Signal()
        self.changed = Signal()
        self._nodes: SceneNodes | None = None
        self._curve: Any = None
        self._straight: Any = None
        self._straightPoints: tuple[Point, ...] = ()
        self._patientPoints: tuple[Point, ...] = ()
        self._formerScale, self._formerLine = 1.0, 0
        self._isDragging = False
        self._isStraightenedDrag = False
        self._isWriting = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._emit)

    @property
    def isActive(self) -> bool:
        return self._curve is not None

    @property
    def isDragging(self) -> bool:
        return self._isDragging

    @property
    def points(self) -> tuple[Point, ...]:
        """The patient's curve as it lies now, RAS mm, in the node's order."""
        return () if self._curve is None else defined_points(self._curve)

    def start(self, nodes: SceneNodes) -> None:
        """Unlock the curve of ``nodes`` and show handles."""
        self.stop()
        self._nodes, self._curve = nodes, nodes.centerline
        self._curve.SetLocked(False)
        display = self._curve.GetDisplayNode()
        if display is not None:
            self._formerScale, self._formerLine = display.GetGlyphScale(), display.GetCurveLineSizeMode()
            display.SetGlyphScale(_HANDLE_SCALE)
            # A tube in mm hides the handles, and takes their clicks, where a 3D view is zoomed in.
            display.SetCurveLineSizeMode(display.UseLineThickness)
            display.SetLineThickness(_LINE_PER_HANDLE)
        self._observe(self._curve)
        self.refresh()

    def stop(self) -> None:
        """Lock the curve again; the handles in straightened coordinates are gone."""
        self.removeObservers()
        self._timer.stop()
        curve, self._curve = self._curve, None
        straight, self._straight = self._straight, None
        if curve is not None and curve.GetScene() is not None:
            curve.SetLocked(True)
            spare_measured_values(curve, 0)
            if curve.GetDisplayNode() is not None:
                curve.GetDisplayNode().SetGlyphScale(self._formerScale)
                curve.GetDisplayNode().SetCurveLineSizeMode(self._formerLine)
        if straight is not None:
            remove_edit_node(straight)
        self._nodes = None
        self._isDragging = self._isStraightenedDrag = False

    def refresh(self) -> None:
        """After curve, transform or views changed: move the handles in straightened coordinates to its points."""
        if self._curve is None or self._isDragging:
            return
        spare_measured_values(self._curve, _SPARE_VALUES)
        if self._nodes.transform is None or self._nodes.transform.GetScene() is None:
            return
        scene = slicer.mrmlScene
        if self._straight is None or self._straight.GetScene() is None:
            self._straight = add_edit_curve(scene, "Centerline in straightened coordinates")
            self._straight.GetDisplayNode().SetPropertiesLabelVisibility(False)
            self._straight.GetDisplayNode().SetPointLabelsVisibility(False)
            self._observe(self._straight)
        view = scene.GetSingletonNode(STRAIGHT_VIEW, "vtkMRMLSliceNode")
        display = self._straight.GetDisplayNode()
        display.SetVisibility(view is not None)
        if view is not None:
            display.SetViewNodeIDs([view.GetID()])
        self._patientPoints = self.points
        straightened = straight_places(self._nodes.transform, self._patientPoints)
        self._write(self._straight, tuple((r, a, s) for r, a, s in straightened.tolist()))
        self._straightPoints = defined_points(self._straight)

    def _observe(self, node: Any) -> None:
        self.addObserver(node, node.PointStartInteractionEvent, self._onGrabbed)
        self.addObserver(node, node.PointModifiedEvent, self._onModified)
        self.addObserver(node, node.PointEndInteractionEvent, self._onReleased)
        self.addObserver(node, node.PointPositionDefinedEvent, self._onChanged)
        self.addObserver(node, node.PointRemovedEvent, self._onChanged)

    def _onGrabbed(self, node: Any, _event: str) -> None:
        self._isDragging = True
        self._isStraightenedDrag = node is self._straight
        self.grabbed.emit()

    def _onModified(self, node: Any, _event: str) -> None:
        if self._isWriting or not self._isDragging:
            return
        if node is self._straight:
            self._followStraight()
        self._timer.start(0)

    def _onReleased(self, node: Any, event: str) -> None:
        self._isDragging = False
        self._onChanged(node, event)

    def _onChanged(self, node: Any, _event: str) -> None:
        if self._isWriting:
            return
        if node is self._straight:
            self._followStraight()
        self._timer.start(0)

    def _followStraight(self) -> None:
        """The patient's curve from the straightened handles; a point that was not touched keeps its exact position."""
        known = np.array(self._straightPoints).reshape(-1, 3)
        points = []
        for point in defined_points(self._straight):
            distance = np.linalg.norm(known - np.array(point), axis=1)
            nearest = int(distance.argmin()) if len(known) else -1
            untouched = nearest >= 0 and distance[nearest] < _SAME_POINT_MM
            points.append(self._patientPoints[nearest] if untouched else patient_place(self._nodes.transform, point))
        self._write(self._curve, tuple(points))

    def _write(self, node: Any, points: tuple[Point, ...]) -> None:
        self._isWriting = True
        try:
            move_points(node, points, [f"{index + 1}" for index in range(len(points))])
        finally:
            self._isWriting = False

    def _emit(self) -> None:
        if self._curve is None or self._curve.GetScene() is None:
            return
        if not self._isDragging:
            self._isStraightenedDrag = False
            self.changed.emit()
        elif not self._isStraightenedDrag:
            self.moved.emit()
