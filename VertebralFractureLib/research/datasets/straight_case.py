"""One straightened scan or phantom with its truth, kept on disk as plain ``.npy`` arrays and one JSON (no pickle).

A case's folder is written beside its place and renamed, so that two trainings that share a cache cannot read half a
case.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from VertebralFractureLib.cpr import ReformatFrame, StraightenedVolume, lay_frame, straighten
from VertebralFractureLib.research.datasets.annotation_file import read_annotation, reference_to_json
from VertebralFractureLib.research.datasets.label_maps import labels_to_straight
from VertebralFractureLib.research.datasets.reference_spine import ReferenceSpine
from VertebralFractureLib.types import ByteArray, Float32Array
from VertebralFractureLib.volume import CTVolume

REFERENCE_FILE = "reference.json"


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
        patient: whom a real scan shows; empty for phantoms.
        content_key: tells whether volume and truth are the same as those of another case; what is made from a case and
            kept is kept under it. Empty where nothing is kept.
    """

    identifier: str
    fold: int | None
    is_phantom: bool
    may_train: bool
    volume: StraightenedVolume
    reference: ReferenceSpine
    body_labels: ByteArray | None
    source_spacing_mm: tuple[float, float, float]
    patient: str = ""
    content_key: str = ""


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill beside ``folder``, which is renamed when it is complete; one that another run wrote stays."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    yield partial
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial)
        if not folder.is_dir():
            raise


def write_case(folder: Path, ct: CTVolume, reference: ReferenceSpine, labels: ByteArray | None) -> None:
    """Straighten a scan along its reference centerline and write the case's folder atomically.

    Args:
        folder: of the case; a run that finds it written by another keeps the other's.
        ct: the scan.
        reference: its truth.
        labels: uint8 ``[k, j, i]`` on the scan's grid, VerSe numbers of the bodies, where they are known.
    """
    spine = straighten(ct, reference.centerline)
    with whole_folder(folder) as partial:
        np.save(partial / "hu.npy", np.round(spine.hu).clip(-1024, 3071).astype(np.int16))
        np.save(partial / "inside.npy", spine.inside)
        if labels is not None:
            np.save(partial / "body_labels.npy", labels_to_straight(labels, ct, spine))
        content = {
            "origin_mm": spine.origin_mm,
            "spacing_mm": spine.spacing_mm,
            "source_spacing_mm": ct.spacing_mm,
        }
        (partial / REFERENCE_FILE).write_text(json.dumps(reference_to_json(reference)), encoding="utf-8")
        (partial / "case.json").write_text(json.dumps(content), encoding="utf-8")


def load_case(
    folder: Path,
    identifier: str,
    fold: int | None,
    *,
    is_phantom: bool,
    may_train: bool,
    patient: str = "",
    content_key: str = "",
) -> StraightCase:
    """The case that ``write_case`` left in ``folder``, its arrays memory-mapped."""
    content = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    reference = read_annotation(folder / REFERENCE_FILE)
    hu = np.load(folder / "hu.npy", mmap_mode="r", allow_pickle=False)
    inside = np.load(folder / "inside.npy", mmap_mode="r", allow_pickle=False)
    labels_path = folder / "body_labels.npy"
    labels = np.load(labels_path, mmap_mode="r", allow_pickle=False) if labels_path.is_file() else None
    r, a, s = content["origin_mm"]
    step_r, step_a, step_s = content["spacing_mm"]
    frame: ReformatFrame = lay_frame(reference.centerline)
    volume = StraightenedVolume(cast(Float32Array, hu), inside, (r, a, s), (step_r, step_a, step_s), frame)
    i, j, k = content["source_spacing_mm"]
    return StraightCase(
        identifier, fold, is_phantom, may_train, volume, reference, labels, (i, j, k), patient, content_key
    )
