"""The "VertebralFracture phantom" of Slicer's Sample Data module: drawn on this computer, never downloaded.

Drawing takes some seconds, so it happens beside Slicer; the file then stays in Slicer's cache for the next time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

import VertebralFractureLib
from VertebralFractureLib.research.datasets import fracture_summary, read_annotation
from VertebralFracturePanel.process.json_process import JsonProcess
from VertebralFracturePanel.process.signal import Signal

CATEGORY = "VertebralFracture"
SAMPLE_NAME = "VertebralFracture phantom"
# The version is in the name, so that a newer extension draws its own phantom instead of finding the older one.
_STEM = f"VertebralFracture-phantom-{VertebralFractureLib.__version__.replace('.', '-')}"
FILE_NAME, TRUTH_NAME = f"{_STEM}.nii.gz", f"{_STEM}.json"
BONE_WINDOW_HU, BONE_LEVEL_HU = 1000.0, 300.0
_LIBRARY_FOLDER = Path(VertebralFractureLib.__file__).resolve().parent.parent
_THUMBNAIL = Path(__file__).resolve().parents[2] / "Resources" / "Icons" / "VertebralFracture-phantom.png"


def registerSampleData() -> None:
    """Enter the phantom into the Sample Data module; to be called when Slicer has started."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12 and newer
        logic.registerCustomSampleDataCategory(CATEGORY, title="Vertebral Fracture")
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE_NAME,
        # Sample Data asks for an address, although a click does not use it. A script that asks for the sample by name
        # finds the file in the cache once it was drawn.
        uris=f"file:///{FILE_NAME}",
        fileNames=FILE_NAME,
        nodeNames=SAMPLE_NAME,
        thumbnailFileName=str(_THUMBNAIL),
        customDownloader=PhantomSample(),
    )


class PhantomSample:
    """Draws the phantom and adds it to the scene; Sample Data calls it at a click.

    Signal: ``ended(volumeNode)``, once for each call that did something, with None when there is no volume.
    """

    def __init__(self, createProcess: Callable[[], Any] = JsonProcess) -> None:
        self.ended = Signal()
        self._createProcess = createProcess
        self._process: Any = None
        self._endedProcess: Any = None
        self._isCancelled = False
        self._folder: Any = None
        self._dialog: Any = None
        self._observedScene: Any = None
        self._observation = 0

    def __call__(self, _source: Any = None) -> None:
        """Load the phantom from the cache, or start to draw it; does nothing while it is being drawn."""
        if self._process is not None:
            return
        try:
            volumeNode = _addVolume(_cacheFolder())
            if volumeNode is None:
                self._startDrawing()
                return
        except OSError as error:
            slicer.util.errorDisplay(f"Slicer's cache folder cannot be used: {error.strerror or error}.")
            volumeNode = None
        self.ended.emit(volumeNode)

    def cancel(self) -> None:
        """Stop drawing; does nothing when nothing is being drawn."""
        if self._process is not None:
            self._isCancelled = True
            self._process.stop()

    def _startDrawing(self) -> None:
        # Within the cache, so that the whole file is moved to its place in one step and no half of it is found there.
        self._folder = tempfile.TemporaryDirectory(dir=_cacheFolder(), ignore_cleanup_errors=True)
        self._isCancelled = False
        self._process = self._createProcess()
        self._process.ended.connect(self._onProcessEnded)
        self._observedScene = scene = slicer.mrmlScene
        self._observation = scene.AddObserver(scene.StartCloseEvent, lambda *_: self.cancel())
        self._dialog = qt.QProgressDialog(
            "Drawing the phantom on this computer; nothing is downloaded …", "Cancel", 0, 0, slicer.util.mainWindow()
        )
        self._dialog.setWindowTitle(SAMPLE_NAME)
        self._dialog.canceled.connect(self.cancel)
        self._dialog.show()
        drawn = str(Path(self._folder.name) / FILE_NAME)
        self._process.start("VertebralFractureLib.cli", ["phantom", "--demo", "--out", drawn], _LIBRARY_FOLDER)

    def _onProcessEnded(self, exitCode: int) -> None:
        self._endedProcess, self._process = self._process, None  # Qt must not delete the process that is calling
        self._dialog.hide()
        self._dialog.deleteLater()
        self._observedScene.RemoveObserver(self._observation)
        volumeNode, error = None, ""
        try:
            if not self._isCancelled and exitCode == 0:
                for name in (TRUTH_NAME, FILE_NAME):
                    (Path(self._folder.name) / name).replace(_cacheFolder() / name)
                volumeNode = _addVolume(_cacheFolder())
        except OSError as problem:
            error = str(problem.strerror or problem)
        finally:
            self._folder.cleanup()
        if volumeNode is None and not self._isCancelled:
            details = error or self._endedProcess.log
            slicer.util.errorDisplay(f"The phantom could not be drawn; is there space on the disk?\n\n{details}")
        self.ended.emit(volumeNode)


def _cacheFolder() -> Path:
    folder = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _addVolume(folder: Path) -> Any:
    """Show the phantom of ``folder`` as a volume of the scene; None when it is not there, or damaged."""
    try:
        truth = read_annotation(folder / TRUTH_NAME)
    except (OSError, ValueError):
        return None
    if not (folder / FILE_NAME).is_file():
        return None
    scene = slicer.mrmlScene
    applicationLogic = slicer.app.applicationLogic()
    logic = slicer.vtkSlicerVolumesLogic()
    logic.SetMRMLApplicationLogic(applicationLogic)
    logic.SetMRMLScene(scene)
    volumeNode = logic.AddArchetypeVolume(str(folder / FILE_NAME), SAMPLE_NAME, 0)
    if volumeNode is None:
        return None
    # As Sample Data does: a saved scene keeps the volume itself, not a path into the cache.
    scene.RemoveNode(volumeNode.GetStorageNode())
    volumeNode.SetAndObserveStorageNodeID(None)
    volumeNode.SetDescription(f"No patient. {fracture_summary(truth)}")
    display = volumeNode.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(BONE_WINDOW_HU, BONE_LEVEL_HU)
    applicationLogic.GetSelectionNode().SetActiveVolumeID(volumeNode.GetID())
    applicationLogic.PropagateVolumeSelection(1)
    return volumeNode
