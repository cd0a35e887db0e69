"""Correct the centerline: drag its points, draw it from scratch, go back to the detected one; the result follows.

What the editor does is a step of the correction's history at once; the network's path next to a moved point completes
that step, and scores come after. A session that fails, or is not there, costs the scores and never the edit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.result import SpineReport, edits
from VertebralFractureLib.result.edits import CurveStep, curve_step
from VertebralFractureLib.types import Point
from VertebralFracturePanel.correct.edited_curve import EditedCurve
from VertebralFracturePanel.correct.live_straightening import LiveStraightening
from VertebralFracturePanel.correct.point_placing import PointPlacing
from VertebralFracturePanel.correct.rescoring import Rescoring
from VertebralFracturePanel.process.session_process import (
    CORRECTION_COMMANDS,
    CURVE_COMMANDS,
    DETECT,
    EXPORT,
    OnAnswer,
    SessionProcess,
)
from VertebralFracturePanel.shown_result import ShownResult

_STAGES = {
    EXPORT: "exporting the CT",
    "read": "reading the CT",
    "cpr": "straightening",
    "vertebrae": "measuring",
    "fracture": "scoring",
}
_PREPARING = "The network looks for the canal once; points can be dragged already."
_STALE = "The scores belong to another centerline than the one that is shown."
_DRAWING = "Click a handful of points along the canal, in any order, then press the button again."


class CenterlineSection:
    """Edits the centerline of one result; the result itself signals its changes."""

    def __init__(self, ui: Any, process: SessionProcess, optionsOf: Callable[[ShownResult], DetectionOptions]) -> None:
        self.editedCurve = EditedCurve()
        self.live = LiveStraightening()
        self.rescoring = Rescoring(process, optionsOf, self.live)
        self._ui = ui
        self._process = process
        self._optionsOf = optionsOf
        self._result: ShownResult | None = None
        self._repairing: tuple[Point, ...] | None = None
        self._wasGrabbed = False
        self._drawn: tuple[Point, ...] = ()
        self._message = ""
        self._stage = ""
        self._placing = PointPlacing("Points along the canal")
        self._placing.placed.connect(self._onPlaced)
        self._placing.ended.connect(lambda: self._setChecked(ui.drawCenterlineButton, False))
        self.editedCurve.grabbed.connect(self._onGrabbed)
        self.editedCurve.moved.connect(self._onMoved)
        self.editedCurve.changed.connect(self._onChanged)
        self.live.settled.connect(self.editedCurve.refresh)
        self.rescoring.scored.connect(self._onScored)
        self.rescoring.refused.connect(self._giveUpScores)
        process.progressed.connect(self._onProgress)
        process.failed.connect(self._onFailed)
        ui.editCenterlineButton.connect("toggled(bool)", self._onEdit)
        ui.drawCenterlineButton.connect("toggled(bool)", self._onDraw)
        ui.resetCenterlineButton.connect("clicked(bool)", self._onReset)
        ui.rescoreButton.connect("clicked(bool)", self._onRescore)

    def show(self, result: ShownResult | None) -> None:
        """Follow another result or another state of it; nothing is computed for that."""
        nodes = None if result is None else result.nodes
        isOther = result is None or result is not self._result
        if isOther or nodes.input_volume is None or nodes.centerline is None:
            self._leaveEditing()
        if isOther:
            self._message = ""
            self._setChecked(self._ui.drawCenterlineButton, False)
            self.rescoring.stop()
            if self._result is not None:
                self._result.settle()
        self._result = result
        if nodes is not None and nodes.centerline is not None and not self.editedCurve.isActive:
            nodes.centerline.SetLocked(True)
        self.editedCurve.refresh()
        self._showState()

    def follow(self) -> None:
        """After an edit, undo or redo: bring scores and straightened volume to the curve that holds now."""
        result = self._result
        if result is None:
            return
        if self._repairing is not None:
            if result.line == self._repairing:
                return
            self._repairing = None
            self._process.cancel(*CURVE_COMMANDS)
        self.rescoring.follow(result)
        self._settle()
        self._showState()

    def startDrawing(self) -> None:
        """Unfold the section, and wait for points along the canal."""
        self._ui.centerlineSection.collapsed = False
        self._setChecked(self._ui.drawCenterlineButton, True)

    def startEditing(self) -> None:
        """Unfold the section, and unlock the curve."""
        self._ui.centerlineSection.collapsed = False
        self._setChecked(self._ui.editCenterlineButton, True)

    def leave(self) -> None:
        """The user looks elsewhere: the curve is locked again; scores that are under way still come."""
        self._leaveEditing()
        self._setChecked(self._ui.drawCenterlineButton, False)

    def cleanup(self) -> None:
        """The panel is going."""
        self.leave()
        self.rescoring.cleanup()

    def forget(self) -> None:
        """The scene is being closed."""
        self._repairing = None
        self.leave()
        self.rescoring.forget()
        self._result = None
        self._message = ""

    def _settle(self) -> None:
        """Where nothing is awaited for the curve any more, the result is written in full."""
        if self._result is not None and self._repairing is None and not self._isScoring:
            self._result.settle()

    def _onEdit(self, isWanted: bool) -> None:
        result = self._result
        if not isWanted or result is None or result.nodes.centerline is None:
            self._leaveEditing()
            return
        nodes = result.nodes
        self.rescoring.remember(result)
        self.editedCurve.start(nodes)
        line = result.shown.centerline
        self.live.start(nodes, line.points_ras, line.patient_axes_ras)
        self._say("")
        self._ask("prepare", lambda _answer: self._showState())
        self._showState()

    def _leaveEditing(self) -> None:
        self._setChecked(self._ui.editCenterlineButton, False)
        if not self.editedCurve.isActive:
            return
        wasDragging, result = self.editedCurve.isDragging, self._result
        self.editedCurve.stop()
        self.live.stop()
        scene = None if result is None else result.nodes.table.GetScene()
        if wasDragging and scene is not None and not scene.IsClosing():
            # A drag that has not ended is not kept, so it is not shown either.
            result.showAgain()
            self.rescoring.follow(result)

    def _onGrabbed(self) -> None:
        self._wasGrabbed = True
        self._repairing = None
        self.rescoring.stop()
        self._showState()

    def _onMoved(self) -> None:
        step = self._step()
        if step is not None:
            self.live.move(step.points_ras)

    def _onChanged(self) -> None:
        """A point was let go, placed or taken away."""
        result = self._result
        if result is None:
            return
        before = result.shown.centerline.points_ras
        try:
            step = curve_step(before, result.corrected.correction.anchors_ras, self.editedCurve.points)
        except ValueError as error:
            result.showAgain()
            self._say(str(error))
            return
        wasGrabbed, self._wasGrabbed = self._wasGrabbed, False
        if step is None:
            # Taking a point stopped what was under way, although nothing came of it.
            if wasGrabbed:
                self.follow()
            return
        fixed = (*step.anchors_ras, *([step.dragged_ras] if step.dragged_ras is not None else []))
        willRepair = step.dragged_ras is not None and self._ui.findCanalCheckBox.checked
        self._repairing = step.points_ras if willRepair else None
        self._say("")
        result.edit(_setCenterline, step.points_ras, fixed)
        if willRepair:
            isAsked = self._ask(
                "repair",
                lambda answer: self._onRepaired(step.points_ras, answer),
                points_ras=before,
                dragged_ras=step.dragged_ras,
                anchors_ras=step.anchors_ras,
            )
            if not isAsked:
                self._repairing = None
                self.follow()
        self._showState()

    def _onRepaired(self, raw: tuple[Point, ...], answer: dict[str, Any]) -> None:
        result = self._result
        if self._repairing != raw or result is None or result.line != raw:
            return
        self._repairing = None
        if "error" in answer:
            self._say(answer["error"])
            self.follow()
            return
        points, fixed = ([tuple(point) for point in answer[key]] for key in ("points_ras", "anchors_ras"))
        result.amend(_setCenterline, points, fixed)
        self._settle()

    def _onDraw(self, isWanted: bool) -> None:
        result = self._result
        if isWanted and result is not None:
            self._leaveEditing()
            self._drawn = ()
            self._placing.start(result.nodes)
            self._say(_DRAWING)
            return
        self._placing.stop()
        drawn, self._drawn = self._drawn, ()
        self._say("" if len(drawn) != 1 else "One point is too few: click some along the canal.")
        if len(drawn) > 1 and result is not None and result.nodes.input_volume is not None:
            self.rescoring.remember(result)
            self._ask("draw", lambda answer: self._onFound(result, answer), points_ras=drawn)
            self._showState()

    def _onPlaced(self, points: tuple[Point, ...]) -> None:
        self._drawn = points
        self._say(f"{_DRAWING} {len(points)} so far.")

    def _onFound(self, result: ShownResult, answer: dict[str, Any]) -> None:
        if self._result is not result:
            return
        if "error" in answer:
            self._say(answer["error"])
            return
        points, fixed = ([tuple(point) for point in answer[key]] for key in ("points_ras", "anchors_ras"))
        result.edit(_setCenterline, points, fixed)

    def _onReset(self, _checked: bool = False) -> None:
        if self._result is not None:
            self.rescoring.remember(self._result)
            self._result.edit(lambda correction, _shown: edits.reset_centerline(correction))
            self._say("")

    def _onRescore(self, _checked: bool = False) -> None:
        if self._isScoring:
            self._giveUpScores("Cancelled.")
        else:
            self._say("")
            self.follow()

    def _onScored(self, result: ShownResult) -> None:
        if self._result is result:
            self._say("")
            result.changed.emit()

    def _onProgress(self, command: str, stage: str, fraction: float) -> None:
        if command == DETECT or not self._process.isAsked(*CORRECTION_COMMANDS):
            return
        position = list(_STAGES).index(stage) if stage in _STAGES else 0
        self._stage = _STAGES.get(stage, "")
        self._ui.rescoreBar.value = round(100 * (position + fraction) / len(_STAGES))
        self._showState()

    def _onFailed(self, sentence: str, commands: tuple[str, ...]) -> None:
        if any(command in CORRECTION_COMMANDS for command in commands):
            self._giveUpScores(f"{sentence}\n\nWhat was corrected is kept.")

    def _giveUpScores(self, words: str) -> None:
        self._repairing = None
        self.rescoring.stop()
        if self._result is not None and self._result.nodes.table.GetScene() is not None:
            self.rescoring.commit(self._result)
            self._settle()
        self._say(words)

    def _ask(self, command: str, onAnswer: OnAnswer, **fields: Any) -> bool:
        result = self._result
        return self._process.ask(result.nodes.input_volume, command, onAnswer, self._optionsOf(result), **fields)

    def _step(self) -> CurveStep | None:
        """The edit so far, against the curve that is kept."""
        line, fixed = self._result.shown.centerline.points_ras, self._result.corrected.correction.anchors_ras
        try:
            return curve_step(line, fixed, self.editedCurve.points)
        except ValueError:
            return None

    @property
    def _isScoring(self) -> bool:
        return self._process.isAsked(*CURVE_COMMANDS) or self.rescoring.isBusy

    def _say(self, words: str) -> None:
        self._message = words
        self._showState()

    def _showState(self) -> None:
        ui, result = self._ui, self._result
        nodes = None if result is None else result.nodes
        hasVolume = nodes is not None and nodes.input_volume is not None
        isScoring = self._isScoring
        isBusy = isScoring or self._process.isAsked(*CORRECTION_COMMANDS)
        isStale = hasVolume and self._repairing is None and not result.isUpToDate
        ui.centerlineSection.visible = result is not None
        ui.editCenterlineButton.enabled = hasVolume and nodes.centerline is not None
        ui.drawCenterlineButton.enabled = hasVolume
        ui.resetCenterlineButton.enabled = hasVolume and result.line is not None
        ui.rescoreButton.enabled = isScoring or isStale
        ui.rescoreButton.text = "Cancel" if isScoring else "Score again"
        ui.rescoreBar.visible = isBusy
        if not isBusy:
            ui.rescoreBar.value = 0
            self._stage = ""
        words = [self._message, _STALE if isStale and not isScoring else ""]
        if self._process.isAsked("prepare"):
            words.append(_PREPARING)
        elif isScoring and self._stage:
            words.append(f"New scores: {self._stage}.")
        ui.centerlineLabel.text = "\n".join(part for part in words if part)
        ui.centerlineLabel.visible = bool(ui.centerlineLabel.text)

    def _setChecked(self, button: Any, isChecked: bool) -> None:
        if bool(button.checked) != isChecked:
            button.checked = isChecked


def _setCenterline(correction: Any, _shown: SpineReport, points: Any, fixed: Any) -> Any:
    return edits.set_centerline(correction, points, fixed)
