"""Which cases make up a set: a folder of annotated scans, or phantoms drawn from seeds that training never uses."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.errors import OptionRefused, UnreadableVolume
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.plain_text import NAME_LIMIT, one_line
from VertebralFractureLib.research.datasets import reference_to_json
from VertebralFractureLib.research.datasets.content_keys import key_of
from VertebralFractureLib.research.datasets.patient_table import PatientTable
from VertebralFractureLib.research.datasets.reference_set import patient_table_of, reference_scans
from VertebralFractureLib.research.datasets.training_record import trained_scans
from VertebralFractureLib.research.evaluation.run_cases import Case
from VertebralFractureLib.research.phantom import PhantomOptions, make_phantom, random_options
from VertebralFractureLib.volume import write_volume
from VertebralFractureLib.weights import MANIFEST, WeightsFolder, weights_names

FIRST_TEST_SEED = 900_000
"""Phantom seeds from here on are for testing only."""
FIRST_OOD_SEED = 950_000


def annotated_cases(data: Path, weights: Path | None, fold_weights: Path | None) -> list[Case]:
    """Every ``<id>.nii.gz`` with ``<id>.json`` in ``data``, with what its ``patients.csv`` says of patient and scan.

    A scan is judged with the weights of its fold, trained without its patient, when ``fold_weights`` (with ``fold0``,
    ``fold1``, ... in it) is given; a scan that only evaluates with ``weights``.

    Raises:
        UnreadableVolume: when there is none.
        RefusedContent: when ``patients.csv`` is no such table.
        OptionRefused: when a folder holds no weights that ``detect`` could use.
    """
    scans = reference_scans(data)
    table = patient_table_of(data) or PatientTable()
    folders = [
        weights if scan.fold is None or fold_weights is None else fold_weights / f"fold{scan.fold}" for scan in scans
    ]
    seen = {folder: _seen_scans(folder) for folder in dict.fromkeys(folders)}
    patients = {scan.identifier: scan.patient for scan in scans}
    cases = []
    for scan, folder in zip(scans, folders, strict=True):
        own = [name for name, patient in patients.items() if patient == scan.patient]
        seen_by = tuple(name for name, known in seen[folder].items() if known & set(own))
        cases.append(
            Case(
                scan.identifier,
                scan.patient,
                scan.volume_path,
                scan.annotation_path,
                folder,
                table.characteristics.get(scan.identifier, {}),
                seen_by,
            )
        )
    return cases


def weights_of_volume(volume: Path, fold_weights: Path | None) -> Path | None:
    """The folder of weights that never saw the patient of ``<id>.nii.gz``; None: those that ship.

    A scan that an annotation lies beside is judged as in ``annotated_cases``; one without annotation was in no fold.
    """
    name = volume.name.removesuffix(".nii.gz")
    if fold_weights is None or not volume.with_name(f"{name}.json").is_file():
        return None
    fold = next(scan.fold for scan in reference_scans(volume.parent) if scan.identifier == name)
    return None if fold is None else fold_weights / f"fold{fold}"


def refuse_unusable_weights(folder: Path | None) -> None:
    """Check that a folder holds weights of every step, before any scan is judged with it.

    Raises:
        OptionRefused: otherwise, with what is missing.
        WeightsDamaged: when its list is damaged.
    """
    if folder is None:
        return
    name = one_line(folder.name, NAME_LIMIT)
    if not (folder / MANIFEST).is_file():
        raise OptionRefused(f"'{name}' holds no weights: there is no {MANIFEST} in it.")
    there = weights_names("", folder)
    missing = [one for one in weights_names("") if not one.startswith(PREFIX) and one not in there]
    missing += [] if any(one.startswith(PREFIX) for one in there) else ["a fracture member"]
    if missing:
        raise OptionRefused(
            f"The weights in '{name}' lack {', '.join(missing)}; 'train' completes a folder when it saves into it."
        )


def uncalibrated_members(folder: Path | None) -> list[str]:
    """Fracture members of a folder whose calibration is none: their probabilities are the network's raw answers."""
    weights = WeightsFolder(folder)
    return [
        name
        for name in weights.names(PREFIX)
        if all(tuple(line) == (1.0, 0.0) for line in weights.load(name).config["calibration"].values())
    ]


def _seen_scans(folder: Path | None) -> dict[str, set[str]]:
    """By the weights' name, the scans that they were trained on."""
    refuse_unusable_weights(folder)
    weights = WeightsFolder(folder)
    return {name: set(trained_scans(weights.load(name).config)) for name in weights.names()}


def phantom_cases(count: int, folder: Path, weights: Path | None) -> list[Case]:
    """Draw ``count`` phantoms from ``FIRST_TEST_SEED`` on; those in ``folder`` that were drawn alike are kept."""
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + count)
    return [_phantom_case(f"phantom-{seed}", random_options(seed), folder, weights) for seed in seeds]


def ood_phantom_cases(count: int, folder: Path, weights: Path | None) -> list[Case]:
    """``count`` out-of-distribution phantoms, beyond what any model was trained on; see ``ood_options``."""
    seeds = range(FIRST_OOD_SEED, FIRST_OOD_SEED + count)
    return [_phantom_case(f"ood-{seed}", ood_options(seed), folder, weights) for seed in seeds]


def ood_options(seed: int) -> PhantomOptions:
    """A random phantom with one thing beyond the range of the training, in turn; every other one has two fractures.

    Slices of 5.5 mm (trained: up to 5), noise of 80 to 110 HU (trained: up to 75), or a scoliosis of 40 to 55 degrees
    (trained: 95 in 100 below 24).
    """
    rng = np.random.default_rng([FIRST_OOD_SEED, seed])
    options = random_options(seed, fractures=2 * (seed // 3 % 2))
    if seed % 3 == 0:
        spacing = (*options.spacing_mm[:2], 5.5)
        return replace(options, spacing_mm=spacing, slice_thickness_mm=5.5, orientation="axial")
    if seed % 3 == 1:
        return replace(options, noise_hu=round(float(rng.uniform(80.0, 110.0)), 1))
    angle = float(rng.uniform(40.0, 55.0)) * (1.0 if rng.random() < 0.5 else -1.0)
    return replace(options, scoliosis_deg=round(angle, 1))


def _phantom_case(name: str, options: PhantomOptions, folder: Path, weights: Path | None) -> Case:
    folder.mkdir(parents=True, exist_ok=True)
    volume, annotation = folder / f"{name}.nii.gz", folder / f"{name}.json"
    stamp, key = folder / f"{name}.options", key_of(repr(options))
    if not annotation.is_file() or (stamp.is_file() and stamp.read_text(encoding="utf-8") != key):
        # In a process of its own: a child has the peak memory of its parent in its books (see ``with_image_measures``).
        process = multiprocessing.get_context("spawn").Process(target=_draw, args=(options, volume, annotation))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise UnreadableVolume(f"The phantom '{name}' could not be drawn; the reason is in the lines above.")
        write_file(stamp, key)
    return Case(name, name, volume, annotation, weights)


def _draw(options: PhantomOptions, volume: Path, annotation: Path) -> None:
    phantom = make_phantom(options)
    write_volume(phantom.ct, volume)
    write_file(annotation, json.dumps(reference_to_json(phantom.reference)))
