"""One file of a result: a table or a report at once, a page or a scene through a process beside Slicer.

It is written atomically and as the panel shows the result, de-identified unless identifiers are asked for; the user's
scene is read only.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import slicer

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.errors import VertebralFractureError
from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.report_node import read_correction
from VertebralFractureLib.export.scene.scene_file import CT_FILE, STRAIGHTENED_FILE, bundle_steps
from VertebralFractureLib.export.scene.show_report import read_shown_report
from VertebralFractureLib.export.table import COMMA, TableStyle, write_table
from VertebralFractureLib.private_folders import make_private_folder, sweep_leftovers
from VertebralFractureLib.result import CorrectedReport, SpineReport, agreement, corrected_to_json, report_to_json
from VertebralFractureLib.result.deidentification import deidentify_corrected, deidentify_report
from VertebralFracturePanel.detect.volume_export import UnusableVolume, exportOf, exportSteps
from VertebralFracturePanel.process import session_process
from VertebralFracturePanel.process.event_loop_steps import removeFolder
from VertebralFracturePanel.process.json_process import JsonProcess
from VertebralFracturePanel.process.session_process import WATCH_MS
from VertebralFracturePanel.process.signal import Signal

TABLE, REPORT, PAGE, SCENE = ".csv", ".json", ".html", ".mrb"
KINDS = (TABLE, REPORT, PAGE, SCENE)
_EXPORTED = 0.3
"""Fraction of the time that is over when the process begins."""

Steps = Generator[int, None, None]


class ExportFailed(Exception):
    """The file was not written; the message is one sentence for the user."""


class ResultExport:
    """``steps`` writes the file, each with the pause in ms before the next; closing them gives up.

    Signal: ``progressed(fraction)``.
    """

    def __init__(
        self,
        nodes: SceneNodes,
        path: Path,
        *,
        identifiers: bool = False,
        tableStyle: TableStyle = COMMA,
        createProcess: Callable[[], JsonProcess] = JsonProcess,
    ) -> None:
        """
        Args:
            path: its ending, one of ``KINDS``, says what is written.
            identifiers: name the volume as the scene does, and its series.
            tableStyle: how a table is written.

        Raises:
            ExportFailed: when the ending is another one.
        """
        self.progressed = Signal()
        self.path = path
        self._kind = path.suffix.lower()
        if self._kind not in KINDS:
            raise ExportFailed(f"'{path.name}' must end in {', '.join(KINDS[:-1])} or {KINDS[-1]}.")
        self._nodes = nodes
        self._identifiers = identifiers
        self._tableStyle = tableStyle
        self._process = createProcess()
        self._process.messageReceived.connect(self._onMessage)
        self._process.ended.connect(self._onEnded)
        self._answer: dict[str, Any] = {}
        self._processStartsAt = 0.0
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="VertebralFracture")

    def steps(self) -> Steps:
        """
        Raises:
            ExportFailed: with a sentence for the user.
        """
        try:
            if self._kind in (TABLE, REPORT):
                self._writeText()
            else:
                yield from self._writeThroughProcess()
            self.progressed.emit(1.0)
        except OSError as error:
            raise ExportFailed(f"'{self.path.name}' could not be written: {error.strerror or error}.") from error
        except (UnusableVolume, VertebralFractureError, ValueError, KeyError, TypeError) as error:
            raise ExportFailed(f"'{self.path.name}' could not be written: {error}") from error
        finally:
            self._process.stop()
            self._background.shutdown(wait=False)

    def wait(self) -> None:
        """Do it all without an event loop; Slicer's window stands still meanwhile, so this is for scripts.

        Raises:
            ExportFailed: as ``steps``.
        """
        try:
            for pause in self.steps():
                if pause and not self._process.letRun(pause):
                    time.sleep(pause / 1000)
        finally:
            self._process.kill()
            self.release()

    def endNow(self) -> None:
        """For the moment in which the application ends: the process is gone when this returns."""
        self._process.kill()

    @property
    def isOver(self) -> bool:
        """Whether the process is gone too."""
        return self._process.isOver

    def release(self) -> None:
        """Give the Qt objects back on the thread that they belong to; call it once, when it ``isOver``."""
        self._process.release()

    def _corrected(self) -> CorrectedReport:
        corrected = read_correction(slicer.mrmlScene, self._nodes)
        return corrected if self._identifiers else deidentify_corrected(corrected)

    def _shown(self) -> SpineReport:
        shown = read_shown_report(slicer.mrmlScene, self._nodes)
        return shown if self._identifiers else deidentify_report(shown)

    def _writeText(self) -> None:
        if self._kind == TABLE:
            write_table(self._shown(), self.path, self._tableStyle)
        else:
            write_file(self.path, corrected_to_json(self._corrected()))

    def _writeThroughProcess(self) -> Steps:
        if self._nodes.input_volume is None:
            raise UnusableVolume("the CT of this result is no longer in the scene.")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(2, "there is no such folder")
        folder = make_private_folder(Path(tempfile.gettempdir()))
        try:
            ask = self._askForScene if self._kind == SCENE else self._askForPage
            request = {"target": str(self.path), **(yield from ask(folder))}
            (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
            arguments = [str(folder / "request.json")]
            self._process.start(session_process.SESSION_MODULE, arguments, session_process.LIBRARY_FOLDER)
            while not self._process.hasEnded:
                yield WATCH_MS
            if "done" not in self._answer:
                raise ExportFailed(self._answer.get("error") or self._process.explanation)
        finally:
            self._process.stop()
            removeFolder(folder)

    def _askForPage(self, folder: Path) -> Generator[int, None, dict[str, Any]]:
        shown = self._shown()
        corrected = self._corrected()
        notes = [] if corrected.correction.is_empty else [agreement(shown).sentence]
        (folder / "report.json").write_text(report_to_json(shown), encoding="utf-8")
        yield from self._exportVolume(self._nodes.input_volume, folder / "input.nrrd", 0.0, _EXPORTED)
        self._processStartsAt = _EXPORTED
        files = {"input": str(folder / "input.nrrd"), "report": str(folder / "report.json")}
        return {"export": "page", "notes": notes, **files}

    def _askForScene(self, folder: Path) -> Generator[int, None, dict[str, Any]]:
        nodes = self._nodes
        volumes = {CT_FILE: nodes.input_volume}
        if nodes.straightened is not None:
            volumes[STRAIGHTENED_FILE] = nodes.straightened
        bundle = folder / "scene"
        bundle.mkdir()
        ijkToRas = exportOf(nodes.input_volume).ijkToRas
        bundling = bundle_steps(slicer.mrmlScene, nodes, ijkToRas, bundle, identifiers=self._identifiers)
        for _ in bundling:
            yield 0
        paths = {}
        for index, (name, volumeNode) in enumerate(volumes.items()):
            if not (bundle / name).is_file():
                continue
            paths[name] = folder / f"volume-{index}.nrrd"
            first = _EXPORTED * index / len(volumes)
            yield from self._exportVolume(volumeNode, paths[name], first, _EXPORTED / len(volumes))
        self._processStartsAt = _EXPORTED
        exported = {name: str(path) for name, path in paths.items()}
        return {"export": "scene", "bundle": str(bundle), "volumes": exported}

    def _exportVolume(self, volumeNode: Any, path: Path, first: float, weight: float) -> Steps:
        def wrote(fraction: float) -> None:
            self.progressed.emit(first + weight * fraction)

        yield from exportSteps(exportOf(volumeNode), path, self._background, wrote)

    def _onEnded(self, _exitCode: int) -> None:
        # A process that was slow to end was killed, and left its unfinished file.
        sweep_leftovers(self.path.parent)

    def _onMessage(self, message: dict[str, Any]) -> None:
        if "stage" in message:
            self.progressed.emit(self._processStartsAt + (1.0 - self._processStartsAt) * float(message["fraction"]))
        else:
            self._answer = message
