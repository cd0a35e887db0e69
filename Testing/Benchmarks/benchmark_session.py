"""What a second detection, and the first scores after a correction, cost on a CT that was examined already.

    python Testing/Benchmarks/benchmark_session.py CT.nii.gz

All goes through the logic of the Slicer module, on Slicer's runtime with PySide6 as ``qt``, and through the true
session. Printed: seconds from the call until the nodes show the result, and what the session counts after each step.
"""

# ruff: noqa: E402  the stand-ins have to be there before the module is imported
from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "Python" / "module")]

import slicer
import slicer_stand_ins

slicer_stand_ins.install()

from VertebralFracture import VertebralFractureLogic
from VertebralFractureLib.export.scene import new_scene
from VertebralFractureLib.result import edits
from VertebralFractureLib.volume import read_volume

RUNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", type=Path)
    ct = read_volume(parser.parse_args().volume)
    slicer.mrmlScene = scene = new_scene()
    volumeNode = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(volumeNode, np.ascontiguousarray(ct.hu))
    volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ct.ijk_to_ras))
    print(f"{ct.shape_kji[2]} x {ct.shape_kji[1]} x {ct.shape_kji[0]} voxels, {os.cpu_count()} cores")
    logic = VertebralFractureLogic()
    logic.torchInstaller.ensureTorch = lambda: None
    nodes = timed("first detection", logic, logic.detectFractures, volumeNode)
    for run in range(RUNS):
        nodes = timed(f"detection {run + 2}", logic, logic.detectFractures, volumeNode)
    for run in range(RUNS):
        move_a_point(logic, nodes, 3.0 if run % 2 == 0 else -2.0)
        nodes = timed(f"scores {run + 1} after a correction", logic, logic.scoreAgain, nodes)
    sys.stdout.flush()
    os._exit(0)


def move_a_point(logic: Any, nodes: Any, by_mm: float) -> None:
    """As a reader does who drags a point in the lower third."""

    def moved(correction: Any, shown: Any) -> Any:
        points = np.array(shown.centerline.points_ras)
        points[len(points) // 3, 0] += by_mm
        return edits.set_centerline(correction, [tuple(point) for point in points.tolist()])

    logic.correct(nodes, moved)


def timed(name: str, logic: VertebralFractureLogic, work: Callable[[Any], Any], node: Any) -> Any:
    started = time.perf_counter()
    result = work(node)
    seconds, session = time.perf_counter() - started, logic.session
    print(f"{name}: {seconds:.2f} s, processes started {session.started}, {session.counters}", flush=True)
    return result


if __name__ == "__main__":
    main()
