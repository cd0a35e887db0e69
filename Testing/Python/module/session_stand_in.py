"""A session without networks: it answers at once, and its answers follow from the curve that it is given.

Files in its working folder steer it: ``answer.json`` is the report that it varies, ``delay`` the seconds that a
``rescore`` takes, ``crash`` the command at which it dies. What only some answers need is imported with them: hundreds
of tests start one of these.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from VertebralFractureLib.errors import VertebralFractureError
from VertebralFractureLib.session_requests import read_lines

OPENED = Path("opened.nrrd")


def main(arguments, obeys):
    """Answer requests; ``obeys`` says whether a closed standard input ends the process."""
    if arguments:
        from VertebralFractureLib import session

        return session.main(arguments)
    requests: queue.Queue = queue.Queue()
    cancelled = set()
    threading.Thread(target=_listen, args=(requests, cancelled, obeys), daemon=True).start()
    opened = {}
    while True:
        asked = requests.get()
        if asked["command"] == "open":
            # A test may look at the file, which is gone after this; the volume may be too small for the real session.
            shutil.copy(asked["input"], OPENED)
            opened = {**asked, "input": str(OPENED)}
            _say(id=asked["id"], stage="read", fraction=0.5)
            _say(id=asked["id"], done=True)
            continue
        if _steering("crash") == asked["command"]:
            print("the last words", file=sys.stderr, flush=True)
            os._exit(1)
        if asked["command"] == "detect":
            _detect({**opened, **asked}, cancelled)
            continue
        try:
            answer = _answer(asked, cancelled)
        except (VertebralFractureError, ValueError) as error:
            answer = {"error": f"The request could not be answered: {error}", "exit_code": 2}
        _say(id=asked["id"], **(answer or {"error": "Cancelled.", "exit_code": 130}))


def _detect(request, cancelled):
    """Run what the test wants, with the names that it may use."""

    def say(**message):
        _say(id=request["id"], **message)

    names = {"request": request, "folder": Path(request["output"]), "say": say, "json": json, "os": os, "sys": sys}
    names |= {"cancelled": cancelled, "subprocess": subprocess, "time": time, "Path": Path}
    exec(compile(Path("detect_stand_in.py").read_text(encoding="utf-8"), "detect_stand_in.py", "exec"), names)


def _listen(requests, cancelled, obeys):
    for line in read_lines(sys.stdin.fileno()):
        request = json.loads(line)
        if request["command"] == "cancel":
            cancelled.add(request["id"])
        else:
            requests.put(request)
    if obeys:
        os._exit(130)


def _answer(asked, cancelled):
    command, done = asked["command"], {"done": True, "exit_code": 0}
    if command == "repair":
        dragged = asked["dragged_ras"]
        rest = [point for point in asked["points_ras"] if abs(point[2] - dragged[2]) > 2.0]
        # The canal that it finds lies half a millimeter to the right of where it was.
        near = [[r + 0.5 * (abs(s - dragged[2]) < 12.0), a, s] for r, a, s in rest]
        points = sorted([*near, dragged], key=lambda point: point[2])
        return {**done, "points_ras": points, "anchors_ras": [*asked["anchors_ras"], dragged]}
    if command == "draw":
        import numpy as np

        from VertebralFractureLib.canal import Centerline

        line = Centerline(
            np.array(sorted(asked["points_ras"], key=lambda point: point[2])), np.ones(len(asked["points_ras"]))
        )
        points = np.round(line.positions_ras(np.arange(0.0, line.length_mm, 5.0)), 6)
        return {**done, "points_ras": points.tolist(), "anchors_ras": asked["points_ras"]}
    if command == "measure":
        bodies = [{"extent_mm": extent, "landmarks_ras": _landmarks(*extent)} for extent in asked["extents_mm"]]
        return {**done, "bodies": bodies}
    if command == "rescore":
        for _step in range(round(float(_steering("delay") or 0.0) * 100)):
            _say(id=asked["id"], stage="fracture", fraction=0.5)
            time.sleep(0.01)
            if asked["id"] in cancelled:
                return None
        return {**done, "report": str(_rescored(asked))}
    return done


def _rescored(asked):
    """Every probability is lower the farther to the right the curve runs."""
    import numpy as np
    import SimpleITK as sitk

    from VertebralFractureLib.canal import Centerline
    from VertebralFractureLib.cpr import ReformatGrid, straighten
    from VertebralFractureLib.cpr.straightened_volume import save_straightened
    from VertebralFractureLib.result import report_from_json, report_to_json
    from VertebralFractureLib.result.report import ReportedCenterline
    from VertebralFractureLib.result.scan_result import scan_probability, summarize_scan
    from VertebralFractureLib.volume import ct_from_sitk

    ct, grid = ct_from_sitk(sitk.ReadImage(str(OPENED))), ReformatGrid((2.0, 2.0, 2.0), (-20.0, 20.0), (-16.0, 30.0))
    points = tuple(tuple(point) for point in asked["centerline_ras"])
    line = Centerline(np.array(points), np.ones(len(points)))
    folder = Path(asked["output"])
    report = report_from_json(Path("answer.json").read_text(encoding="utf-8"))
    share = 1.0 / (1.0 + np.abs(np.array(points)[:, 0]).mean())
    vertebrae = tuple(
        vertebra
        if vertebra.fracture_probability is None
        else replace(vertebra, fracture_probability=vertebra.fracture_probability * share)
        for vertebra in report.vertebrae
    )
    sequence = replace(report.sequence, probability=tuple(p * share for p in report.sequence.probability))
    scan = summarize_scan(
        vertebrae, report.scan.decision_threshold, scan_probability(vertebrae, None), report.scan.bone_density
    )
    report = replace(
        report,
        centerline=ReportedCenterline(points, (1.0,) * len(points)),
        sequence=sequence,
        vertebrae=vertebrae,
        scan=scan,
    )
    save_straightened(straighten(ct, line, grid=grid), folder / "spine.npz")
    (folder / "report.json").write_text(report_to_json(report), encoding="utf-8")
    return folder / "report.json"


def _landmarks(lower, upper):
    return [[0.0, a, s] for s in (upper, lower) for a in (34.0, 25.0, 16.0)]


def _steering(name):
    path = Path(name)
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def _say(**message):
    print(json.dumps(message), flush=True)
