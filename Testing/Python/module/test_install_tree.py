"""What Slicer's users get: the extension configured and installed by CMake into an empty folder, and used from there.

Slicer's macros are those of ``Testing/SlicerStandIn``. Detection runs in a fresh interpreter that knows no folder of
the source tree, with the module, its worker process, and the weights as they were installed.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STAND_INS = Path(__file__).resolve().parents[2] / "SlicerStandIn"
MODULES = "lib/Slicer-5.10/qt-scripted-modules"

# Runs away from the source tree: only the stand-ins for what Slicer itself brings are read from there.
DETECTION = """
    import json, sys, tempfile
    from pathlib import Path
    import slicer
    source, stand_ins, installed, volume = (Path(argument) for argument in sys.argv[1:])
    sys.path.insert(0, str(stand_ins))
    import slicer_stand_ins
    slicer_stand_ins.install()
    ours = {str(source), str(source / "VertebralFracture")}
    sys.path[:] = [str(installed), *(entry for entry in sys.path if entry not in ours)]
    base = slicer_stand_ins.ScriptedLoadableModuleWidget
    base.resourcePath = lambda self, name: str(installed / "Resources" / name)

    from VertebralFracture import VertebralFractureLogic, VertebralFractureWidget
    from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.export.scene import new_scene, read_report
    from VertebralFracturePanel.detect.torch_installer import TorchInstaller

    slicer.mrmlScene = scene = new_scene()
    volumes = slicer.vtkSlicerVolumesLogic()
    volumes.SetMRMLScene(scene)
    ct = volumes.AddArchetypeVolume(str(volume), "Phantom", 0)
    TorchInstaller().ensureTorch()
    widget = VertebralFractureWidget(slicer_stand_ins.module_parent())
    widget.setup()
    nodes = widget.logic.detectFractures(ct)
    report = read_report(scene, nodes)
    modules = {name: module.__file__ for name, module in sys.modules.items() if name.startswith("VertebralFracture")}
    widget.cleanup()
    print(json.dumps({
        "headline": write_impression(report),
        "levels": [vertebra.label for vertebra in report.suspected],
        "weights": report.software.weights_sha256,
        "foreign": [name for name, file in modules.items() if file and not Path(file).is_relative_to(installed)],
        "panel": sorted(vars(widget.ui)),
    }))
"""


def cmake():
    """The CMake of this environment, else of this machine."""
    beside_python = shutil.which("cmake", path=str(Path(sys.executable).parent))
    found = beside_python or shutil.which("cmake")
    assert found, "CMake is missing; python run.py test installs it"
    return found


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def a_build(tmp_path_factory):
    """A build folder of the extension, configured as Slicer's extension build does."""
    source = STAND_INS.parent.parent
    build = tmp_path_factory.mktemp("build")
    settings = {
        "Slicer_DIR": STAND_INS,
        "Slicer_LAUNCHER_EXECUTABLE": Path(sys.executable).as_posix(),
        "CMAKE_TOOLCHAIN_FILE": STAND_INS / "NoCompiler.cmake",
        "CMAKE_MAKE_PROGRAM": Path(sys.executable).as_posix(),
    }
    definitions = [f"-D{name}={value}" for name, value in settings.items()]
    run(cmake(), "-G", "Unix Makefiles", "-S", str(source), "-B", str(build), *definitions)
    return build


@pytest.fixture(scope="module")
def an_install_tree(a_build, tmp_path_factory):
    """An empty folder into which the extension was installed."""
    folder = tmp_path_factory.mktemp("installed")
    run(cmake(), "--install", str(a_build), "--prefix", str(folder))
    return folder


def test_detection_runs_from_the_installed_files_alone(an_install_tree, a_phantom_file, project_folder, tmp_path):
    installed = an_install_tree / MODULES
    program = "\n".join(line.removeprefix("    ") for line in DETECTION.splitlines())
    arguments = [project_folder, project_folder / "Testing" / "Python" / "module", installed, a_phantom_file]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    output = run(sys.executable, "-c", program, *map(str, arguments), cwd=tmp_path, env=environment)

    result = json.loads(output.splitlines()[-1])
    assert result["foreign"] == []
    assert "T12" in result["levels"], result["headline"]
    manifest = json.loads((installed / "Resources/Weights/VertebralFractureWeights.json").read_text(encoding="utf-8"))
    assert set() < set(result["weights"].values()) <= {entry["sha256"] for entry in manifest.values()}
    assert "detectButton" in result["panel"]


