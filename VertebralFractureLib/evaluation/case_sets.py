"""Which cases make up a set: a folder of annotated scans, or phantoms drawn from seeds that training never uses."""

from __future__ import annotations

import json
from pathlib import Path

from VertebralFractureLib.errors import UnreadableVolume
from VertebralFractureLib.evaluation.run_cases import Case
from VertebralFractureLib.phantom import make_phantom, random_options
from VertebralFractureLib.reference import reference_to_json
from VertebralFractureLib.training.reference_set import fold_of_scan, patient_of_scan
from VertebralFractureLib.volume import write_volume

FIRST_TEST_SEED = 900_000
"""Phantom seeds from here on are for testing only."""


def annotated_cases(data: Path, weights: Path | None, fold_weights: Path | None) -> list[Case]:
    """Every ``<id>.nii.gz`` with ``<id>.json`` in ``data``.

    A scan of the reference set is judged with the weights of its fold, trained without its patient, when
    ``fold_weights`` (with ``fold0``, ``fold1``, ... in it) is given; every other scan with ``weights``.

    Raises:
        UnreadableVolume: when there is none.
    """
    cases = []
    for annotation in sorted(data.glob("*.json")):
        volume = annotation.with_name(f"{annotation.stem}.nii.gz")
        if volume.is_file():
            fold = fold_of_scan(annotation.stem)
            own = weights if fold is None or fold_weights is None else fold_weights / f"fold{fold}"
            cases.append(Case(annotation.stem, patient_of_scan(annotation.stem), volume, annotation, own))
    if not cases:
        raise UnreadableVolume(f"The folder '{data.name}' holds no <id>.nii.gz with <id>.json.")
    return cases


def phantom_cases(count: int, folder: Path, weights: Path | None) -> list[Case]:
    """Draw ``count`` phantoms from ``FIRST_TEST_SEED`` on into ``folder``; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + count):
        name = f"phantom-{seed}"
        volume, annotation = folder / f"{name}.nii.gz", folder / f"{name}.json"
        if not annotation.is_file():
            phantom = make_phantom(random_options(seed))
            write_volume(phantom.ct, volume)
            annotation.write_text(json.dumps(reference_to_json(phantom.reference)), encoding="utf-8")
        cases.append(Case(name, name, volume, annotation, weights))
    return cases
