"""What several test files need: the folder of the project, and imports in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project_folder() -> Path:
    return ROOT


@pytest.fixture
def modules_after():
    """Run a statement in a fresh interpreter; gives the names of all modules that are loaded then."""

    def run(statement: str) -> set[str]:
        program = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout.splitlines()[-1]))

    return run
