"""Scores and straightened volume for the curve that holds: from what was scored before, else from the session.

Answers are remembered by their curve for as long as the scene is open, so that undo and redo wait for nothing and give
the very state that was there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.export.scene.show_report import show_scored
from VertebralFractureLib.export.scene.volume_nodes import (
    DETECTED,
    StraightPicture,
    along_curve,
    picture_of,
    read_picture,
)
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.result import EVALUABLE, SpineReport
from VertebralFractureLib.types import Point
from VertebralFracturePanel.correct.live_straightening import LiveStraightening
from VertebralFracturePanel.detect.detection_run import RunFailed, readResult
from VertebralFracturePanel.process.event_loop_steps import EventLoopSteps, finished, removeFolder
from VertebralFracturePanel.process.session_process import CURVE_COMMANDS, WATCH_MS, SessionProcess
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.shown_result import ShownResult

_ROOM_BYTES = 250_000_000
"""For straightened volumes: 15 MB each for a whole spine at 1 mm."""


@dataclass(frozen=True)
class Scored:
    """The model's answer along one curve: the report (None for the detected curve, whose report is kept elsewhere)."""

    report: SpineReport | None
    picture: StraightPicture | None
    spine: StraightenedVolume | None = None
    """Only where the result has no straightened volume of its own to fill."""

    @property
    def size(self) -> int:
        """Bytes."""
        voxels = 0 if self.picture is None else self.picture.voxels.nbytes
        return voxels if self.spine is None else voxels + self.spine.hu.nbytes + self.spine.inside.nbytes


class Rescoring:
    """Signals: ``scored(ShownResult)`` after it shows the scores of its curve, ``refused(sentence)``."""

    def __init__(
        self, process: SessionProcess, optionsOf: Callable[[ShownResult], DetectionOptions], live: LiveStraightening
    ) -> None:
        self.scored = Signal()
        self.refused = Signal()
        self._process = process
        self._optionsOf = optionsOf
        self._live = live
        self._known: OrderedDict[tuple[str, str], Scored] = OrderedDict()
        self._asked: tuple[str, str] | None = None
        self._loading = EventLoopSteps()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="VertebralFracture")

    @property
    def isBusy(self) -> bool:
        """Whether an answer is being loaded."""
        return self._loading.isRunning

    def remember(self, result: ShownResult) -> None:
        """Keep what the nodes show for the way back to it, if it belongs together."""
        if not result.isUpToDate:
            return
        nodes, along = result.nodes, along_curve(result.line)
        if (nodes.table.GetID(), along) not in self._known:
            report = None if along == DETECTED else result.corrected.rescored
            self._keep(nodes, along, Scored(report, read_picture(nodes)))

    def follow(self, result: ShownResult) -> None:
        """Bring the nodes to the curve that is kept; where that needs the networks, ``scored`` comes later."""
        nodes, corrected, line = result.nodes, result.corrected, result.line
        wanted = (nodes.table.GetID(), along_curve(line))
        isUpToDate = result.isUpToDate
        if wanted == self._asked and not isUpToDate:
            return
        self.stop()
        if isUpToDate:
            return
        known = self._known.get(wanted)
        if known is None and line is None and corrected.detected.status != EVALUABLE:
            known = Scored(None, None)
        if known is not None:
            self._show(result, known)
            return
        points = line or corrected.detected.centerline.points_ras
        if nodes.input_volume is None:
            self.refused.emit("The CT of this result is gone, so nothing can be scored again.")
            return
        isAsked = self._process.ask(
            nodes.input_volume,
            "rescore",
            lambda answer: self._onAnswer(result, line, answer),
            self._optionsOf(result),
            centerline_ras=points,
        )
        self._asked = wanted if isAsked else None

    def commit(self, result: ShownResult) -> None:
        """No scores will come: let at least the straightened volume be that of the curve, where it is being edited."""
        if not result.isUpToDate:
            line = result.line
            self._live.commit(line or result.corrected.detected.centerline.points_ras, along_curve(line))

    def stop(self) -> None:
        """Nothing that was asked about a curve is wanted any more."""
        self._asked = None
        self._loading.stop()
        self._process.cancel(*CURVE_COMMANDS)

    def cleanup(self) -> None:
        """The panel is going."""
        self.stop()
        self._background.shutdown(wait=False)

    def forget(self) -> None:
        """The scene was closed; its IDs will be given again."""
        self.stop()
        self._known.clear()

    def _onAnswer(self, result: ShownResult, line: tuple[Point, ...] | None, answer: dict[str, Any]) -> None:
        if result.nodes.table.GetScene() is None:
            self._drop(answer)
            return
        if "report" not in answer:
            self._asked = None
            self.refused.emit(str(answer.get("error", "There was no answer.")))
            return
        self._loading.start(self._read(result, line, answer))

    def _read(
        self, result: ShownResult, line: tuple[Point, ...] | None, answer: dict[str, Any]
    ) -> Generator[int, None, None]:
        volume = result.nodes.input_volume
        name = "" if volume is None else volume.GetName()
        try:
            scored = yield from finished(self._background.submit(_readAnswer, answer, name))
        except RunFailed as error:
            self._asked = None
            self.refused.emit(str(error))
            return
        finally:
            self._drop(answer)
        if result.nodes.table.GetScene() is not None and result.line == line:
            isFirst = result.corrected.detected.status != EVALUABLE
            report = None if line is None else scored.report
            known = Scored(report, scored.picture, scored.spine if isFirst else None)
            self._keep(result.nodes, along_curve(line), known)
            self._show(result, known, scored.spine)

    def _drop(self, answer: dict[str, Any]) -> None:
        if "report" in answer:
            removeFolder(Path(answer["report"]).parent)

    def _show(self, result: ShownResult, scored: Scored, spine: StraightenedVolume | None = None) -> None:
        """``spine``: what was straightened just now, from which the next drag goes on without sampling it."""
        self._asked = None
        result.showScored(scored.report, scored.picture, scored.spine)
        self._live.prepare(result.corrected.shown.centerline.points_ras, spine)
        self.scored.emit(result)

    def _keep(self, nodes: SceneNodes, along: str, scored: Scored) -> None:
        self._known[(nodes.table.GetID(), along)] = scored
        while sum(known.size for known in self._known.values()) > _ROOM_BYTES:
            # The detected one is kept: it is what an undo of everything comes back to.
            older = [key for key in self._known if key[1] != DETECTED and key != (nodes.table.GetID(), along)]
            if not older:
                return
            del self._known[older[0]]


