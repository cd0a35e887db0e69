"""Threshold and grading rule: what the reader sets here acts at once on the result that is shown."""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.export.scene.show_report import DisplayCriteria
from VertebralFractureLib.result import OWN_RULE
from VertebralFractureLib.vertebrae import GRADING_RULES
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.shown_result import ShownResult


class CriteriaSection:
    """Signal: ``changed(DisplayCriteria)``, only when the user did it."""

    def __init__(self, ui: Any) -> None:
        self.changed = Signal()
        self._ui = ui
        self._isShowing = False
        self._ownThreshold = 0.5
        for key, title in GRADING_RULES.items():
            ui.ruleSelector.addItem(title, key)
        ui.thresholdSlider.connect("valueChanged(double)", self._onChanged)
        ui.ruleSelector.connect("currentIndexChanged(int)", self._onChanged)
        ui.ownCriteriaButton.connect("clicked(bool)", self._onOwnCriteria)

    def show(self, result: ShownResult | None) -> None:
        """Show the criteria of a result; without one the section is disabled."""
        self._isShowing = True
        self._ui.criteriaSection.enabled = result is not None
        if result is not None:
            criteria = result.criteria
            self._ownThreshold = result.corrected.shown.scan.decision_threshold
            # A slider of two decimals would else round a threshold that nobody touched.
            if abs(self._ui.thresholdSlider.value - criteria.threshold) > 0.005:
                self._ui.thresholdSlider.value = criteria.threshold
            self._ui.ruleSelector.setCurrentIndex(list(GRADING_RULES).index(criteria.rule))
            self._ui.ownCriteriaButton.enabled = criteria != DisplayCriteria(self._ownThreshold)
        self._isShowing = False

    def _onChanged(self, _value: Any = None) -> None:
        if not self._isShowing:
            rule = list(GRADING_RULES)[self._ui.ruleSelector.currentIndex]
            self.changed.emit(DisplayCriteria(round(float(self._ui.thresholdSlider.value), 2), rule))

    def _onOwnCriteria(self, _checked: bool = False) -> None:
        self.changed.emit(DisplayCriteria(self._ownThreshold, OWN_RULE))
