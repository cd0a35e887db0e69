"""Straightened volumes of real scans and phantoms with their truth, made once and memory-mapped afterwards.

Each case is a folder of plain ``.npy`` arrays and one JSON (no pickle); it is written beside its place and renamed, so
that two trainings that share a cache cannot read half a case.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.cpr import ReformatFrame, StraightenedVolume, reformat_frame, straighten
from VertebralFractureLib.cpr.label_maps import labels_to_straight
from VertebralFractureLib.research.datasets import ReferenceSpine, read_annotation, reference_to_json
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan, reference_scans
from VertebralFractureLib.volume import CTVolume

logger = logging.getLogger(__name__)

RESERVED_SEEDS_FROM = 900_000
"""Phantoms from this seed on are for the final test only and never enter a training cache."""

_IN_PLANE_MM = (1.1, 1.1)
_SLICE_MM = (2.5, 1.5, 3.0, 2.0, 5.0, 1.25, 4.0)
"""Grids of the cached phantoms, by seed: no finer than the 1 mm straight volume can use, as thick as clinics scan."""


@dataclass(frozen=True)
class StraightCase:
    """One spine in straight space with its truth.

    Attributes:
        identifier: the scan's name, or ``phantom-<seed>``.
        fold: the cross-validation fold of a real scan; None for phantoms and for scans that only evaluate.
        is_phantom: drawn and not scanned.
        may_train: its license allows weights that ship to be trained on it.
        volume: ``straightened`` at 1 mm with the REFERENCE centerline. Its ``hu`` is a read-only memory-mapped int16
            array, not float32: convert the part that is used.
        reference: truth; ``s`` of its boxes is ``s`` of the volume.
        body_labels: uint8 ``[k, j, i]`` on the volume's grid, VerSe numbers of the bodies (memory-mapped), where known.
        source_spacing_mm: of the CT's grid along i, j and k; the largest tells how thick its slices are.
    """

    identifier: str
    fold: int | None
    is_phantom: bool
    may_train: bool
    volume: StraightenedVolume
    reference: ReferenceSpine
    body_labels: NDArray[np.uint8] | None
    source_spacing_mm: tuple[float, float, float]


def load_or_build_cases(cache: Path, data: Path | None, phantom_seeds: Sequence[int] = ()) -> list[StraightCase]:
    """All real scans of ``data`` (none when it is None), then the phantoms, built where the cache lacks them.

    Raises:
        FileNotFoundError: when ``data`` holds none of the reference scans.
        ValueError: for a seed that is reserved for the final test.
    """
    if any(seed >= RESERVED_SEEDS_FROM for seed in phantom_seeds):
        raise ValueError(f"Phantom seeds from {RESERVED_SEEDS_FROM} on are reserved for the final test.")
    cases = [] if data is None else [_real_case(cache, scan) for scan in reference_scans(data)]
    return cases + [_phantom_case(cache, seed) for seed in phantom_seeds]


def training_cases(cases: Sequence[StraightCase], fold: int | None) -> list[StraightCase]:
    """The cases that may train when ``fold`` is left out (None leaves nothing out but the evaluation-only scans)."""
    return [case for case in cases if case.may_train and (case.is_phantom or case.fold != fold or fold is None)]


def _real_case(cache: Path, scan: ReferenceScan) -> StraightCase:
    folder = cache / "real" / scan.identifier
    if not folder.is_dir():
        from VertebralFractureLib.volume import read_volume

        logger.info("Straightening %s", scan.identifier)
        _write(folder, read_volume(scan.volume_path), read_annotation(scan.annotation_path), None)
    return _load(folder, scan.identifier, scan.fold, is_phantom=False, may_train=scan.fold is not None)


def _phantom_case(cache: Path, seed: int) -> StraightCase:
    name = f"phantom-{seed}"
    folder = cache / "phantom" / name
    if not folder.is_dir():
        from VertebralFractureLib.research.phantom import make_phantom, random_options

        logger.info("Drawing and straightening %s", name)
        spacing = (*_IN_PLANE_MM, _SLICE_MM[seed % len(_SLICE_MM)])
        phantom = make_phantom(random_options(seed, field_of_view="spine", spacing_mm=spacing))
        _write(folder, phantom.ct, phantom.reference, phantom.body_labels)
    return _load(folder, name, None, is_phantom=True, may_train=True)


def _write(folder: Path, ct: CTVolume, reference: ReferenceSpine, labels: NDArray[np.uint8] | None) -> None:
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    spine = straighten(ct, reference.centerline)
    np.save(partial / "hu.npy", np.round(spine.hu).clip(-1024, 3071).astype(np.int16))
    np.save(partial / "inside.npy", spine.inside)
    if labels is not None:
        np.save(partial / "body_labels.npy", labels_to_straight(labels, ct, spine))
    content = {
        "origin_mm": spine.origin_mm,
        "spacing_mm": spine.spacing_mm,
        "source_spacing_mm": ct.spacing_mm,
    }
    (partial / "reference.json").write_text(json.dumps(reference_to_json(reference)), encoding="utf-8")
    (partial / "case.json").write_text(json.dumps(content), encoding="utf-8")
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial)
        if not folder.is_dir():
            raise


def _load(folder: Path, identifier: str, fold: int | None, *, is_phantom: bool, may_train: bool) -> StraightCase:
    content = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    reference = read_annotation(folder / "reference.json")
    hu = np.load(folder / "hu.npy", mmap_mode="r", allow_pickle=False)
    inside = np.load(folder / "inside.npy", mmap_mode="r", allow_pickle=False)
    labels_path = folder / "body_labels.npy"
    labels = np.load(labels_path, mmap_mode="r", allow_pickle=False) if labels_path.is_file() else None
    r, a, s = content["origin_mm"]
    step_r, step_a, step_s = content["spacing_mm"]
    frame: ReformatFrame = reformat_frame(reference.centerline)
    volume = StraightenedVolume(cast(NDArray[np.float32], hu), inside, (r, a, s), (step_r, step_a, step_s), frame)
    i, j, k = content["source_spacing_mm"]
    return StraightCase(identifier, fold, is_phantom, may_train, volume, reference, labels, (i, j, k))
