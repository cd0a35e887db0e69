"""The VertebralFracture module of 3D Slicer: it wires the panel to a session that runs beside Slicer.

Nothing is computed here: the session detects, ``VertebralFractureLib.export.scene`` writes and reads the nodes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
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
from VertebralFractureLib.cpr import STRAIGHTENED, ReformatGrid, straighten
from VertebralFractureLib.export.scene import SceneNodes, find_results, read_report, refresh_colors
from VertebralFractureLib.export.scene.show_report import DisplayCriteria, replace_result, show_criteria
from VertebralFractureLib.export.scene.volume_nodes import SpineNodes, add_spine_nodes, centerline_of
from VertebralFractureLib.options import ALL_MEMBERS, AUTOMATIC, DetectionOptions
from VertebralFractureLib.volume import CTVolume
from VertebralFracturePanel.correct.rescoring import scoreNow
from VertebralFracturePanel.detect import detection_run
from VertebralFracturePanel.detect.detection_run import DetectionRun, RunFailed
from VertebralFracturePanel.detect.progress_estimate import ProgressEstimate
from VertebralFracturePanel.detect.sample_data import registerSampleData
from VertebralFracturePanel.detect.torch_installer import TorchInstaller, TorchMissing
from VertebralFracturePanel.detect.volume_export import UnusableVolume, exportOf
from VertebralFracturePanel.export.result_export import ResultExport
from VertebralFracturePanel.help_text import HELP
from VertebralFracturePanel.parameters import REPLACE, Parameters
from VertebralFracturePanel.process.json_process import JsonProcess
from VertebralFracturePanel.process.session_process import SessionProcess
from VertebralFracturePanel.read.results_view import ResultsView
from VertebralFracturePanel.shown_result import Edit, ShownResult

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
        parent.helpText = (
            "Finds vertebral compression fractures on CT: choose a CT of the spine, chest or abdomen and press "
            f"Detect fractures. {RESEARCH_USE_ONLY}"
        )
        parent.acknowledgementText = (
            "After: Chettrit D, Meir T, Lebel H, Orlovsky M, Gordon R, Akselrod-Ballin A, Bar A. 3D Convolutional "
            "Sequence to Sequence Model for Vertebral Compression Fractures Identification in CT. MICCAI 2020."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


class VertebralFractureLogic(ScriptedLoadableModuleLogic):
    """Detection for scripts and for the widget; collaborators come in from outside so that tests can bring others."""

    def __init__(
        self,
        torchInstaller: TorchInstaller | None = None,
        createProcess: Callable[[], JsonProcess] = JsonProcess,
    ) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.torchInstaller = torchInstaller or TorchInstaller()
        self.session = SessionProcess(createProcess, lambda: self.torchInstaller.ensureTorch())

    @property
    def parameters(self) -> Parameters:
        return Parameters(self.getParameterNode())

    def detectFractures(
        self,
        volumeNode: Any,
        *,
        device: str = AUTOMATIC,
        members: Sequence[str] = ALL_MEMBERS,
        spacingMm: float | None = None,
        threads: int | None = None,
    ) -> SceneNodes:
        """Examine ``volumeNode`` and put the result into its scene; blocks until that is done (for scripts).

        Args:
            device: "automatic", "cpu" or "cuda".
            members: ["all"], ["single"] (the fastest network alone), or names of networks of the fracture ensemble.
            spacingMm: of the straightened volume, 0.5 to 2; None is 1. The networks keep their own grid.
            threads: CPU threads; None leaves the choice to PyTorch.

        Raises:
            OptionRefused, UnusableVolume, TorchMissing, RunFailed: each with a sentence for the user.
        """
        run = self.startDetection(volumeNode, DetectionOptions(None, threads, device, tuple(members), spacingMm))
        run.wait()
        if run.state != detection_run.DONE:
            raise RunFailed(run.error or "The detection was cancelled.")
        return run.nodes

    def startDetection(self, volumeNode: Any, options: DetectionOptions | None = None) -> DetectionRun:
        """Start a detection that runs beside Slicer and return it, running.

        Raises:
            UnusableVolume, TorchMissing: as above.
        """
        run = DetectionRun(volumeNode, options, self.session)
        run.start()
        return run

    def optionsOf(self, result: ShownResult) -> DetectionOptions:
        """What corrections of a result are computed with: the networks that made it, on the device that is chosen."""
        return result.optionsLike(self.parameters.options)

    def results(self, volumeNode: Any) -> list[SceneNodes]:
        """Every result for ``volumeNode`` in its scene, newest first."""
        if volumeNode is None:
            return []
        return [nodes for nodes in reversed(find_results(volumeNode.GetScene())) if nodes.input_volume is volumeNode]

    def newestResult(self, volumeNode: Any) -> SceneNodes | None:
        """The newest result for ``volumeNode`` in its scene."""
        return next(iter(self.results(volumeNode)), None)

    def straighten(
        self, volumeNode: Any, curveNode: Any, kind: str = STRAIGHTENED, grid: ReformatGrid | None = None
    ) -> SpineNodes:
        """Resample ``volumeNode`` along ``curveNode`` with any choice of ``ReformatGrid``; blocks for about a second.

        Parent transforms of both nodes are followed. The new nodes are the volume in straight space and the grid
        transform under which any node of the scene appears straightened.

        Raises:
            UnusableVolume, ValueError: when there is no volume, or the curve has fewer than two points.
            NoSpineFound, CenterlineTooSharp: as ``VertebralFractureLib.cpr.straighten`` does.
        """
        export = exportOf(volumeNode)
        ct = CTVolume(export.slab(0, export.shape[0]), export.ijkToRas, volumeNode.GetName())
        spine = straighten(ct, centerline_of(curveNode), kind, grid)
        return add_spine_nodes(volumeNode.GetScene(), spine, volumeNode.GetName())

    def correct(self, nodes: SceneNodes, edit: Edit, *arguments: Any, **more: Any) -> None:
        """Correct a result as the panel does, for example ``correct(nodes, edits.set_level, 3, "T12")``.

        Args:
            edit: a function of ``VertebralFractureLib.result.edits``; it gets the correction, the report that is
                shown, and then ``arguments`` and ``more``.

        Raises:
            ValueError, IndexError: from the edit; nothing has changed then.
        """
        result = ShownResult(nodes)
        result.edit(edit, *arguments, **more)
        result.settle()

    def exportResult(self, nodes: SceneNodes, path: str | Path, *, identifiers: bool = False) -> None:
        """Write a result as the panel shows it: .csv, .json, .html or .mrb, as ``path`` ends; blocks until it is there.

        Raises:
            ExportFailed: with a sentence for the user; the former file is as it was then.
        """
        ResultExport(nodes, Path(path), identifiers=identifiers).wait()

    def scoreAgain(self, nodes: SceneNodes) -> SceneNodes:
        """Scores along a centerline that ``edits.set_centerline`` corrected; blocks, and raises as a detection does."""
        return scoreNow(nodes, self.session, self.optionsOf(ShownResult(nodes)))

    def settleResult(self, nodes: SceneNodes) -> None:
        """After a run: let a new result replace the older ones where the user wants that, and read it as they read."""
        parameters = self.parameters
        scene = nodes.table.GetScene()
        if parameters.secondRun == REPLACE:
            for older in self.results(nodes.input_volume)[1:]:
                try:
                    replace_result(scene, older, nodes)
                except (ValueError, KeyError, TypeError) as error:
                    logging.warning("An earlier result stays, because it cannot be read: %s", error)
        if parameters.threshold is not None:
            show_criteria(scene, nodes, DisplayCriteria(parameters.threshold, parameters.rule))


class VertebralFractureWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: an input, one button, the progress, and the result as the scene's nodes hold it."""

    def __init__(self, parent: Any = None, logic: VertebralFractureLogic | None = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = logic
        self.run: DetectionRun | None = None
        self.progress = ProgressEstimate()
        self.message = ""

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/VertebralFracture.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = self.logic or VertebralFractureLogic()
        self.ui.disclaimerLabel.text = RESEARCH_USE_ONLY
        self.ui.helpLabel.text = HELP
        self.view = ResultsView(self.ui, self.logic)
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
        self.addObserver(scene, scene.EndImportEvent, self.onSceneChanged)
        self.addObserver(scene, scene.NodeRemovedEvent, self.onNodeRemoved)
        self.addObserver(scene, scene.NodeAddedEvent, self.onNodeAdded)
        self.restoreFromScene()

    def connectWidgets(self) -> None:
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onInputChanged)
        self.ui.detectButton.connect("clicked(bool)", self.onDetectButton)
        self.view.advancedSection.changed.connect(lambda: self.view.advancedSection.keepChoices(self.logic.parameters))

    def cleanup(self) -> None:
        if self.run is not None:
            self.run.cancel()
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
        if not slicer.mrmlScene.IsClosing():
            if volumeNode is not self.logic.parameters.inputVolume:
                self.logic.parameters.inputVolume = volumeNode
                self.logic.parameters.chosenVertebra = None
            self.message = ""
        self.updatePanel()

    def onDetectButton(self, _checked: bool = False) -> None:
        if self.run is not None:
            self.run.cancel()
            return
        try:
            run = self.logic.startDetection(self.ui.inputSelector.currentNode(), self.logic.parameters.options)
        except (UnusableVolume, TorchMissing) as error:
            self.showMessage(str(error))
            return
        self.run = run
        self.progress = ProgressEstimate()
        run.progressed.connect(self.onProgress)
        run.ended.connect(self.onRunEnded)
        self.clock.start()
        self.showMessage("")

    def onProgress(self, stage: str, fraction: float) -> None:
        self.progress.update(stage, fraction)
        self.showProgress()

    def showProgress(self) -> None:
        if self.run is not None:
            self.ui.stageLabel.text = self.progress.words
            self.ui.progressBar.value = round(100 * self.progress.share)

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

    def onSceneStartClose(self, _caller: Any, _event: str) -> None:
        if self.run is not None:
            self.run.cancel()
        self.view.forgetScene()

    def onSceneChanged(self, _caller: Any, _event: str) -> None:
        for nodes in find_results(slicer.mrmlScene):
            refresh_colors(nodes)
        self.message = ""
        self.restoreFromScene()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, _caller: Any, _event: str, node: Any) -> None:
        if self.run is not None and node is self.run.volumeNode:
            self.run.cancel()
        shown = self.view.nodes
        if shown is not None and (node is shown.input_volume or node in shown.own):
            self.scheduleUpdate()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, _caller: Any, _event: str, node: Any) -> None:
        if node.IsA("vtkMRMLTableNode") and self.run is None:
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
        running = self.run is not None
        volumeNode = self.ui.inputSelector.currentNode()
        self.ui.detectButton.text = "Cancel" if running else "Detect fractures"
        self.ui.detectButton.enabled = running or volumeNode is not None
        self.ui.inputSelector.enabled = not running
        self.ui.progressBar.visible = running
        self.ui.progressBar.value = round(100 * self.progress.share) if running else 0
        self.ui.stageLabel.text = self.progress.words if running else self.message
        self.ui.stageLabel.visible = bool(self.ui.stageLabel.text)
        self.view.show(self.logic.results(volumeNode))


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
