"""All 48 ways to exchange and flip the axes of a scan: under an affine that says so, and under one that does not.

    python -m VertebralFractureLib.research.evaluation.storage_orders true SCAN.nii.gz ...
    python -m VertebralFractureLib.research.evaluation.storage_orders lying SCAN.nii.gz ... \
        --folds-folder Testing/FoldWeights --out orders.jsonl [--sample 60]

``true`` writes a block of every scan in each order, with the affine that belongs to it, reads it again, and counts how
often the voxels, their places in the patient, and what the canal network sees of them are those of the scan.

``lying`` turns and mirrors the affine and leaves the voxels, with the weights of the scan's fold. What the orientation
network counts in each of the 48 arrays is measured once per scan, and what the program decides under every wrong affine
follows from these counts and from the vertebrae's log odds of head up, where the canal is found along the body's axis
and not across it. ``--sample`` checks that by so many whole searches at random: canal, front and head, without any of
the counts. Rows are appended to ``--out``; what it holds already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum
from itertools import permutations, product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from VertebralFractureLib.canal import detect_centerline
from VertebralFractureLib.canal.axial_stack import build_axial_stack
from VertebralFractureLib.cpr import straighten
from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.errors import NotEvaluable, PositionUnclear
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.orientation.estimation import count_spine_cells
from VertebralFractureLib.orientation.network import VOXEL_MM
from VertebralFractureLib.orientation.patient_axes import choose_turn, crop_to_points, list_turns_about
from VertebralFractureLib.orientation.rotations import list_axis_rotations, rotate_array
from VertebralFractureLib.orientation.upright import is_head_down, measure_head_up
from VertebralFractureLib.pipeline import find_patient_centerline
from VertebralFractureLib.research.evaluation.case_sets import weights_of_volume
from VertebralFractureLib.thresholds import ORIENTATION
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.localization import localize_bodies_in_canal_plane
from VertebralFractureLib.volume import CTVolume, read_volume, write_volume

_BLOCK_MM = (44.0, 41.0, 47.0)
"""Sides of a block along R, A and S; narrower ones are refused."""


class Position(str, Enum):
    """What the program makes of a patient's position, from best to worst."""

    AS_FILED = "as filed, and true"
    CORRECTED = "corrected, and said"
    IN_DOUBT = "said to be in doubt"
    REFUSED = "refused"
    WRONG_AND_SAID = "wrong, said to be rotated"
    SILENT_WRONG = "silently wrong"


def list_orders() -> list[FloatArray]:
    """The 48 signed permutations of three axes; the first is the identity."""
    return [
        np.eye(3)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]


def store_in_order(ct: CTVolume, order: FloatArray) -> CTVolume:
    """The voxels along other axes, rows of ``order`` in terms of (i, j, k), with the affine that says so."""
    axes = [int(np.abs(row).argmax()) for row in order]
    flipped = tuple(new for new in range(3) if order[new, axes[new]] < 0.0)
    hu = np.flip(ct.hu.transpose(2, 1, 0).transpose(axes), flipped)
    matrix = ct.ijk_to_ras[:, [*axes, 3]].copy()
    for axis in flipped:
        matrix[:3, 3] += matrix[:3, axis] * (hu.shape[axis] - 1)
        matrix[:3, axis] *= -1.0
    return replace(ct, hu=np.ascontiguousarray(hu.transpose(2, 1, 0)), ijk_to_ras=matrix)


def cut_block(ct: CTVolume) -> CTVolume:
    """A block around the middle of the volume, large enough to be read as a CT."""
    along = np.abs(ct.ijk_to_ras[:3, :3]).argmax(axis=0)
    sizes = np.ceil(np.array(_BLOCK_MM)[along] / np.array(ct.spacing_mm)).astype(int)
    sizes = np.minimum(np.array(ct.hu.shape[::-1]), sizes)
    first = (np.array(ct.hu.shape[::-1]) - sizes) // 2
    i, j, k = (slice(int(start), int(start + size)) for start, size in zip(first, sizes, strict=True))
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] = ct.ijk_to_ras_points(first[None].astype(float))[0]
    return replace(ct, hu=np.ascontiguousarray(ct.hu[k, j, i]), ijk_to_ras=matrix)


