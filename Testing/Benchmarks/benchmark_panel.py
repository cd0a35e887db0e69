"""How long the panel of the Slicer module keeps Slicer's window waiting, on Slicer's runtime with PySide6 as ``qt``.

    python Testing/Benchmarks/benchmark_panel.py --slices 600

The volume is 512 x 512 x SLICES int16 and the answer a spine of 560 mm; the session is one that answers at once, so
that only the panel's own work is measured. Printed: seconds from the click to the result, the longest time that passed
between two events of a timer, the longest processor time of one (which other programs do not lengthen), the same for
the export of the scene, and how long *Cancel* takes with a session that does not listen.
"""

# ruff: noqa: E402  the stand-ins have to be there before the module is imported
from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python" / "module")]

import slicer
import slicer_stand_ins
import vtk

application = slicer_stand_ins.install()

from PySide6.QtCore import QTimer

from VertebralFracture import VertebralFractureLogic, VertebralFractureWidget
from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.cpr.straightened_volume import save_straightened
from VertebralFractureLib.export.scene import new_scene
from VertebralFractureLib.result import SpineReport, report_to_json
from VertebralFractureLib.result.report import InputIdentity, ReportedCenterline, ReportedSequence, ScanResult, Software
from VertebralFractureLib.volume import CTVolume
from VertebralFracturePanel.detect.torch_installer import TorchInstaller
from VertebralFracturePanel.process import session_process
from VertebralFracturePanel.process.json_process import JsonProcess

ANSWER = """
import json, sys
from pathlib import Path
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request.get("id"), "done": True, "exit_code": 0}
    if request["command"] == "detect":
        folder = Path(request["output"])
        for name in ("report.json", "spine.npz"):
            (folder / name).write_bytes(Path(name).read_bytes())
        answer["report"] = str(folder / "report.json")
    print(json.dumps(answer), flush=True)
"""
DEAF = """
import json, sys, time
for line in sys.stdin:
    request = json.loads(line)
    done = {"done": True} if request["command"] == "open" else {"stage": "canal", "fraction": 0.1}
    print(json.dumps({"id": request.get("id"), **done}), flush=True)
    if request["command"] == "detect":
        time.sleep(300)
"""


class NothingToInstall(TorchInstaller):
    def ensureTorch(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--warp", action="store_true", help="put the volume under a warping transform")
    arguments = parser.parse_args()
    slicer.mrmlScene = scene = new_scene()
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(node, np.full((arguments.slices, 512, 512), 40, np.int16))
    if arguments.warp:
        _warp(scene, node)
    logic = VertebralFractureLogic(NothingToInstall(), lambda: JsonProcess(sys.executable))
    widget = VertebralFractureWidget(slicer_stand_ins.module_parent(), logic)
    widget.setup()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        session_process.LIBRARY_FOLDER, session_process.SESSION_MODULE = folder, "stand_in_session"
        _write_answer(folder)
        for _ in range(arguments.runs):
            logic.session.end()
            seconds, longest, own = _run(widget)
            print(
                f"click to result {seconds:.2f} s, longest wait {1000 * longest:.0f} ms, "
                f"of processor time {1000 * own:.0f} ms"
            )
        session_process.LIBRARY_FOLDER, session_process.SESSION_MODULE = ROOT, "VertebralFractureLib.session"
        for _ in range(arguments.runs):
            seconds, longest, own = _export(widget, folder / "scene.mrb")
            print(
                f"export to scene {seconds:.2f} s, longest wait {1000 * longest:.0f} ms, of processor time "
                f"{1000 * own:.0f} ms, {(folder / 'scene.mrb').stat().st_size / 1e6:.0f} MB"
            )
        session_process.LIBRARY_FOLDER, session_process.SESSION_MODULE = folder, "stand_in_session"
        (folder / "stand_in_session.py").write_text(DEAF, encoding="utf-8")
        for _ in range(arguments.runs):
            logic.session.end()
            answered, gone = _cancel(widget)
            print(f"cancel: panel answers in {1000 * answered:.0f} ms, session gone after {1000 * gone:.0f} ms")
    widget.cleanup()
    sys.stdout.flush()
    os._exit(0)


def _warp(scene: Any, node: Any) -> None:
    """A thin plate spline that shifts and shears by some mm."""
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for r, a, s in ((0, 0, 0), (500, 0, 0), (0, 500, 0), (0, 0, 600), (300, 200, 400)):
        source.InsertNextPoint(r, a, s)
        target.InsertNextPoint(r + 10 + 0.01 * s, a, s)
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())


def _write_answer(folder: Path) -> None:
    s = np.linspace(0.0, 560.0, 113)
    line = Centerline(np.stack([20.0 + 0 * s, 20.0 + 0 * s, s], axis=1), np.ones(len(s)))
    ct = CTVolume(np.zeros((30, 8, 8), np.int16), np.diag([20.0, 20.0, 20.0, 1.0]), "CT")
    save_straightened(straighten(ct, line), folder / "spine.npz")
    points = tuple((float(r), float(a), float(s)) for r, a, s in line.points_ras)
    report = SpineReport(
        software=Software("0", {}),
        input=InputIdentity("CT", (30, 8, 8), (20.0, 20.0, 20.0)),
        status="evaluable",
        reason=None,
        scan=ScanResult(0.1, 0, (), 0.5),
        centerline=ReportedCenterline(points, (1.0,) * len(points)),
        sequence=ReportedSequence(tuple(s.tolist()), (0.1,) * len(s), (0.0,) * len(s)),
        vertebrae=(),
        timings_s={},
    )
    (folder / "report.json").write_text(report_to_json(report), encoding="utf-8")
    (folder / "stand_in_session.py").write_text(ANSWER, encoding="utf-8")


def _run(widget: VertebralFractureWidget) -> tuple[float, float, float]:
    figures = _measured(widget.ui.detectButton.click, lambda: widget.run is not None)
    assert widget.message == "", widget.message
    return figures


def _export(widget: VertebralFractureWidget, path: Path) -> tuple[float, float, float]:
    sys.modules["qt"].QFileDialog.getSaveFileName = staticmethod(lambda *_: str(path))
    section = widget.view.exportSection
    figures = _measured(widget.ui.exportSceneButton.click, lambda: section.isExporting)
    assert widget.ui.exportLabel.text == f"Written: {path.name}", widget.ui.exportLabel.text
    return figures


def _measured(start: Callable[[], None], isGoingOn: Callable[[], bool]) -> tuple[float, float, float]:
    """Seconds, the longest wait between two events, and the longest processor time of one."""
    beats = [(time.perf_counter(), time.thread_time())]
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append((time.perf_counter(), time.thread_time())))
    timer.start(0)
    start()
    while isGoingOn():
        application.processEvents()
        time.sleep(0.001)
    timer.stop()
    longest, own = np.diff(beats, axis=0).max(axis=0)
    return beats[-1][0] - beats[0][0], float(longest), float(own)


def _cancel(widget: VertebralFractureWidget) -> tuple[float, float]:
    widget.ui.detectButton.click()
    while widget.run is not None and widget.progress.stage != "canal":
        application.processEvents()
    started = time.perf_counter()
    widget.ui.detectButton.click()
    answered = time.perf_counter() - started
    while not widget.logic.session.isGone:
        application.processEvents()
    return answered, time.perf_counter() - started


if __name__ == "__main__":
    main()
