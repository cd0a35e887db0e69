"""What scripts and the panel can do with the module: detect, straighten, correct, export; results become nodes.

A session in a process beside Slicer does the computing; the module's file exposes the class, where Slicer looks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from VertebralFractureLib.cpr import STRAIGHTENED, ReformatGrid, straighten
from VertebralFractureLib.export.scene import SceneNodes, find_results
from VertebralFractureLib.export.scene.show_report import DisplayCriteria, replace_result, show_criteria
from VertebralFractureLib.export.scene.volume_nodes import SpineNodes, add_spine_nodes, centerline_of
from VertebralFractureLib.options import ALL_MEMBERS, AUTOMATIC, DetectionOptions
from VertebralFractureLib.volume import CTVolume
from VertebralFracturePanel.correct.rescoring import scoreNow
from VertebralFracturePanel.detect import detection_run
from VertebralFracturePanel.detect.detection_run import DetectionRun, RunFailed
from VertebralFracturePanel.detect.torch_installer import TorchInstaller
from VertebralFracturePanel.detect.volume_export import exportOf
from VertebralFracturePanel.export.result_export import ResultExport
from VertebralFracturePanel.parameters import REPLACE, Parameters
from VertebralFracturePanel.process.json_process import JsonProcess
from VertebralFracturePanel.process.session_process import SessionProcess
from VertebralFracturePanel.shown_result import Edit, ShownResult


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

        Parent transforms of both nodes are followed. The new nodes are the straightened volume and the grid
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
