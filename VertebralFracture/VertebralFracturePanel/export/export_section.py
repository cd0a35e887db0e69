"""Files of a result, and taking a result out of the scene and back."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import qt
import slicer

from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.result_folder import (
    RemovedResult,
    put_into_folder,
    remove_result,
    restore_result,
)
from VertebralFractureLib.export.scene.scene_nodes import SEGMENTATION, mark
from VertebralFractureLib.export.scene.segmentation_node import add_segmentation_node
from VertebralFractureLib.export.segmentation import LabelMap, fill_steps
from VertebralFractureLib.export.table import COMMA, SEMICOLON, TableStyle
from VertebralFractureLib.result import SpineReport
from VertebralFracturePanel.detect.volume_export import UnusableVolume, exportOf
from VertebralFracturePanel.export.result_export import TABLE, ExportFailed, ResultExport, Steps
from VertebralFracturePanel.export.view_pictures import View, openViews, writePicture
from VertebralFracturePanel.process.event_loop_steps import EventLoopSteps

_CANCELLED = "The export was cancelled; no file was changed."


def tableStyleOf(locale: Any) -> TableStyle:
    """How a computer's spreadsheets read a table, by how its region (a ``QLocale``) writes decimals."""
    return SEMICOLON if SEMICOLON.decimal in str(locale.toString(0.5)) else COMMA


