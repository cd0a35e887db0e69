"""Calibrate the canal's confidence: ``python -m VertebralFractureLib.training.calibrate_cord``.

From the records of changed scans that ``measure_cord --parts changes`` wrote, each judged by weights that never saw its
patient, follows how often a point of some raw confidence lies within 3 mm of the truth. That monotone map is stored
with the weights. The records must come from weights that hold no map yet.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cord.confidence import CONFIG_KEY
from VertebralFractureLib.training.cord_tables import NEAR_MM, confidence_table, points_of
from VertebralFractureLib.training.reference_set import fold_count, fold_of_scan
from VertebralFractureLib.weights import load_weights, save_weights

FloatArray = NDArray[np.float64]

_BINS = 24
_PRIOR_POINTS = 2.0


def confidence_map(points: FloatArray) -> dict[str, list[float]]:
    """Raw confidence to the share of points within ``NEAR_MM``, never falling (Barlow et al. 1972, pooled violators).

    Args:
        points: ``(n, 2)`` raw confidence and true distance in mm.
    """
    order = np.argsort(points[:, 0])
    raw, near = points[order, 0], points[order, 1] <= NEAR_MM
    pools: list[tuple[float, float, float]] = []
    for part in np.array_split(np.arange(len(raw)), min(_BINS, len(raw))):
        pools.append((float(raw[part].sum()), float(near[part].sum()), float(len(part))))
        while len(pools) > 1 and pools[-2][1] / pools[-2][2] >= pools[-1][1] / pools[-1][2]:
            last = pools.pop()
            pools[-1] = tuple(a + b for a, b in zip(pools[-1], last, strict=True))  # type: ignore[assignment]
    return {
        "raw": [round(total / count, 5) for total, _, count in pools],
        "calibrated": [round((hits + 1.0) / (count + _PRIOR_POINTS), 5) for _, hits, count in pools],
    }


def apply(points: FloatArray, mapping: dict[str, list[float]]) -> FloatArray:
    """The same points with calibrated confidence."""
    return np.column_stack([np.interp(points[:, 0], mapping["raw"], mapping["calibrated"]), points[:, 1]])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=Path, required=True, help="changes.json of measure_cord")
    parser.add_argument("--fold-weights", type=Path, default=None, help="also calibrate each fold on the other folds")
    parser.add_argument("--weights-folder", type=Path, default=None, help="weights to calibrate on all folds")


def run(arguments: argparse.Namespace) -> int:
    """Print the cross-validated table and write the maps; returns 0."""
    records = json.loads(arguments.records.read_text(encoding="utf-8"))
    names = {record["change"] for record in records}
    by_fold = [
        points_of([record for record in records if fold_of_scan(record["scan"]) == fold], names)
        for fold in range(fold_count())
    ]
    judged = []
    for fold, own in enumerate(by_fold):
        mapping = confidence_map(np.concatenate([points for other, points in enumerate(by_fold) if other != fold]))
        judged.append(apply(own, mapping))
        if arguments.fold_weights is not None:
            _store(mapping, arguments.fold_weights / f"fold{fold}")
    print("\n".join(confidence_table(np.concatenate(judged))))
    if arguments.weights_folder is not None:
        _store(confidence_map(np.concatenate(by_fold)), arguments.weights_folder)
    return 0


def _store(mapping: dict[str, list[float]], folder: Path) -> None:
    weights = load_weights("cord", folder)
    save_weights("cord", weights.tensors, {**weights.config, CONFIG_KEY: mapping}, folder)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
