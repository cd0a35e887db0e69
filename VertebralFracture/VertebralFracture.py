"""The VertebralFracture module of 3D Slicer: its description, its panel and its self test.

Nothing is computed here: ``VertebralFractureLogic`` (``VertebralFracturePanel.logic``, found here under its name by
Slicer and by scripts) detects and corrects, ``VertebralFractureLib.export.scene`` writes and reads the nodes.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# Installed, library and module lie in one folder; in the source tree the library lies one folder higher.
if not (Path(__file__).resolve().parent / "VertebralFractureLib").is_dir():
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.export.scene import find_results, read_report, refresh_colors
from VertebralFractureLib.result import EVALUABLE
from VertebralFracturePanel.detect import detection_run
from VertebralFracturePanel.detect.detection_batch import DetectionBatch, volumesWithoutResult
from VertebralFracturePanel.detect.detection_run import DetectionRun, RunFailed  # noqa: F401  (scripts catch it here)
from VertebralFracturePanel.detect.first_use import FirstUse
from VertebralFracturePanel.detect.next_step import NextStep, Step, batchStep, curveStep, drawStep, loadStep, torchStep
from VertebralFracturePanel.detect.progress_estimate import ProgressEstimate
from VertebralFracturePanel.detect.sample_data import registerSampleData
from VertebralFracturePanel.detect.torch_installer import TorchMissing
from VertebralFracturePanel.detect.volume_export import UnusableVolume
from VertebralFracturePanel.documentation import READING, pageAddress
from VertebralFracturePanel.keyboard_access import openExportByKey, passNamesOn
from VertebralFracturePanel.logic import VertebralFractureLogic
from VertebralFracturePanel.read.results_view import ResultsView
from VertebralFracturePanel.read.side_by_side import registerLayout

CLOCK_MS = 500
"""Between two updates of the time left while nothing else comes in."""


class VertebralFracture(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Vertebral Fracture"
        parent.categories = ["Quantification"]
        parent.dependencies = []
        parent.contributors = ["The VertebralFracture contributors"]
        parent.helpText = _helpText()
        parent.acknowledgementText = (
            "After: Chettrit D, Meir T, Lebel H, Orlovsky M, Gordon R, Akselrod-Ballin A, Bar A. 3D Convolutional "
            "Sequence to Sequence Model for Vertebral Compression Fractures Identification in CT. MICCAI 2020."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", registerLayout)


def _helpText() -> str:
    """What stands in Slicer's Help tab above the panel."""
    address = pageAddress(READING)
    link = f' <a href="{address}">How to read a result</a>.' if address else ""
    return (
        "Finds vertebral compression fractures on CT: choose a CT of the spine, chest or abdomen and press "
        "<i>Detect fractures</i>. Click a row of the table to look at a vertebra, and judge it in the section "
        "<i>Correct</i>; the section <i>Help</i> explains the table. The sample <i>VertebralFracture phantom</i> is in "
        f"the module Sample Data.{link} {RESEARCH_USE_ONLY}"
    )


class VertebralFractureWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: an input, one button, the progress, and the result as the scene's nodes hold it."""

    def __init__(self, parent: Any = None, logic: VertebralFractureLogic | None = None) -> None:
        VTKObservationMixin.__init__(self)
        self.logic = logic
        self.run: DetectionRun | None = None
        self.batch: DetectionBatch | None = None
        self.missing: TorchMissing | None = None
        self.progress = ProgressEstimate()
        self.message = ""
        self.volumeOfBefore: Any = None
        self.isImporting = False
        # Last: without a parent, Slicer's base class calls setup() at once.
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/VertebralFracture.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = self.logic or VertebralFractureLogic()
        self.ui.disclaimerLabel.text = RESEARCH_USE_ONLY
        self.view = ResultsView(self.ui, self.logic)
        for composite in (self.ui.inputSelector, self.ui.thresholdSlider, self.ui.opacitySlider):
            passNamesOn(composite)
        self.exportShortcut = openExportByKey(panel, self.ui)
        self.nextStep = NextStep(self.ui)
        self.firstUse = FirstUse(self.ui, self.ui.inputSelector.setCurrentNode)
        self.updateTimer = qt.QTimer()
        self.updateTimer.setSingleShot(True)
        self.updateTimer.timeout.connect(self.updatePanel)
        self.clock = qt.QTimer()
        self.clock.setInterval(CLOCK_MS)
        self.clock.timeout.connect(self.showProgress)
        self.connectWidgets()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        self.addObserver(scene, scene.EndBatchProcessEvent, self.onBatchEnded)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.restoreFromScene()

    def connectWidgets(self) -> None:
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onInputChanged)
        self.ui.detectButton.connect("clicked(bool)", self.onDetectButton)
        self.view.advancedSection.changed.connect(lambda: self.view.advancedSection.keepChoices(self.logic.parameters))

    def cleanup(self) -> None:
        self.cancel()
        self.firstUse.cleanup()
        self.updateTimer.stop()
        self.clock.stop()
        self.view.cleanup()
        self.logic.session.endNow()
        self.removeObservers()

    def onReload(self) -> Any:
        """Slicer's button for developers reloads this file; panel and library are forgotten so that they follow."""
        for name in list(sys.modules):
            if name.startswith(("VertebralFracturePanel", "VertebralFractureLib")):
                del sys.modules[name]
        return ScriptedLoadableModuleWidget.onReload(self)

    def enter(self) -> None:
        self.restoreFromScene()

    def exit(self) -> None:
        self.view.leaveModule()

    def restoreFromScene(self) -> None:
        """Choose what the scene's parameter node names, and show what is known about it."""
        parameters = self.logic.parameters
        if parameters.inputVolume is not None:
            self.ui.inputSelector.setCurrentNode(parameters.inputVolume)
        self.view.advancedSection.showChoices(parameters)
        self.updatePanel()

    def onInputChanged(self, volumeNode: Any) -> None:
        if self.isImporting:
            return  # The selector chooses by itself what comes first; the scene says what was chosen when it is there.
        if not slicer.mrmlScene.IsClosing():
            if volumeNode is not self.logic.parameters.inputVolume:
                self.logic.parameters.inputVolume = volumeNode
                self.logic.parameters.chosenVertebra = None
            self.message, self.missing = "", None
        self.updatePanel()

    def onDetectButton(self, _checked: bool = False) -> None:
        if self.run is not None or self.batch is not None:
            self.cancel()
            return
        self.missing = None
        try:
            self.startRun(self.ui.inputSelector.currentNode())
        except UnusableVolume as error:
            self.showMessage(str(error))
            return
        except TorchMissing as error:
            self.missing = error
            self.showMessage(str(error))
            return
        self.showMessage("")

    def startRun(self, volumeNode: Any) -> DetectionRun:
        """Start a detection of ``volumeNode`` and follow it.

        Raises:
            UnusableVolume, TorchMissing: as ``startDetection``.
        """
        run = self.logic.startDetection(volumeNode, self.logic.parameters.options)
        self.run = run
        self.progress = ProgressEstimate()
        run.progressed.connect(self.onProgress)
        run.ended.connect(self.onRunEnded)
        self.clock.start()
        return run

    def cancel(self) -> None:
        """Give up what runs; results that are there stay."""
        if self.batch is not None:
            self.batch.cancel()
        if self.run is not None:
            self.run.cancel()

    def detectAll(self) -> None:
        """Detect in every CT of the scene that has no result yet, one after the other."""
        volumes = volumesWithoutResult(slicer.mrmlScene)
        if self.run is not None or self.batch is not None or not volumes:
            return
        self.volumeOfBefore = self.ui.inputSelector.currentNode()
        self.progress = ProgressEstimate()
        self.batch = DetectionBatch(volumes, self.logic.session, self.startRun)
        self.batch.advanced.connect(self.ui.inputSelector.setCurrentNode)
        self.batch.ended.connect(self.onBatchOfDetectionsEnded)
        self.batch.start()
        self.showMessage("")

    def onBatchOfDetectionsEnded(self) -> None:
        """Back to the CT that the user had chosen, with one line about each."""
        batch, self.batch = self.batch, None
        if self.run is not None:
            self.run.cancel()
        before = self.volumeOfBefore
        if before is not None and before.GetScene() is not None and not slicer.mrmlScene.IsClosing():
            self.ui.inputSelector.setCurrentNode(before)
        # After the choice of the CT, which forgets what was missing for the one before.
        self.missing = batch.missing
        self.showMessage(batch.summary)

    def onProgress(self, stage: str, fraction: float) -> None:
        self.progress.update(stage, fraction)
        self.showProgress()

    def showProgress(self) -> None:
        if self.run is not None:
            self.ui.stageLabel.text = self.progressWords
            self.ui.progressBar.value = round(100 * self.progressShare)

    @property
    def progressWords(self) -> str:
        words = self.progress.words
        return words if self.batch is None else f"CT {self.batch.number} of {self.batch.count}. {words}"

    @property
    def progressShare(self) -> float:
        share = self.progress.share
        return share if self.batch is None else (self.batch.number - 1 + share) / self.batch.count

    def onRunEnded(self) -> None:
        run, self.run = self.run, None
        self.clock.stop()
        if run.state == detection_run.DONE:
            self.logic.parameters.resultTable = run.nodes.table
            self.logic.parameters.chosenVertebra = None
            self.logic.settleResult(run.nodes)
        elif run.state == detection_run.FAILED:
            logging.error(run.error)
        self.showMessage("Cancelled." if run.state == detection_run.CANCELLED else run.error)
        if run.state == detection_run.DONE and self.ui.detectButton.hasFocus() and self.batch is None:
            # By the keyboard one goes on where the eye does.
            self.ui.vertebraTable.setFocus()

    def onSceneStartClose(self, _caller: Any, _event: str) -> None:
        self.cancel()
        self.view.forgetScene()

    def onSceneStartImport(self, _caller: Any, _event: str) -> None:
        self.isImporting = True

    def onBatchEnded(self, _caller: Any, _event: str) -> None:
        """What was left alone while the batch was on, is shown now: a scene is loaded within one."""
        self.scheduleUpdate()

    def onSceneChanged(self, _caller: Any, _event: str) -> None:
        for nodes in find_results(slicer.mrmlScene):
            refresh_colors(nodes)
        self.message, self.missing = "", None
        self.isImporting = False
        if self.logic.parameters.inputVolume is None:
            self.onInputChanged(self.ui.inputSelector.currentNode())
        self.restoreFromScene()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, _caller: Any, _event: str, node: Any) -> None:
        if self.run is not None and node is self.run.volumeNode:
            self.run.cancel()
        shown = self.view.nodes
        isShown = shown is not None and (node is shown.input_volume or node in shown.own)
        if isShown or (node.IsA("vtkMRMLScalarVolumeNode") and not slicer.mrmlScene.IsClosing()):
            self.scheduleUpdate()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, _caller: Any, _event: str, node: Any) -> None:
        if (node.IsA("vtkMRMLTableNode") or node.IsA("vtkMRMLScalarVolumeNode")) and self.run is None:
            self.scheduleUpdate()

    def scheduleUpdate(self) -> None:
        """Once for all that happens in one go, when it is over."""
        self.updateTimer.start(0)

    def showMessage(self, message: str) -> None:
        self.message = message
        self.updatePanel()

    def updatePanel(self) -> None:
        """Show the state: always derived from the run and from the scene's nodes, never from the panel itself."""
        if slicer.mrmlScene.IsBatchProcessing():
            return
        running = self.run is not None or self.batch is not None
        volumeNode = self.ui.inputSelector.currentNode()
        self.ui.detectButton.text = "&Cancel" if running else "&Detect fractures"
        self.ui.detectButton.enabled = running or volumeNode is not None
        self.ui.inputSelector.enabled = not running
        self.ui.progressBar.visible = running
        self.ui.progressBar.value = round(100 * self.progressShare) if running else 0
        self.ui.stageLabel.text = self.progressWords if running else self.message
        self.ui.stageLabel.visible = bool(self.ui.stageLabel.text)
        self.view.show(self.logic.results(volumeNode))
        self.ui.impressionLabel.visible = volumeNode is not None
        self.nextStep.show(None if running else self.stepAhead(volumeNode))

    def stepAhead(self, volumeNode: Any) -> Step | None:
        """What leads on where there is nothing to read yet."""
        if self.missing is not None:
            return torchStep(self.missing.remedy, self.onDetectButton)
        if volumeNode is None:
            return loadStep()
        report = self.view.report
        if report is None:
            waiting = len(volumesWithoutResult(slicer.mrmlScene))
            return batchStep(waiting, self.detectAll) if waiting > 1 else None
        if report.status == EVALUABLE:
            return None
        section = self.view.centerlineSection
        return curveStep(section.startEditing) if report.centerline.points_ras else drawStep(section.startDrawing)


class VertebralFractureTest(ScriptedLoadableModuleTest):
    """Slicer's self test: the whole way on a small volume in which there is no spine."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        self.setUp()
        self.test_aVolumeWithoutASpineIsNotJudged()

    def test_aVolumeWithoutASpineIsNotJudged(self) -> None:
        import numpy as np

        volumeNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Soft tissue")
        voxels = np.random.default_rng(0).normal(40, 10, (40, 64, 64)).astype(np.int16)
        voxels[:, :, :12] = -1000  # air: without it the volume would be refused as no CT
        slicer.util.updateVolumeFromArray(volumeNode, voxels)
        volumeNode.SetSpacing(2.0, 2.0, 2.0)

        nodes = VertebralFractureLogic().detectFractures(volumeNode)

        self.assertEqual(read_report(slicer.mrmlScene, nodes).status, "not_evaluable")
