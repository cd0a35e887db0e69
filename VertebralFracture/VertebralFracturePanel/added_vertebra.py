"""A vertebra that was missed, added by a click into its body; its level is counted from its neighbors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from VertebralFractureLib.correction import Correction, edits
from VertebralFractureLib.correction.places import vertebra_at
from VertebralFractureLib.report.spine_report import FROM_READER, Point
from VertebralFractureLib.scene import SceneNodes
from VertebralFractureLib.scene.scene_nodes import nodes_of
from VertebralFractureLib.scene.shown_reading import read_shown_report
from VertebralFracturePanel.correction_worker import CorrectionWorker
from VertebralFracturePanel.edit_session import EditSession
from VertebralFracturePanel.point_placing import PointPlacing
from VertebralFracturePanel.signal import Signal


class AddedVertebra:
    """Signals: ``added(point)``, after the click's vertebra was stored; ``point`` is its center, RAS mm.

    ``measured()``, after the network placed its height points; where it cannot, the vertebra stays without heights.
    """

    def __init__(self, ui: Any, session: EditSession, edit: Callable[..., bool], worker: CorrectionWorker) -> None:
        """
        Args:
            edit: applies an edit to the result that is shown, or tells the user why not; gives whether it did.
        """
        self.added = Signal()
        self.measured = Signal()
        self._ui = ui
        self._session = session
        self._edit = edit
        self._worker = worker
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
            self._measure(self._nodes, points[0])

    def _onEnded(self) -> None:
        self._ui.addVertebraButton.checked = False

    def _measure(self, nodes: SceneNodes | None, point: Point) -> None:
        if nodes is None or nodes.input_volume is None:
            return
        after = self._session.history(nodes).present
        shown = read_shown_report(nodes.table.GetScene(), nodes)
        index = vertebra_at(shown.vertebrae, point)
        if index is not None:
            self._worker.ask(
                nodes,
                "measure",
                lambda answer: self._onMeasured(nodes.table, point, after, answer),
                centerline_ras=shown.centerline.points_ras,
                extents_mm=[shown.vertebrae[index].extent_mm],
            )

    def _onMeasured(self, table: Any, point: Point, after: Correction, answer: dict[str, Any]) -> None:
        """Part of the step that added the vertebra; a step of its own where the reader went on meanwhile."""
        body = (answer.get("bodies") or [{}])[0]
        if table.GetScene() is None or not body.get("landmarks_ras"):
            return
        nodes = nodes_of(table)
        vertebrae = read_shown_report(table.GetScene(), nodes).vertebrae
        index = vertebra_at(vertebrae, point)
        if index is None or vertebrae[index].origin != FROM_READER or vertebrae[index].landmarks_ras is not None:
            return
        keep = self._session.amend if self._session.history(nodes).present == after else self._session.edit
        landmarks = [tuple(place) for place in body["landmarks_ras"]]
        keep(nodes, edits.measure_added, index, tuple(body["extent_mm"]), landmarks)
        self.measured.emit()
