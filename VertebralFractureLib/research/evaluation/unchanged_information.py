"""How far canal and heights move in copies of a scan that show the patient exactly as it does.

    python -m VertebralFractureLib.research.evaluation.unchanged_information SCAN.nii.gz ...

Cropped, padded with air, stored in another order or as another type, moved by less than anybody measures, with rounded
direction cosines. From canal to heights with the weights that ship; nothing is scored.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.canal import Centerline, detect_centerline
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.research.evaluation.canal_changes import Change, ChangedScan, stored_otherwise
from VertebralFractureLib.research.evaluation.evaluate_canal import nearest_distance_mm
from VertebralFractureLib.research.evaluation.stack_changes import cropped_in_plane, more_air, moved_origin
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.grading import measure_heights
from VertebralFractureLib.vertebrae.localization import localize_bodies_in_their_planes
from VertebralFractureLib.volume import CTVolume, read_volume

_FROM_THE_ENDS_MM = 15.0
_SAME_BODY_MM = 5.0


def _rounded_cosines(ct: CTVolume, _line: Centerline, rng: np.random.Generator) -> ChangedScan:
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, :3] = (np.eye(3) + rng.uniform(-1e-6, 1e-6, (3, 3))) @ matrix[:3, :3]
    return ChangedScan(replace(ct, ijk_to_ras=matrix), np.eye(4))


def _as_float(ct: CTVolume, _line: Centerline, _rng: np.random.Generator) -> ChangedScan:
    return ChangedScan(replace(ct, hu=ct.hu.astype(np.float32)), np.eye(4))


KINDS: Mapping[str, Change] = {
    "1 to 5 voxels cropped in plane": cropped_in_plane(5),
    "1 to 20 voxels cropped in plane": cropped_in_plane(20),
    "one more slice of air at both ends": more_air(1),
    "origin moved by 1e-6 mm": moved_origin(1e-6),
    "origin moved by 0.01 mm": moved_origin(0.01),
    "axes of storage exchanged": stored_otherwise,
    "direction cosines off by up to 1e-6": _rounded_cosines,
    "float32 voxels": _as_float,
}


@dataclass
class Moved:
    """How far canal (mm, the most in each scan) and heights (mm, the most of three in each body) moved."""

    canal_mm: list[float] = field(default_factory=list)
    heights_mm: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Measured:
    line: Centerline
    centers_ras: FloatArray
    heights_mm: FloatArray


def _measure(ct: CTVolume, models: Models) -> _Measured:
    line = detect_centerline(ct, models.canal)
    spine = straighten(ct, line, threads=1)
    centers, heights = [], []
    for body in localize_bodies_in_their_planes(spine, models.vertebrae.body):
        landmarks = body.landmarks_straight()
        if body.complete and landmarks is not None:
            points = spine.frame.straight_to_ras(landmarks)
            own = measure_heights(points)
            centers.append(points.mean(axis=0))
            heights.append((own.anterior, own.middle, own.posterior))
    return _Measured(line, np.array(centers).reshape(-1, 3), np.array(heights).reshape(-1, 3))


def measure_moved(ct: CTVolume, models: Models, moved: Mapping[str, Moved]) -> None:
    """Add to each kind what changed in a copy of this scan."""
    first = _measure(ct, models)
    inner = first.line.positions_ras(np.arange(_FROM_THE_ENDS_MM, first.line.length_mm - _FROM_THE_ENDS_MM, 1.0))
    for name, kind in moved.items():
        changed = KINDS[name](ct, first.line, np.random.default_rng(5))
        other = _measure(changed.ct, models)
        line = changed.taken_back(other.line)
        curve = line.positions_ras(np.arange(0.0, line.length_mm, 0.5))
        kind.canal_mm.append(float(nearest_distance_mm(inner, curve).max()))
        centers = other.centers_ras @ changed.to_first[:3, :3].T + changed.to_first[:3, 3]
        for center, heights in zip(first.centers_ras, first.heights_mm, strict=True):
            distance = np.linalg.norm(centers - center, axis=1)
            if len(distance) and distance.min() < _SAME_BODY_MM:
                kind.heights_mm.append(float(np.abs(other.heights_mm[distance.argmin()] - heights).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    arguments = parser.parse_args()
    models = Models.load(DetectionOptions(threads=1))
    moved = {name: Moved() for name in arguments.kinds}
    for path in arguments.scans:
        measure_moved(read_volume(path), models, moved)
    print("| copy | scans, bodies | canal: largest | heights: median, largest |\n|---|---|---|---|")
    for name, kind in moved.items():
        heights = kind.heights_mm or [np.nan]
        cells = f"{len(kind.canal_mm)}, {len(kind.heights_mm)} | {max(kind.canal_mm):.2f} mm"
        print(f"| {name} | {cells} | {np.median(heights):.2f}, {max(heights):.2f} mm |", flush=True)


if __name__ == "__main__":
    main()
