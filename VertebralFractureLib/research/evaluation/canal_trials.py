"""Trials of the canal detection on annotated scans: as they are, changed, without a spine, and with a false header.

Every trial is a flat record of plain data, so that tables and a later look at single cases are made from the same file.
A scan is judged by the weights that never saw its patient.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from VertebralFractureLib.canal import Centerline, detect_canal, load_canal_model
from VertebralFractureLib.errors import ImplausibleGeometry, NotEvaluable, UnreadableVolume
from VertebralFractureLib.research.datasets import ReferenceSpine, read_annotation
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan
from VertebralFractureLib.research.evaluation.baseline_canal import classical_centerline
from VertebralFractureLib.research.evaluation.canal_changes import (
    EXTREMES,
    HARDER,
    ROBUSTNESS,
    Change,
    ChangedScan,
    rotated,
    stretched,
)
from VertebralFractureLib.research.evaluation.evaluate_canal import (
    CenterlineErrors,
    centerline_errors,
    nearest_distance_mm,
)
from VertebralFractureLib.research.phantom import make_phantom, random_options
from VertebralFractureLib.research.phantom.no_spine import NO_SPINE_KINDS, make_no_spine
from VertebralFractureLib.research.training.canal_cases import canal_at, vertebra_walls
from VertebralFractureLib.thresholds import CANAL_PLAUSIBILITY
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume, check_ct, read_volume

Record = dict[str, Any]

FIRST_TEST_SEED = 900_000
FALSE_SPACINGS = tuple((axis, factor) for axis in range(3) for factor in (0.42, 2.4))
_BESIDE_MM, _IN_FRONT_MM = 45.0, 60.0
_LEAST_WIDTH_MM = 60.0


@dataclass(frozen=True)
class LoadedScan:
    """An annotated scan and the weights that may judge it (None: those that ship)."""

    identifier: str
    ct: CTVolume
    reference: ReferenceSpine
    weights: Path | None
    patient: str = ""
    fold: int | None = None


def load_scan(scan: ReferenceScan, fold_weights: Path | None) -> LoadedScan:
    weights = None if fold_weights is None or scan.fold is None else fold_weights / f"fold{scan.fold}"
    ct, reference = read_volume(scan.volume_path), read_annotation(scan.annotation_path)
    return LoadedScan(scan.identifier, ct, reference, weights, scan.patient, scan.fold)


def accuracy(scan: LoadedScan) -> Record:
    """The scan as it is: the network's curve and boxes, and the classical baseline's curve."""
    record: Record = {
        "scan": scan.identifier,
        "slice_mm": max(scan.ct.spacing_mm),
        "cross_validated": bool(scan.weights),
    }
    started = time.perf_counter()
    try:
        found = detect_canal(scan.ct, load_canal_model(scan.weights))
    except NotEvaluable as error:
        return {**record, "reason": str(error)}
    record["seconds"] = time.perf_counter() - started
    record["network"] = _errors(found.centerline, scan.reference)
    record["confidence"] = float(found.centerline.confidence.mean())
    classical = classical_centerline(scan.ct)
    record["classical"] = None if classical is None else _errors(classical, scan.reference)
    heights = found.boxes.heights_mm
    center, _ = canal_at(scan.reference.centerline, heights)
    truth = vertebra_walls(scan.reference, heights, center) + center[:, [0, 0, 1, 1]]
    known = np.isfinite(truth).all(axis=1)
    if known.any():
        record["vertebra_overlap"] = float(np.median(_overlap(found.boxes.vertebra_ras[known], truth[known])))
        difference = np.abs(found.boxes.vertebra_ras[known] - truth[known])
        record["vertebra_wall_mm"] = np.median(difference, axis=0).round(2).tolist()
    record["canal_size_mm"] = [
        float(np.median(found.boxes.canal_ras[:, high] - found.boxes.canal_ras[:, high - 1])) for high in (1, 3)
    ]
    return record


def _errors(line: Centerline, reference: ReferenceSpine) -> Record:
    errors: CenterlineErrors = centerline_errors(line, reference)
    return {name: round(float(value), 4) for name, value in vars(errors).items()}


def _overlap(found: FloatArray, truth: FloatArray) -> FloatArray:
    """Intersection over union of boxes ``(n, 4)``."""
    width = np.minimum(found[:, 1], truth[:, 1]) - np.maximum(found[:, 0], truth[:, 0])
    depth = np.minimum(found[:, 3], truth[:, 3]) - np.maximum(found[:, 2], truth[:, 2])
    both = np.clip(width, 0.0, None) * np.clip(depth, 0.0, None)
    areas = [(box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2]) for box in (found, truth)]
    return np.asarray(both / (areas[0] + areas[1] - both))


def extremes(scan: LoadedScan) -> Iterator[Record]:
    """The scan as that of another patient: of another size, or in another position."""
    return changes(scan, False, EXTREMES, {})


def changes(
    scan: LoadedScan,
    with_baseline: bool = True,
    asked: Mapping[str, Change] = ROBUSTNESS,
    harder: Mapping[str, Change] = HARDER,
) -> Iterator[Record]:
    """The scan under every change: how far the curve moved, whether it was lost, and what its confidence was worth.

    Under the changes that are asked for, the baseline is judged beside the network if ``with_baseline``; it takes
    as long as the network.
    """
    first = detect_canal(scan.ct, load_canal_model(scan.weights)).centerline
    along = first.positions_ras(np.arange(0.0, first.length_mm, 1.0))
    yield _points_record(scan, "unchanged", first)
    for name, change in {**asked, **harder}.items():
        changed = change(scan.ct, scan.reference.centerline, np.random.default_rng(0))
        line, record = _changed(scan, name, changed)
        record["asked"] = name in asked
        if record["asked"] and with_baseline:
            baseline = classical_centerline(changed.ct)
            record["classical"] = None if baseline is None else _errors(changed.taken_back(baseline), scan.reference)
        if line is not None:
            distance = nearest_distance_mm(along, line.positions_ras(np.arange(0.0, line.length_mm, 1.0)))
            record["moved_median_mm"] = float(np.median(distance))
            record["moved_p95_mm"] = float(np.percentile(distance, 95))
            record["errors"] = _errors(line, scan.reference)
            record.update(_points_record(scan, name, line))
        yield record


def _changed(scan: LoadedScan, name: str, changed: ChangedScan) -> tuple[Centerline | None, Record]:
    record: Record = {"scan": scan.identifier, "change": name}
    try:
        line = detect_canal(check_ct(changed.ct), load_canal_model(scan.weights)).centerline
    except (NotEvaluable, UnreadableVolume) as error:
        return None, {**record, "refused": type(error).__name__, "reason": str(error)}
    return changed.taken_back(line), record


def _points_record(scan: LoadedScan, name: str, line: Centerline) -> Record:
    """Confidence and true distance of every point whose truth is known."""
    reference = scan.reference.centerline
    arc = np.arange(0.0, reference.length_mm, 1.0)
    truth = reference.positions_ras(arc)
    uncertain = np.zeros(len(arc), dtype=bool)
    for low, high in scan.reference.uncertain_mm:
        uncertain |= (arc >= low) & (arc <= high)
    points = line.points_ras
    square = ((points[:, None] - truth[None]) ** 2).sum(axis=2)
    within = (points[:, 2] >= truth[:, 2].min()) & (points[:, 2] <= truth[:, 2].max())
    within &= ~uncertain[square.argmin(axis=1)]
    distance = nearest_distance_mm(points[within], truth)
    return {
        "scan": scan.identifier,
        "patient": scan.patient,
        "fold": scan.fold,
        "change": name,
        "points": np.stack([line.confidence[within], distance], axis=1).round(4).tolist(),
    }


def without_spine(scan: LoadedScan) -> Iterator[Record]:
    """Parts of the scan that leave the spine out: right of it, left of it, in front of it; each also rotated.

    Turned over to the front or to the side, bones and vessels run through the axial slices in ways that they never do
    in a patient who lies straight. What is too low for a spine then is left out, for its height alone would refuse it.
    """
    canal = scan.reference.centerline.points_ras
    corners = {
        "right": (0, float(canal[:, 0].max()) + _BESIDE_MM, 1.0),
        "left": (0, float(canal[:, 0].min()) - _BESIDE_MM, -1.0),
        "front": (1, float(canal[:, 1].max()) + _IN_FRONT_MM, 1.0),
    }
    for side, (axis, face, direction) in corners.items():
        part = _beyond(scan.ct, axis, face, direction)
        if part is None:
            continue
        yield _refusal(f"{scan.identifier} {side}", part, scan.weights)
        for way, over in (("front", rotated(0, 90.0)), ("side", rotated(1, 90.0))):
            other = over(part, scan.reference.centerline, np.random.default_rng(0)).ct
            height = np.ptp(other.ijk_to_ras_points(np.array([[0, 0, 0], other.hu.shape[::-1]]))[:, 2])
            if height >= CANAL_PLAUSIBILITY.shortest_spine_mm:
                yield _refusal(f"{scan.identifier} {side}, rotated to the {way}", other, scan.weights)


def _beyond(ct: CTVolume, axis: int, face_mm: float, direction: float) -> CTVolume | None:
    """What lies beyond a plane across a RAS axis; None where that is too thin to matter."""
    column = int(np.abs(ct.ijk_to_ras[axis, :3]).argmax())
    place = ct.ijk_to_ras[axis, 3] + ct.ijk_to_ras[axis, column] * np.arange(ct.hu.shape[2 - column])
    kept = np.flatnonzero(direction * (place - face_mm) > 0.0)
    if len(kept) * ct.spacing_mm[column] < _LEAST_WIDTH_MM:
        return None
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, column] * kept[0]
    window = [slice(None)] * 3
    window[2 - column] = slice(int(kept[0]), int(kept[-1]) + 1)
    return replace(ct, hu=np.ascontiguousarray(ct.hu[tuple(window)]), ijk_to_ras=matrix)


def drawn_without_spine(of_each: int, weights: Path | None) -> Iterator[Record]:
    """Drawn heads, legs, ..., from seeds that training never uses, on a finer grid than in training."""
    for kind in NO_SPINE_KINDS:
        for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + of_each):
            yield _refusal(f"drawn {kind} {seed}", make_no_spine(kind, seed, (1.5, 1.5, 3.0)), weights)


def _refusal(name: str, ct: CTVolume, weights: Path | None) -> Record:
    """What becomes of a volume without a spine; ``beyond_reading`` is the answer if reading did not refuse it."""
    record: Record = {"volume": name}
    try:
        check_ct(ct)
    except UnreadableVolume as error:
        record["refused_by_reading"] = str(error)
    try:
        line = detect_canal(ct, load_canal_model(weights)).centerline
    except NotEvaluable as error:
        return {**record, "refused": str(error)}
    return {**record, "length_mm": line.length_mm, "confidence": float(line.confidence.mean())}


def false_headers(scan: LoadedScan) -> Iterator[Record]:
    """The scan with a true header, and with a spacing that is wrong along one axis."""
    trials = {"true": None, **{f"{'RAS'[axis]} x {factor:g}": (axis, factor) for axis, factor in FALSE_SPACINGS}}
    for name, wrong in trials.items():
        ct = scan.ct
        if wrong is not None:
            ct = stretched(*wrong)(ct, scan.reference.centerline, np.random.default_rng(0)).ct
        record: Record = {"scan": scan.identifier, "header": name}
        try:
            found = detect_canal(check_ct(ct), load_canal_model(scan.weights))
            record["outcome"] = "accepted"
            width, depth = np.median(np.diff(found.boxes.vertebra_ras.reshape(-1, 2, 2))[..., 0], axis=0)
            record["vertebra_mm"] = [float(width), float(depth)]
        except (NotEvaluable, UnreadableVolume) as error:
            record["outcome"] = "reported" if isinstance(error, ImplausibleGeometry) else "refused"
            record["reason"] = str(error)
        yield record


def scoliosis(count: int, scoliosis_deg: float, weights: Path | None) -> Iterator[Record]:
    """Unseen phantoms from sacrum to neck with a severe scoliosis, to the right and to the left in turn."""
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + count):
        sided = scoliosis_deg if seed % 2 else -scoliosis_deg
        options = replace(random_options(seed), scoliosis_deg=sided, caudal_level="S1", cranial_level="T1")
        phantom = make_phantom(options)
        record: Record = {"volume": f"phantom-{seed}", "drawn_cobb_deg": coronal_cobb_deg(phantom.reference.centerline)}
        try:
            line = detect_canal(phantom.ct, load_canal_model(weights)).centerline
            record["errors"] = _errors(line, phantom.reference)
            record["found_cobb_deg"] = coronal_cobb_deg(line)
        except NotEvaluable as error:
            record["refused"] = str(error)
        yield record


def coronal_cobb_deg(line: Centerline) -> float:
    """Largest angle between two tangents of the curve, seen from the front; 10 mm at each end are left out."""
    points = line.positions_ras(np.arange(10.0, line.length_mm - 10.0, 5.0))
    step = np.diff(points, axis=0)
    angle = np.degrees(np.arctan2(step[:, 0], step[:, 2]))
    return float(np.ptp(angle)) if len(angle) else 0.0
