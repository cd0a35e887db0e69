"""How long judging a scan takes beside reading its file, alone and under load, with how much memory, and how it grows.

Run: ``python Testing/Benchmarks/benchmark_speed.py [VOLUME ...] [--parts work command busy growth] [--repeats 3]``.
Without a volume the demo phantom is drawn. Seconds are those of the clock, the least of the repeats; CPU seconds are
those of all threads. Each figure is also given as a ratio within the run, because machines differ; nothing is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# A script of this folder: Python finds it because it is run from here.
from benchmark_busy_machine import busy_cores

from VertebralFractureLib.passive_waiting import use_passive_waiting
from VertebralFractureLib.research.phantom import demo_options, make_phantom
from VertebralFractureLib.volume import CTVolume, read_volume, write_volume

WORK = ("canal", "cpr", "vertebrae", "fracture")
PARTS = ("work", "command", "busy", "growth")
SLICES = (100, 200, 400, 800, 1600)
_COMMAND = """
import resource, sys, time
from VertebralFractureLib.cli import main as command
try:
    command.run()
finally:
    print("cost", time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds on the clock, CPU seconds, and, of a process of its own, peak memory in MB and timings."""

    seconds: float
    cpu_s: float
    peak_mb: float = 0.0
    timings_s: dict[str, float] | None = None


def least(repeats: int, run: Callable[[], Cost]) -> Cost:
    """The run that took least, after none that only warms up: the first of a process shows among the repeats."""
    return min((run() for _ in range(repeats)), key=lambda cost: cost.seconds)


def measured(work: Callable[[], object]) -> Cost:
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - started, time.process_time() - cpu)


def run_command(volume: Path) -> Cost:
    """``vertebral-fracture detect`` with all its files, in a process of its own.

    Raises:
        subprocess.CalledProcessError: when it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, "-c", _COMMAND, "detect", str(volume), "--out", str(out), "--progress", "none"]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode not in (0, 3):
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        cpu, peak_kb = next(line for line in done.stdout.splitlines() if line.startswith("cost")).split()[1:]
        timings = json.loads((out / "report.json").read_text(encoding="utf-8"))["timings_s"]
    return Cost(seconds, float(cpu), float(peak_kb) * 1024 / 1e6, timings)


def print_work(volume: Path, repeats: int) -> None:
    """The pipeline in this process, models loaded: its stages over reading the file with SimpleITK."""
    from VertebralFractureLib.models import Models
    from VertebralFractureLib.pipeline import detect, detect_in_file

    reading = least(repeats, lambda: measured(lambda: sitk.ReadImage(str(volume))))
    models = Models.load()
    ct = read_volume(volume)
    detect(ct, models=models)
    work = least(repeats, lambda: measured(lambda: detect(ct, models=models)))
    own = least(repeats, lambda: measured(lambda: read_volume(volume)))
    stages = detect(ct, models=models).report.timings_s
    again = least(repeats, lambda: measured(lambda: detect_in_file(volume, models=models)))
    print(f"  SimpleITK reads the file          {_shown(reading)}")
    print(f"  this program reads and checks it  {_shown(own)}")
    print(f"  work, canal to vertebrae          {_shown(work)}  = {work.seconds / reading.seconds:.2f} x reading")
    print("    " + ", ".join(f"{name} {stages[name]:.2f}" for name in WORK) + " s")
    expected = own.seconds + work.seconds
    print(f"  second scan, models loaded        {_shown(again)}  = {again.seconds / expected:.2f} x (reading + work)")


def print_command(volume: Path, repeats: int) -> None:
    """The whole command, cold, with all its files, over the time that the pipeline took in it."""
    whole = least(repeats, lambda: run_command(volume))
    assert whole.timings_s is not None
    own = whole.timings_s["read"] + sum(whole.timings_s[name] for name in WORK)
    size = read_volume(volume).hu.nbytes / 1e6
    print(
        f"  whole command, cold, all files    {_shown(whole)}  = {whole.seconds / own:.2f} x its pipeline ({own:.2f} s)"
    )
    print(f"  peak memory {whole.peak_mb:.0f} MB = the volume ({size:.0f} MB) + {whole.peak_mb - size:.0f} MB")


def print_busy(volume: Path, repeats: int) -> None:
    """CPU time of the whole command with all cores kept busy by others, over that of an idle machine."""
    cores = os.cpu_count() or 1
    alone = least(repeats, lambda: run_command(volume))
    with busy_cores(cores):
        loaded = least(repeats, lambda: run_command(volume))
    print(
        f"  alone {_shown(alone)}, with {cores} busy processes {_shown(loaded)}: CPU {loaded.cpu_s / alone.cpu_s:.2f} x"
    )


def print_growth(volume: Path, repeats: int) -> None:
    """The same body cut into more and thinner slices: time and memory of the whole command, and their slope."""
    ct = read_volume(volume)
    rows = []
    for count in SLICES:
        at = np.minimum(np.arange(count) * len(ct.hu) // count, len(ct.hu) - 1)
        matrix = ct.ijk_to_ras.copy()
        matrix[:3, 2] *= len(ct.hu) / count
        with tempfile.TemporaryDirectory() as folder:
            thin = Path(folder) / "thin.nii.gz"
            write_volume(CTVolume(ct.hu[at], matrix), thin)
            cost = least(repeats, lambda thin=thin: run_command(thin))  # type: ignore[misc]
        rows.append((count, cost.seconds, cost.cpu_s, cost.peak_mb))
        print(f"  {count:5} slices: {_shown(cost)}, peak {cost.peak_mb:6.0f} MB", flush=True)
    table = np.array(rows)
    slopes = [np.polyfit(table[:, 0], table[:, column], 1)[0] for column in (1, 2, 3)]
    print("  per 100 slices: {:.2f} s, {:.2f} s CPU, {:.0f} MB".format(*(100.0 * slope for slope in slopes)))


def _shown(cost: Cost) -> str:
    return f"{cost.seconds:6.2f} s, {cost.cpu_s:6.2f} s CPU"


def main() -> None:
    use_passive_waiting()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="*", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    parts = {"work": print_work, "command": print_command, "busy": print_busy, "growth": print_growth}
    with tempfile.TemporaryDirectory() as folder:
        volumes = arguments.volumes
        if not volumes:
            volumes = [Path(folder) / "phantom.nii.gz"]
            write_volume(make_phantom(demo_options()).ct, volumes[0])
        for volume in volumes:
            print(f"{volume.name}: {' x '.join(str(size) for size in read_volume(volume).shape_kji[::-1])} voxels")
            for part in arguments.parts:
                print(f" {part}")
                parts[part](volume, arguments.repeats)


if __name__ == "__main__":
    main()
