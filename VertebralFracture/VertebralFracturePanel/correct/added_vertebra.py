"""A vertebra that was missed, added by a click into its body; its level is counted from its neighbors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.result import edits
from VertebralFracturePanel.correct.point_placing import PointPlacing
from VertebralFracturePanel.process.signal import Signal


class AddedVertebra:
    """Signal: ``added(point)``, after the click's vertebra was stored; ``point`` is its center, RAS mm."""

    def __init__(self, ui: Any, edit: Callable[..., bool]) -> None:
        """
        Args:
            edit: applies an edit to the result that is shown, or tells the user why not; gives whether it did.
        """
        self.added = Signal()
        self._ui = ui
        self._edit = edit
        self._nodes: SceneNodes | None = None
        self._placing = PointPlacing("Click into the vertebra", 1)
        self._placing.placed.connect(self._onPlaced)
        self._placing.ended.connect(self._onEnded)
        ui.addVertebraButton.connect("toggled(bool)", self._onToggled)

    def show(self, nodes: SceneNodes | None, canAdd: bool) -> None:
        """Follow another result; ``canAdd`` where it has a centerline that vertebrae lie along."""
        isOther = self._nodes is None or nodes is None or nodes.table is not self._nodes.table
        self._nodes = nodes
        self._ui.addVertebraButton.enabled = canAdd
        if isOther or not canAdd:
            self.leave()

    def leave(self) -> None:
        """Wait for a click no longer."""
        self._ui.addVertebraButton.checked = False
        self._placing.stop()

    def _onToggled(self, isWanted: bool) -> None:
        if isWanted and self._nodes is not None:
            self._placing.start(self._nodes)
        else:
            self._placing.stop()

    def _onPlaced(self, points: tuple[Any, ...]) -> None:
        self._placing.stop()
        self._ui.addVertebraButton.checked = False
        if self._edit(edits.add_vertebra, points[0]):
            self.added.emit(points[0])

    def _onEnded(self) -> None:
        self._ui.addVertebraButton.checked = False
