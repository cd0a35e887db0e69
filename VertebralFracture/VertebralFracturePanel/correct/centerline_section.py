"""Correct the centerline: drag its points, draw it from scratch, go back to the detected one; the result follows.

What the hand does is a step of the correction's history at once; the network's way beside a moved point completes that
step, and scores come after. A worker that fails, or is not there, costs the scores and never the hand's work.
"""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.scene_nodes import nodes_of
from VertebralFractureLib.result import SpineReport, edits
from VertebralFractureLib.result.curve_steps import CurveStep, curve_step
from VertebralFractureLib.result.report import Point
from VertebralFracturePanel.correct.edit_session import EditSession
from VertebralFracturePanel.correct.edited_curve import CurveInHand
from VertebralFracturePanel.correct.live_straightening import LiveStraightening
from VertebralFracturePanel.correct.point_placing import PointPlacing
from VertebralFracturePanel.correct.rescoring import Rescoring
from VertebralFracturePanel.process.correction_worker import CURVE_COMMANDS, CorrectionWorker
from VertebralFracturePanel.process.resident_worker import STARTING
from VertebralFracturePanel.process.signal import Signal

_STAGES = {STARTING: "handing over the CT", "cpr": "straightening", "fracture": "scoring", "vertebrae": "measuring"}
_PREPARING = "The network looks for the canal once; points can be dragged already."
_STALE = "The scores belong to another centerline than the one that is shown."
_DRAWING = "Click a handful of points along the canal, in any order, then press the button again."


