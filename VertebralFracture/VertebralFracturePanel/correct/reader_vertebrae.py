"""Heights for the vertebrae that the reader made, by a click, a split or a merge: the network places their points.

What it finds is part of the step that made them; where it finds nothing they stay without heights.
"""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.scene_nodes import nodes_of
from VertebralFractureLib.export.scene.show_report import read_shown_report
from VertebralFractureLib.result import Correction, ReportedVertebra, edits
from VertebralFractureLib.result.report import FROM_READER, Point
from VertebralFractureLib.result.vertebra_lookup import vertebra_at
from VertebralFracturePanel.correct.edit_session import EditSession
from VertebralFracturePanel.process.correction_worker import CorrectionWorker
from VertebralFracturePanel.process.signal import Signal


class ReaderVertebrae:
    """Signal: ``measured()``, after heights came."""

    def __init__(self, session: EditSession, worker: CorrectionWorker) -> None:
        self.measured = Signal()
        self._session = session
        self._worker = worker

    def measure(self, nodes: SceneNodes | None) -> None:
        """Ask for the heights of all that have none yet, right after the step that made one."""
        if nodes is None or nodes.input_volume is None:
            return
        after = self._session.history(nodes).present
        shown = read_shown_report(nodes.table.GetScene(), nodes)
        new = [vertebra for vertebra in shown.vertebrae if _lacks_heights(vertebra)]
        if new:
            self._worker.ask(
                nodes,
                "measure",
                lambda answer: self._onMeasured(nodes.table, [one.center_ras for one in new], after, answer),
                centerline_ras=shown.centerline.points_ras,
                extents_mm=[one.extent_mm for one in new],
            )

    def _onMeasured(self, table: Any, centers: list[Point], after: Correction, answer: dict[str, Any]) -> None:
        """Part of the step that made them; a step of its own where the reader went on meanwhile."""
        if table.GetScene() is None:
            return
        nodes = nodes_of(table)
        keep = self._session.amend if self._session.history(nodes).present == after else self._session.edit
        hasCome = False
        for center, body in zip(centers, answer.get("bodies") or [], strict=False):
            vertebrae = read_shown_report(table.GetScene(), nodes).vertebrae
            index = vertebra_at(vertebrae, center)
            if not body.get("landmarks_ras") or index is None or not _lacks_heights(vertebrae[index]):
                continue
            landmarks = [tuple(place) for place in body["landmarks_ras"]]
            keep(nodes, edits.measure_added, index, tuple(body["extent_mm"]), landmarks)
            keep, hasCome = self._session.amend, True
        if hasCome:
            self.measured.emit()


def _lacks_heights(vertebra: ReportedVertebra) -> bool:
    return vertebra.origin == FROM_READER and vertebra.landmarks_ras is None
