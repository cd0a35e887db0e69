"""How near the program's bodies lie to label maps that others made of two reference scans (TotalSegmentator's).

One holds bodies alone; the other whole vertebrae, of which the front half is compared, where the body is all there is.
Each scan is judged by weights that never saw it. Distances are measured in straight space, on voxels of 1 mm; the maps
themselves have slices of 2.5 and 3 mm.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.datasets.label_maps import labels_to_straight
from VertebralFractureLib.research.datasets.reference_set import reference_scans
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.vertebrae.localization import LocalizedBody, localize_bodies_in_their_planes
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.vertebrae.surface_input import block_axes_mm
from VertebralFractureLib.vertebrae.surfacing import surface_bodies
from VertebralFractureLib.volume import read_volume
from VertebralFractureLib.volume.image_file import read_image_file
from VertebralFractureLib.volume.sampling import sample_linear, sample_nearest

_NEAR_MM = 0.75
_REACH_MM = 45
_DISC_MM = 2.0


@dataclass(frozen=True)
class LabelMap:
    """A map of one reference scan: file, scan, whether it holds bodies alone, and the label of each level.

    ``labels`` is empty where one label stands for all bodies.
    """

    file: str
    scan: str
    is_bodies: bool
    labels: dict[str, int]


MAPS = (
    LabelMap("ts-example_vertebrae_body.nii.gz", "ts-example", True, {}),
    LabelMap(
        "lidc-0001_totalseg.nii.gz",
        "lidc-0001",
        False,
        {**{f"L{n}": 32 - n for n in range(1, 4)}, **{f"T{n}": 44 - n for n in range(1, 13)}},
    ),
)
_ALL_BODIES = 1


@dataclass(frozen=True)
class MapErrors:
    """One body against a map, mm; Dice where the map holds bodies alone."""

    scan: str
    level: str | None
    mean_mm: float
    p95_mm: float
    dice: float | None


def judge_map(
    label_map: LabelMap, folder: Path, case: StraightCase, data: Path, models: VertebraModels
) -> list[MapErrors]:
    """Every complete reference body of the scan against the map."""
    ct = read_volume(next(scan.volume_path for scan in reference_scans(data) if scan.identifier == label_map.scan))
    labels = labels_to_straight(np.rint(read_image_file(folder / label_map.file).hu).astype(np.uint8), ct, case.volume)
    found = localize_bodies_in_their_planes(case.volume, models.body)
    bodies = surface_bodies(case.volume, found, models.surfaces)
    errors = []
    for vertebra in case.reference.vertebrae:
        if vertebra.box is None or not vertebra.complete or vertebra.level is None:
            continue
        middle = 0.5 * (vertebra.box.s_inf + vertebra.box.s_sup)
        near = [body for body in bodies if abs(body.span.middle_mm - middle) < 5.0 and body.surface is not None]
        number = label_map.labels.get(vertebra.level, _ALL_BODIES if label_map.is_bodies else None)
        if len(near) == 1 and number is not None:
            errors.append(_compare(label_map, vertebra.level, near[0], labels == number, case))
    return errors


def _compare(label_map: LabelMap, level: str, body: LocalizedBody, mask: BoolArray, case: StraightCase) -> MapErrors:
    surface = body.surface
    if surface is None:
        raise ValueError("A body without a surface cannot be compared.")
    rows = slice(
        max(round(body.span.middle_mm - case.volume.origin_mm[2]) - _REACH_MM, 0),
        round(body.span.middle_mm - case.volume.origin_mm[2]) + _REACH_MM,
    )
    index = case.volume.straight_to_ijk_points(surface.block.points()) - np.array([0.0, 0.0, rows.start])
    distance = _signed_distance(mask[rows])
    near = np.abs(surface.distance_mm) < _NEAR_MM
    if not label_map.is_bodies:
        near = near & (block_axes_mm()[1] > 0.0)[None, :, None]
    errors = np.abs(sample_linear(distance, index[near]))
    dice = None
    if label_map.is_bodies:
        own = surface.distance_mm < 0.0
        # One label for all bodies: what is nearer to a neighbor is not this one's.
        reach = (block_axes_mm()[0] > body.span.s_inferior_mm - surface.block.s_mm - _DISC_MM) & (
            block_axes_mm()[0] < body.span.s_superior_mm - surface.block.s_mm + _DISC_MM
        )
        theirs = sample_nearest(mask[rows], index)[0] & reach[:, None, None]
        dice = 2.0 * float((own & theirs).sum()) / max(float(own.sum() + theirs.sum()), 1.0)
    return MapErrors(label_map.scan, level, float(errors.mean()), float(np.percentile(errors, 95)), dice)


def _signed_distance(mask: BoolArray) -> FloatArray:
    """Distance in voxels of 1 mm from the border between voxels, negative inside."""
    outside, inside = distance_transform_edt(~mask), distance_transform_edt(mask)
    return np.asarray(np.where(mask, 0.5 - inside, outside - 0.5))


def tabulate(rows: Sequence[MapErrors]) -> list[str]:
    """A line for each scan."""
    lines = []
    for scan in dict.fromkeys(row.scan for row in rows):
        some = [row for row in rows if row.scan == scan]
        dice = [row.dice for row in some if row.dice is not None]
        lines.append(
            f"{scan}: {len(some)} bodies, mean {np.mean([row.mean_mm for row in some]):.2f} mm, "
            f"95 % {np.mean([row.p95_mm for row in some]):.2f} mm" + (f", Dice {np.mean(dice):.3f}" if dice else "")
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--maps", type=Path, required=True, help="folder of the label maps")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")
    arguments = parser.parse_args()
    cases = {case.identifier: case for case in load_or_build_cases(arguments.cache, arguments.data)}
    rows = []
    for label_map in MAPS:
        case = cases[label_map.scan]
        models = VertebraModels.load(arguments.folds_folder / f"fold{case.fold or 0}")
        rows.extend(judge_map(label_map, arguments.maps, case, arguments.data, models))
    lines = tabulate(rows)
    print("\n".join(lines))
    write_file(arguments.out, json.dumps({"table": lines, "bodies": [asdict(row) for row in rows]}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
