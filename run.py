"""``python run.py demo`` and ``python run.py test``: each makes its own environment and needs Python 3.10 to 3.14 only.

The environment is ``.venv`` beside this file; it is used again while what it was made from is unchanged, and its stamp
is written last, so that an interrupted installation is noticed and made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "made-by-run-py.json"
PINS = ROOT / "constraints.txt"
OLDEST, NEWEST = (3, 10), (3, 14)
GROUPS = {"demo": ("scene",), "test": ("dev", "scene", "research")}
# Import names that prove an environment is whole; a package that was removed by hand is noticed as well.
MODULES = {
    "": ("torch", "numpy", "SimpleITK", "PIL", "VertebralFractureLib"),
    "scene": ("slicer", "vtk"),
    "research": ("sklearn", "scipy", "matplotlib"),
    "dev": ("pytest", "pytest_cov", "xdist", "hypothesis", "ruff", "mypy", "safetensors", "cmake"),
}
CHECKS = {
    "ruff check": ("ruff", "check", "."),
    "ruff format": ("ruff", "format", "--check", "."),
    "mypy": ("mypy",),
    # A file stays in one process: what its tests share is drawn once.
    "pytest": ("pytest", "--numprocesses=auto", "--maxprocesses=4", "--dist=loadfile"),
}
COVERAGE = ("--cov", "--cov-report=term:skip-covered")


class InstallationFailed(Exception):
    """pip could not install something; its own words are on the screen already."""


def main() -> int:
    parser = argparse.ArgumentParser(description="VertebralFracture: research use only, not a medical device.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="draw a phantom CT with known fractures and detect them")
    demo.add_argument("--out", type=Path, default=Path("demo-output"))
    test = commands.add_parser("test", help="style, types and tests: all that the continuous integration runs")
    test.add_argument("--coverage", action="store_true", help="print what the tests run of each file; a third slower")
    commands.add_parser("cmake-lists", help="for developers: list every file of the tree in the CMakeLists.txt files")
    arguments = parser.parse_args()

    if arguments.command == "cmake-lists":
        return subprocess.call([sys.executable, str(ROOT / "Testing" / "cmake_lists.py")])
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        print(
            f"This is Python {platform.python_version()}; VertebralFracture needs Python "
            f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}. Run the command with such a Python, "
            "for example: python3.12 run.py demo",
            file=sys.stderr,
        )
        return 2
    try:
        ensure_environment(GROUPS[arguments.command])
        if arguments.command == "demo":
            return run_demo(arguments.out.absolute())
        return run_checks(COVERAGE if arguments.coverage else ())
    except InstallationFailed as error:
        print(f"The installation failed: {error}. Is the network there? The same command tries again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def run_demo(out: Path) -> int:
    return subprocess.call([str(environment_python()), "-m", "VertebralFractureLib.cli", "demo", "--out", str(out)])


def run_checks(pytest_options: Sequence[str] = ()) -> int:
    """Run every check even if one fails, so that one run shows all there is to mend."""
    failed = []
    for name, command in CHECKS.items():
        print(f"== {name}", flush=True)
        options = pytest_options if name == "pytest" else ()
        if subprocess.call([str(environment_python()), "-m", *command, *options], cwd=ROOT) != 0:
            failed.append(name)
    print(f"FAILED: {', '.join(failed)}" if failed else f"All passed: {', '.join(CHECKS)}")
    return 1 if failed else 0


def ensure_environment(groups: Sequence[str]) -> None:
    """Make ``.venv`` hold the package and ``groups``, with as little work as that needs."""
    fingerprint = requirement_fingerprint()
    stamp = read_stamp()
    is_current = stamp.get("fingerprint") == fingerprint and has_modules(stamp.get("groups", []))
    if is_current and set(groups) <= set(stamp["groups"]):
        return
    wanted = sorted({*groups, *(stamp["groups"] if is_current else ())})
    STAMP.unlink(missing_ok=True)
    if not is_current:
        print(f"Making the environment {ENVIRONMENT.name} (once, a few minutes) ...", flush=True)
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        install_torch()
    print(f"Installing VertebralFracture with {', '.join(wanted)} ...", flush=True)
    pip("install", "-qq", "--constraint", str(PINS), "--editable", f"{ROOT}[{','.join(wanted)}]")
    STAMP.write_text(json.dumps({"fingerprint": fingerprint, "groups": wanted}) + "\n", encoding="utf-8")


def requirement_fingerprint() -> str:
    """SHA-256 over what an environment is made from: requirements, pins, this Python, and this folder."""
    digest = hashlib.sha256()
    for part in (
        (ROOT / "pyproject.toml").read_bytes(),
        PINS.read_bytes(),
        f"{sys.version} {platform.machine()} {ROOT}".encode(),
    ):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def read_stamp() -> dict[str, Any]:
    try:
        content = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def has_modules(groups: Sequence[str]) -> bool:
    """Whether the environment's Python starts and finds every package of ``groups``."""
    names = [name for group in ("", *groups) for name in MODULES[group]]
    probe = "import sys, importlib.util as u; sys.exit(not all(u.find_spec(name) for name in sys.argv[1:]))"
    try:
        return subprocess.call([str(environment_python()), "-I", "-c", probe, *names]) == 0
    except OSError:
        return False


def environment_python() -> Path:
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install_torch() -> None:
    """Install PyTorch without its gigabytes of GPU libraries where that is possible.

    On macOS and Windows the ordinary wheel is the small one. On Linux the CPU wheel comes from pip's own sources where
    they hold it, otherwise through uv, which knows where PyTorch keeps it, otherwise the ordinary wheel is taken.
    """
    version = next(
        (line.split(";")[0].strip() for line in PINS.read_text(encoding="utf-8").splitlines() if line[:5] == "torch"),
        "torch",
    )
    if sys.platform == "linux":
        if pip_succeeds("install", "-qq", f"{version}+cpu"):
            return
        uv = ENVIRONMENT / "bin" / "uv"
        command = (str(uv), "pip", "install", "-qq", "--python", str(environment_python()), "--torch-backend=cpu")
        if pip_succeeds("install", "-qq", "uv") and subprocess.call([*command, version]) == 0:
            return
        print("No CPU-only build of PyTorch was found: the ordinary one is taken, a download of 2 to 3 GB.", flush=True)
    pip("install", "-qq", "--constraint", str(PINS), "torch")


def pip(*arguments: str) -> None:
    """Run the environment's pip.

    Raises:
        InstallationFailed: when pip ends with an error.
    """
    if subprocess.call(pip_command(*arguments)) != 0:
        raise InstallationFailed(f"pip {arguments[0]} did not succeed")


def pip_succeeds(*arguments: str) -> bool:
    """Run the environment's pip for something that may well fail, without its words."""
    return subprocess.run(pip_command(*arguments), capture_output=True, check=False).returncode == 0


def pip_command(*arguments: str) -> list[str]:
    return [str(environment_python()), "-m", "pip", "--disable-pip-version-check", *arguments]


if __name__ == "__main__":
    sys.exit(main())
