"""The guide's way from scans to figures is walked as it is written, and every figure of it is counted again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_guide_leads_from_awkward_scans_to_figures_that_an_independent_count_confirms(
    project_folder: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(project_folder / "Testing" / "study_walk.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "All as counted."
