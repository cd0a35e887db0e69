"""What the reader says about the chosen vertebra, and which vertebra it is: assessment, level, split, merge, remove."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import qt

from VertebralFractureLib.result import agreement, edits
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL
from VertebralFractureLib.vertebrae.vertebra import Assessment, Vertebra
from VertebralFracturePanel.process.signal import Signal
from VertebralFracturePanel.shown_result import Edit, ShownResult

_ASSESSMENTS: tuple[tuple[str, str | None, int | None], ...] = (
    ("no assessment", None, None),
    ("the model is right", Assessment.CONFIRMED, None),
    ("no fracture", Assessment.REJECTED, None),
    ("grade 0, none", Assessment.REGRADED, 0),
    ("grade 1, mild", Assessment.REGRADED, 1),
    ("grade 2, moderate", Assessment.REGRADED, 2),
    ("grade 3, severe", Assessment.REGRADED, 3),
    ("cannot be judged", Assessment.NOT_EVALUABLE, None),
)


class CorrectSection:
    """Signal: ``divided()``, after the nodes of the result have followed a split or a merge."""

    def __init__(self, ui: Any) -> None:
        self.divided = Signal()
        self._ui = ui
        self._result: ShownResult | None = None
        self._index: int | None = None
        for words, _, _ in _ASSESSMENTS:
            ui.assessmentSelector.addItem(words)
        for level in CRANIAL_TO_CAUDAL:
            ui.levelSelector.addItem(level)
        self._edits: tuple[tuple[Any, Callable[[], None]], ...] = (
            (ui.assessmentButton, self._assess),
            (ui.levelButton, self._setLevel),
            (ui.pinLevelButton, self._pinLevel),
            (ui.splitButton, lambda: self._divide(edits.split_vertebra)),
            (ui.mergeButton, lambda: self._divide(edits.merge_with_next)),
            (ui.removeVertebraButton, lambda: self.edit(edits.remove_vertebra, self._index)),
        )
        for button, act in (
            *self._edits,
            (ui.levelsUpButton, lambda: self.edit(edits.shift_levels, 1)),
            (ui.levelsDownButton, lambda: self.edit(edits.shift_levels, -1)),
            (ui.resetLevelsButton, lambda: self.edit(lambda correction, _shown: edits.reset_levels(correction))),
            (ui.undoEditButton, self.undo),
            (ui.redoEditButton, self.redo),
        ):
            button.connect("clicked(bool)", lambda _checked=False, act=act: act())
        self._shortcuts = []
        for keys, act in ((qt.QKeySequence.Undo, self.undo), (qt.QKeySequence.Redo, self.redo)):
            # Only while the focus is in this section: elsewhere these keys belong to Slicer and to text fields.
            shortcut = qt.QShortcut(qt.QKeySequence(keys), ui.correctSection)
            shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)
            self._shortcuts.append(shortcut)
        self._say("")

    def show(self, result: ShownResult | None, index: int | None) -> None:
        """Follow another result or another chosen vertebra; ``index`` counts from the caudal end."""
        moved = index != self._index or result is not self._result
        self._result = result
        shown = None if result is None else result.shown
        count = 0 if shown is None else len(shown.vertebrae)
        self._index = index if index is not None and index < count else None
        self._ui.undoEditButton.enabled = result is not None and bool(result.history.past)
        self._ui.redoEditButton.enabled = result is not None and bool(result.history.future)
        for button, _ in self._edits:
            button.enabled = self._index is not None
        self._ui.mergeButton.enabled = self._index is not None and self._index + 1 < count
        self._ui.agreementLabel.text = "" if shown is None else agreement(shown).sentence
        if moved:
            self._say("")
        if shown is None or self._index is None:
            self._ui.chosenLabel.text = "Choose a vertebra in the table."
            return
        vertebra = shown.vertebrae[self._index]
        self._ui.chosenLabel.text = f"{vertebra.label}:"
        self._ui.assessmentSelector.setCurrentIndex(_assessmentIndex(vertebra))
        self._ui.commentEdit.text = vertebra.reader.comment
        if vertebra.level is not None:
            self._ui.levelSelector.setCurrentIndex(CRANIAL_TO_CAUDAL.index(vertebra.level))

    def forget(self) -> None:
        """The scene was closed."""
        self._result = None
        self._say("")

    def undo(self) -> None:
        if self._result is not None:
            self._result.undo()
            self._say("")

    def redo(self) -> None:
        if self._result is not None:
            self._result.redo()
            self._say("")

    def _assess(self) -> None:
        _, assessment, grade = _ASSESSMENTS[self._ui.assessmentSelector.currentIndex]
        if assessment is None:
            self.edit(edits.withdraw_assessment, self._index)
            return
        reader = {}
        if self._ui.whoCheckBox.checked:
            reader = {
                "who": self._ui.whoEdit.text.strip() or None,
                "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            }
        comment = self._ui.commentEdit.text.strip()
        self.edit(edits.assess, self._index, assessment, grade=grade, comment=comment, **reader)

    def _setLevel(self) -> None:
        self.edit(edits.set_level, self._index, self._ui.levelSelector.currentText)

    def _pinLevel(self) -> None:
        self.edit(edits.pin_level, self._index, self._ui.levelSelector.currentText)

    def _divide(self, edit: Edit) -> None:
        if self.edit(edit, self._index):
            self.divided.emit()

    def edit(self, edit: Edit, *arguments: Any, **more: Any) -> bool:
        """Apply an edit to the result that is shown; where that cannot be, say why. Gives whether it was applied."""
        if self._result is None:
            return False
        try:
            self._result.edit(edit, *arguments, **more)
        except (ValueError, IndexError) as error:
            self._say(str(error))
            return False
        self._say("")
        return True

    def _say(self, words: str) -> None:
        self._ui.correctLabel.text = words
        self._ui.correctLabel.visible = bool(words)


def _assessmentIndex(vertebra: Vertebra) -> int:
    """Index of the reader's assessment in the list."""
    reader = vertebra.reader
    for index, (_, assessment, grade) in enumerate(_ASSESSMENTS):
        if assessment == reader.assessment and (assessment != Assessment.REGRADED or grade == reader.grade):
            return index
    return 0
