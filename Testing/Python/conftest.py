"""What several test files need: the project's folder, imports in a fresh interpreter, and one phantom CT."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
from drawn_phantoms import RUN, draw_once, make_folder

from VertebralFractureLib.research.phantom import FractureOptions, PhantomOptions
from VertebralFractureLib.volume import write_volume

# The same examples in every run, so that a test that passed does not fail on another machine.
hypothesis.settings.register_profile("suite", derandomize=True, max_examples=40, deadline=None)
hypothesis.settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    """Give the run a folder for the phantoms that its processes share; pytest-xdist's processes find it made."""
    if RUN not in os.environ:
        folder = make_folder()
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items):
    """Files that hold a slow test come first, so that no process is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def project_folder() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def project_folder_once() -> Path:
    """The same for fixtures that live longer than a test."""
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


@pytest.fixture(scope="session")
def a_phantom():
    """T8 to L4 with a severe fracture of T12, cropped to the spine; drawn once for all tests of a run."""
    options = PhantomOptions(
        seed=77,
        caudal_level="L4",
        cranial_level="T8",
        field_of_view="spine",
        spacing_mm=(1.3, 1.3, 2.0),
        slice_thickness_mm=2.0,
        fractures=(FractureOptions("T12", "wedge", 0.5),),
    )
    return draw_once(options)


@pytest.fixture(scope="session")
def a_phantom_file(a_phantom, tmp_path_factory):
    path = tmp_path_factory.mktemp("phantom") / "phantom.nii.gz"
    write_volume(a_phantom.ct, path)
    return path