def scoreNow(nodes: SceneNodes, process: SessionProcess, options: DetectionOptions) -> SceneNodes:
    """Bring the nodes to the curve that is kept, waiting for it; the result's nodes, which may be more than before.

    Raises:
        UnusableVolume, TorchMissing: with a sentence for the user.
        RunFailed: with a sentence, when there are no scores.
    """
    corrected = read_correction(nodes.table.GetScene(), nodes)
    line = corrected.correction.centerline_ras
    points = line or corrected.detected.centerline.points_ras
    answers: list[dict[str, Any]] = []

    def onLost(sentence: str, _commands: tuple[str, ...]) -> None:
        answers.append({"error": sentence})

    process.start(nodes.input_volume)
    process.failed.connect(onLost)
    try:
        process.ask(nodes.input_volume, "rescore", answers.append, options, centerline_ras=points)
        while not answers:
            process.letRun(WATCH_MS)
    finally:
        process.failed.disconnect(onLost)
    if "report" not in answers[0]:
        raise RunFailed(answers[0]["error"])
    scored = _readAnswer(answers[0], nodes.input_volume.GetName())
    removeFolder(Path(answers[0]["report"]).parent)
    if line is not None:
        corrected = corrected.scored_again(scored.report)
    return show_scored(nodes.table.GetScene(), nodes, corrected, scored.picture, scored.spine)


def _readAnswer(answer: dict[str, Any], name: str) -> Scored:
    """Plain data only, because it is done in a thread."""
    report, spine = readResult(answer, name)
    return Scored(report, None if spine is None else picture_of(spine), spine)
