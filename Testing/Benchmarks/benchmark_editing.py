"""How soon the panel follows a dragged point of the centerline: real widget, real worker, Slicer's runtime, PySide6.

    python Testing/Benchmarks/benchmark_editing.py [VOLUME] --drags 12 --steps 8

Without VOLUME (any file that ``detect`` reads) the phantom of the demo is drawn: T3 to the sacrum. Each drag moves one
point of the detected curve by 3 mm in as many movements as ``--steps``. Printed: milliseconds from a movement until
the straightened volume's node shows it, seconds from the release until the scores are in the scene, the longest time
between two events of Slicer's window in a drag and after it, and milliseconds of an undo; processor seconds of the
worker beside, which other programs do not lengthen.
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

application = slicer_stand_ins.install()

from VertebralFracture import VertebralFractureWidget
from VertebralFractureLib.export.scene import new_scene, write_scene
from VertebralFractureLib.research.phantom import demo_options, make_phantom
from VertebralFractureLib.result import report_from_json, report_to_json
from VertebralFractureLib.session import VolumeSession
from VertebralFractureLib.volume import read_volume
from VertebralFracturePanel.correct import rescoring

MOVE_MM = 3.0
_LONGEST_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", type=Path, nargs="?")
    parser.add_argument("--drags", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    ct = make_phantom(demo_options()).ct if arguments.volume is None else read_volume(arguments.volume)
    detection = VolumeSession(ct).detect()
    scene = slicer.mrmlScene = new_scene()
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(volume, ct.hu)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ct.ijk_to_ras))
    nodes = write_scene(report_from_json(report_to_json(detection.report)), None, detection.spine, scene, volume)
    widget = VertebralFractureWidget(slicer_stand_ins.module_parent())
    widget.setup()
    cpu_seconds = _watch_the_worker()
    section, curve = widget.view.centerlineSection, nodes.centerline

    def is_settled() -> bool:
        return (
            section.live.isReady
            and not widget.logic.session.isBusy
            and not section.rescoring.isBusy
            and not _is_stale()
        )

    def _is_stale() -> bool:
        return not widget.view.result.isUpToDate or section._repairing is not None

    started = time.perf_counter()
    widget.ui.editCenterlineButton.click()
    _wait(lambda: section.live.isReady)
    ready = time.perf_counter() - started
    _wait(is_settled)
    shape = detection.spine.hu.shape
    print(f"spine {shape[0]} x {shape[1]} x {shape[2]}, {curve.GetNumberOfControlPoints()} points, CT {ct.hu.shape}")
    print(
        f"follows a drag {ready:.2f} s after the click, the worker is ready after {time.perf_counter() - started:.1f} s"
    )
    slabs, scores, pauses, after = [], [], [], []
    seen: list[float] = []
    section.live.followed.connect(lambda: seen.append(time.perf_counter()))
    for drag in range(arguments.drags):
        place = round((drag + 1) / (arguments.drags + 1) * (curve.GetNumberOfControlPoints() - 1))
        angle = 2.4 * drag
        by = MOVE_MM * np.array([np.cos(angle), np.sin(angle), 0.0])
        start = np.array(curve.GetNthControlPointPositionWorld(place))
        curve.InvokeCustomModifiedEvent(curve.PointStartInteractionEvent)
        for step in range(1, arguments.steps + 1):
            seen.clear()
            moved = time.perf_counter()
            curve.SetNthControlPointPositionWorld(place, start + by * step / arguments.steps)
            pauses.append(_wait(lambda: bool(seen)))
            slabs.append(seen[0] - moved)
        curve.InvokeCustomModifiedEvent(curve.PointEndInteractionEvent)
        released = time.perf_counter()
        application.processEvents()
        after.append(_wait(is_settled))
        scores.append(time.perf_counter() - released)
    undos = []
    for _ in range(min(arguments.drags, 10)):
        started = time.perf_counter()
        widget.ui.undoEditButton.click()
        undos.append(time.perf_counter() - started)
    _print("movement to slab, ms", 1000.0 * np.array(slabs))
    _print("release to scores, s", np.array(scores))
    _print("processor seconds of the worker for them", np.array(cpu_seconds))
    _print("longest wait of the window in a movement, ms", 1000.0 * np.array(pauses))
    _print("longest wait of the window after a release, ms", 1000.0 * np.array(after))
    _print("undo, ms", 1000.0 * np.array(undos))
    widget.cleanup()
    sys.stdout.flush()
    os._exit(0)


def _watch_the_worker() -> list[float]:
    """Processor seconds of every answer with scores, as they come."""
    seconds: list[float] = []
    read = rescoring.readResult

    def reading(answer: dict[str, Any], name: str) -> Any:
        seconds.append(float(answer["cpu_seconds"]))
        return read(answer, name)

    rescoring.readResult = reading
    return seconds


def _wait(condition: Callable[[], bool]) -> float:
    """Let Qt work until ``condition`` holds; the longest time that one round of events took, in seconds."""
    longest, end = 0.0, time.perf_counter() + _LONGEST_S
    while not condition():
        started = time.perf_counter()
        if started > end:
            raise TimeoutError("The panel did not follow.")
        application.processEvents()
        longest = max(longest, time.perf_counter() - started)
        time.sleep(0.001)
    return longest


def _print(what: str, values: Any) -> None:
    print(
        f"{what}: median {np.median(values):.3g}, 95 % {np.quantile(values, 0.95):.3g}, "
        f"largest {values.max():.3g} ({len(values)})"
    )


if __name__ == "__main__":
    main()
