"""``SessionProcess``: the one process beside Slicer that keeps a volume and answers detection and corrections of it.

It is started with the first request about a volume and belongs to that volume as it is: it ends when the volume goes,
when its voxels or its transform change, when another volume is asked about, when the scene is closed, when nobody asks
for long, and with Slicer. The next request starts another one. All happens in Slicer's event loop, in short steps.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk

import VertebralFractureLib
from VertebralFractureLib.cli.exit_codes import CANCELLED
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.private_folders import make_private_folder
from VertebralFracturePanel.detect.acquisition_facts import acquisitionFacts
from VertebralFracturePanel.detect.torch_installer import TorchMissing
from VertebralFracturePanel.detect.volume_export import UnusableVolume, exportOf, exportSteps
from VertebralFracturePanel.process.event_loop_steps import EventLoopSteps, removeFolder
from VertebralFracturePanel.process.json_process import JsonProcess
from VertebralFracturePanel.process.signal import Signal

SESSION_MODULE = "VertebralFractureLib.session"
LIBRARY_FOLDER = Path(VertebralFractureLib.__file__).resolve().parent.parent
WATCH_MS = 20
EXPORT = "export"
"""Stage of ``progressed`` while the voxels are written for the process; it reports the others itself."""
OPEN, DETECT = "open", "detect"
CURVE_COMMANDS = ("repair", "draw", "rescore")
"""The requests that a newer curve makes pointless."""
CORRECTION_COMMANDS = ("prepare", "measure", *CURVE_COMMANDS)
CANCEL_MS = 600
"""So long a detection has to notice that it was cancelled; then its process is killed."""
_RELEASE_MS = 1000
_OPEN_ID = 0
_OPENED_NAME = "input"

Answer = dict[str, Any]
OnAnswer = Callable[[Answer], None]


class SessionState(Enum):
    """What the process beside Slicer does."""

    NONE = "there is no process"
    EXPORTING = "the voxels are written for it"
    READING = "it reads them"
    READY = "it answers requests"


@dataclass(frozen=True)
class _Pending:
    """A request that waits for its answer."""

    command: str
    message: dict[str, Any]
    onAnswer: OnAnswer


class SessionProcess:
    """Signals: ``progressed(command, stage, fraction)``, and ``failed(sentence, commands)`` when requests are lost."""

    def __init__(
        self,
        createProcess: Callable[[], JsonProcess] = JsonProcess,
        ensureTorch: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            ensureTorch: called before a process is started; raises ``TorchMissing``.
        """
        self.progressed = Signal()
        self.failed = Signal()
        self.state = SessionState.NONE
        self.volumeNode: Any = None
        self.counters: dict[str, int] = {}
        self.started = 0
        self._createProcess = createProcess
        self._ensureTorch = ensureTorch
        self._process: JsonProcess | None = None
        self._leaving: list[JsonProcess] = []
        self._imprint: tuple[Any, ...] = ()
        self._observations: list[tuple[Any, int]] = []
        self._number = _OPEN_ID
        self._pending: dict[int, _Pending] = {}
        self._cancelling: set[int] = set()
        self._folders: dict[int, Path] = {}
        self._steps = EventLoopSteps()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="VertebralFracture")
        self._cancelTimer = _singleShot(self._onNotCancelled)
        self._releaseTimer = _singleShot(self._releaseEnded)

    @property
    def isBusy(self) -> bool:
        """Whether a request waits for its answer."""
        return bool(self._pending)

    def isAsked(self, *commands: str) -> bool:
        """Whether a request of one of these commands waits for its answer."""
        return any(pending.command in commands for pending in self._pending.values())

    @property
    def isGone(self) -> bool:
        """Whether no process is left, not even one that was told to end."""
        return self._process is None and all(process.isOver for process in self._leaving)

    def start(self, volumeNode: Any) -> None:
        """Have a process for this volume as it is now.

        Raises:
            UnusableVolume, TorchMissing: with a sentence for the user.
        """
        if self._process is not None and volumeNode is self.volumeNode and _imprintOf(volumeNode) == self._imprint:
            return
        exportOf(volumeNode)
        self._ensureTorch()
        self._fail("Another volume was asked about meanwhile.")
        self.volumeNode = volumeNode
        self._imprint = _imprintOf(volumeNode)
        self._observe(volumeNode)
        self._launch()

    def ask(
        self, volumeNode: Any, command: str, onAnswer: OnAnswer, options: DetectionOptions | None = None, **fields: Any
    ) -> bool:
        """Put a request (``docs/reference/session.md``), starting a process where there is none; whether it was put.

        Args:
            onAnswer: gets the last line of the answer; of a result, its folder is the receiver's to remove.
        """
        try:
            self.start(volumeNode)
        except (UnusableVolume, TorchMissing) as error:
            self.failed.emit(str(error), (command,))
            return False
        self._number += 1
        if command in (DETECT, "rescore"):
            self._folders[self._number] = make_private_folder(Path(tempfile.gettempdir()))
            fields["output"] = str(self._folders[self._number])
        options = options or DetectionOptions()
        message = {"id": self._number, "command": command, "options": options.to_request(), **fields}
        self._pending[self._number] = _Pending(command, message, onAnswer)
        if self.state is SessionState.READY:
            self._process.send(message)
        return True

    def letRun(self, milliseconds: int) -> None:
        """Go on for so long without an event loop; Slicer's window stands still meanwhile, so this is for scripts."""
        if self._steps.step() == 0 and self._steps.isRunning:
            return
        if self._process is None or not self._process.letRun(milliseconds):
            time.sleep(milliseconds / 1000)

    def cancel(self, *commands: str) -> None:
        """Give up the requests of these commands: none of them is answered any more.

        A detection that goes on nevertheless is ended with its process.
        """
        for number in [number for number, pending in self._pending.items() if pending.command in commands]:
            pending = self._pending.pop(number)
            if self.state is not SessionState.READY:
                self._removeFolder(number)
                continue
            self._process.send({"command": "cancel", "id": number})
            if pending.command == DETECT:
                self._cancelling.add(number)
                self._cancelTimer.start(CANCEL_MS)
        if not self._pending and self.state in (SessionState.EXPORTING, SessionState.READING):
            self.end()

    def end(self) -> None:
        """Tell the process to end; its whole tree is gone within a second. Requests get no answer any more."""
        self._pending.clear()
        self._retire()
        for source, tag in self._observations:
            source.RemoveObserver(tag)
        self._observations.clear()
        self.volumeNode = None

    def endNow(self) -> None:
        """``end`` for the moment in which the application ends: no process is left when this returns."""
        self.end()
        for process in self._leaving:
            process.kill()
        self._releaseEnded()
        self._releaseTimer.stop()

    def _launch(self) -> None:
        self.started += 1
        self.counters = {}
        self.state = SessionState.EXPORTING
        process = self._createProcess()
        process.messageReceived.connect(lambda message: self._onMessage(process, message))
        process.ended.connect(lambda _code: self._onEnded(process))
        self._process = process
        # Python starts while the voxels are being written.
        process.start(SESSION_MODULE, [], LIBRARY_FOLDER)
        self._steps.start(self._open())

    def _open(self) -> Generator[int, None, None]:
        folder, process = make_private_folder(Path(tempfile.gettempdir())), self._process
        try:
            path = folder / f"{_OPENED_NAME}.nrrd"
            wrote = functools.partial(self.progressed.emit, OPEN, EXPORT)
            yield from exportSteps(exportOf(self.volumeNode), path, self._background, wrote)
            if process is not self._process:
                return
            self.state = SessionState.READING
            facts = acquisitionFacts(self.volumeNode)
            self._process.send({"id": _OPEN_ID, "command": OPEN, "input": str(path), "acquisition": facts})
            while self.state is SessionState.READING:
                yield WATCH_MS
        except UnusableVolume as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"A file could not be written or read: {error.strerror or error}.")
        finally:
            removeFolder(folder)

    def _retire(self) -> None:
        """The process is told to end, and nothing that it says counts any more."""
        process, self._process = self._process, None
        self.state = SessionState.NONE
        self._steps.stop()
        self._cancelTimer.stop()
        self._cancelling.clear()
        if process is not None:
            process.stop()
            self._leaving.append(process)  # Qt must not delete a process that is still ending.
            self._releaseTimer.start(_RELEASE_MS)
        for number in [number for number in self._folders if number not in self._pending]:
            self._removeFolder(number)

    def _onMessage(self, process: JsonProcess, message: dict[str, Any]) -> None:
        if process is not self._process:
            return
        number = message.get("id")
        if message.get("idle"):
            self._startAgain()
        elif number == _OPEN_ID:
            self._onOpened(message)
        elif number in self._pending and "stage" in message:
            command = self._pending[number].command
            self.progressed.emit(command, message["stage"], float(message["fraction"]))
        elif number is not None and "stage" not in message:
            self._onAnswer(number, message)

    def _onOpened(self, message: dict[str, Any]) -> None:
        if "stage" in message:
            self.progressed.emit(OPEN, message["stage"], float(message["fraction"]))
        elif "error" in message:
            self._fail(self._withVolumeName(str(message["error"])))
        else:
            self.state = SessionState.READY
            for pending in self._pending.values():
                self._process.send(pending.message)

    def _onAnswer(self, number: int, message: dict[str, Any]) -> None:
        self.counters = message.get("counters", self.counters)
        self._cancelling.discard(number)
        if not self._cancelling:
            self._cancelTimer.stop()
        pending = self._pending.pop(number, None)
        if pending is None or "report" not in message:
            self._removeFolder(number)
        self._folders.pop(number, None)
        if pending is not None and message.get("exit_code") != CANCELLED:
            pending.onAnswer(message)

    def _onEnded(self, process: JsonProcess) -> None:
        if process is self._process:
            self._fail(process.explanation)

    def _onNotCancelled(self) -> None:
        """What does not hear is ended with all that it started; the other requests go to the next process."""
        if self._process is not None:
            self._process.abort()
            self._startAgain()

    def _startAgain(self) -> None:
        """The process has ended, or is about to; another one takes its place when something is asked of it."""
        self._retire()
        if not self._pending:
            self.end()
            return
        self._launch()

    def _fail(self, sentence: str) -> None:
        lost = tuple(pending.command for pending in self._pending.values())
        self.end()
        if lost:
            self.failed.emit(sentence, lost)

    def _withVolumeName(self, sentence: str) -> str:
        """The sentence with the user's name of the volume; the session knows only the file that was written for it."""
        for own in (f"'{_OPENED_NAME}.nrrd'", f"'{_OPENED_NAME}'"):
            sentence = sentence.replace(own, f"'{self.volumeNode.GetName()}'")
        return sentence

    def _observe(self, volumeNode: Any) -> None:
        scene = volumeNode.GetScene()
        events = (
            (volumeNode, vtk.vtkCommand.ModifiedEvent, self._onVolumeModified),
            (volumeNode, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, self._onVolumeModified),
            (volumeNode, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._onVolumeModified),
            (scene, scene.NodeRemovedEvent, self._onNodeRemoved),
            (scene, scene.StartCloseEvent, self._onSceneClosed),
        )
        self._observations = [(source, source.AddObserver(event, slot)) for source, event, slot in events]

    def _onVolumeModified(self, *_event: Any) -> None:
        if self.volumeNode is not None and _imprintOf(self.volumeNode) != self._imprint:
            self._fail(f"The volume '{self.volumeNode.GetName()}' was changed meanwhile.")

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeRemoved(self, _scene: Any, _event: str, node: Any) -> None:
        if node is self.volumeNode:
            self._fail(f"The volume '{node.GetName()}' was removed meanwhile.")

    def _onSceneClosed(self, *_event: Any) -> None:
        self._fail("The scene was closed meanwhile.")

    def _removeFolder(self, number: int) -> None:
        folder = self._folders.pop(number, None)
        if folder is not None:
            removeFolder(folder)

    def _releaseEnded(self) -> None:
        for process in [process for process in self._leaving if process.isOver]:
            self._leaving.remove(process)
            process.release()
        if self._leaving:
            self._releaseTimer.start(_RELEASE_MS)


def _imprintOf(volumeNode: Any) -> tuple[Any, ...]:
    """What changes with the voxels of a volume or with their place in the world."""
    image, matrix = volumeNode.GetImageData(), vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    transform = volumeNode.GetParentTransformNode()
    return (
        image,
        None if image is None else image.GetMTime(),
        tuple(matrix.GetElement(row, column) for row in range(4) for column in range(4)),
        None if transform is None else (transform, transform.GetTransformToWorldMTime()),
    )


def _singleShot(slot: Callable[[], None]) -> Any:
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(slot)
    return timer