def count_true_orders(scans: Sequence[Path]) -> Counter[str]:
    """How often a block that was stored in another order is read as the same voxels in the same places."""
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "block.nii"
        for scan in scans:
            block = cut_block(read_volume(scan))
            stack = build_axial_stack(block)
            for order in list_orders():
                write_volume(store_in_order(block, order), path)
                again = read_volume(path)
                back = store_in_order(again, np.asarray(np.linalg.inv(order)))
                other = build_axial_stack(again)
                counted["copies"] += 1
                counted["voxels the same"] += np.array_equal(back.hu, block.hu)
                counted["places within 0.001 mm"] += bool(np.abs(back.ijk_to_ras - block.ijk_to_ras).max() < 1e-3)
                is_same_grid = other.origin_ras == stack.origin_ras and other.hu.shape == stack.hu.shape
                counted["canal's stack within 1 HU"] += is_same_grid and np.allclose(other.hu, stack.hu, 0.0, 1.0)
    return counted


def measure_orders(ct: CTVolume, models: Models) -> dict[str, Any]:
    """What the networks see of a scan: cells with a canal in each of 48 arrays, and the vertebrae's odds of head up."""
    line = detect_centerline(ct, models.canal)
    stack = build_axial_stack(ct, VOXEL_MM, VOXEL_MM)
    hu, near = crop_to_points(stack, line.positions_ras(np.arange(0.0, line.length_mm, VOXEL_MM)))
    assert near is not None
    whole = np.asarray(stack.hu, dtype=np.float32)
    along, everywhere = {}, {}
    for order in list_orders():
        if np.abs(order[2, 2]) == 1.0:
            along[name_order(order)] = count_spine_cells(
                rotate_array(hu, order), rotate_array(near, order), models.orientation
            )
        everywhere[name_order(order)] = count_spine_cells(rotate_array(whole, order), None, models.orientation)
    spine = straighten(ct, line, threads=1)
    odds = measure_head_up(spine, localize_bodies_in_canal_plane(spine, models.vertebrae.body), models.upright)
    return {
        "length_mm": line.length_mm,
        "along": {key: round(count, 3) for key, count in along.items()},
        "everywhere": {key: round(count, 3) for key, count in everywhere.items()},
        "head_up": float(odds.mean()) if len(odds) else 0.0,
    }


def decide_order(row: dict[str, Any], wrong: FloatArray) -> Position:
    """What the program does with the scan's voxels under a wrong affine, by what was measured of them.

    Args:
        wrong: what the true affine is multiplied with: rows of a signed permutation of R, A and S.
    """
    sideways, turn = bool(np.abs(wrong[2, 2]) != 1.0), np.eye(3)
    try:
        if sideways:
            turns = [rotation for rotation in list_axis_rotations() if rotation[2].sum() > 0.0]
            found = choose_turn(turns, [row["everywhere"][name_order(one @ wrong)] for one in turns])
            if found is None or np.allclose(found, np.eye(3)):
                return Position.REFUSED
            turn = _nearest_order(found)
        if (turn @ wrong)[2, 2] == 0.0:
            return Position.REFUSED  # No canal is found across the body.
        turns = list_turns_about(np.array([0.0, 0.0, 1.0]))
        axes = choose_turn(turns, [row["along"][name_order(one @ turn @ wrong)] for one in turns])
        if axes is None:
            return Position.REFUSED if sideways else Position.IN_DOUBT
        axes = axes @ turn
        odds = row["head_up"] * np.sign((axes @ wrong)[2, 2])
        if is_head_down(np.array([odds])):
            axes = np.diag([-1.0, 1.0, -1.0]) @ axes
    except PositionUnclear:
        return Position.REFUSED
    return judge_axes(axes, wrong, in_doubt=abs(odds) < ORIENTATION.least_upright)


def judge_axes(axes: FloatArray, wrong: FloatArray, *, in_doubt: bool) -> Position:
    """Whether these axes of a file are the patient's front and head, which lie as ``wrong`` says; mirrors count not.

    Axes within 25 degrees are the patient's: a patient may lie rolled in the true file too.
    """
    is_right = min(float(axes[row] @ wrong[:, row]) for row in (1, 2)) > np.cos(np.radians(25.0))
    is_said = not np.allclose(axes, np.eye(3))
    if in_doubt:
        return Position.IN_DOUBT
    if is_right:
        return Position.CORRECTED if is_said else Position.AS_FILED
    return Position.WRONG_AND_SAID if is_said else Position.SILENT_WRONG