def test_the_sample_is_drawn_from_the_installed_files_alone(an_install_tree, tmp_path):
    """The sample as it is, on fewer voxels."""
    installed = an_install_tree / MODULES
    volume = tmp_path / "phantom.nii.gz"
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from VertebralFractureLib.cli.main import main;"
        "from dataclasses import replace; from VertebralFractureLib.research import phantom;"
        "coarse = replace(phantom.demo_options(), spacing_mm=(1.6, 1.6, 3.0), field_of_view='spine');"
        "phantom.demo_options = lambda: coarse;"
        "code = main(sys.argv[1:]);"
        "from VertebralFractureLib.research.datasets import fracture_summary, read_annotation;"
        "from pathlib import Path;"
        "print(fracture_summary(read_annotation(Path(sys.argv[3]).with_name('phantom.json'))));"
        "print([m.__file__ for n, m in sys.modules.items() if n.startswith('VertebralFractureLib')]); sys.exit(code)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", program, str(installed), "phantom", "--out", str(volume), "--demo"]

    said = run(*command, cwd=tmp_path, env=environment).splitlines()

    assert volume.stat().st_size > 1e6
    assert said[-2] in said[0], "the truth beside the volume says what was drawn"
    assert all(Path(name).is_relative_to(installed) for name in ast.literal_eval(said[-1]))


def test_commands_of_research_are_not_offered_where_research_is_not_installed(an_install_tree, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = (
        f"import sys; sys.path.insert(0, {str(an_install_tree / MODULES)!r});"
        "from VertebralFractureLib.cli.main import main; main(['--help'])"
    )

    said = run(sys.executable, "-c", program, cwd=tmp_path, env=environment)

    assert "phantom" in said
    assert not {"train", "evaluate", "import-dataset"} & set(re.findall(r"[\w-]+", said.split("options:")[0]))


def test_all_that_the_tree_ships_is_installed_flat_and_nothing_else(an_install_tree, project_folder):
    def shipped(folder, under=""):
        return {
            under + path.relative_to(project_folder / folder).as_posix()
            for path in (project_folder / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.name != "CMakeLists.txt"
        }

    installed = an_install_tree / MODULES

    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.suffix != ".pyc"}
    found = {name for name in found if (installed / name).is_file()}

    lists = (project_folder / "VertebralFractureLib" / "CMakeLists.txt").read_text(encoding="utf-8")
    kept_back = re.compile(r"VertebralFractureLib/(research/.*|cli/evaluate\.py|cli/import_dataset\.py)")
    library = {name for name in shipped("VertebralFractureLib", "VertebralFractureLib/") if not kept_back.match(name)}
    library |= {f"VertebralFractureLib/{name}" for name in re.findall(r"^  (research/\S+)$", lists, re.M)}
    assert found == shipped("VertebralFracture") | library | shipped("Resources", "Resources/")


def test_what_is_installed_stays_small(an_install_tree):
    size = sum(path.stat().st_size for path in an_install_tree.rglob("*") if path.is_file() and path.suffix != ".pyc")

    assert size < 20e6


def test_the_addresses_in_the_description_lead_to_files_of_this_repository(an_install_tree, project_folder):
    text = (an_install_tree / "share/Slicer-5.10/VertebralFracture.s4ext").read_text(encoding="utf-8")

    said = dict(line.split(" ", 1) for line in text.splitlines())

    assert said["name"] == "VertebralFracture"
    assert said["depends"] == "PyTorch"
    addresses = [said["iconurl"], *said["screenshoturls"].split()]
    assert len(addresses) > 1
    for address in addresses:
        published, name = address.split("/raw/main/")
        assert published == said["homepage"]
        assert (project_folder / name).is_file(), name


def test_pictures_for_the_extension_index_have_the_size_that_it_asks_for(project_folder):
    def size(path):
        header = path.read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n", path.name
        return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")

    icon = project_folder / "VertebralFracture" / "Resources" / "Icons" / "VertebralFracture.png"
    assert size(icon) == (128, 128)
    for picture in (project_folder / "docs" / "images").glob("*.png"):
        assert size(picture)[0] >= 380, picture.name
        assert picture.stat().st_size < 500_000, picture.name


def test_the_self_test_of_the_module_passes_in_ctest(a_build):
    ctest = str(Path(cmake()).with_name("ctest"))

    said = run(ctest, "--test-dir", str(a_build), "--output-on-failure", "-V")

    assert re.findall(r"Start +\d+: (\w+)", said) == ["py_VertebralFracture"]
    assert re.search(r"Ran [1-9]\d* tests? in", said)