class CenterlineSection:
    """Signal: ``corrected()``, after the nodes of the result have followed."""

    def __init__(self, ui: Any, session: EditSession, worker: CorrectionWorker) -> None:
        self.corrected = Signal()
        self.hand = CurveInHand()
        self.live = LiveStraightening()
        self.rescoring = Rescoring(worker, self.live)
        self._ui = ui
        self._session = session
        self._worker = worker
        self._nodes: SceneNodes | None = None
        self._shown: SpineReport | None = None
        self._repairing: tuple[Point, ...] | None = None
        self._wasGrabbed = False
        self._drawn: tuple[Point, ...] = ()
        self._message = ""
        self._stage = ""
        self._placing = PointPlacing("Points along the canal")
        self._placing.placed.connect(self._onPlaced)
        self._placing.ended.connect(lambda: self._setChecked(ui.drawCenterlineButton, False))
        self.hand.grabbed.connect(self._onGrabbed)
        self.hand.moved.connect(self._onMoved)
        self.hand.changed.connect(self._onChanged)
        self.live.settled.connect(self.hand.refresh)
        self.rescoring.scored.connect(self._onScored)
        self.rescoring.refused.connect(self._giveUpScores)
        worker.progressed.connect(self._onProgress)
        worker.failed.connect(self._onFailed)
        ui.editCenterlineButton.connect("toggled(bool)", self._onEdit)
        ui.drawCenterlineButton.connect("toggled(bool)", self._onDraw)
        ui.resetCenterlineButton.connect("clicked(bool)", self._onReset)
        ui.rescoreButton.connect("clicked(bool)", self._onRescore)

    def show(self, nodes: SceneNodes | None, shown: SpineReport | None) -> None:
        """Follow another result or another state of it; nothing is computed for that."""
        isOther = nodes is None or self._nodes is None or nodes.table is not self._nodes.table
        if isOther or nodes.input_volume is None or nodes.centerline is None:
            self._leaveEditing()
        if isOther:
            self._message = ""
            self._setChecked(self._ui.drawCenterlineButton, False)
            self.rescoring.stop()
        volumeNode = self._worker.volumeNode
        if volumeNode is not None and volumeNode.GetScene() is None:
            self._worker.end()
        self._nodes, self._shown = nodes, shown
        if nodes is not None and nodes.centerline is not None and not self.hand.isActive:
            nodes.centerline.SetLocked(True)
        self.hand.refresh()
        self._showState()

    def follow(self) -> None:
        """After an edit, undo or redo: bring scores and straightened volume to the curve that holds now."""
        if self._nodes is None or self._shown is None:
            return
        if self._repairing is not None:
            if self._line == self._repairing:
                return
            self._repairing = None
            self._worker.cancel(*CURVE_COMMANDS)
        self._nodes = nodes_of(self._nodes.table)
        self.rescoring.follow(self._nodes)
        self._showState()

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
        self._worker.end()
        self._nodes = self._shown = None
        self._message = ""

    @property
    def _line(self) -> tuple[Point, ...] | None:
        """The corrected curve; None where the detected one holds."""
        return self._session.history(self._nodes).present.centerline_ras

    def _onEdit(self, isWanted: bool) -> None:
        nodes = self._nodes
        if not isWanted or nodes is None or nodes.centerline is None or self._shown is None:
            self._leaveEditing()
            return
        self.rescoring.remember(nodes)
        self.hand.start(nodes)
        self.live.start(nodes, self._shown.centerline.points_ras)
        self._worker.hold(True)
        self._say("")
        self._worker.ask(nodes, "prepare", lambda _answer: self._showState())
        self._showState()

    def _leaveEditing(self) -> None:
        self._setChecked(self._ui.editCenterlineButton, False)
        if not self.hand.isActive:
            return
        wasDragging, nodes = self.hand.isDragging, self._nodes
        self.hand.stop()
        self.live.stop()
        self._worker.hold(False)
        scene = None if nodes is None else nodes.table.GetScene()
        if wasDragging and scene is not None and not scene.IsClosing():
            # What the hand has not let go is not kept, so it is not shown either.
            self._session.show(nodes_of(nodes.table))
            self.rescoring.follow(nodes_of(nodes.table))

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
        if self._nodes is None or self._shown is None:
            return
        try:
            step = curve_step(self._shown.centerline.points_ras, self._anchors, self.hand.points)
        except ValueError as error:
            self._session.show(self._nodes)
            self._say(str(error))
            return
        wasGrabbed, self._wasGrabbed = self._wasGrabbed, False
        if step is None:
            # Taking a point stopped what was under way, although nothing came of it.
            if wasGrabbed:
                self.follow()
            return
        before = self._shown.centerline.points_ras
        anchors = (*step.anchors_ras, *([step.dragged_ras] if step.dragged_ras is not None else []))
        willRepair = step.dragged_ras is not None and self._ui.findCanalCheckBox.checked
        self._repairing = step.points_ras if willRepair else None
        self._say("")
        self._session.edit(self._nodes, _setCenterline, step.points_ras, anchors)
        self.corrected.emit()
        if willRepair:
            isAsked = self._worker.ask(
                self._nodes,
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
        if self._repairing != raw or self._nodes is None or self._line != raw:
            return
        self._repairing = None
        if "error" in answer:
            self._say(answer["error"])
            self.follow()
            return
        points, anchors = ([tuple(point) for point in answer[key]] for key in ("points_ras", "anchors_ras"))
        self._session.amend(self._nodes, _setCenterline, points, anchors)
        self.corrected.emit()

    def _onDraw(self, isWanted: bool) -> None:
        if isWanted and self._nodes is not None:
            self._leaveEditing()
            self._drawn = ()
            self._placing.start(self._nodes)
            self._say(_DRAWING)
            return
        self._placing.stop()
        drawn, self._drawn = self._drawn, ()
        self._say("" if len(drawn) != 1 else "One point is too few: click some along the canal.")
        if len(drawn) > 1 and self._nodes is not None and self._nodes.input_volume is not None:
            table = self._nodes.table
            self.rescoring.remember(self._nodes)
            self._worker.ask(self._nodes, "draw", lambda answer: self._onFound(table, answer), points_ras=drawn)
            self._showState()

    def _onPlaced(self, points: tuple[Point, ...]) -> None:
        self._drawn = points
        self._say(f"{_DRAWING} {len(points)} so far.")

    def _onFound(self, table: Any, answer: dict[str, Any]) -> None:
        if self._nodes is None or self._nodes.table is not table:
            return
        if "error" in answer:
            self._say(answer["error"])
            return
        points, anchors = ([tuple(point) for point in answer[key]] for key in ("points_ras", "anchors_ras"))
        self._session.edit(self._nodes, _setCenterline, points, anchors)
        self.corrected.emit()

    def _onReset(self, _checked: bool = False) -> None:
        if self._nodes is not None:
            self.rescoring.remember(self._nodes)
            self._session.edit(self._nodes, lambda correction, _shown: edits.reset_centerline(correction))
            self._say("")
            self.corrected.emit()

    def _onRescore(self, _checked: bool = False) -> None:
        if self._isScoring:
            self._giveUpScores("Cancelled.")
        else:
            self._say("")
            self.follow()

    def _onScored(self, table: Any) -> None:
        if self._nodes is not None and self._nodes.table is table:
            self._say("")
            self.corrected.emit()

    def _onProgress(self, stage: str, fraction: float) -> None:
        place = list(_STAGES).index(stage) if stage in _STAGES else 0
        self._stage = _STAGES.get(stage, "")
        self._ui.rescoreBar.value = round(100 * (place + fraction) / len(_STAGES))
        self._showState()

    def _onFailed(self, sentence: str) -> None:
        self._giveUpScores(f"{sentence}\n\nWhat was corrected is kept.")

    def _giveUpScores(self, words: str) -> None:
        self._repairing = None
        self.rescoring.stop()
        if self._nodes is not None and self._nodes.table.GetScene() is not None:
            self.rescoring.commit(self._nodes)
        self._say(words)

    def _step(self) -> CurveStep | None:
        """What the hand has done so far, against the curve that is kept."""
        try:
            return curve_step(self._shown.centerline.points_ras, self._anchors, self.hand.points)
        except ValueError:
            return None

    @property
    def _anchors(self) -> tuple[Point, ...]:
        return self._session.history(self._nodes).present.anchors_ras

    @property
    def _isScoring(self) -> bool:
        return self._worker.isAsked(*CURVE_COMMANDS) or self.rescoring.isBusy

    def _say(self, words: str) -> None:
        self._message = words
        self._showState()

    def _showState(self) -> None:
        ui, nodes = self._ui, self._nodes
        hasVolume = nodes is not None and self._shown is not None and nodes.input_volume is not None
        isScoring = self._isScoring
        isBusy = isScoring or self._worker.isBusy
        isStale = hasVolume and self._repairing is None and self.rescoring.isStale(nodes)
        ui.centerlineSection.visible = nodes is not None and self._shown is not None
        ui.editCenterlineButton.enabled = hasVolume and nodes.centerline is not None
        ui.drawCenterlineButton.enabled = hasVolume
        ui.resetCenterlineButton.enabled = hasVolume and self._line is not None
        ui.rescoreButton.enabled = isScoring or isStale
        ui.rescoreButton.text = "Cancel" if isScoring else "Score again"
        ui.rescoreBar.visible = isBusy
        if not isBusy:
            ui.rescoreBar.value = 0
            self._stage = ""
        words = [self._message, _STALE if isStale and not isScoring else ""]
        if self._worker.isAsked("prepare"):
            words.append(_PREPARING)
        elif isScoring and self._stage:
            words.append(f"New scores: {self._stage}.")
        ui.centerlineLabel.text = "\n".join(part for part in words if part)
        ui.centerlineLabel.visible = bool(ui.centerlineLabel.text)

    def _setChecked(self, button: Any, isChecked: bool) -> None:
        if bool(button.checked) != isChecked:
            button.checked = isChecked


def _setCenterline(correction: Any, _shown: SpineReport, points: Any, anchors: Any) -> Any:
    return edits.set_centerline(correction, points, anchors)
