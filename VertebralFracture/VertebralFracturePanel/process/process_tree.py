"""End a process with everything that it started: killing a launcher alone would leave its child working.

Neither Slicer nor Python's standard library lists the children of a process, so the system is asked.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path


def processTree(pid: int) -> list[int]:
    """``pid`` and all its descendants, parents first; on Windows ``pid`` alone, whose tree ``endProcesses`` knows."""
    if sys.platform == "win32":
        return [pid]
    children: dict[int, list[int]] = defaultdict(list)
    for child, parent in _parents():
        children[parent].append(child)
    tree = [pid]
    for member in tree:
        tree.extend(children[member])
    return tree


def endProcesses(pids: list[int]) -> None:
    """End each at once; what has ended already is no error."""
    if sys.platform == "win32":
        for pid in pids:
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(pid)],
                capture_output=True,
                check=False,
                creationflags=subprocess.CREATE_NO_WINDOW,
            )
        return
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _parents() -> list[tuple[int, int]]:
    """(process, its parent) of every process of the system."""
    folder = Path("/proc")
    if not (folder / "self" / "stat").is_file():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        return [(int(pid), int(parent)) for pid, parent in (line.split() for line in listed.splitlines())]
    pairs = []
    for entry in folder.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name stands in parentheses and may hold anything; state and parent follow the last one.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                pairs.append((int(entry.name), int(fields[1])))
    return pairs
