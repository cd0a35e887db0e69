"""A tripwire: what Slicer does at every start, importing the module and making its class, does nothing else.

It runs in a fresh interpreter that watches itself from before the import on (``sys.addaudithook``): no file is written,
no connection is made, no process is started, no node is added, and nothing heavy is loaded.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BROUGHT_BY_SLICER = {"slicer", "vtk", "vtkmodules", "qt", "ctk", "numpy", "SimpleITK"}

# The stand-ins come first: what they and Slicer's own runtime do is not the module's doing.
WATCHED = """
    import json, os, sys, threading, types
    import numpy, SimpleITK, slicer, slicer.util, vtk
    import slicer_stand_ins
    slicer_stand_ins.install()
    slicer.mrmlScene = scene = slicer.vtkMRMLScene()
    connected = []
    slicer.app = types.SimpleNamespace(connect=lambda signal, listener: connected.append(signal))

    events = []
    touching = ("socket.", "subprocess.", "os.", "shutil.", "tempfile.", "urllib.", "http.", "webbrowser.", "ctypes.")
    harmless = ("os.listdir", "os.scandir", "os.walk", "os.fwalk")

    def watch(event, arguments):
        if event == "open":
            path, mode, flags = arguments
            writes = set(mode) & set("wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
            if writes:
                events.append(f"open {path}")
        elif event.startswith(touching) and event not in harmless:
            events.append(f"{event} {arguments}")

    def state():
        return {
            "modules": list(sys.modules), "path": list(sys.path), "nodes": scene.GetNumberOfNodes(),
            "environment": sorted(os.environ.items()), "threads": threading.active_count(), "folder": os.getcwd(),
            "events": list(events), "connected": list(connected),
        }

    sys.dont_write_bytecode = True
    sys.addaudithook(watch)
    states = [state()]
    DEEDS
    print(json.dumps(states))
"""
IMPORT = "import VertebralFracture; VertebralFracture.VertebralFracture(types.SimpleNamespace())"


def states_around(project_folder, folder, deeds):
    """The state of a fresh interpreter before the first of ``deeds`` and after each."""
    steps = "".join(f"{deed}\nstates.append(state())\n" for deed in deeds)
    program = "\n".join(line.removeprefix("    ") for line in WATCHED.splitlines()).replace("DEEDS", steps)
    folders = (project_folder, project_folder / "Testing" / "Python" / "module")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def before_and_after(tmp_path_factory):
    """The state before and after what Slicer does with a module when it starts, and the working folder."""
    folder = tmp_path_factory.mktemp("start")
    before, after = states_around(Path(__file__).resolve().parents[3], folder, [IMPORT])
    return before, after, folder


def test_starting_slicer_with_the_module_changes_nothing(before_and_after):
    before, after, folder = before_and_after

    assert after["events"] == []
    for unchanged in ("environment", "nodes", "threads", "folder"):
        assert after[unchanged] == before[unchanged], unchanged
    assert list(folder.iterdir()) == []


def test_starting_slicer_with_the_module_loads_only_what_slicer_brings(before_and_after):
    before, after, _folder = before_and_after

    loaded = {name.split(".")[0] for name in set(after["modules"]) - set(before["modules"])}

    foreign = loaded - set(sys.stdlib_module_names) - BROUGHT_BY_SLICER
    assert [name for name in sorted(foreign) if not name.startswith("VertebralFracture")] == []
    assert "VertebralFracture" in loaded
    parts = {name for name in after["modules"] if name.startswith("VertebralFractureLib.")}
    assert [name for name in parts if name.split(".")[1] in ("phantom", "training", "evaluation")] == []


def test_only_in_the_source_tree_one_folder_more_is_searched(before_and_after, project_folder):
    before, after, _folder = before_and_after

    # Installed, the library lies beside the module and nothing is added (see the test of the install tree).
    assert {Path(entry) for entry in set(after["path"]) - set(before["path"])} <= {project_folder}


def test_the_tripwire_notices_each_thing_that_must_not_happen(project_folder, tmp_path):
    deeds = {
        "open('written', 'w').close()": "events",
        "import socket; socket.socket().connect_ex(('127.0.0.1', 9))": "events",
        "import subprocess; subprocess.run([sys.executable, '-c', ''])": "events",
        "os.mkdir('made')": "events",
        "os.environ['NEW'] = '1'": "environment",
        "scene.AddNewNodeByClass('vtkMRMLTextNode')": "nodes",
        "import colorsys": "modules",
    }

    states = states_around(project_folder, tmp_path, deeds)

    for (deed, noticed_as), before, after in zip(deeds.items(), states, states[1:], strict=False):
        assert before[noticed_as] != after[noticed_as], deed
