"""The canal detection on a 512 x 512 x 600 scan: time as a ratio to SimpleITK's read of the same file, and memory.

Run: ``python Testing/Benchmarks/benchmark_canal.py [volume]``. Without an argument a phantom's trunk is drawn on a
coarse grid and resampled to that size. It prints ratios and judges nothing: machines differ. Memory is read from
Linux's ``/proc`` and left out elsewhere.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from VertebralFractureLib.canal import detect_canal
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom
from VertebralFractureLib.volume import CTVolume, ct_from_sitk, ct_to_sitk, read_volume, write_volume

SHAPE_KJI = (600, 512, 512)
REPEATS = 3
THREADS = 2


def a_large_scan() -> CTVolume:
    """Neck to sacrum, resampled to ``SHAPE_KJI`` over the same extent, with the noise of thin slices."""
    options = PhantomOptions(
        seed=11, caudal_level="S2", cranial_level="C6", spacing_mm=(2.0, 2.0, 3.0), slice_thickness_mm=3.0
    )
    image = ct_to_sitk(make_phantom(options).ct)
    size = np.array(SHAPE_KJI[::-1])
    spacing = np.array(image.GetSpacing()) * np.array(image.GetSize()) / size
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(image)
    resampler.SetSize([int(count) for count in size])
    resampler.SetOutputSpacing(spacing.tolist())
    resampler.SetDefaultPixelValue(-1000)
    large = ct_from_sitk(resampler.Execute(image), "large")
    grain = np.random.default_rng(0).standard_normal(SHAPE_KJI[1:], dtype=np.float32) * 20.0
    for k, row in enumerate(large.hu):
        row += np.roll(grain, 7 * k, axis=(0, 1)).astype(np.int16)
    return large


def memory_mb(field: str) -> float | None:
    """``VmRSS`` (now) or ``VmHWM`` (highest since the last reset) of this process."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def reset_peak() -> None:
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def main(path: Path) -> None:
    torch.set_num_threads(THREADS)
    reading = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        sitk.ReadImage(str(path))
        reading.append(time.perf_counter() - started)
    ct = read_volume(path)
    found = detect_canal(ct)
    before = memory_mb("VmRSS")
    reset_peak()
    seconds, processor = [], []
    for _ in range(REPEATS):
        started, used = time.perf_counter(), time.process_time()
        found = detect_canal(ct)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    print(f"{path.name} {ct.hu.shape}: SimpleITK reads it in {min(reading):.2f} s (= 1.0)")
    print(f"  detection {min(seconds) / min(reading):.2f} x  ({min(seconds):.2f} s, {THREADS} threads)")
    print(f"  {min(processor):.2f} s of processor time: on a busy machine, what the seconds above do not tell")
    print(f"  {found.centerline.length_mm:.0f} mm found, confidence {found.centerline.confidence.mean():.2f}")
    peak = memory_mb("VmHWM")
    if before is not None and peak is not None:
        size = ct.hu.nbytes / 1e6
        print(f"  process {before:.0f} MB with the volume of {size:.0f} MB in it, {peak:.0f} MB at its peak")
        print(f"  = the volume + {peak - size:.0f} MB in all, of which detection takes {peak - before:.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            volume = Path(folder) / "large.nii.gz"
            write_volume(a_large_scan(), volume)
            main(volume)
