"""Straightening against a plain SimpleITK resample to the same number of voxels, as a ratio.

Run: ``python Testing/Benchmarks/benchmark_straightening.py``. It prints ratios and judges nothing: machines differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from VertebralFractureLib.cord import Centerline
from VertebralFractureLib.spine import SpineGrid, straighten
from VertebralFractureLib.volume import CTVolume, ct_to_sitk

SHAPE_KJI = (400, 512, 512)
GRID = SpineGrid(right_mm=(-80.0, 79.0), anterior_mm=(-80.0, 79.0), margin_mm=0.0)
REPEATS = 3


def a_bent_centerline() -> Centerline:
    z = np.arange(5.0, 565.0, 5.0)
    r, a = 12.0 * np.sin(z / 90.0), -30.0 * np.sin(np.pi * z / 560.0)
    return Centerline(np.stack([r, a, z], axis=1), np.ones(len(z)))


def a_ct() -> CTVolume:
    matrix = np.diag([0.8, 0.8, 1.42, 1.0])
    matrix[:3, 3] = (-205.0, -220.0, 0.0)
    hu = np.random.default_rng(0).integers(-1000, 1000, SHAPE_KJI, dtype=np.int16)
    return CTVolume(hu, matrix)


def best_of(run: Callable[[], object]) -> float:
    durations = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        durations.append(time.perf_counter() - started)
    return min(durations)


def main() -> None:
    ct, centerline = a_ct(), a_bent_centerline()
    spine = straighten(ct, centerline, grid=GRID)
    image = ct_to_sitk(ct)
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(spine.hu.shape[::-1])
    resampler.SetOutputSpacing(spine.spacing_mm)
    resampler.SetOutputOrigin((-80.0, -80.0, 5.0))
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    plain = best_of(lambda: resampler.Execute(image))
    ours = best_of(lambda: straighten(ct, centerline, grid=GRID))
    print(f"{SHAPE_KJI} -> {spine.hu.shape}: SimpleITK plain resample {plain:.2f} s (= 1.0)")
    print(f"  straighten {ours / plain:.2f} x  ({ours:.2f} s)")


if __name__ == "__main__":
    main()
