"""Heights for the vertebrae that the reader made, by a click, a split or a merge: the network places their points.

What it finds is part of the step that made them; where it finds nothing they stay without heights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.result import Correction, edits
from VertebralFractureLib.result.lookup import vertebra_at
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import Source, Vertebra
from VertebralFracturePanel.process.session_process import SessionProcess
from VertebralFracturePanel.shown_result import ShownResult


class ReaderVertebrae:
    """Asks for what was not measured yet; the result follows when the answer comes."""

    def __init__(self, process: SessionProcess, optionsOf: Callable[[ShownResult], DetectionOptions]) -> None:
        self._process = process
        self._optionsOf = optionsOf

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

    def _onMeasured(self, result: ShownResult, centers: list[Point], after: Correction, answer: dict[str, Any]) -> None:
        """Part of the step that made them; a step of its own where the reader went on meanwhile."""
        if result.nodes.table.GetScene() is None:
            return
        keep = result.amend if result.history.present == after else result.edit
        for center, body in zip(centers, answer.get("bodies") or [], strict=False):
            index = vertebra_at(result.shown.vertebrae, center)
            if not body.get("landmarks_ras") or index is None or not _lacks_heights(result.shown.vertebrae[index]):
                continue
            landmarks = [tuple(place) for place in body["landmarks_ras"]]
            keep(edits.measure_added, index, tuple(body["extent_mm"]), landmarks)
            keep = result.amend


def _lacks_heights(vertebra: Vertebra) -> bool:
    return vertebra.source == Source.READER and vertebra.landmarks_ras is None
