"""How long a whole spine's vertebrae take to be found, named and measured: wall and processor time, best of several.

Run: ``PYTHONPATH=. python Testing/Benchmarks/benchmark_vertebrae.py [--threads N] [volume centerline]``; without a
volume a phantom from C7 to S1 is drawn. Processor time hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from VertebralFractureLib.cli.corrections import read_curve
from VertebralFractureLib.cpr import StraightenedVolume, straighten
from VertebralFractureLib.pipeline import reader_centerline
from VertebralFractureLib.research.phantom import demo_options, make_phantom
from VertebralFractureLib.vertebrae import localize_vertebrae
from VertebralFractureLib.volume import read_volume

REPEATS = 5


def a_whole_spine() -> StraightenedVolume:
    options = replace(demo_options(), field_of_view="spine", cranial_level="C6", spacing_mm=(1.4, 1.4, 2.0))
    phantom = make_phantom(options)
    return straighten(phantom.ct, phantom.reference.centerline)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path, nargs="?")
    parser.add_argument("centerline", type=Path, nargs="?", help="a report.json, or Slicer's markups")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    if arguments.volume is None or arguments.centerline is None:
        spine = a_whole_spine()
    else:
        spine = straighten(read_volume(arguments.volume), reader_centerline(read_curve(arguments.centerline)))
    runs = []
    for _ in range(REPEATS):
        wall, processor = time.perf_counter(), time.process_time()
        found = localize_vertebrae(spine, slice_thickness_mm=2.0)
        runs.append((time.perf_counter() - wall, time.process_time() - processor))
    wall, processor = (min(run[place] for run in runs) for place in (0, 1))
    length = spine.hu.shape[0] * spine.spacing_mm[2]
    print(
        f"{len(found)} vertebrae on {length:.0f} mm, {arguments.threads} threads, best of {REPEATS}: "
        f"{wall:.2f} s, processor time {processor:.2f} s"
    )


if __name__ == "__main__":
    main()
