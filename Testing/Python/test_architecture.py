"""The borders between the parts hold: each is imported in a fresh interpreter, and the sources are read for imports."""

import ast
import re
import sys

import pytest

PACKAGE = "VertebralFractureLib"
MODEL_FREE = (
    "volume",
    "canal",
    "cpr",
    "fracture",
    "vertebrae",
    "orientation",
    "result",
    "models",
    "pipeline",
    "session",
    "cli.main",
)
RESEARCH_LIBRARIES = {"matplotlib", "scipy", "sklearn"}
HEAVY = {"torch", "slicer", "qt", "vtk", "vtkmodules", *RESEARCH_LIBRARIES, f"{PACKAGE}.research"}

# The one direction of the data: a part may import from the parts on its right, and from nothing else of ours.
SHARED = {"doubts", "errors", "options", "progress", "thresholds", "torch_arrays", "types", "weights"}
SHARED |= {"atomic_write", "plain_text", "private_folders", "__init__"}
SHARED |= {"checked_json", "checked_record", "deflate", "fast_networks"}
STEPS = ("volume", "canal", "cpr", "vertebrae", "orientation", "fracture", "result")
MAY_IMPORT = {
    "types": set(),
    "doubts": {"types"},
    "thresholds": set(),
    "errors": set(),
    "options": {"errors"},
    "checked_json": {"errors"},
    "checked_record": {"checked_json", "errors"},
    "compute_device": {"errors", "options"},
    "progress": {"errors"},
    "torch_arrays": set(),
    "fast_networks": set(),
    "deflate": set(),
    "plain_text": set(),
    "private_folders": set(),
    "atomic_write": {"private_folders"},
    "weights": {"atomic_write", "errors", "torch_arrays"},
    **{step: SHARED | set(STEPS[:index]) for index, step in enumerate(STEPS)},
    "models": SHARED | {"compute_device", *STEPS},
    "pipeline": SHARED | {"compute_device", "models", *STEPS},
    "export": SHARED | set(STEPS),
}
# The same inside research, whose parts may import all of the product besides.
RESEARCH = ("datasets", "phantom", "simulation", "training", "evaluation", "release")
RESEARCH_MAY_IMPORT = {part: set(RESEARCH[:index]) for index, part in enumerate(RESEARCH)}
PRODUCT = {*MAY_IMPORT, "passive_waiting", "session"}
SLICER_SIDE = {"slicer", "vtk", "vtkmodules", "qt", "ctk", "numpy", "SimpleITK"}


def imported_names(path):
    """Every absolute module name that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            if node.module == PACKAGE:
                yield from (f"{PACKAGE}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def imported_at_file_scope(path):
    """As above, but only what importing the file runs."""
    pending = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        pending.extend(ast.iter_child_nodes(node))


def part_of(path, package_folder):
    relative = path.relative_to(package_folder)
    return relative.parts[0].removesuffix(".py")


def sources(project_folder):
    return sorted((project_folder / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("part", MODEL_FREE)
def test_importing_a_step_loads_no_model_library_and_no_slicer(modules_after, part):
    loaded = modules_after(f"import {PACKAGE}.{part}")

    assert sorted(HEAVY & loaded) == []


def test_importing_the_package_loads_nothing_but_itself(modules_after):
    loaded = modules_after(f"import {PACKAGE}")

    assert {name for name in loaded if name.startswith(PACKAGE)} == {PACKAGE}
    assert "numpy" not in loaded


def test_only_the_scene_imports_slicer_and_nothing_in_the_library_imports_qt(project_folder):
    package = project_folder / PACKAGE
    users = {"slicer": set(), "qt": set(), "ctk": set()}

    for path in sources(project_folder):
        for name in imported_names(path):
            if name.split(".")[0] in users:
                users[name.split(".")[0]].add(part_of(path, package))

    assert users["slicer"] <= {"export"}
    assert users["qt"] == users["ctk"] == set()


def test_data_flows_in_one_direction(project_folder):
    package = project_folder / PACKAGE
    against = []

    for path in sources(project_folder):
        part = part_of(path, package)
        if part not in MAY_IMPORT:
            continue
        for name in imported_names(path):
            other = name.removeprefix(f"{PACKAGE}.").split(".")[0]
            is_ours = name.startswith(f"{PACKAGE}.") and (package / other).with_suffix("").exists()
            is_ours = is_ours or (name.startswith(f"{PACKAGE}.") and (package / f"{other}.py").exists())
            if is_ours and other != part and other not in MAY_IMPORT[part]:
                against.append(f"{path.relative_to(project_folder)} imports {name}")

    assert against == []


@pytest.mark.parametrize("part", RESEARCH)
def test_research_goes_from_data_to_weights_and_never_back(project_folder, part):
    folder = project_folder / PACKAGE / "research"

    imported = {
        name.removeprefix(f"{PACKAGE}.research.").split(".")[0]
        for path in (folder / part).rglob("*.py")
        for name in imported_names(path)
        if name.startswith(f"{PACKAGE}.research.")
    }

    assert imported - {part} <= RESEARCH_MAY_IMPORT[part]
    assert {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()} == set(RESEARCH)


def test_only_the_commands_of_research_import_it(project_folder):
    package = project_folder / PACKAGE

    users = {
        path.relative_to(package).as_posix()
        for path in sources(project_folder)
        for name in imported_names(path)
        if name.startswith(f"{PACKAGE}.research") and part_of(path, package) != "research"
    }

    assert users <= {"cli/demo.py", "cli/evaluate.py", "cli/phantom.py", "cli/import_dataset.py"}


def test_no_part_of_the_product_imports_research(project_folder):
    package = project_folder / PACKAGE
    users = {
        str(path.relative_to(package))
        for path in sources(project_folder)
        for name in imported_names(path)
        if name.startswith(f"{PACKAGE}.research") and part_of(path, package) in PRODUCT
    }

    assert users == set()


def test_the_product_imports_nothing_that_research_alone_installs(project_folder):
    """Not inside a function either: a user's environment lacks it, however many of our own hold it."""
    package = project_folder / PACKAGE
    users = {
        (str(path.relative_to(package)), name)
        for path in sources(project_folder)
        for name in imported_names(path)
        if name.split(".")[0] in RESEARCH_LIBRARIES and part_of(path, package) in PRODUCT
    }

    assert users == set()


