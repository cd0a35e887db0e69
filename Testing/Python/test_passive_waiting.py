"""Our programs ask the threads of OpenMP to sleep while they wait, before torch is loaded; a user may differ."""

import json
import os
import subprocess
import sys

import pytest

from VertebralFractureLib.passive_waiting import WAIT_POLICY

# Runs a module as ``python -m`` does and, at the moment in which torch is about to be loaded, prints what is set.
STOP_AT_TORCH = f"""
import importlib.abc, os, runpy, sys
class AtTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("at torch:", os.environ.get("{WAIT_POLICY}"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, AtTorch())
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.fixture(params=["console command", "session"])
def a_program(request, a_phantom_file, tmp_path):
    """Arguments of ``python -m``, and what to write to its standard input."""
    if request.param == "console command":
        return ["VertebralFractureLib.cli", "detect", str(a_phantom_file), "--out", str(tmp_path / "out")], ""
    requests = ({"id": 1, "command": "open", "input": str(a_phantom_file)}, {"id": 2, "command": "prepare"})
    return ["VertebralFractureLib.session"], "".join(json.dumps(one) + "\n" for one in requests)


@pytest.mark.parametrize(("of_the_user", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_asleep_unless_the_user_wants_otherwise(a_program, of_the_user, expected, project_folder):
    arguments, typed = a_program
    environment = {name: value for name, value in os.environ.items() if name != WAIT_POLICY}
    environment |= {"PYTHONPATH": str(project_folder)} | ({WAIT_POLICY: of_the_user} if of_the_user else {})

    process = subprocess.Popen(
        [sys.executable, "-c", STOP_AT_TORCH, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    process.stdin.write(typed)
    process.stdin.flush()

    assert process.stdout.read().splitlines()[-1] == f"at torch: {expected}"
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=10) == 0
