"""How well a broken centerline of a real scan is repaired by at most three drags, and how soon new scores are there.

Run: ``python Testing/Benchmarks/benchmark_correction.py DATA [identifier ...]``; DATA holds volumes and annotations
side by side (``NAME.nii.gz`` and ``NAME.json``). Prints a table per scan and the totals; writes nothing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Python"))

from centerline_breaks import BREAKS, error_mm, repaired_by_dragging

from VertebralFractureLib.canal import Centerline, canal_evidence, draw_centerline
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.research.datasets import read_annotation
from VertebralFractureLib.session import VolumeSession
from VertebralFractureLib.volume import read_volume

RESCORES = 5


def one_scan(folder: Path, identifier: str) -> dict[str, tuple[float, float, int]]:
    """Mean and 95th percentile error in mm and the drags taken, by kind of break; "automatic" without a break."""
    ct = read_volume(folder / f"{identifier}.nii.gz")
    points = np.array(read_annotation(folder / f"{identifier}.json").centerline.points_ras)
    line = Centerline(points, np.ones(len(points)))
    truth = line.positions_ras(np.arange(0.0, line.length_mm, 1.0))
    evidence, rescorer = canal_evidence(ct), VolumeSession(ct)
    try:
        detected = rescorer.detect().report.centerline.points_ras
    except NoSpineFound:
        return {}
    detected = np.array(detected)
    # The reference may end before the scan does; what lies beyond it is not judged.
    found = {"automatic": (*error_mm(detected, truth), 0)}
    for name, broken in BREAKS.items():
        curve, drags = repaired_by_dragging(evidence, broken(detected), truth)
        found[name] = (*error_mm(curve, truth), drags)
    clicks = truth[np.linspace(3, len(truth) - 4, 4).astype(int)]
    found["drawn from 4 points"] = (*error_mm(draw_centerline(evidence, clicks).points_ras, truth), 0)
    seconds = []
    for place in np.linspace(0.1, 0.9, RESCORES):
        curve = detected.copy()
        curve[int(place * (len(curve) - 1)), 0] += 4.0
        started = time.perf_counter()
        rescorer.rescore(curve)
        seconds.append(time.perf_counter() - started)
    print(f"{identifier}: {line.length_mm:.0f} mm, scored again in {np.median(seconds):.2f} s (median of {RESCORES})")
    for name, (mean, p95, drags) in found.items():
        print(f"  {name:<22} mean {mean:.2f} mm, 95 % {p95:.2f} mm, drags {drags}", flush=True)
    return found


def main(folder: Path, identifiers: list[str]) -> None:
    identifiers = identifiers or sorted(path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz"))
    scans = [found for identifier in identifiers if (found := one_scan(folder, identifier))]
    print(f"{len(scans)} scans")
    for name in scans[0]:
        values = np.array([found[name] for found in scans])
        worse = np.array([found[name][0] - found["automatic"][0] for found in scans])
        print(
            f"{name:<22} mean {values[:, 0].mean():.2f}, 95 % {values[:, 1].mean():.2f}, most drags "
            f"{values[:, 2].max():.0f}, worse than automatic by at most {worse.max():.2f} mm (mean)"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