def test_the_slicer_module_imports_only_what_slicer_brings(project_folder):
    for path in (project_folder / "VertebralFracture").rglob("*.py"):
        at_top = {name.split(".")[0] for name in imported_at_file_scope(path)}
        foreign = at_top - set(sys.stdlib_module_names) - SLICER_SIDE
        assert [name for name in foreign if not name.startswith("VertebralFracture")] == [], path.name
        assert "torch" not in {name.split(".")[0] for name in imported_names(path)}, path.name


def tracked_texts(project_folder):
    """Every file of ours that is text: sources, documents, lists, scripts."""
    own = {".py", ".md", ".txt", ".toml", ".json", ".ui", ".cff", ".cmake"}
    for path in sorted(project_folder.rglob("*")):
        parts = path.relative_to(project_folder).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts)
        if hidden or parts[0] in {"demo-output", "build", "dist", "runs"} or not path.is_file():
            continue
        if path.suffix in own or parts[0] == ".ci":
            yield path


def test_no_path_of_a_machine_and_no_package_index_is_in_the_tree(project_folder):
    machine_path = re.compile(
        r"(?<![\w.])/(?:work|opt|root|farm|home/\w+|Users/\w+)/|[A-Z]:\\\\Users|/tmp/\w|index-url"
    )
    found = [
        f"{path.relative_to(project_folder)}: {match.group(0)}"
        for path in tracked_texts(project_folder)
        if path.name != "test_architecture.py"
        for match in machine_path.finditer(path.read_text(encoding="utf-8"))
    ]

    assert found == []


WRITERS = {"write_text", "write_bytes", "savez", "save", "savefig", "WriteImage", "WriteToMRB"}
OTHER_WAYS = {
    "VertebralFractureLib/export/picture_canvas.py": "into memory",
    "VertebralFractureLib/research/datasets/straight_case.py": "a folder that is renamed when it is complete",
    "VertebralFractureLib/research/training/surface_windows.py": "a folder that is renamed when it is complete",
    "VertebralFractureLib/result/report_schema.py": "a file of the repository",
}
"""And studies (``research/evaluation``), which write their copies of scans into temporary folders."""


def test_every_file_is_written_through_the_one_way_that_checks_it(project_folder):
    for root in ("VertebralFractureLib", "VertebralFracture"):
        for path in sorted((project_folder / root).rglob("*.py")):
            name = path.relative_to(project_folder).as_posix()
            text = path.read_text(encoding="utf-8")
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            used = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)} & WRITERS
            is_safe = "atomic_write(" in text or "private_folder(" in text or "/research/evaluation/" in name
            assert not used or is_safe or name in OTHER_WAYS, f"{name} writes with {used}"


def test_the_command_says_nothing_but_through_its_terminal(project_folder):
    for path in sorted((project_folder / PACKAGE / "cli").glob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls), path.name
