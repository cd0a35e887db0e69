"""A study in small: phantoms that stand for a hospital's scans, drawn once and small enough to train on in seconds."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from VertebralFractureLib.research.datasets import reference_to_json
from VertebralFractureLib.research.datasets.reference_set import fold_of_scan
from VertebralFractureLib.research.phantom import Phantom, make_phantom
from VertebralFractureLib.research.phantom.options import FractureOptions, PhantomOptions
from VertebralFractureLib.volume import CTVolume, write_volume


@cache
def a_small_spine(seed: int, fracture: str | None = None) -> Phantom:
    """T11 to L4 on a coarse grid; ``fracture``: the level that has lost half of its anterior height."""
    return make_phantom(
        PhantomOptions(
            seed,
            fractures=() if fracture is None else (FractureOptions(fracture, "wedge", 0.5),),
            field_of_view="spine",
            caudal_level="L4",
            cranial_level="T11",
            spacing_mm=(2.0, 2.0, 2.5),
        )
    )


def a_graded_spine(seed: int, fracture: str | None = None) -> Phantom:
    """T9 to L4, fine and long enough to be detected and named."""
    return make_phantom(
        PhantomOptions(
            seed,
            fractures=() if fracture is None else (FractureOptions(fracture, "wedge", 0.45),),
            field_of_view="spine",
            caudal_level="L4",
            cranial_level="T9",
            spacing_mm=(1.3, 1.3, 2.0),
            slice_thickness_mm=2.0,
        )
    )


def name_of_fold(fold: int) -> str:
    """A user's own scan, by name, that belongs to the fold."""
    return next(f"p{n}_scan" for n in range(50) if fold_of_scan(f"p{n}_scan") == fold)


def write_scan(folder: Path, name: str, phantom: Phantom) -> None:
    """``<name>.nii.gz`` with ``<name>.json`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_volume(phantom.ct, folder / f"{name}.nii.gz")
    (folder / f"{name}.json").write_text(json.dumps(reference_to_json(phantom.reference)), encoding="utf-8")


def write_three_patients(folder: Path) -> list[str]:
    """A patient in each fold; the second has a fracture of L1. The names, by fold."""
    names = [name_of_fold(fold) for fold in range(3)]
    for seed, name in enumerate(names):
        write_scan(folder, name, a_small_spine(seed, "L1" if seed == 1 else None))
    return names


def write_verse_scan(tree: Path, name: str, phantom: Phantom) -> None:
    """The phantom as VerSe stores an image: CT, mask of the bodies, and centroids in voxels."""
    subject = name.split("_")[0]
    raw, derived = tree / "rawdata" / subject, tree / "derivatives" / subject
    raw.mkdir(parents=True, exist_ok=True)
    derived.mkdir(parents=True, exist_ok=True)
    ct, labels = phantom.ct, phantom.body_labels
    write_volume(ct, raw / f"{name}_ct.nii.gz")
    mask = CTVolume(labels.astype(np.int16), ct.ijk_to_ras)
    write_volume(mask, derived / f"{name}_seg-vert_msk.nii.gz")
    points: list[dict[str, object]] = [{"direction": ["L", "A", "S"]}]
    for number in np.unique(labels[labels > 0]):
        k, j, i = np.argwhere(labels == number).mean(axis=0)
        points.append({"label": int(number), "X": float(i), "Y": float(j), "Z": float(k)})
    (derived / f"{name}_seg-subreg_ctd.json").write_text(json.dumps(points), encoding="utf-8")


def correct_grade(annotation: Path, level: str, grade: int) -> None:
    """What a reader does who looks again: one grade in one annotation."""
    content = json.loads(annotation.read_text(encoding="utf-8"))
    for vertebra in content["vertebrae"]:
        if vertebra["level"] == level:
            vertebra["genant_visual"] = grade
    annotation.write_text(json.dumps(content), encoding="utf-8")
