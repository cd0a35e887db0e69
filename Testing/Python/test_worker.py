"""The worker as the program that starts it sees it: one JSON object per line, an exit code, and an end when told."""

import json
import os
import subprocess
import sys

import pytest

SLOW_WORKER = """
import sys, time
from pathlib import Path
from VertebralFractureLib import worker
def slow(request, lines):
    lines("canal", 0.5)
    time.sleep(300)
worker._work = slow
sys.exit(worker.main(Path(sys.argv[1])))
"""


@pytest.fixture
def start(project_folder, tmp_path):
    """Start a Python with ``arguments`` and a request; its standard input stays open."""

    def run(arguments, request):
        path = tmp_path / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, *arguments, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(project_folder)},
        )

    return run


def test_a_closed_standard_input_ends_the_worker_at_once(start):
    worker = start(["-c", SLOW_WORKER], {"stop_when_input_closes": True})
    assert json.loads(worker.stdout.readline()) == {"stage": "canal", "fraction": 0.5}

    worker.stdin.close()

    assert worker.wait(timeout=60) == 130
    worker.stdout.close()


def test_bad_input_is_answered_in_a_sentence_while_the_input_stays_open(start, tmp_path):
    request = {
        "input": str(tmp_path / "missing.nii.gz"),
        "output": str(tmp_path / "result"),
        "stop_when_input_closes": True,
    }

    worker = start(["-m", "VertebralFractureLib.worker"], request)
    *progress, last = (json.loads(line) for line in worker.stdout)

    assert worker.wait(timeout=120) == 2
    assert progress[0] == {"stage": "read", "fraction": 0.0}
    assert last["exit_code"] == 2
    assert "missing.nii.gz" in last["error"]
    assert not (tmp_path / "result").exists()
    worker.stdin.close()
    worker.stdout.close()
