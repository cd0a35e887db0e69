"""Slicer ships only what a CMakeLists.txt names, so every list must be the tree, both ways, but for research."""

import re
import subprocess
import sys

import pytest

RESEARCH_COMMANDS = {"cli/evaluate.py", "cli/import_dataset.py"}
FOLDERS = ("VertebralFracture", "VertebralFractureLib", "Resources")


def named_in(cmake_text):
    """Every relative file name in a CMakeLists.txt that has an extension, in a list of its own line."""
    return {line.strip() for line in cmake_text.splitlines() if re.fullmatch(r"  [\w./-]+\.\w+", line)}


def in_the_tree(folder):
    names = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "CMakeLists.txt"
    }
    return {name for name in names if not name.startswith("research/") and name not in RESEARCH_COMMANDS}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_file_is_shipped_and_every_shipped_file_is_there(project_folder, name):
    folder = project_folder / name

    named = named_in((folder / "CMakeLists.txt").read_text(encoding="utf-8"))

    named = {file for file in named if not file.startswith("research/")}
    hint = "run: python run.py cmake-lists"
    assert sorted(in_the_tree(folder) - named) == [], f"in the tree but not shipped; {hint}"
    assert sorted(named - in_the_tree(folder)) == [], f"listed but not in the tree; {hint}"


def test_of_research_only_what_draws_the_sample_is_shipped(project_folder):
    folder = project_folder / "VertebralFractureLib"
    phantom = {path.name for path in (folder / "research" / "phantom").glob("*.py")} - {"no_spine.py"}

    named = named_in((folder / "CMakeLists.txt").read_text(encoding="utf-8"))

    expected = {
        "research/__init__.py",
        "research/datasets/__init__.py",
        "research/datasets/annotation_file.py",
        "research/datasets/reference_spine.py",
        *(f"research/phantom/{name}" for name in phantom),
    }
    assert {name for name in named if name.startswith("research/")} == expected


def test_every_folder_with_a_list_is_built_by_the_extension(project_folder):
    text = (project_folder / "CMakeLists.txt").read_text(encoding="utf-8")

    built = set(re.findall(r"add_subdirectory\((\w+)\)", text))

    with_lists = {path.parent.name for path in project_folder.glob("*/CMakeLists.txt")}
    assert built == with_lists


def test_what_lies_flat_in_the_extension_folder_carries_its_name(project_folder):
    flat = [
        *(project_folder / "VertebralFracture").glob("*.py"),
        *(project_folder / "VertebralFracture" / "Resources").rglob("*.*"),
        *(project_folder / "Resources" / "Weights").glob("*.*"),
    ]

    assert [path.name for path in flat if not path.name.startswith("VertebralFracture")] == []


def test_rewriting_a_right_list_changes_nothing(tmp_path, project_folder):
    for name in (*FOLDERS, "Testing"):
        (tmp_path / name).mkdir()
        for source in ("CMakeLists.txt", "cmake_lists.py"):
            if (project_folder / name / source).is_file():
                (tmp_path / name / source).write_bytes((project_folder / name / source).read_bytes())
    (tmp_path / "VertebralFractureLib" / "new_step.py").write_text("", encoding="utf-8")
    tool = [sys.executable, str(tmp_path / "Testing" / "cmake_lists.py")]

    first = subprocess.run(tool, check=True, capture_output=True, text=True).stdout
    text = (tmp_path / "VertebralFractureLib" / "CMakeLists.txt").read_text(encoding="utf-8")
    second = subprocess.run(tool, check=True, capture_output=True, text=True).stdout

    assert "VertebralFractureLib/CMakeLists.txt: rewritten" in first.replace("\\", "/")
    assert named_in(text) == {"new_step.py"}
    assert "rewritten" not in second
