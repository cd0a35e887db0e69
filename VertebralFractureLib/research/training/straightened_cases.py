"""The straightened cases that networks are trained and measured on: real scans and phantoms, made once and kept."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.research.datasets import ReferenceSpine, Source, read_annotation, reference_to_json
from VertebralFractureLib.research.datasets.content_keys import file_sha256, key_of
from VertebralFractureLib.research.datasets.disk_space import say_space
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan, describe_grouping, reference_scans
from VertebralFractureLib.research.datasets.straight_case import REFERENCE_FILE, StraightCase, load_case, write_case

logger = logging.getLogger(__name__)

RESERVED_SEEDS_FROM = 900_000
"""Phantoms from this seed on are for the final test only and never enter a training cache."""

_CASE_BYTES = 25_000_000
"""Of a straightened spine of 0.5 m: 129 x 113 columns of 1 mm, HU and whether they are inside."""
_STAMP = "content.json"
_IN_PLANE_MM = (1.1, 1.1)
_NUMBERING_IN_PLANE_MM = (2.2, 2.2)
_SLICE_MM = (2.5, 1.5, 3.0, 2.0, 5.0, 1.25, 4.0)
"""Grids of the cached phantoms, by seed: no finer than the 1 mm straight volume can use, as thick as clinics scan.
Those that only teach to count need less, because levels are labeled at 4 mm."""


def load_or_build_cases(cache: Path, data: Path | None, phantom_seeds: Sequence[int] = ()) -> list[StraightCase]:
    """All real scans of ``data`` (none when it is None), then the phantoms, built where the cache lacks them.

    A scan whose volume or annotation is no longer what the cache was made of is made again. Before anything is made,
    the log says which scans are of one patient and how much room the cache takes.

    Raises:
        UnreadableVolume: when ``data`` holds no annotated scan.
        OutputRefused: when the disk has no room for the cache.
        ValueError: for a seed that is reserved for the final test.
    """
    if any(seed >= RESERVED_SEEDS_FROM for seed in phantom_seeds):
        raise RefusedContent(f"Phantom seeds from {RESERVED_SEEDS_FROM} on are reserved for the final test.")
    scans = [] if data is None else reference_scans(data)
    for line in describe_grouping(scans) if scans else ():
        logger.info("%s", line)
    missing = sum(not (cache / "real" / scan.identifier).is_dir() for scan in scans)
    missing += sum(not (cache / "phantom" / f"phantom-{seed}").is_dir() for seed in phantom_seeds)
    say_space(cache, missing * _CASE_BYTES, f"{missing} straightened spines")
    cases = [_real_case(cache, scan) for scan in scans]
    for line in describe_own_answers(cases):
        logger.warning("%s", line)
    return cases + [_phantom_case(cache, seed) for seed in phantom_seeds]


def describe_own_answers(cases: Sequence[StraightCase]) -> list[str]:
    """Cautions where a reference holds the program's own findings, which nothing can be learned from or measured by."""
    own = {
        "centerline": [case for case in cases if case.reference.centerline_by is Source.PROGRAM],
        "levels": [case for case in cases if any(v.level_by is Source.PROGRAM for v in case.reference.vertebrae)],
        "heights": [case for case in cases if any(v.heights_by is Source.PROGRAM for v in case.reference.vertebrae)],
    }
    return [
        f"CAUTION: the {item} of {len(found)} of {len(cases)} scans are the program's own. Who learns them learns its "
        "own answers, and figures measured against them say nothing."
        for item, found in own.items()
        if found
    ]


def phantom_spacing_mm(seed: int) -> tuple[float, float, float]:
    """The grid along (i, j, k) that the cached phantom of this seed is drawn on."""
    return (*_IN_PLANE_MM, _SLICE_MM[seed % len(_SLICE_MM)])


def training_cases(
    cases: Sequence[StraightCase], fold: int | None, validation_fold: int | None = None
) -> list[StraightCase]:
    """The cases that may train when these folds are left out (None leaves out nothing but evaluation-only scans)."""
    left_out = {fold, validation_fold} - {None}
    return [case for case in cases if case.may_train and (case.is_phantom or case.fold not in left_out)]


def load_or_build_numbering_phantoms(cache: Path, seeds: Sequence[int]) -> list[StraightCase]:
    """Phantoms of whole columns with numbering variants (``numbering_options``), built where the cache lacks them.

    Raises:
        ValueError: for a seed that is reserved for the final test.
    """
    if any(seed >= RESERVED_SEEDS_FROM for seed in seeds):
        raise RefusedContent(f"Phantom seeds from {RESERVED_SEEDS_FROM} on are reserved for the final test.")
    return [_numbering_phantom(cache, seed) for seed in seeds]


