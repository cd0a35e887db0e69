"""Compare the reports of two versions of the program, scan by scan: ``compare_results.py BEFORE AFTER``.

Both folders hold one folder per scan with its ``report.json``, as ``vertebral-fracture detect`` writes it; older
reports are migrated first. What a run may change without another result (software, timings) is left out.
With ``--run`` the scans are judged first, with this version, into ``AFTER``.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from VertebralFractureLib.result.migration import migrated

TOLERANCE = 1e-4
"""In mm, as a probability and as a fraction of a height: what the order of floating point operations may move."""
_NOT_A_RESULT = ("software", "timings_s", "peak_memory_mb", "disclaimer", "notice", "revision", "input")


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place where two JSON values differ, numbers compared as numbers whatever their size."""
    if _is_number(before) and _is_number(after):
        if before != after:
            yield path, before, after
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            if path or key not in _NOT_A_RESULT:
                yield from differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif before != after:
        yield path, before, after


def compare(before: dict[str, Any], after: dict[str, Any], ignored: tuple[str, ...]) -> tuple[float, list[str]]:
    """The largest difference of a number within the tolerance, and a line for everything beyond it."""
    largest, lines = 0.0, []
    for path, old, new in differences(migrated(before), migrated(after)):
        if any(name in path for name in ignored):
            continue
        if _is_number(old) and _is_number(new) and abs(old - new) <= TOLERANCE:
            largest = max(largest, abs(old - new))
        else:
            lines.append(f"{path}: {_short(old)} -> {_short(new)}")
    return largest, lines


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def run_scans(scans: list[Path], folder: Path) -> None:
    """Judge the scans one after the other, on one thread, so that sums have the same order every time."""
    for scan in scans:
        out = folder / scan.name.split(".")[0]
        if not (out / "report.json").is_file():
            command = [sys.executable, "-m", "VertebralFractureLib.cli", "detect", str(scan), "--out", str(out)]
            subprocess.run([*command, "--threads", "1", "--progress", "none"], stdout=subprocess.DEVNULL, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--run", nargs="+", type=Path, default=[], metavar="SCAN", help="judge these into AFTER first")
    parser.add_argument("--ignore", nargs="+", default=(), metavar="PART", help="parts of paths that are not compared")
    parser.add_argument("--lines", type=int, default=8, help="differences to print per scan")
    arguments = parser.parse_args()
    run_scans(arguments.run, arguments.after)
    names = sorted(path.parent.name for path in arguments.after.glob("*/report.json"))
    equal = 0
    for name in names:
        try:
            before = json.loads((arguments.before / name / "report.json").read_text(encoding="utf-8"))
        except OSError:
            print(f"{name:24} not among the results before")
            continue
        after = json.loads((arguments.after / name / "report.json").read_text(encoding="utf-8"))
        largest, lines = compare(before, after, tuple(arguments.ignore))
        equal += not lines
        vertebrae = len(after["vertebrae"])
        print(f"{name:24} {vertebrae:3} vertebrae, numbers within {largest:.1e}, {len(lines)} differences beyond")
        for line in lines[: arguments.lines]:
            print(f"    {line}")
    print(f"{equal} of {len(names)} scans have the same result within {TOLERANCE:g}.")
    return 0 if equal == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
