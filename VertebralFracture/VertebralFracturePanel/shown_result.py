"""The results of the scene as the panel holds them: each with its parsed report, the reader's edits and the way back.

A report is parsed when its result is first shown, and again only when somebody else changed its node. Every edit goes
into the node at once, as edits alone while scores for another centerline are awaited, and as the whole report when
the result is settled; views are written from what is held here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.report_node import kept_text, read_correction, write_correction, write_edits
from VertebralFractureLib.export.scene.scene_nodes import nodes_of
from VertebralFractureLib.export.scene.show_report import (
    DisplayCriteria,
    criteria_of,
    show_report,
    show_scored,
    show_with_criteria,
)
from VertebralFractureLib.export.scene.volume_nodes import StraightPicture, along_curve, picture_is_along
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.options import COARSEST_MM, FINEST_MM, DetectionOptions
from VertebralFractureLib.result import (
    EVALUABLE,
    CorrectedReport,
    Correction,
    CorrectionHistory,
    SpineReport,
    correction_from_json,
    correction_to_json,
)
from VertebralFractureLib.types import Point
from VertebralFractureLib.weights import weights_names
from VertebralFracturePanel.process.signal import Signal

if TYPE_CHECKING:
    import slicer

Edit = Callable[..., Correction]
"""A function of ``VertebralFractureLib.result.edits`` that takes the correction and the report that is shown."""


class ShownResult:
    """One result. ``corrected`` is its report with the edits, ``history`` the way to them, ``nodes`` its nodes.

    Signal: ``changed()``, after the views followed an edit, its undo or its redo.

    Raises:
        ValueError: when the report is missing or damaged, or was written by a newer version.
    """

    def __init__(self, nodes: SceneNodes) -> None:
        self.changed = Signal()
        self._nodes = nodes
        self.history = CorrectionHistory()
        self._read()

    @property
    def nodes(self) -> SceneNodes:
        """As they are now: the user may have deleted some."""
        if self._nodes.table.GetScene() is not None:
            self._nodes = nodes_of(self._nodes.table)
        return self._nodes

    @property
    def criteria(self) -> DisplayCriteria:
        """Threshold and grading rule that the reader chose."""
        return criteria_of(self._nodes, self.corrected.shown)

    @property
    def shown(self) -> SpineReport:
        """The report with the edits, as it is being read."""
        key = self.corrected, self.criteria
        if self._seen is None or self._seen[0][0] is not key[0] or self._seen[0][1] != key[1]:
            self._seen = key, key[1].apply(key[0].shown)
        return self._seen[1]

    @property
    def line(self) -> tuple[Point, ...] | None:
        """The corrected centerline that holds; None where the detected one does."""
        return self.corrected.correction.centerline_ras

    @property
    def isUpToDate(self) -> bool:
        """Whether scores and straightened volume belong to the centerline that holds."""
        if self.corrected.needs_scores:
            return False
        nodes = self.nodes
        if self.corrected.model.status != EVALUABLE:
            return nodes.straightened is None or self.corrected.detected.status == EVALUABLE
        straightened = picture_is_along(nodes)
        # A user may have deleted the volume: its absence is no reason to compute anything.
        return straightened is None or straightened == along_curve(self.line)

    def optionsLike(self, options: DetectionOptions) -> DetectionOptions:
        """``options`` with the networks and the spacing of this result, where these are known and still exist."""
        used = self.corrected.model.software.weights_sha256
        names = weights_names(PREFIX, options.weights_folder)
        members = tuple(name.removeprefix(PREFIX) for name in names if name in used)
        spacing, straightened = options.spacing_mm, self.nodes.straightened
        if straightened is not None:
            spacing = min(max(round(max(straightened.GetSpacing()), 6), FINEST_MM), COARSEST_MM)
        return replace(options, members=members or options.members, spacing_mm=spacing)

    def edit(self, edit: Edit, *arguments: Any, **more: Any) -> None:
        """Apply ``edit(correction, shown report, *arguments, **more)``.

        Raises:
            ValueError, IndexError: from the edit; nothing has changed then.
        """
        self._go(self.history.do(self._edited(edit, *arguments, **more)))

    def amend(self, edit: Edit, *arguments: Any, **more: Any) -> None:
        """As ``edit``, as a part of the last step: undo takes both back.

        Raises:
            ValueError, IndexError: from the edit; nothing has changed then.
        """
        self._go(self.history.amend(self._edited(edit, *arguments, **more)))

    def undo(self) -> None:
        self._go(self.history.undo())

    def redo(self) -> None:
        self._go(self.history.redo())

    def preview(self, edit: Edit, *arguments: Any, **more: Any) -> SpineReport:
        """How the result would read after ``edit``; nothing is kept.

        Raises:
            ValueError, IndexError: from the edit.
        """
        edited = edit(self.corrected.correction, self.shown, *arguments, **more)
        return self.criteria.apply(self.corrected.corrected_by(edited).shown)

    def setCriteria(self, criteria: DisplayCriteria) -> None:
        """Let the reader's threshold and grading rule be these."""
        show_with_criteria(self._scene, self.nodes, self.corrected.shown, criteria)

    def showAgain(self) -> None:
        """Let the nodes show what is kept, whatever the user did to them."""
        show_report(self._scene, self.nodes, self.corrected.shown, self.criteria)

    def showScored(
        self, scored: SpineReport | None, picture: StraightPicture | None, spine: StraightenedVolume | None = None
    ) -> None:
        """Keep and show the model's answer on the centerline that holds; arguments as in ``show_scored``.

        Args:
            scored: None for the detected centerline, whose answer is kept anyway.
        """
        if scored is not None:
            self.corrected = self.corrected.scored_again(scored)
        self._nodes = show_scored(self._scene, self.nodes, self.corrected, picture, spine)
        self._text, self._isWritten = kept_text(self._nodes), True

    def settle(self) -> None:
        """No scores are awaited: write the whole report, where only the edits were kept so far."""
        if not self._isWritten and self._nodes.table.GetScene() is not None:
            write_correction(self._scene, self.nodes, self.corrected)
            self._text, self._isWritten = kept_text(self._nodes), True

    def refresh(self) -> None:
        """Read the report again if somebody else changed its node.

        Raises:
            ValueError: as the constructor.
        """
        if kept_text(self.nodes) != self._text:
            self._read()

    @property
    def _scene(self) -> slicer.vtkMRMLScene | None:
        return self._nodes.table.GetScene()

    def _read(self) -> None:
        self.corrected: CorrectedReport = read_correction(self._scene, self.nodes)
        self._text = kept_text(self.nodes)
        self._isWritten = not self._text[1]
        self._seen: tuple[tuple[CorrectedReport, DisplayCriteria], SpineReport] | None = None
        if self.history.present != self.corrected.correction:
            self.history = CorrectionHistory(self.corrected.correction)

    def _edited(self, edit: Edit, *arguments: Any, **more: Any) -> Correction:
        """Rounded as files hold it, so that what was saved and loaded is what was there."""
        edited = edit(self.corrected.correction, self.shown, *arguments, **more)
        return correction_from_json(correction_to_json(edited))

    def _go(self, history: CorrectionHistory) -> None:
        self.history = history
        if history.present == self.corrected.correction or self._scene is None:
            return
        before, line = self.corrected.shown, self.line
        self.corrected = self.corrected.corrected_by(history.present)
        if self._isWritten and self.line == line:
            write_correction(self._scene, self.nodes, self.corrected)
        else:
            write_edits(self.nodes, self.corrected.correction)
            self._isWritten = False
        self._text = kept_text(self._nodes)
        show_report(self._scene, self.nodes, self.corrected.shown, self.criteria, before)
        self.changed.emit()


class ShownResults:
    """The results of one scene, each held once. Signal: ``changed()``, of any of them."""

    def __init__(self) -> None:
        self.changed = Signal()
        self._results: dict[str, ShownResult] = {}

    def of(self, nodes: SceneNodes) -> ShownResult:
        """The result of these nodes.

        Raises:
            ValueError: when its report is missing or damaged, or was written by a newer version.
        """
        known = self._results.get(nodes.table.GetID())
        if known is not None and known.nodes.table is nodes.table:
            known.refresh()
            return known
        result = self._results[nodes.table.GetID()] = ShownResult(nodes)
        result.changed.connect(self.changed.emit)
        return result

    def forget(self) -> None:
        """The scene was closed; its IDs will be given again."""
        self._results.clear()
