"""Files of a result, and taking a result out of the scene and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from VertebralFractureLib.correction import corrected_to_json
from VertebralFractureLib.report import SpineReport, report_to_csv
from VertebralFractureLib.scene import SceneNodes
from VertebralFractureLib.scene.corrected_scene import read_correction
from VertebralFractureLib.scene.remove_result import RemovedResult, remove_result, restore_result


class ExportSection:
    """Works on the result that was shown last."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._nodes: SceneNodes | None = None
        self._shown: SpineReport | None = None
        self._removed: RemovedResult | None = None
        ui.exportTableButton.connect("clicked(bool)", self._onExportTable)
        ui.exportReportButton.connect("clicked(bool)", self._onExportReport)
        ui.removeButton.connect("clicked(bool)", self._onRemove)
        ui.undoRemoveButton.connect("clicked(bool)", self._onUndoRemove)
        self._say("")
        self._showState()

    def show(self, nodes: SceneNodes | None, shown: SpineReport | None) -> None:
        """Follow another result or another reading of it."""
        self._nodes, self._shown = nodes, shown
        self._showState()

    def forget(self) -> None:
        """The scene was closed: what was removed from it cannot come back."""
        self._removed = None
        self._say("")
        self._showState()

    def _onExportTable(self, _checked: bool = False) -> None:
        self._export("vertebrae.csv", "Table (*.csv)", report_to_csv(self._shown))

    def _onExportReport(self, _checked: bool = False) -> None:
        corrected = read_correction(slicer.mrmlScene, self._nodes)
        self._export("report.json", "Report (*.json)", corrected_to_json(corrected))

    def _export(self, name: str, kinds: str, text: str) -> None:
        chosen = qt.QFileDialog.getSaveFileName(self._ui.exportSection, "Export", name, kinds)
        if not chosen:
            return
        path = Path(chosen)
        partial = path.with_name(f".{path.name}.partial")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            self._say(f"'{path.name}' could not be written: {error.strerror or error}.")
            return
        self._say(f"Written: {path.name}")

    def _onRemove(self, _checked: bool = False) -> None:
        if self._nodes is not None:
            self._removed = remove_result(slicer.mrmlScene, self._nodes)
            self._say("The result was removed.")
        self._showState()

    def _onUndoRemove(self, _checked: bool = False) -> None:
        removed, self._removed = self._removed, None
        if removed is not None:
            restore_result(slicer.mrmlScene, removed)
            self._say("The result is back.")
        self._showState()

    def _say(self, words: str) -> None:
        self._ui.exportLabel.text = words
        self._ui.exportLabel.visible = bool(words)

    def _showState(self) -> None:
        for button in (self._ui.exportTableButton, self._ui.exportReportButton, self._ui.removeButton):
            button.enabled = self._shown is not None
        self._ui.undoRemoveButton.enabled = self._removed is not None
