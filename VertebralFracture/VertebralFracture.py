"""The VertebralFracture module of 3D Slicer: it wires the panel to a detection that runs beside Slicer.

Nothing is computed here: the worker process detects, ``VertebralFractureLib.scene`` writes and reads the nodes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# Installed, library and module lie in one folder; in the source tree the library lies one folder higher.
if not (Path(__file__).resolve().parent / "VertebralFractureLib").is_dir():
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.cli.progress_display import STAGE_TITLES
from VertebralFractureLib.progress import STAGES
from VertebralFractureLib.scene import SceneNodes, find_results, read_report, write_scene
from VertebralFracturePanel import detection_job
from VertebralFracturePanel.detection_job import DetectionJob
from VertebralFracturePanel.results_table import showReport
from VertebralFracturePanel.sample_data import registerSampleData
from VertebralFracturePanel.torch_installer import TorchInstaller, TorchMissing
from VertebralFracturePanel.volume_export import UnusableVolume, ctFromVolumeNode

INPUT_VOLUME = "InputVolume"


class VertebralFracture(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Vertebral Fracture"
        parent.categories = ["Quantification"]
        parent.dependencies = []
        parent.contributors = ["The VertebralFracture contributors"]
        parent.helpText = (
            "Finds vertebral compression fractures on CT: choose a CT of the spine, chest or abdomen and press "
            f"Detect fractures. {RESEARCH_USE_ONLY}"
        )
        parent.acknowledgementText = (
            "After: Chettrit D, Meir T, Lebel H, Orlovsky M, Gordon R, Akselrod-Ballin A, Bar A. 3D Convolutional "
            "Sequence to Sequence Model for Vertebral Compression Fractures Identification in CT. MICCAI 2020."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


class DetectionFailed(Exception):
    """The detection gave no result; the message says why."""


class VertebralFractureLogic(ScriptedLoadableModuleLogic):
    """Detection for scripts and for the widget; collaborators come in from outside so that tests can bring others."""

    def __init__(
        self, createJob: Callable[..., DetectionJob] = DetectionJob, torchInstaller: TorchInstaller | None = None
    ) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.createJob = createJob
        self.torchInstaller = torchInstaller or TorchInstaller()

    def detectFractures(self, volumeNode: Any) -> SceneNodes:
        """Examine ``volumeNode`` and put the result into its scene; blocks until that is done (for scripts).

        Raises:
            UnusableVolume, TorchMissing, DetectionFailed: each with a sentence for the user.
        """
        job = self.startDetection(volumeNode)
        job.wait()
        return self.writeResult(job, volumeNode)

    def startDetection(self, volumeNode: Any) -> DetectionJob:
        """Start a detection that runs beside Slicer and return it, running.

        Raises:
            UnusableVolume, TorchMissing: as above.
        """
        ct = ctFromVolumeNode(volumeNode)
        self.torchInstaller.ensureTorch()
        job = self.createJob(ct)
        job.start()
        return job

    def writeResult(self, job: DetectionJob, volumeNode: Any) -> SceneNodes:
        """Put the result of an ended job into the scene of ``volumeNode``.

        Raises:
            DetectionFailed: when the job has no result.
        """
        if job.state != detection_job.DONE:
            raise DetectionFailed(job.error or "The detection was cancelled.")
        return write_scene(job.report, None, job.spine, volumeNode.GetScene(), input_node=volumeNode)

    def newestResult(self, volumeNode: Any) -> SceneNodes | None:
        """The newest result for ``volumeNode`` in its scene."""
        if volumeNode is None:
            return None
        results = [nodes for nodes in find_results(volumeNode.GetScene()) if nodes.input_volume is volumeNode]
        return results[-1] if results else None


class VertebralFractureWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: an input, one button, the progress, and the result as the scene's nodes hold it."""

    def __init__(self, parent: Any = None, logic: VertebralFractureLogic | None = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = logic
        self.job: DetectionJob | None = None
        self.jobVolume: Any = None
        self.endedJob: DetectionJob | None = None
        self.report: Any = None

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/VertebralFracture.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = self.logic or VertebralFractureLogic()
        self.ui.noticeLabel.text = RESEARCH_USE_ONLY
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onInputChanged)
        self.ui.detectButton.connect("clicked(bool)", self.onDetectButton)
        self.ui.vertebraTable.connect("cellClicked(int,int)", self.onCellClicked)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        self.restoreInput()

    def cleanup(self) -> None:
        self.cancel()
        self.removeObservers()

    def enter(self) -> None:
        self.restoreInput()

    def restoreInput(self) -> None:
        """Choose the volume that the scene's parameter node names, and show what is known about it."""
        chosen = self.logic.getParameterNode().GetNodeReference(INPUT_VOLUME)
        if chosen is not None:
            self.ui.inputSelector.setCurrentNode(chosen)
        self.updatePanel()

    def onInputChanged(self, volumeNode: Any) -> None:
        if not slicer.mrmlScene.IsClosing():
            nodeId = volumeNode.GetID() if volumeNode is not None else None
            self.logic.getParameterNode().SetNodeReferenceID(INPUT_VOLUME, nodeId)
        self.updatePanel()

    def onDetectButton(self, _checked: bool = False) -> None:
        if self.job is not None:
            self.cancel()
            return
        volumeNode = self.ui.inputSelector.currentNode()
        try:
            self.job = self.logic.startDetection(volumeNode)
        except (UnusableVolume, TorchMissing) as error:
            self.updatePanel(str(error))
            return
        except OSError as error:
            self.updatePanel(f"The volume cannot be handed over: {error.strerror or error}.")
            return
        self.jobVolume = volumeNode
        self.job.progressed.connect(self.onProgress)
        self.job.ended.connect(self.onJobEnded)
        self.updatePanel("Starting …")
        if self.job.state == detection_job.FAILED:
            self.onJobEnded()

    def cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()

    def onProgress(self, stage: str, fraction: float) -> None:
        self.ui.stageLabel.text = f"Step {STAGES.index(stage) + 1} of {len(STAGES)}: {STAGE_TITLES[stage]}"
        self.ui.progressBar.value = round(100 * (STAGES.index(stage) + fraction) / len(STAGES))

    def onJobEnded(self) -> None:
        job, volumeNode = self.job, self.jobVolume
        self.job = self.jobVolume = None
        self.endedJob = job  # Qt must not delete the process whose signal is being handled
        if job is None:
            return
        message = "Cancelled." if job.state == detection_job.CANCELLED else job.error
        try:
            if job.state == detection_job.DONE:
                self.logic.writeResult(job, volumeNode)
            elif job.state == detection_job.FAILED:
                logging.error(job.error)
        finally:
            self.updatePanel(message)

    def onSceneStartClose(self, _caller: Any, _event: str) -> None:
        self.cancel()

    def onSceneChanged(self, _caller: Any, _event: str) -> None:
        self.restoreInput()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, _caller: Any, _event: str, node: Any) -> None:
        if node is self.jobVolume:
            self.cancel()
        elif not slicer.mrmlScene.IsClosing():
            self.updatePanel()

    def onCellClicked(self, row: int, _column: int) -> None:
        """Center all slice views on the vertebra of ``row``."""
        vertebra = self.report.vertebrae[len(self.report.vertebrae) - 1 - row]
        slicer.vtkMRMLSliceNode.JumpAllSlices(
            slicer.mrmlScene, *vertebra.centre_ras, slicer.vtkMRMLSliceNode.CenteredJumpSlice
        )

    def updatePanel(self, message: str = "") -> None:
        """Show the state: always derived from the job and from the scene's nodes, never from the panel itself."""
        running = self.job is not None
        volumeNode = self.ui.inputSelector.currentNode()
        self.ui.detectButton.text = "Cancel" if running else "Detect fractures"
        self.ui.detectButton.enabled = running or volumeNode is not None
        self.ui.inputSelector.enabled = not running
        self.ui.progressBar.visible = running
        self.ui.progressBar.value = 0 if not running else self.ui.progressBar.value
        self.ui.stageLabel.text = message
        nodes = self.logic.newestResult(volumeNode)
        self.report = None
        try:
            self.report = read_report(slicer.mrmlScene, nodes) if nodes is not None else None
        except ValueError as error:
            self.ui.stageLabel.text = str(error)
        self.ui.headlineLabel.text = (
            self.report.headline if self.report is not None else "No result for this volume yet"
        )
        showReport(self.ui.vertebraTable, self.report)


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
        slicer.util.updateVolumeFromArray(volumeNode, voxels)
        volumeNode.SetSpacing(2.0, 2.0, 2.0)

        nodes = VertebralFractureLogic().detectFractures(volumeNode)

        self.assertEqual(read_report(slicer.mrmlScene, nodes).status, "not_evaluable")
