"""CPU time and seconds of a detection on a machine that does nothing else, and on one whose cores are all busy.

Run: ``python Testing/Benchmarks/benchmark_busy_machine.py VOLUME [--each] [--repeats 1]``. Each row is
``vertebral-fracture detect`` in a process of its own with one environment; the processes that load the cores end with
it, and after ``LIMIT_S`` at the latest. ``--each`` also measures every setting of OpenMP's waiting by itself. It prints
ratios to the first figure, the CPU time alone, and judges nothing: machines differ.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 300
_VARIABLES = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")
_LOAD = f"import time\nend = time.monotonic() + {LIMIT_S}\nwhile time.monotonic() < end: sum(range(100000))"
# ``run`` sets how threads wait, ``main`` does not: a row that has its own environment starts with ``main``.
_DETECT = """
import sys, time
from VertebralFractureLib.cli import main as command
code = 0
try:
    {start}
finally:
    print("cpu_s", time.process_time())
"""
_PROGRAM, _ENVIRONMENT = "command.run()", "sys.exit(command.main(sys.argv[1:]))"


@dataclass(frozen=True)
class Cost:
    """What a detection took: seconds on the clock, and CPU time of all its threads."""

    seconds: float
    cpu_s: float


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep ``count`` cores busy with a process each."""
    processes = [subprocess.Popen([sys.executable, "-c", _LOAD]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def detection_cost(volume: Path, settings: dict[str, str] | None) -> Cost:
    """Detect in a process of its own; ``settings`` of OpenMP, or None for what the program sets by itself.

    Raises:
        subprocess.SubprocessError: when the detection fails, or takes longer than ``LIMIT_S``.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES} | (settings or {})
    code = _DETECT.format(start=_PROGRAM if settings is None else _ENVIRONMENT)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, "detect", str(volume), "--out", f"{folder}/out", "--progress", "none"]
        started = time.perf_counter()
        done = subprocess.run(command, env=environment, timeout=LIMIT_S, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    cpu = next(line for line in done.stdout.splitlines() if line.startswith("cpu_s"))
    return Cost(seconds, float(cpu.split()[1]))


def best_of(repeats: int, volume: Path, settings: dict[str, str] | None) -> Cost:
    return min((detection_cost(volume, settings) for _ in range(repeats)), key=lambda cost: cost.cpu_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--each", action="store_true", help="measure every setting by itself as well")
    parser.add_argument("--repeats", type=int, default=1, help="the run with the least CPU time counts")
    arguments = parser.parse_args()

    rows: dict[str, dict[str, str] | None] = {"as PyTorch waits": {}, "as the program waits": None}
    if arguments.each:
        passive = {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0", "OMP_WAIT_POLICY": "PASSIVE"}
        rows |= {f"{name}={value}": {name: value} for name, value in passive.items()}
    cores = os.cpu_count() or 1
    print(f"{arguments.volume.name}: one detection alone, and with {cores} busy processes on {cores} cores")
    print(f"{'':26}{'alone':>20}{'under load':>22}{'CPU time, ratio':>20}")
    for name, settings in rows.items():
        alone = best_of(arguments.repeats, arguments.volume, settings)
        with busy_cores(cores):
            loaded = best_of(arguments.repeats, arguments.volume, settings)
        figures = f"{alone.cpu_s:7.1f} s CPU {alone.seconds:5.1f} s{loaded.cpu_s:9.1f} s CPU {loaded.seconds:5.1f} s"
        print(f"{name:26}{figures}{loaded.cpu_s / alone.cpu_s:16.2f}", flush=True)


if __name__ == "__main__":
    main()
