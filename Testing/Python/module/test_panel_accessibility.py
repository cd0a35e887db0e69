"""The panel without a mouse and without eyes: names for screen readers, mnemonics, from Detect to export by keys."""

import re

import pytest
from panel_helpers import cells, until
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible, QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QProgressBar,
    QWidget,
)
from widget_stand_ins import QLabel, QPushButton

INTERACTIVE = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QProgressBar,
)
OF_SLICERS_MENUS = set("EFHV")
"""File, Edit, View, Help."""


def interactive(widget):
    """Every widget of the panel that a person can work with or reads a state from, parts of composite ones included."""
    found = [part for part in widget.parent.findChildren(QWidget) if isinstance(part, INTERACTIVE)]
    # What Qt itself puts into a combo box, a spin box and a table.
    return [part for part in found if not re.match(r"qt_|.*Scroll", part.objectName()) and not is_of_qt(part)]


def is_of_qt(part):
    parent = part.parentWidget()
    while parent is not None:
        if isinstance(parent, (QComboBox, QAbstractSpinBox, QAbstractItemView)):
            return True
        parent = parent.parentWidget()
    return False


def heard(part, text):
    return QAccessible.queryAccessibleInterface(part).text(text).strip()


@pytest.mark.usefixtures("a_spine_result")
def test_a_screen_reader_says_what_each_widget_is_and_what_it_does(widget):
    parts = interactive(widget)
    assert len(parts) > 50

    nameless = [part.objectName() for part in parts if not heard(part, QAccessible.Text.Name)]
    undescribed = [part.objectName() for part in parts if not heard(part, QAccessible.Text.Description)]

    assert nameless == []
    assert undescribed == []


def test_a_screen_reader_hears_the_heights_of_a_row(widget, a_spine_result):  # noqa: ARG001
    item = widget.ui.vertebraTable.item(1, 0)

    assert "Heights: anterior 18.0" in item.data(Qt.ItemDataRole.AccessibleDescriptionRole)


@pytest.mark.usefixtures("a_spine_result")
def test_no_two_keys_of_the_panel_are_the_same_and_none_is_one_of_slicers_menus(widget):
    widget.ui.nextStepButton.text = ""
    parts = widget.parent.findChildren(QWidget)
    texts = [str(part.text) for part in parts if isinstance(part, QPushButton)]
    texts += [str(part.text) for part in parts if isinstance(part, QLabel) and part.buddy() is not None]
    texts += ["&Cancel", "&Load", "&all", "D&raw", "Ed&it"]  # of buttons that change their words
    keys = [key for key in (QKeySequence.mnemonic(text).toString() for text in texts) if key]

    letters = [key.removeprefix("Alt+") for key in keys]
    assert len(letters) >= 12
    assert sorted(letters) == sorted(set(letters))
    assert not set(letters) & (OF_SLICERS_MENUS | {"X"})


@pytest.mark.usefixtures("a_spine_ct", "a_successful_worker")
def test_from_the_detection_to_the_file_without_a_mouse(widget, chosen, tmp_path):
    # Given a panel with the focus on the button that detects
    chosen["name"] = "table.csv"
    widget.parent.show()
    QApplication.setActiveWindow(widget.parent)
    widget.ui.detectButton.setFocus()
    QTest.keyClick(widget.ui.detectButton, Qt.Key.Key_Space)
    until(lambda: widget.run is None)

    # When the detection is over, the table has the focus, and its keys choose vertebrae
    assert QApplication.focusWidget() is widget.ui.vertebraTable
    QTest.keyClick(widget.ui.vertebraTable, Qt.Key.Key_Down)
    assert widget.ui.chosenLabel.text == "T12:"
    assert "Heights: anterior 18.0, middle 20.0, posterior 26.0 mm" in widget.ui.detailLabel.text
    QTest.keyClick(widget.ui.vertebraTable, Qt.Key.Key_Down, Qt.KeyboardModifier.ControlModifier)
    assert widget.ui.chosenLabel.text == "L1:", "also those that are not suspected"
    QTest.keyClick(widget.ui.vertebraTable, Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClick(widget.ui.vertebraTable, Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)
    assert widget.ui.chosenLabel.text == "T11:"

    # When the key of the section that exports is pressed, its first button has the focus
    QTest.keyClick(widget.ui.vertebraTable, Qt.Key.Key_X, Qt.KeyboardModifier.AltModifier)
    assert QApplication.focusWidget() is widget.ui.exportTableButton
    QTest.keyClick(widget.ui.exportTableButton, Qt.Key.Key_Space)
    until(lambda: not widget.view.exportSection.isExporting)

    assert list(tmp_path.rglob("table.csv"))
    assert len(cells(widget.ui.vertebraTable)) == 3


@pytest.mark.usefixtures("a_spine_result")
def test_the_tabulator_goes_through_the_panel_from_top_to_bottom(widget):
    for section in ("criteriaSection", "correctSection", "centerlineSection", "displaySection", "exportSection"):
        getattr(widget.ui, section).collapsed = False
    widget.parent.resize(420, 2000)
    widget.parent.show()
    QApplication.processEvents()

    visited, part = [], widget.ui.inputSelector
    while part not in visited:
        visited.append(part)
        part = part.nextInFocusChain()
    start = visited.index(widget.ui.sampleButton)
    visited = [*visited[start:], *visited[:start]]
    reached = [
        part
        for part in visited
        if part.focusPolicy() & Qt.FocusPolicy.TabFocus
        and part.isVisible()
        and part.isEnabled()
        and part.window() is widget.parent
    ]
    tops = [part.mapTo(widget.parent, part.rect().center()).y() for part in reached]
    names = [part.objectName() for part in reached]
    backwards = [(a, b) for a, b, y, z in zip(names, names[1:], tops, tops[1:], strict=False) if z < y - 12]
    assert backwards == []
    assert "exportTableButton" in names
