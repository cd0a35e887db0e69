"""The straightened cases that networks are trained and measured on: real scans and phantoms, made once and kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from VertebralFractureLib.research.datasets import read_annotation
from VertebralFractureLib.research.datasets.reference_set import ReferenceScan, reference_scans
from VertebralFractureLib.research.datasets.straight_case import StraightCase, load_case, write_case

logger = logging.getLogger(__name__)

RESERVED_SEEDS_FROM = 900_000
"""Phantoms from this seed on are for the final test only and never enter a training cache."""

_IN_PLANE_MM = (1.1, 1.1)
_NUMBERING_IN_PLANE_MM = (2.2, 2.2)
_SLICE_MM = (2.5, 1.5, 3.0, 2.0, 5.0, 1.25, 4.0)
"""Grids of the cached phantoms, by seed: no finer than the 1 mm straight volume can use, as thick as clinics scan.
Those that only teach to count need less, because levels are labeled at 4 mm."""


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


def phantom_spacing_mm(seed: int) -> tuple[float, float, float]:
    """The grid along (i, j, k) that the cached phantom of this seed is drawn on."""
    return (*_IN_PLANE_MM, _SLICE_MM[seed % len(_SLICE_MM)])


def training_cases(cases: Sequence[StraightCase], fold: int | None) -> list[StraightCase]:
    """The cases that may train when ``fold`` is left out (None leaves nothing out but the evaluation-only scans)."""
    return [case for case in cases if case.may_train and (case.is_phantom or case.fold != fold or fold is None)]


def load_or_build_numbering_phantoms(cache: Path, seeds: Sequence[int]) -> list[StraightCase]:
    """Phantoms of whole columns with numbering variants (``numbering_options``), built where the cache lacks them.

    Raises:
        ValueError: for a seed that is reserved for the final test.
    """
    if any(seed >= RESERVED_SEEDS_FROM for seed in seeds):
        raise ValueError(f"Phantom seeds from {RESERVED_SEEDS_FROM} on are reserved for the final test.")
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
    return load_case(folder, name, None, is_phantom=True, may_train=True)


def _real_case(cache: Path, scan: ReferenceScan) -> StraightCase:
    folder = cache / "real" / scan.identifier
    if not folder.is_dir():
        from VertebralFractureLib.volume import read_volume

        logger.info("Straightening %s", scan.identifier)
        write_case(folder, read_volume(scan.volume_path), read_annotation(scan.annotation_path), None)
    return load_case(folder, scan.identifier, scan.fold, is_phantom=False, may_train=scan.fold is not None)


def _phantom_case(cache: Path, seed: int) -> StraightCase:
    name = f"phantom-{seed}"
    folder = cache / "phantom" / name
    if not folder.is_dir():
        from VertebralFractureLib.research.phantom import make_phantom, random_options

        logger.info("Drawing and straightening %s", name)
        phantom = make_phantom(random_options(seed, field_of_view="spine", spacing_mm=phantom_spacing_mm(seed)))
        write_case(folder, phantom.ct, phantom.reference, phantom.body_labels)
    return load_case(folder, name, None, is_phantom=True, may_train=True)
