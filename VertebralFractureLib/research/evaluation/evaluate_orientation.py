"""How the patient lies, asked of every scan under all 48 wrong axis orders and several wrong angles.

    python -m VertebralFractureLib.research.evaluation.evaluate_orientation --data DATA \
        --folds-folder Testing/FoldWeights --out orientation.jsonl [--extra FOLDER ...] [--scans ...] [--table]

Every scan is judged by the weights of its fold, which never saw its patient; scans without a fold (``--extra`` too) by
those of fold 0. A wrong affine multiplies the file's axes; what is found is compared with the file's own directions,
which a reader saw. Of the 48 orders, 24 are rotations and 24 mirror images, and each of the latter looks as one of the
former: for both the front and the head are known, and right is what makes the axes right-handed. The canal is given
where it runs along the wrong file's S, as the search finds it there, and sought in all positions otherwise; what the
search for the canal then finds is not asked again. Heads and feet are asked of the reader's straightened spine.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.canal import Centerline, detect_centerline
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.errors import NotEvaluable, PositionUnclear
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.orientation.patient_axes import find_axes, find_axes_along, reverse_head
from VertebralFractureLib.orientation.rotations import rotate_volume
from VertebralFractureLib.orientation.upright import is_head_down, measure_head_up
from VertebralFractureLib.research.datasets.reference_set import fold_of_scan
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume, read_volume

ANGLES_DEG = (15.0, 30.0, 45.0, 60.0, 90.0)
_NEAR_DEG = 25.0


def list_wrong_axes() -> Iterator[tuple[str, FloatArray]]:
    """All 48 orders and signs of the axes, by name; then angles about the body's axis and about the lateral axis."""
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            name = " ".join(("+" if sign > 0 else "-") + "RAS"[axis] for axis, sign in zip(order, signs, strict=True))
            yield name, np.eye(3)[list(order)] * np.array(signs)[:, None]
    for axis, about in ((2, "body axis"), (0, "lateral axis")):
        for degrees in ANGLES_DEG:
            cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            i, j = (axis + 1) % 3, (axis + 2) % 3
            turn = np.eye(3)
            turn[i, i] = turn[j, j] = cosine
            turn[i, j], turn[j, i] = -sine, sine
            yield f"{degrees:g} degrees about the {about}", turn


def judge_position(ct: CTVolume, centerline: Centerline, is_head_seen: bool, wrong: FloatArray, models: Models) -> str:
    """What is found under a wrong affine: "as filed", "corrected", "unclear", "not seen", or "wrong".

    Args:
        centerline: the scan's own, in the true directions.
        is_head_seen: what the straightened spine says of head and feet is the same under every affine.
    """
    filed = rotate_volume(ct, wrong)
    way = wrong @ (centerline.points_ras[-1] - centerline.points_ras[0])
    try:
        if np.abs(way).argmax() == 2:
            points = centerline.points_ras @ wrong.T
            curve = Centerline(points if way[2] > 0.0 else points[::-1], centerline.confidence)
            axes = find_axes_along(filed, curve, models.orientation)
        else:
            axes = find_axes(filed, models.orientation)
    except PositionUnclear:
        return "unclear"
    if axes is None:
        return "not seen"
    if axes[2] @ way < 0.0 and is_head_seen:
        axes = reverse_head(replace(centerline, patient_axes=axes)).patient_axes
    front, head = axes[1] @ wrong, axes[2] @ wrong
    if front[1] < np.cos(np.radians(_NEAR_DEG)) or head[2] < np.cos(np.radians(45.0)):
        return "wrong"
    return "as filed" if np.allclose(axes, np.eye(3)) else "corrected"


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
            weights = arguments.folds_folder / f"fold{fold}"
            models = loaded.setdefault(fold, Models.load(DetectionOptions(weights_folder=weights, threads=1)))
            row = judge_scan(scan, read_volume(path), models)
            with arguments.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in arguments.out.read_text(encoding="utf-8").splitlines()]
    print("\n".join(position_table(rows)))


def judge_scan(scan: str, ct: CTVolume, models: Models) -> dict[str, Any]:
    """One row: the outcome of every wrong affine by its name, and the log-odds of head up."""
    try:
        centerline = detect_centerline(ct, models.canal)
    except NotEvaluable as error:
        return {"scan": scan, "refused": str(error), "outcomes": {}, "head_up": []}
    odds = measure_head_up(straighten(ct, centerline, threads=1), models.vertebrae.body, models.upright)
    try:
        is_head_seen = not is_head_down(odds) and float(odds.mean()) >= 1.0
    except PositionUnclear:
        is_head_seen = False
    outcomes = {name: judge_position(ct, centerline, is_head_seen, wrong, models) for name, wrong in list_wrong_axes()}
    return {"scan": scan, "outcomes": outcomes, "head_up": np.round(odds, 2).tolist()}


def position_table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: outcomes counted over the scans, the 48 orders together and each angle by itself."""
    counted: dict[str, Counter[str]] = {}
    for row in rows:
        for name, outcome in row["outcomes"].items():
            group = "true" if name == "+R +A +S" else "another axis order" if "degrees" not in name else name
            counted.setdefault(group, Counter())[outcome] += 1
    heads = ("as filed", "corrected", "unclear", "not seen", "wrong")
    lines = [f"| affine | copies | {' | '.join(heads)} |", "|" + "---|" * (len(heads) + 2)]
    for group, counts in counted.items():
        lines.append(f"| {group} | {counts.total()} | {' | '.join(str(counts[head]) for head in heads)} |")
    return lines


if __name__ == "__main__":
    main()
