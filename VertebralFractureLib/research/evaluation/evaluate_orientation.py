"""How clearly every scan shows how its patient lies, by what the two networks see in every position.

    python -m VertebralFractureLib.research.evaluation.evaluate_orientation --data DATA \
        --folds-folder Testing/FoldWeights --out orientation.jsonl [--extra FOLDER ...] [--scans ...] [--table]

Every scan is judged by the weights of its fold, which never saw its patient; scans without a fold (``--extra`` too) by
those of fold 0. A wrong affine that exchanges or flips axes shows the network one of the same 48 arrays in another
order, 24 rotated and 24 mirrored. So the arrays are counted once per scan, and every wrong affine is decided by them:
around the canal in eight positions that keep its axis (turned about it, upside down, mirrored), and in the whole volume
in the twelve that are sought where no canal was found.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.canal import detect_centerline
from VertebralFractureLib.canal.axial_stack import build_axial_stack
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.orientation.estimation import count_spine_cells
from VertebralFractureLib.orientation.network import VOXEL_MM
from VertebralFractureLib.orientation.patient_axes import crop_to_points
from VertebralFractureLib.orientation.rotations import list_axis_rotations, rotate_array
from VertebralFractureLib.orientation.upright import measure_head_up
from VertebralFractureLib.research.datasets.reference_set import fold_of_scan
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.localization import localize_bodies_in_canal_plane
from VertebralFractureLib.volume import CTVolume, read_volume


def list_positions_along() -> list[FloatArray]:
    """Every way to permute and flip the two axes across the canal, and to flip the one along it: 16, half mirrored."""
    flips = [np.diag(signs) for signs in product((1.0, -1.0), repeat=3)]
    return [flip @ order for order in (np.eye(3), np.eye(3)[[1, 0, 2]]) for flip in flips]


def judge_scan(scan: str, ct: CTVolume, models: Models) -> dict[str, Any]:
    """One row: cells with a canal, by the front that a position means, and the vertebrae's odds of head up."""
    line = detect_centerline(ct, models.canal)
    stack = build_axial_stack(ct, VOXEL_MM, VOXEL_MM)
    hu, near = crop_to_points(stack, line.positions_ras(np.arange(0.0, line.length_mm, VOXEL_MM)))
    assert near is not None
    along = [
        (rotation, count_spine_cells(rotate_array(hu, rotation), rotate_array(near, rotation), models.orientation))
        for rotation in list_positions_along()
    ]
    whole = np.asarray(stack.hu, dtype=np.float32)
    everywhere = [
        (rotation, count_spine_cells(rotate_array(whole, rotation), None, models.orientation))
        for rotation in list_axis_rotations()
        if rotation[2].sum() > 0.0
    ]
    spine = straighten(ct, line, threads=1)
    odds = measure_head_up(spine, localize_bodies_in_canal_plane(spine, models.vertebrae.body), models.upright)
    true_along = [count for rotation, count in along if rotation[1, 1] == 1.0]
    true_everywhere = [count for rotation, count in everywhere if rotation[1, 1] == 1.0 and rotation[2, 2] == 1.0]
    return {
        "scan": scan,
        "least_true_along": round(min(true_along), 1),
        "most_other_along": round(max(count for rotation, count in along if rotation[1, 1] != 1.0), 1),
        "true_everywhere": round(true_everywhere[0], 1),
        "most_other_everywhere": round(max(c for r, c in everywhere if not (r[1, 1] == 1.0 and r[2, 2] == 1.0)), 1),
        "head_up": np.round(odds, 2).tolist(),
    }


def orientation_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown: a row for every scan."""
    heads = ("scan", "front, along the canal", "other sides", "front, everywhere", "other positions", "head up, mean")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        mean = f"{np.mean(row['head_up']):.1f}" if row["head_up"] else "none"
        cells = [row[key] for key in list(row)[1:5]]
        lines.append(f"| {row['scan']} | {' | '.join(map(str, cells))} | {mean} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of <id>.nii.gz")
    parser.add_argument("--extra", type=Path, nargs="*", default=[], help="more such folders, for evaluation only")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ...")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, appended to")
    parser.add_argument("--scans", nargs="+", default=None, help="identifiers; all otherwise")
    parser.add_argument("--table", action="store_true", help="only print the table of what --out holds")
    arguments = parser.parse_args()
    lines = arguments.out.read_text(encoding="utf-8").splitlines() if arguments.out.is_file() else []
    done = {json.loads(line)["scan"] for line in lines}
    loaded: dict[int, Models] = {}
    for folder in () if arguments.table else (arguments.data, *arguments.extra):
        for path in sorted(folder.glob("*.nii.gz")):
            scan = path.name.removesuffix(".nii.gz")
            if scan in done or (arguments.scans is not None and scan not in arguments.scans):
                continue
            fold = (fold_of_scan(scan) if folder == arguments.data else None) or 0
            options = DetectionOptions(weights_folder=arguments.folds_folder / f"fold{fold}", threads=1)
            row = judge_scan(scan, read_volume(path), loaded.setdefault(fold, Models.load(options)))
            with arguments.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in arguments.out.read_text(encoding="utf-8").splitlines()]
    print("\n".join(orientation_table(rows)))


if __name__ == "__main__":
    main()
