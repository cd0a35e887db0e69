"""How long each stage takes on the demo phantom, as a ratio to reading the same file with SimpleITK alone.

Run: ``python Testing/Benchmarks/benchmark_detection.py [volume]``. It prints ratios, no verdict: machines differ.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import SimpleITK as sitk

from VertebralFractureLib.pipeline import detect_in_file
from VertebralFractureLib.research.phantom import demo_options, make_phantom
from VertebralFractureLib.volume import write_volume

REPEATS = 3


def seconds_to_read(path: Path) -> float:
    durations = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        sitk.ReadImage(str(path))
        durations.append(time.perf_counter() - started)
    return min(durations)


def main(path: Path) -> None:
    reading = seconds_to_read(path)
    detect_in_file(path)
    runs = [detect_in_file(path).report.timings_s for _ in range(REPEATS)]
    print(f"{path.name}: SimpleITK reads it in {reading:.2f} s (= 1.0)")
    for stage in runs[0]:
        best = min(run[stage] for run in runs)
        print(f"  {stage:<10} {best / reading:6.2f} x  ({best:.2f} s)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            volume = Path(folder) / "phantom.nii.gz"
            write_volume(make_phantom(demo_options()).ct, volume)
            main(volume)
