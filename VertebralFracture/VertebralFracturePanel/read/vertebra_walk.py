"""One vertebra is chosen: by a click on its row or on its point, or by walking; table, points and views follow."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

from VertebralFractureLib.export.palette import GROUPS
from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.markups_nodes import holds_group
from VertebralFractureLib.export.scene.slice_views import highlight_vertebra, jump_to_vertebra, vertebra_at
from VertebralFractureLib.result import SpineReport, is_suspected
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.read.followed_vertebra import FollowedVertebra
from VertebralFracturePanel.read.results_table import rowOf

UP, DOWN = -1, 1


class VertebraWalk(VTKObservationMixin):
    """Signals: ``chosen(index)``, caudal first, None for none; ``damaged()`` when points of vertebrae were taken away.

    A vertebra's point is not the user's to delete. Slicer's own lock of their number answers each such key with an
    error message, so that the points are free while they are watched here, and what is deleted comes back.
    """

    def __init__(self, ui: Any, followed: FollowedVertebra) -> None:
        VTKObservationMixin.__init__(self)
        self._followed = followed
        self.chosen = Signal()
        self.damaged = Signal()
        self._ui = ui
        self._damageTimer = qt.QTimer()
        self._damageTimer.setSingleShot(True)
        self._damageTimer.timeout.connect(self._onDamaged)
        self._nodes: SceneNodes | None = None
        self._report: SpineReport | None = None
        self._index: int | None = None
        ui.vertebraTable.connect("cellClicked(int,int)", self._onCellClicked)
        ui.previousButton.connect("clicked(bool)", lambda _checked=False: self.walk(UP))
        ui.nextButton.connect("clicked(bool)", lambda _checked=False: self.walk(DOWN))
        self._shortcuts = []
        for keys, act, direction in (
            ("Up", self.walk, UP),
            ("Down", self.walk, DOWN),
            ("Ctrl+Up", self.step, UP),
            ("Ctrl+Down", self.step, DOWN),
        ):
            # Before the table's own use of these keys, and only while the table has the focus.
            shortcut = qt.QShortcut(qt.QKeySequence(keys), ui.vertebraTable)
            shortcut.setContext(qt.Qt.WidgetShortcut)
            shortcut.activated.connect(lambda act=act, direction=direction: act(direction))
            self._shortcuts.append(shortcut)

    def show(self, nodes: SceneNodes | None, report: SpineReport | None, index: int | None) -> None:
        """Follow another result or another state of it; ``index`` stays chosen, and no view moves."""
        self.leave()
        self._nodes, self._report = nodes, report
        self._index = index if report is not None and index is not None and index < len(report.vertebrae) else None
        self._followed.show(nodes, report, self._index)
        for node in nodes.points.values() if nodes is not None else ():
            display = node.GetDisplayNode()
            if display is not None:
                self.addObserver(display, display.JumpToPointEvent, self._onPointClicked)
            self.addObserver(node, node.PointRemovedEvent, self._onPointsChanged)
            self.addObserver(node, node.PointPositionUndefinedEvent, self._onPointsChanged)
            node.SetFixedNumberOfControlPoints(False)
        if nodes is not None:
            self._damageTimer.start(0)  # They may have been deleted where nobody watched them.
        hasSuspected = report is not None and bool(report.suspected)
        self._ui.previousButton.enabled = self._ui.nextButton.enabled = hasSuspected
        self._showChosen()

    def leave(self) -> None:
        """Watch the points no longer."""
        self.removeObservers()
        self._damageTimer.stop()
        for node in self._nodes.points.values() if self._nodes is not None else ():
            node.SetFixedNumberOfControlPoints(True)

    def choose(self, index: int) -> None:
        """Choose vertebra ``index`` and lead the views to it."""
        self._index = index
        self._showChosen()
        jump_to_vertebra(slicer.mrmlScene, self._nodes, self._report.vertebrae, index)
        self._followed.show(self._nodes, self._report, index)
        self._followed.turn()
        self.chosen.emit(index)

    def walk(self, direction: int) -> None:
        """To the next suspected vertebra above or below, no further than the last; to any when none is suspected."""
        if self._report is None or not self._report.vertebrae:
            return
        vertebrae, threshold = self._report.vertebrae, self._report.scan.decision_threshold
        stops = [n for n, v in enumerate(vertebrae) if is_suspected(v, threshold)] or list(range(len(vertebrae)))
        self._goOn(direction, stops)

    def step(self, direction: int) -> None:
        """To the next vertebra above or below, suspected or not."""
        if self._report is not None:
            self._goOn(direction, list(range(len(self._report.vertebrae))))

    def _goOn(self, direction: int, stops: list[int]) -> None:
        """Down the table is caudal, toward lower indices."""
        vertebrae = self._report.vertebrae
        at = self._index if self._index is not None else (len(vertebrae) if direction == DOWN else -1)
        ahead = [n for n in stops if (n < at if direction == DOWN else n > at)]
        if ahead:
            self.choose(max(ahead) if direction == DOWN else min(ahead))

    def _showChosen(self) -> None:
        table = self._ui.vertebraTable
        if self._index is None:
            table.clearSelection()
        else:
            table.selectRow(rowOf(self._report, self._index))
        if self._nodes is not None:
            highlight_vertebra(self._nodes, self._report.vertebrae, self._index)

    def _onPointsChanged(self, _node: slicer.vtkMRMLMarkupsNode, _event: str) -> None:
        """Never from within an event of the node, which may still be at work."""
        self._damageTimer.start(0)

    def _onDamaged(self) -> None:
        report = self._report
        points = {} if self._nodes is None or report is None else self._nodes.points
        if not all(holds_group(points[group.key], group, report) for group in GROUPS if group.key in points):
            self.damaged.emit()

    def _onCellClicked(self, row: int, _column: int) -> None:
        if self._report is not None:
            self.choose(rowOf(self._report, row))

    def _onPointClicked(self, displayNode: slicer.vtkMRMLMarkupsDisplayNode, _event: str) -> None:
        number = displayNode.GetActiveComponentIndex()
        points = displayNode.GetMarkupsNode()
        if points is None or not 0 <= number < points.GetNumberOfControlPoints():
            return
        index = vertebra_at(self._report.vertebrae, points.GetNthControlPointPositionWorld(number))
        if index is not None:
            self.choose(index)
