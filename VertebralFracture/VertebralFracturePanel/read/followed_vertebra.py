"""The views of the CT turn to the chosen vertebra, and back when there is none: one check box, on at first."""

from __future__ import annotations

from typing import Any

import slicer

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.turned_views import turn_views, turn_views_back
from VertebralFractureLib.result import SpineReport


class FollowedVertebra:
    """Whether views follow is the scene's choice; they turn when a vertebra is chosen, never when one is edited."""

    def __init__(self, ui: Any, logic: Any) -> None:
        self._box = ui.followCheckBox
        self._logic = logic
        self._chosen: tuple[SceneNodes, SpineReport, int] | None = None
        self._box.connect("toggled(bool)", self._onToggled)

    def show(self, nodes: SceneNodes | None, report: SpineReport | None, index: int | None) -> None:
        """Know the chosen vertebra as it is now (caudal first), and move no view; without one they turn back."""
        self._box.checked = self._logic.parameters.followsVertebra
        if nodes is None or report is None or index is None:
            self.leave()
        else:
            self._chosen = nodes, report, index

    def turn(self) -> None:
        """Turn the views to the chosen vertebra, and those that show something else now back."""
        if self._chosen is not None and self._logic.parameters.followsVertebra:
            turn_views(slicer.mrmlScene, *self._chosen)

    def leave(self) -> None:
        """No vertebra is looked at: the views are the user's again."""
        self._chosen = None
        turn_views_back(slicer.mrmlScene)

    def _onToggled(self, isWanted: bool) -> None:
        if isWanted != self._logic.parameters.followsVertebra:
            self._logic.parameters.followsVertebra = isWanted
            if isWanted:
                self.turn()
            else:
                turn_views_back(slicer.mrmlScene)
