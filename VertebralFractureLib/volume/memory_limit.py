"""How much memory is free, and the refusal of what needs more, before any of it is taken."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from VertebralFractureLib.errors import UnreadableVolume

_USABLE_SHARE = 0.9
"""The share of free memory that may be taken; the rest is for what else goes on."""


def require_memory(name: str, needed_bytes: int) -> None:
    """Refuse what would need more memory than is free.

    Raises:
        UnreadableVolume: with both numbers.
    """
    free = measure_free_bytes()
    if free is not None and needed_bytes > _USABLE_SHARE * free:
        raise UnreadableVolume(
            f"'{name}' needs {needed_bytes / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; crop it to the "
            "spine or close programs."
        )


def measure_free_bytes() -> int | None:
    """Memory that this process could take now, by the system, its control group and its own limit; None if unknown."""
    limits = [limit for limit in (_free_in_system(), _free_in_control_group(), _free_in_process()) if limit is not None]
    return max(0, min(limits)) if limits else None


def _free_in_system() -> int | None:
    if sys.platform == "win32":
        return _free_on_windows()
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        # macOS does not say what is free in a way that Python reads; what is built in is a limit, too.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        *(
            (name, ctypes.c_ulonglong)
            for name in ("total", "free", "pages", "free_pages", "space", "free_space", "more")
        ),
    )


def _free_on_windows() -> int | None:
    status = _MemoryStatus()
    status.length = ctypes.sizeof(status)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (known to mypy on Windows only)
    return int(status.free) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def _free_in_control_group() -> int | None:
    """What a container leaves: its limit less what it uses, without the files that it only caches."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text())  # "max" is no number and means none.
        used = int((folder / "memory.current").read_text())
        lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = next((int(words[1]) for words in lines if words[0] == "inactive_file"), 0)
    except (OSError, ValueError, IndexError):
        return None
    return limit - used + cached


def _free_in_process() -> int | None:
    """What RLIMIT_AS leaves (``ulimit -v``)."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        taken = 0
    return limit - taken
