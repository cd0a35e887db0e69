"""Calibrate the canal's confidence: ``python -m VertebralFractureLib.research.release.calibrate_canal``.

From the records of changed scans that ``measure_canal --parts changes`` wrote, each judged by weights that never saw
its patient, follows how often a point of some raw confidence lies within 3 mm of the truth. That monotone map is stored
with the weights. The records must come from weights that hold no map yet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression

from VertebralFractureLib.canal.curve import CONFIG_KEY
from VertebralFractureLib.research.datasets.reference_set import fold_count, fold_of_scan, patient_of_scan
from VertebralFractureLib.research.evaluation.canal_tables import (
    CONFIDENCE_EDGES,
    NEAR_MM,
    Record,
    confidence_table,
    points_of,
)
from VertebralFractureLib.research.evaluation.metrics import calibration_error
from VertebralFractureLib.research.training.save_weights import save_weights
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.weights import load_weights

_POINTS_PER_BIN = 100
"""Few enough that the rare points of low confidence have bins of their own."""
_PRIOR_POINTS = 2.0


def confidence_map(points: FloatArray) -> dict[str, list[float]]:
    """Raw confidence to the share of points within ``NEAR_MM``, never falling (isotonic regression).

    Args:
        points: ``(n, 2)`` raw confidence and true distance in mm.
    """
    order = np.argsort(points[:, 0])
    raw, near = points[order, 0], points[order, 1] <= NEAR_MM
    bins = np.array_split(np.arange(len(raw)), max(1, len(raw) // _POINTS_PER_BIN))
    counts = np.array([len(part) for part in bins])
    hits, totals = (np.array([values[part].sum() for part in bins]) for values in (near, raw))
    # Bins that would fall are pooled: one block is one constant stretch of the isotonic fit.
    starts = isotonic_regression(hits / counts, weights=counts).blocks[:-1]
    count, hit, total = (np.add.reduceat(values, starts) for values in (counts, hits, totals))
    return {
        "raw": [round(float(value), 5) for value in total / count],
        "calibrated": [round(float(value), 5) for value in (hit + 1.0) / (count + _PRIOR_POINTS)],
    }


def apply(points: FloatArray, mapping: dict[str, list[float]]) -> FloatArray:
    """The same points with calibrated confidence."""
    return np.column_stack([np.interp(points[:, 0], mapping["raw"], mapping["calibrated"]), points[:, 1]])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--records", type=Path, required=True, help="changes.json of measure_canal")
    parser.add_argument("--fold-weights", type=Path, default=None, help="also calibrate each fold on the other folds")
    parser.add_argument("--weights-folder", type=Path, default=None, help="weights to calibrate on all folds")


def run(arguments: argparse.Namespace) -> int:
    """Print what a confidence is worth before and after (each patient by the others' map), write maps; returns 0."""
    records = json.loads(arguments.records.read_text(encoding="utf-8"))
    names = {record["change"] for record in records}
    for title, points in (("raw", points_of(records, names)), ("calibrated", calibrated_by_others(records))):
        error = confidence_error(points)
        print(f"\n{title}: expected calibration error {error:.4f}\n")
        print("\n".join(confidence_table(points)))
    trainable = [record for record in records if _fold_of(record) is not None]
    if arguments.fold_weights is not None:
        for fold in range(fold_count()):
            others = [record for record in trainable if _fold_of(record) != fold]
            _store(confidence_map(points_of(others, names)), arguments.fold_weights / f"fold{fold}")
    if arguments.weights_folder is not None:
        _store(confidence_map(points_of(trainable, names)), arguments.weights_folder)
    return 0


def _fold_of(record: Record) -> int | None:
    """The fold that ``patients.csv`` or the name gave the scan when it was measured; older records follow the name."""
    fold: int | None = record["fold"] if "fold" in record else fold_of_scan(record["scan"])
    return fold


def _patient_of(record: Record) -> str:
    return str(record.get("patient") or patient_of_scan(record["scan"]))


def calibrated_by_others(records: Sequence[Record]) -> FloatArray:
    """All points with the confidence that a map from the other patients gives them; ``(n, 2)``.

    Scans that may only evaluate are judged, and teach no map.
    """
    names = {record["change"] for record in records}
    trainable = [record for record in records if _fold_of(record) is not None]
    judged = []
    for patient in dict.fromkeys(_patient_of(record) for record in records):
        own = [record for record in records if _patient_of(record) == patient]
        others = points_of([record for record in trainable if _patient_of(record) != patient], names)
        judged.append(apply(points_of(own, names), confidence_map(others)))
    return np.concatenate(judged)


def confidence_error(points: FloatArray) -> float:
    """Expected calibration error of a confidence: mean gap to the fraction of points within ``NEAR_MM``.

    Args:
        points: ``(n, 2)`` confidence and true distance in mm.
    """
    return calibration_error(points[:, 0], points[:, 1] <= NEAR_MM, CONFIDENCE_EDGES)


def _store(mapping: dict[str, list[float]], folder: Path) -> None:
    weights = load_weights("cord", folder)
    save_weights("cord", weights.tensors, {**weights.config, CONFIG_KEY: mapping}, folder)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
