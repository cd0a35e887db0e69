"""What the fracture ensemble costs on a whole spine: time of every member and of all, memory, and threads compared.

Run: ``PYTHONPATH=. python Testing/Benchmarks/benchmark_fracture.py [volume centerline]``; without a volume a phantom
from C7 to S1 is drawn.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from benchmark_vertebrae import REPEATS, a_whole_spine

from VertebralFractureLib.cli.corrections import read_curve
from VertebralFractureLib.cpr import StraightenedVolume, straighten
from VertebralFractureLib.fracture import FractureSequence
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import ALL_MEMBERS, CPU, DetectionOptions
from VertebralFractureLib.pipeline import reader_centerline
from VertebralFractureLib.volume import read_volume

MOST_SECONDS = 3.0
"""What the project allows a whole spine on two cores."""


def best_of(spine: StraightenedVolume, members: tuple[str, ...], threads: int) -> tuple[float, FractureSequence]:
    """Least wall time in seconds, and the answer."""
    torch.set_num_threads(threads)
    ensemble = Models.load(DetectionOptions(members=members, device=CPU)).fractures
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        answer = ensemble.score_positions(spine)
        times.append(time.perf_counter() - start)
    return min(times), answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path, nargs="?")
    parser.add_argument("centerline", type=Path, nargs="?", help="a report.json, or Slicer's markups")
    arguments = parser.parse_args()
    if arguments.volume is None or arguments.centerline is None:
        spine = a_whole_spine()
    else:
        spine = straighten(read_volume(arguments.volume), reader_centerline(read_curve(arguments.centerline)))
    for member in Models.load().members:
        print(f"{member}: {best_of(spine, (member,), 2)[0]:.2f} s")
    (two, answer), (one, again) = best_of(spine, ALL_MEMBERS, 2), best_of(spine, ALL_MEMBERS, 1)
    unit = 1024.0 if sys.platform == "linux" else 1024.0**2
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    apart = np.abs(answer.probability - again.probability).max()
    length = spine.hu.shape[0] * spine.spacing_mm[2]
    print(
        f"all members, {length:.0f} mm, {len(answer.positions_mm)} patches: {two:.2f} s on two threads "
        f"({two / MOST_SECONDS:.2f} of what is allowed), {one:.2f} s on one (ratio {one / two:.2f}), best of {REPEATS};"
        f" answers at most {apart:.0e} apart; peak memory {memory:.0f} MB with Python and PyTorch"
    )


if __name__ == "__main__":
    main()
