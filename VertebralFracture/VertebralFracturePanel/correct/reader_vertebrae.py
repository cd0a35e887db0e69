"""The vertebrae that the reader makes: by a click into one that was missed, or by a split or a merge.

The network finds the height points of each, which become part of the step that made it; where it finds none the
vertebra stays without heights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.result import Correction, edits
from VertebralFractureLib.result.lookup import vertebra_at
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import Source, Vertebra
from VertebralFracturePanel.correct.point_placing import PointPlacing
from VertebralFracturePanel.process.session_process import SessionProcess
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.shown_result import ShownResult


class ReaderVertebrae:
    """Signal: ``added(point)``, after the click's vertebra was stored; ``point`` is its center, RAS mm."""

    def __init__(
        self,
        ui: Any,
        edit: Callable[..., bool],
        process: SessionProcess,
        optionsOf: Callable[[ShownResult], DetectionOptions],
    ) -> None:
        """
        Args:
            edit: applies an edit to the result that is shown, or shows the user why not; gives whether it did.
            optionsOf: what a result is measured with.
        """
        self.added = Signal()
        self._ui = ui
        self._edit = edit
        self._process = process
        self._optionsOf = optionsOf
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

    def measure(self, result: ShownResult | None) -> None:
        """Ask for the heights of all that have none yet, right after the step that made one."""
        if result is None or result.nodes.input_volume is None:
            return
        after, shown = result.history.present, result.shown
        new = [vertebra for vertebra in shown.vertebrae if _lacks_heights(vertebra)]
        if new:
            self._process.ask(
                result.nodes.input_volume,
                "measure",
                lambda answer: self._onMeasured(result, [one.center_ras for one in new], after, answer),
                self._optionsOf(result),
                centerline_ras=shown.centerline.points_ras,
                extents_mm=[one.extent_mm for one in new],
            )

    def _onToggled(self, isWanted: bool) -> None:
        if isWanted and self._nodes is not None:
            self._placing.start(self._nodes)
        else:
            self._placing.stop()

    def _onPlaced(self, points: tuple[Point, ...]) -> None:
        self.leave()
        if self._edit(edits.add_vertebra, points[0]):
            self.added.emit(points[0])

    def _onEnded(self) -> None:
        self._ui.addVertebraButton.checked = False

    def _onMeasured(self, result: ShownResult, centers: list[Point], after: Correction, answer: dict[str, Any]) -> None:
        """Part of the step that made them; a step of its own where the reader went on meanwhile."""
        if result.nodes.table.GetScene() is None:
            return
        keep = result.amend if result.history.present == after else result.edit
        for center, body in zip(centers, answer.get("bodies") or [], strict=False):
            index = vertebra_at(result.shown.vertebrae, center)
            if not body.get("landmarks_ras") or index is None or not _lacks_heights(result.shown.vertebrae[index]):
                continue
            landmarks = [tuple(point) for point in body["landmarks_ras"]]
            outline = None if body.get("outline_ras") is None else [tuple(point) for point in body["outline_ras"]]
            keep(edits.measure_added, index, tuple(body["extent_mm"]), landmarks, outline)
            keep = result.amend


def _lacks_heights(vertebra: Vertebra) -> bool:
    return vertebra.source == Source.READER and vertebra.landmarks_ras is None