class ExportSection:
    """Works on the result that was shown last; one export at a time.

    ``openViews`` gives the views that pictures are made of; tests put their own in its place.
    """

    def __init__(self, ui: Any) -> None:
        self.openViews: Callable[[], list[View]] = openViews
        self._ui = ui
        self._nodes: SceneNodes | None = None
        self._shown: SpineReport | None = None
        self._removed: RemovedResult | None = None
        self._steps = EventLoopSteps()
        self._exports: list[ResultExport] = []
        for button, name, kinds in (
            (ui.exportTableButton, "vertebrae.csv", "Table (*.csv)"),
            (ui.exportReportButton, "report.json", "Report (*.json)"),
            (ui.exportPageButton, "report.html", "Page (*.html)"),
            (ui.exportSceneButton, "scene.mrb", "Scene (*.mrb)"),
        ):
            button.connect("clicked(bool)", lambda _checked=False, file=(name, kinds): self._exportFile(*file))
        ui.exportPicturesButton.connect("clicked(bool)", self._onExportPictures)
        ui.segmentationButton.connect("clicked(bool)", self._onMakeSegmentation)
        ui.cancelExportButton.connect("clicked(bool)", self.cancel)
        ui.removeButton.connect("clicked(bool)", self._onRemove)
        ui.undoRemoveButton.connect("clicked(bool)", self._onUndoRemove)
        self._say("")
        self._showState()

    @property
    def isExporting(self) -> bool:
        return self._steps.isRunning

    def show(self, nodes: SceneNodes | None, shown: SpineReport | None) -> None:
        """Follow another result or another state of it."""
        self._nodes, self._shown = nodes, shown
        self._showState()

    def cancel(self, _checked: bool = False) -> None:
        """Give up the export that runs; the former file stays."""
        if self.isExporting:
            self._steps.stop()
            self._say(_CANCELLED)
        self._showState()

    def forget(self) -> None:
        """The scene was closed: what was removed from it cannot come back, and the next patient is another one."""
        self._steps.stop()
        self._removed = None
        self._ui.identifiersCheckBox.checked = False
        self._say("")
        self._showState()

    def cleanup(self) -> None:
        """The panel is going: no process is left when this returns."""
        self._steps.stop()
        for export in self._exports:
            export.endNow()
        self._releaseEnded()

    def _exportFile(self, name: str, kinds: str) -> None:
        if self._nodes is None or self.isExporting:
            return
        chosen = qt.QFileDialog.getSaveFileName(self._ui.exportSection, "Export", name, kinds)
        if not chosen:
            return
        path = Path(chosen)
        if not path.suffix:
            path = path.with_suffix(Path(name).suffix)
        self._releaseEnded()
        style = tableStyleOf(qt.QLocale.system())
        try:
            export = ResultExport(
                self._nodes, path, identifiers=bool(self._ui.identifiersCheckBox.checked), tableStyle=style
            )
        except ExportFailed as error:
            self._say(str(error))
            return
        self._exports.append(export)
        export.progressed.connect(functools.partial(self._showProgress, export))
        isOfRegion = style is SEMICOLON and path.suffix.lower() == TABLE
        form = ", with semicolons and decimal commas, as this computer's region writes them" if isOfRegion else ""
        self._run(export.steps(), f"Written: {path.name}{form}")

    def _showProgress(self, export: ResultExport, fraction: float) -> None:
        # A process that is being ended may still have said something.
        if self.isExporting and self._exports[-1] is export:
            self._say(f"Writing {export.path.name}, {round(100 * fraction)} %")

    def _onExportPictures(self, _checked: bool = False) -> None:
        if self._nodes is None or self.isExporting:
            return
        chosen = qt.QFileDialog.getExistingDirectory(self._ui.exportSection, "Folder for the pictures")
        if chosen:
            self._run(self._pictures(Path(chosen)), "")

    def _pictures(self, folder: Path) -> Steps:
        identifiers = bool(self._ui.identifiersCheckBox.checked)
        written = []
        for name, window in self.openViews():
            path = _freePath(folder, f"view-{name}")
            try:
                writePicture(window, path, identifiers=identifiers)
            except OSError as error:
                raise ExportFailed(f"'{path.name}' could not be written: {error.strerror or error}.") from error
            written.append(path.name)
            yield 0
        self._say(f"Written: {', '.join(written)}" if written else "No slice or 3D view is open.")

    def _onMakeSegmentation(self, _checked: bool = False) -> None:
        if self._nodes is not None and self._shown is not None and not self.isExporting:
            self._run(self._segmentation(self._nodes, self._shown), "")

    def _segmentation(self, nodes: SceneNodes, shown: SpineReport) -> Steps:
        """A new node each time: what somebody painted into an earlier one stays."""
        try:
            volume = exportOf(nodes.input_volume)
        except UnusableVolume as error:
            raise ExportFailed(str(error)) from error
        labelMap = yield from _pausing(fill_steps(shown, volume.shape, volume.ijkToRas))
        if not labelMap.segments:
            raise ExportFailed("No body was traced, so that there is nothing to fill.")
        scene = nodes.table.GetScene()
        node = add_segmentation_node(scene, labelMap, "Vertebral bodies by level")
        mark(node, SEGMENTATION)
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        put_into_folder(hierarchy, hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes.table)), node)
        count = len(labelMap.segments)
        words = f"Made: '{node.GetName()}' with {count} {'segment' if count == 1 else 'segments'}."
        left = f" Not traced, so not in it: {', '.join(labelMap.left_out)}." if labelMap.left_out else ""
        self._say(words + left)

    def _run(self, steps: Steps, words: str) -> None:
        self._steps.start(self._guarded(steps, words))
        self._showState()

    def _guarded(self, steps: Steps, words: str) -> Steps:
        try:
            yield from steps
        except ExportFailed as error:
            words = str(error)
        except Exception as error:
            logging.exception("The export met an internal error.")
            words = f"The export met an internal error: {error}."
        if words:
            self._say(words)
        self._showState(isExporting=False)

    def _releaseEnded(self) -> None:
        """Exports are kept until their processes are gone too."""
        for export in [export for export in self._exports if export.isOver]:
            self._exports.remove(export)
            export.release()

    def _onRemove(self, _checked: bool = False) -> None:
        if self._nodes is not None:
            self.cancel()
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

    def _showState(self, isExporting: bool | None = None) -> None:
        """``isExporting`` False is for the last step of an export, during which it is still going on."""
        isExporting = self.isExporting if isExporting is None else isExporting
        for button in (
            self._ui.exportTableButton,
            self._ui.exportReportButton,
            self._ui.exportPageButton,
            self._ui.exportSceneButton,
            self._ui.exportPicturesButton,
            self._ui.segmentationButton,
            self._ui.identifiersCheckBox,
        ):
            button.enabled = self._shown is not None and not isExporting
        self._ui.cancelExportButton.visible = isExporting
        self._ui.removeButton.enabled = self._shown is not None
        self._ui.undoRemoveButton.enabled = self._removed is not None


def _freePath(folder: Path, stem: str) -> Path:
    """A name that no file has yet, because nobody was asked whether one may be replaced."""
    names = itertools.chain([f"{stem}.png"], (f"{stem}-{number}.png" for number in itertools.count(2)))
    return next(folder / name for name in names if not (folder / name).exists())


def _pausing(steps: Generator[None, None, LabelMap]) -> Generator[int, None, LabelMap]:
    """The steps, with the event loop's turn after each."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        yield 0
