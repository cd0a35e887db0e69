"""One result under correction: every edit, undo and redo goes into the scene's nodes at once, where it is saved.

The steps to undo live as long as the panel; the correction itself lives in the scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.corrected_scene import read_correction
from VertebralFractureLib.export.scene.show_report import read_shown_report, reading_of, show_correction
from VertebralFractureLib.result import Correction, CorrectionHistory, SpineReport, regrade

Edit = Callable[..., Correction]
"""A function of ``VertebralFractureLib.result.edits`` that takes the correction and the report that is shown."""


class EditSession:
    """Histories of the results of one scene, by their table node."""

    def __init__(self) -> None:
        self._histories: dict[str, CorrectionHistory] = {}

    def history(self, nodes: SceneNodes) -> CorrectionHistory:
        """Of the result; a new one where the scene holds another correction than the last known."""
        present = read_correction(nodes.table.GetScene(), nodes).correction
        known = self._histories.get(nodes.table.GetID())
        if known is None or known.present != present:
            known = CorrectionHistory(present)
        self._histories[nodes.table.GetID()] = known
        return known

    def edit(self, nodes: SceneNodes, edit: Edit, *arguments: Any, **more: Any) -> None:
        """Apply ``edit(correction, shown report, *arguments, **more)``.

        Raises:
            ValueError, IndexError: from the edit; nothing has changed then.
        """
        history = self.history(nodes)
        self._keep(nodes, history.do(edit(history.present, _shown(nodes), *arguments, **more)))

    def amend(self, nodes: SceneNodes, edit: Edit, *arguments: Any, **more: Any) -> None:
        """As ``edit``, as a part of the last step: undo takes both back.

        Raises:
            ValueError, IndexError: from the edit; nothing has changed then.
        """
        history = self.history(nodes)
        self._keep(nodes, history.amend(edit(history.present, _shown(nodes), *arguments, **more)))

    def preview(self, nodes: SceneNodes, edit: Edit, *arguments: Any, **more: Any) -> SpineReport:
        """How the result would read after ``edit``; nothing is kept.

        Raises:
            ValueError, IndexError: from the edit.
        """
        corrected = read_correction(nodes.table.GetScene(), nodes)
        reading = reading_of(nodes, corrected.shown)
        shown = regrade(corrected.shown, reading.threshold, reading.rule)
        seen = corrected.corrected_by(edit(corrected.correction, shown, *arguments, **more)).shown
        return regrade(seen, reading.threshold, reading.rule)

    def show(self, nodes: SceneNodes) -> None:
        """Let the nodes show what is kept, whatever a hand did to them."""
        scene = nodes.table.GetScene()
        show_correction(scene, nodes, read_correction(scene, nodes))

    def undo(self, nodes: SceneNodes) -> None:
        self._keep(nodes, self.history(nodes).undo())

    def redo(self, nodes: SceneNodes) -> None:
        self._keep(nodes, self.history(nodes).redo())

    def forget(self) -> None:
        """The scene was closed; its IDs will be given again."""
        self._histories.clear()

    def _keep(self, nodes: SceneNodes, history: CorrectionHistory) -> None:
        scene = nodes.table.GetScene()
        corrected = read_correction(scene, nodes)
        if corrected.correction != history.present:
            show_correction(scene, nodes, corrected.corrected_by(history.present))
            # As the scene keeps it, with rounded numbers: otherwise it would look like somebody else's correction.
            history = replace(history, present=read_correction(scene, nodes).correction)
        self._histories[nodes.table.GetID()] = history


def _shown(nodes: SceneNodes) -> SpineReport:
    return read_shown_report(nodes.table.GetScene(), nodes)
