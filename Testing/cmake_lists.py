"""Write the file lists in the CMakeLists.txt files from the tree: Slicer ships only what is listed.

Of research, that is what draws the sample phantom; training and evaluation run from the repository or from pip.

``python run.py cmake-lists`` runs it after a file was added, moved or removed; a test fails while a list is not right.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("VertebralFracture", "VertebralFractureLib", "Resources")
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"
_NOT_SHIPPED = {"CMakeLists.txt", ".gitkeep", ".DS_Store"}
RESEARCH = "research/"
RESEARCH_IN_SLICER = (
    r"research/__init__\.py",
    r"research/datasets/(__init__|annotation_file|reference_spine)\.py",
    r"research/phantom/(?!no_spine)\w+\.py",
)
"""What draws the sample: the phantom, the truth that it returns, and what writes and reads that truth."""
RESEARCH_COMMANDS = {"cli/evaluate.py", "cli/import_dataset.py"}
"""Console commands that Slicer cannot run, since what they call is not installed there."""


def shipped_files(folder: Path) -> dict[str, list[str]]:
    """What the tree holds, relative to ``folder``, sorted: scripts and resources."""
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in _NOT_SHIPPED and "__pycache__" not in path.parts
    ]
    names = sorted(name for path in files if is_for_slicer(name := path.relative_to(folder).as_posix()))
    return {
        SCRIPTS: [name for name in names if name.endswith(".py")],
        RESOURCES: [name for name in names if not name.endswith(".py")],
    }


def is_for_slicer(name: str) -> bool:
    """Whether Slicer installs a file, by its name relative to the folder: all but research that needs no sample."""
    if name.startswith(RESEARCH):
        return any(re.fullmatch(pattern, name) for pattern in RESEARCH_IN_SLICER)
    return name not in RESEARCH_COMMANDS


def listed_files(text: str, variable: str) -> list[str] | None:
    """What ``set(variable ...)`` in a CMakeLists.txt names; None when it has no such list."""
    found = re.search(rf"set\({variable}\s([^)]*)\)", text)
    return None if found is None else found.group(1).split()


def with_list(text: str, variable: str, names: list[str]) -> str:
    """``text`` with the list of ``variable`` replaced."""
    lines = "".join(f"  {name}\n" for name in names)
    return re.sub(rf"set\({variable}\s[^)]*\)", f"set({variable}\n{lines}  )", text)


def main() -> None:
    for name in FOLDERS:
        path = ROOT / name / "CMakeLists.txt"
        text = before = path.read_text(encoding="utf-8")
        for variable, files in shipped_files(path.parent).items():
            text = with_list(text, variable, files)
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'rewritten' if text != before else 'as it was'}")


if __name__ == "__main__":
    main()
