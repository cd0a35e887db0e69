"""Edit the six height points of the chosen vertebra: while one is dragged, heights and grade follow.

What is dragged is a list of its own, which is gone afterwards; the correction is stored when the point is let go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

from VertebralFractureLib.export.scene.markups_nodes import (
    LANDMARK_NAMES,
    add_edit_points,
    control_points,
    describe,
    move_points,
    remove_edit_node,
)
from VertebralFractureLib.result import SpineReport, edits
from VertebralFractureLib.vertebrae.vertebra import LANDMARK_COUNT, Vertebra
from VertebralFracturePanel.correct.point_placing import PointPlacing
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.shown_result import ShownResult


class LandmarkSection(VTKObservationMixin):
    """Signal: ``previewed(SpineReport)``, how the result would read with the points as they lie during a drag."""

    def __init__(self, ui: Any, edit: Callable[..., bool]) -> None:
        """
        Args:
            edit: applies an edit to the result that is shown, or shows the user why not; gives whether it did.
        """
        VTKObservationMixin.__init__(self)
        self.previewed = Signal()
        self._ui = ui
        self._edit = edit
        self._result: ShownResult | None = None
        self._shown: SpineReport | None = None
        self._index: int | None = None
        self._points: Any = None
        self._isDragging = False
        self._isMoving = False
        self._placing = PointPlacing("Place the height points", LANDMARK_COUNT)
        self._placing.placed.connect(self._onPlaced)
        self._placing.ended.connect(self._onPlacingEnded)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._follow)
        ui.landmarksButton.connect("toggled(bool)", self._onToggled)
        self._say("")

    def show(self, result: ShownResult | None, index: int | None) -> None:
        """Follow another result, another state of it, or another chosen vertebra (its index, caudal first)."""
        sameVertebra = result is not None and result is self._result and index == self._index
        shown = None if result is None else result.shown
        self._result, self._shown = result, shown
        count = 0 if shown is None else len(shown.vertebrae)
        self._index = index if index is not None and index < count else None
        self._ui.landmarksButton.enabled = self._index is not None
        if self._index is None:
            self._ui.landmarksButton.checked = False
            return
        if not self._ui.landmarksButton.checked or self._isDragging or (sameVertebra and self._placing.isActive):
            return
        self._showPoints()

    def leave(self) -> None:
        """Take the points out of the scene."""
        self._ui.landmarksButton.checked = False
        self._drop()

    def forget(self) -> None:
        """The scene was closed, and the points with it."""
        self._result = self._shown = self._index = None
        self.leave()

    def _onToggled(self, isWanted: bool) -> None:
        if isWanted and self._index is not None:
            self._showPoints()
        else:
            self._drop()

    def _showPoints(self) -> None:
        landmarks = self._shown.vertebrae[self._index].landmarks_ras
        if landmarks is None:
            self._drop()
            self._placing.start(self._result.nodes)
            self._say(f"Click the {LANDMARK_NAMES[0]} height point of {self._shown.vertebrae[self._index].label}.")
            return
        self._placing.stop()
        if self._points is None or self._points.GetScene() is None:
            self._points = add_edit_points(slicer.mrmlScene, "Height points")
            self.addObserver(self._points, self._points.PointStartInteractionEvent, self._onDragStarted)
            self.addObserver(self._points, self._points.PointModifiedEvent, self._onMoved)
            self.addObserver(self._points, self._points.PointEndInteractionEvent, self._onDragEnded)
        self._isMoving = True
        move_points(self._points, landmarks, LANDMARK_NAMES)
        self._points.SetFixedNumberOfControlPoints(True)
        self._isMoving = False
        self._say(_words(self._shown.vertebrae[self._index]))

    def _drop(self) -> None:
        self._timer.stop()
        self._isDragging = False
        self._placing.stop()
        points, self._points = self._points, None
        if points is not None:
            self.removeObservers()
            remove_edit_node(points)
        self._say("")

    def _onDragStarted(self, _node: Any, _event: str) -> None:
        self._isDragging = True

    def _onMoved(self, _node: Any, _event: str) -> None:
        if not self._isMoving:
            self._timer.start(0)

    def _onDragEnded(self, _node: Any, _event: str) -> None:
        self._isDragging = False
        self._timer.start(0)

    def _follow(self) -> None:
        """Once for all movements that came in one go, and never within an event of the node."""
        if self._points is None or self._points.GetScene() is None or self._index is None:
            return
        points = control_points(self._points)
        if len(points) != LANDMARK_COUNT or points == self._shown.vertebrae[self._index].landmarks_ras:
            return
        if self._isDragging:
            try:
                seen = self._result.preview(edits.set_landmarks, self._index, points)
            except ValueError as error:
                self._say(str(error))
                return
            self._say(_words(seen.vertebrae[self._index]))
            self.previewed.emit(seen)
        elif not self._edit(edits.set_landmarks, self._index, points):
            self._showPoints()  # What cannot be kept goes back to where it was.

    def _onPlaced(self, points: tuple[Any, ...]) -> None:
        if len(points) < LANDMARK_COUNT:
            label = self._shown.vertebrae[self._index].label
            self._say(f"Click the {LANDMARK_NAMES[len(points)]} height point of {label}.")
        else:
            self._placing.stop()
            if not self._edit(edits.set_landmarks, self._index, points[:LANDMARK_COUNT]):
                self._showPoints()

    def _onPlacingEnded(self) -> None:
        if self._points is None:
            self._ui.landmarksButton.checked = False

    def _say(self, words: str) -> None:
        self._ui.landmarksLabel.text = words
        self._ui.landmarksLabel.visible = bool(words)


def _words(vertebra: Vertebra) -> str:
    heights = vertebra.heights_mm
    if heights is None:
        return f"{vertebra.label}: {describe(vertebra)}"
    numbers = f"{heights.anterior:.1f}, {heights.middle:.1f}, {heights.posterior:.1f} mm"
    return f"{vertebra.label}: {numbers}; {describe(vertebra)}"
