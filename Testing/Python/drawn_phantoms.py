"""Phantoms that are drawn once per run of the tests, however many files and processes ask for them."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import time
from functools import cache
from pathlib import Path

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.phantom import Phantom, PhantomOptions, make_phantom

RUN = "VERTEBRAL_FRACTURE_TEST_RUN"
"""Environment variable with the folder of this run, which processes that pytest starts inherit."""
_PATIENCE_S = 300.0


def make_folder() -> Path:
    """Make the folder of a run, and name it to every process that this one starts."""
    folder = Path(tempfile.mkdtemp(prefix="VertebralFracture-phantoms-"))
    os.environ[RUN] = str(folder)
    return folder


@cache
def draw_once(options: PhantomOptions) -> Phantom:
    """The phantom of these options: drawn by the first process that asks, read from the run's folder by the others.

    No test writes into its arrays, which others in the same process have too.
    """
    path = Path(os.environ[RUN]) / hashlib.sha256(repr(options).encode()).hexdigest()[:16]
    try:
        path.with_suffix(".begun").touch(exist_ok=False)
    except FileExistsError:
        return _wait_for(path) or make_phantom(options)
    phantom = make_phantom(options)
    write_file(path, pickle.dumps(phantom, protocol=pickle.HIGHEST_PROTOCOL))
    return phantom


def _wait_for(path: Path) -> Phantom | None:
    """What another process draws; None where it has not come after ``_PATIENCE_S``."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if path.is_file():
            phantom: Phantom = pickle.loads(path.read_bytes())
            return phantom
        time.sleep(0.1)
    return None