def _numbering_phantom(cache: Path, seed: int) -> StraightCase:
    name = f"numbering-{seed}"
    folder = cache / "numbering" / name
    if not folder.is_dir():
        from VertebralFractureLib.research.phantom import make_phantom, numbering_options

        logger.info("Drawing and straightening %s", name)
        spacing = (*_NUMBERING_IN_PLANE_MM, _SLICE_MM[seed % len(_SLICE_MM)])
        phantom = make_phantom(numbering_options(seed, spacing))
        write_case(folder, phantom.ct, phantom.reference, None)
    return load_case(folder, name, None, is_phantom=True, may_train=True, content_key=key_of(name))


def _real_case(cache: Path, scan: ReferenceScan) -> StraightCase:
    """The case of a scan as it and its annotation are now.

    Grades and levels that were corrected are written into the case; another volume or centerline is straightened anew.
    """
    folder = cache / "real" / scan.identifier
    reference = read_annotation(scan.annotation_path)
    volume = _volume_state(folder, scan.volume_path)
    if folder.is_dir() and not _is_same_reference(folder, reference, scan.identifier):
        before = read_annotation(folder / REFERENCE_FILE)
        logger.info("The annotation of %s has changed; what was made of the former is made again", scan.identifier)
        shutil.rmtree(cache / "surfaces" / scan.identifier, ignore_errors=True)
        if key_of(reference_to_json(before)["centerline"]) == key_of(reference_to_json(reference)["centerline"]):
            write_file(folder / REFERENCE_FILE, json.dumps(reference_to_json(reference)))
        else:
            shutil.rmtree(folder)
    if folder.is_dir() and volume["is_other"]:
        logger.info("The volume of %s has changed; what was made of the former is made again", scan.identifier)
        shutil.rmtree(cache / "surfaces" / scan.identifier, ignore_errors=True)
        shutil.rmtree(folder)
    if not folder.is_dir():
        from VertebralFractureLib.volume import read_volume

        logger.info("Straightening %s", scan.identifier)
        write_case(folder, read_volume(scan.volume_path), reference, None)
    _write_stamp(folder, volume)
    key = key_of([volume["sha256"], reference_to_json(reference)])
    return load_case(
        folder,
        scan.identifier,
        scan.fold,
        is_phantom=False,
        may_train=scan.fold is not None,
        patient=scan.patient,
        content_key=key,
    )


def _is_same_reference(folder: Path, reference: ReferenceSpine, identifier: str) -> bool:
    try:
        return reference_to_json(read_annotation(folder / REFERENCE_FILE)) == reference_to_json(reference)
    except (OSError, RefusedContent):
        logger.info("The cached annotation of %s cannot be read", identifier)
        return False


def _volume_state(folder: Path, volume: Path) -> dict[str, Any]:
    """SHA-256, size and time of the volume, and whether the case in ``folder`` was made of another one.

    The content is read where size or time differ from the stamp's. A case without a stamp is of an earlier version and
    is taken for one of this volume.
    """
    status = volume.stat()
    state: dict[str, Any] = {"bytes": status.st_size, "time_ns": status.st_mtime_ns}
    try:
        stamp = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stamp = {}
    if {name: stamp.get(name) for name in state} == state and "sha256" in stamp:
        return {**state, "sha256": stamp["sha256"], "is_other": False}
    sha256 = file_sha256(volume)
    return {**state, "sha256": sha256, "is_other": "sha256" in stamp and stamp["sha256"] != sha256}


def _write_stamp(folder: Path, volume: dict[str, Any]) -> None:
    """Note what the case was made of; in a cache that cannot be written to, the next run reads the volume again."""
    text = json.dumps({name: volume[name] for name in ("bytes", "time_ns", "sha256")})
    path = folder / _STAMP
    with suppress(OSError):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_file(path, text)


def _phantom_case(cache: Path, seed: int) -> StraightCase:
    name = f"phantom-{seed}"
    folder = cache / "phantom" / name
    from VertebralFractureLib.research.phantom import make_phantom, random_options

    options = random_options(seed, field_of_view="spine", spacing_mm=phantom_spacing_mm(seed))
    if not folder.is_dir():
        logger.info("Drawing and straightening %s", name)
        phantom = make_phantom(options)
        write_case(folder, phantom.ct, phantom.reference, phantom.body_labels)
    return load_case(folder, name, None, is_phantom=True, may_train=True, content_key=key_of(repr(options)))