def search_order(ct: CTVolume, wrong: FloatArray, models: Models) -> tuple[Position, str]:
    """What the program does with such a file, by canal, front and head as a detection finds them; and what it says."""
    matrix = np.eye(4)
    matrix[:3, :3] = wrong
    try:
        line, doubts = find_patient_centerline(replace(ct, ijk_to_ras=matrix @ ct.ijk_to_ras), models, threads=1)
    except NotEvaluable as error:
        return Position.REFUSED, str(error)
    in_doubt = any(doubt.kind == DoubtKind.POSITION_UNCONFIRMED for doubt in doubts)
    return judge_axes(line.patient_axes, wrong, in_doubt=in_doubt), ""


def _nearest_order(rotation: FloatArray) -> FloatArray:
    return min(list_axis_rotations(), key=lambda one: float(np.abs(one - rotation).sum()))


def name_order(order: FloatArray) -> str:
    return " ".join(f"{value:+d}" for value in np.rint(order).astype(int).ravel().tolist())


def _load(scan: Path, folds: Path, loaded: dict[Path | None, Models]) -> Models:
    """The models that never saw the scan's patient; of a scan in no fold, those that ship."""
    folder = weights_of_volume(scan, folds)
    if folder not in loaded:
        loaded[folder] = Models.load(DetectionOptions(weights_folder=folder, threads=1))
    return loaded[folder]


def _missing_rows(scans: Sequence[Path], folds: Path, rows: Sequence[dict[str, Any]], sample: int) -> Iterator[Any]:
    """Measure and search what the rows lack."""
    loaded: dict[Path | None, Models] = {}
    measured = {row["scan"] for row in rows if row["kind"] == "counts"}
    searched = {(row["scan"], row["order"]) for row in rows if row["kind"] == "search"}
    each = -(-sample // max(len(scans), 1))
    for path in sorted(scans, key=lambda one: crc32(one.name.encode())):
        scan = path.name.removesuffix(".nii.gz")
        rng = np.random.default_rng(crc32(scan.encode()))
        left = [order for order in rng.integers(1, 48, each).tolist() if (scan, order) not in searched]
        if scan in measured and not left:
            continue
        ct, models = read_volume(path), _load(path, folds, loaded)
        if scan not in measured:
            yield {"kind": "counts", "scan": scan, **measure_orders(ct, models)}
        for order in left:
            position, words = search_order(ct, list_orders()[order], models)
            yield {"kind": "search", "scan": scan, "order": order, "position": position.value, "words": words}


def order_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown: what becomes of all 48 affines of every scan, and of the sample that was searched."""
    counts = {row["scan"]: row for row in rows if row["kind"] == "counts"}
    decided = Counter(decide_order(row, order) for row in counts.values() for order in list_orders())
    lines = [f"{len(counts)} scans, {len(counts) * len(list_orders())} affines"]
    lines += [f"| {position.value} | {decided[position]} |" for position in Position]
    for scan, row in counts.items():
        odd = Counter(decide_order(row, order) for order in list_orders())
        kept = {one.value: count for one, count in odd.items() if one not in (Position.AS_FILED, Position.CORRECTED)}
        if kept:
            lines.append(f"{scan}: {kept}")
    searched = [row for row in rows if row["kind"] == "search" and row["scan"] in counts]
    agreed = 0
    for row in searched:
        order = list_orders()[row["order"]]
        expected = decide_order(counts[row["scan"]], order)
        agreed += expected.value == row["position"]
        if expected.value != row["position"]:
            lines.append(f"{row['scan']} {name_order(order)}: {row['position']}, not {expected.value}")
    found = Counter(row["position"] for row in searched)
    lines.append(f"searched: {len(searched)}, as decided {agreed}; {dict(found)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("affine", choices=("true", "lying"))
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--folds-folder", type=Path, default=Path("Testing/FoldWeights"))
    parser.add_argument("--out", type=Path, default=Path("orders.jsonl"), help="JSON lines, appended to")
    parser.add_argument("--sample", type=int, default=0, help="whole searches at random, spread over the scans")
    parser.add_argument("--table", action="store_true", help="only print the table of what --out holds")
    arguments = parser.parse_args()
    if arguments.affine == "true":
        print("\n".join(f"{name}: {count}" for name, count in count_true_orders(arguments.scans).items()))
        return
    lines = arguments.out.read_text(encoding="utf-8").splitlines() if arguments.out.is_file() else []
    rows = [json.loads(line) for line in lines]
    if not arguments.table:
        for row in _missing_rows(arguments.scans, arguments.folds_folder, rows.copy(), arguments.sample):
            rows.append(row)
            with arguments.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
    print("\n".join(order_table(rows)))


if __name__ == "__main__":
    main()
