"""The panel without a mouse and without eyes: what a composite widget is called, and the way to the export by a key."""

from __future__ import annotations

from typing import Any

import qt
import slicer

EXPORT_KEYS = "Alt+X"


def passNamesOn(widget: Any) -> None:
    """Name the parts of a composite widget as the whole: the focus is on a part, whose name a screen reader says."""
    for part in slicer.util.findChildren(widget):
        if part is not widget and hasattr(part, "setAccessibleName"):
            part.setAccessibleName(widget.accessibleName)
            part.setAccessibleDescription(widget.toolTip)


def openExportByKey(panel: Any, ui: Any) -> Any:
    """Let ``EXPORT_KEYS`` unfold the section that exports, and go to its first button; the shortcut is to be kept."""

    def open_() -> None:
        ui.exportSection.collapsed = False
        ui.exportTableButton.setFocus()

    shortcut = qt.QShortcut(qt.QKeySequence(EXPORT_KEYS), panel)
    shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
    shortcut.activated.connect(open_)
    return shortcut
