"""Does the simulation betray itself? A probe that sees a body's inner texture alone must not tell what collapsed.

Collapses of every grade without band, Schmorl's node or added density are made in real scans; a small network gets
8 x 14 x 14 mm from the middle of each body, too little to see an endplate, and learns on two folds to tell collapsed
bodies from the same bodies untouched, and from the same bodies mapped onto themselves, as all are beside a simulated
fracture. On the third fold it should be at chance; what lies above is what a fracture model could cheat with.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.datasets.reference_set import fold_count, patient_of_scan
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.evaluation.metrics import Estimate, auc, bootstrap_by_patient
from VertebralFractureLib.research.simulation.fracture_shapes import (
    BICONCAVE,
    CRUSH,
    GRADE_LOSS,
    WEDGE,
    Deformation,
    resampled,
)
from VertebralFractureLib.research.simulation.simulate_fracture import DEPTHS, Simulated, simulate
from VertebralFractureLib.research.training.fracture_data import boxes_of, crop, eligible
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray, IntArray

logger = logging.getLogger(__name__)
_HALF = (4, 7, 7)
_CUBE_DEPTHS = (0.25, 0.5, 0.75)
_ENDPLATE_MM = 2.0
_SCALE_HU = 100.0


@dataclass(frozen=True)
class Textures:
    """Cubes ``(n, 8, 14, 14)`` of centered HU from the middle of bodies, whether each was warped, and whose it is."""

    cubes: Float32Array
    warped: BoolArray
    patients: tuple[str, ...]
    folds: IntArray


def textures(cases: Sequence[StraightCase], versions: int, seed: int = 0, *, all_mapped: bool = False) -> Textures:
    """Every second eligible body of each version of a scan is warped at random; then the others are, and these are not.

    So every cube has a partner of the same body in the other class, and neither the patient nor the level tells them
    apart. Bodies that become so low that an endplate, blurred by the slices, would reach the cube are left out of both.
    With ``all_mapped`` the bodies that are not warped are mapped onto themselves, as they are beside a fracture.
    """
    cubes, warped, patients, folds = [], [], [], []
    for case in cases:
        low, high = case.volume.frame.range_mm
        volume, boxes = crop(case.volume, low - 48.0, high + 48.0), boxes_of(case)
        for version in range(versions):
            rng = np.random.default_rng([seed, version, *case.identifier.encode()])
            able = eligible(case, low, high)
            first = {index for index in able if rng.random() < 0.5}
            pair = []
            for chosen in (first, set(able) - first):
                plan = [_pure_warp(boxes[index], rng) for index in able if index in chosen]
                if all_mapped:
                    plan += [resampled(boxes[index], rng) for index in able if index not in chosen]
                pair.append(_cubes(case, volume, _simulated(case, volume, plan, rng), able))
            for index in able:
                both = [cube for cube in (found[index] for found in pair) if cube is not None]
                if len(both) < 2:
                    continue
                cubes += both
                warped += [index in first, index not in first]
                patients += [case.patient or patient_of_scan(case.identifier)] * 2
                folds += [-1 if case.fold is None else case.fold] * 2
    return Textures(np.stack(cubes), np.array(warped), tuple(patients), np.array(folds))


def _simulated(
    case: StraightCase, volume: StraightenedVolume, plan: Sequence[Deformation], rng: np.random.Generator
) -> Simulated:
    thickness = max(case.source_spacing_mm)
    return simulate(volume.hu, volume.inside, volume.origin_mm, boxes_of(case), plan, rng, thickness)


def _cubes(
    case: StraightCase, volume: StraightenedVolume, result: Simulated, able: Sequence[int]
) -> dict[int, Float32Array | None]:
    """The cube from the middle of each body; None where an endplate or the end of the field of view would reach it."""
    clear = _HALF[0] + _ENDPLATE_MM + 0.8 * max(case.source_spacing_mm)
    seen = replace(volume, hu=result.hu, inside=result.inside)
    found: dict[int, Float32Array | None] = {}
    for index in able:
        bottom, top = result.middle_mm[index]
        middle = 0.5 * (bottom + top)
        plates = [np.interp(_CUBE_DEPTHS, DEPTHS[::-1], plate[::-1]) for plate in result.endplates_mm[index]]
        is_clear = middle - plates[0].max() >= clear and plates[1].min() - middle >= clear
        found[index] = _cube(seen, boxes_of(case)[index], bottom, top) if is_clear else None
    return found


def _pure_warp(box: BodyBox, rng: np.random.Generator) -> Deformation:
    grade, shape = int(rng.integers(1, 4)), str(rng.choice([WEDGE, BICONCAVE, CRUSH]))
    loss, upper_share = float(rng.uniform(*GRADE_LOSS[grade])), float(rng.uniform(0.5, 1.0))
    return replace(resampled(box, rng), shape=shape, loss=loss, upper_share=upper_share, concavity=0.0)


def _cube(volume: StraightenedVolume, box: BodyBox, bottom: float, top: float) -> Float32Array | None:
    """None where the field of view ends; without the mean of each row, so that neither density tells anything nor how
    it rises towards an endplate, which is nearer in a low body.
    """
    middle = (0.5 * (bottom + top), 0.5 * (box.a_post + box.a_ant), 0.5 * (box.r_left + box.r_right))
    at = [round(m - o) for m, o in zip(middle, volume.origin_mm[::-1], strict=True)]
    window = tuple(slice(n - half, n + half) for n, half in zip(at, _HALF, strict=True))
    cube = volume.hu[window]
    if cube.shape != tuple(2 * half for half in _HALF) or not volume.inside[window].all():
        return None
    return np.asarray((cube - cube.mean(axis=(1, 2), keepdims=True)) / _SCALE_HU, dtype=np.float32)


def probe(sets: Textures, fold: int, steps: int = 400, seed: int = 0) -> FloatArray:
    """Scores of the fold's cubes by a 3D network that was trained on the other folds' (mirrored at random)."""
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(
        torch.nn.Conv3d(1, 16, 3, 1, 1), torch.nn.ReLU(), torch.nn.Conv3d(16, 24, 3, 2, 1), torch.nn.ReLU(),
        torch.nn.Conv3d(24, 32, 3, 2, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(),
        torch.nn.Dropout(0.2), torch.nn.Linear(32, 1),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(layers.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    rng = np.random.default_rng(seed)
    train = np.flatnonzero((sets.folds != fold) & (sets.folds >= 0))
    for _ in range(steps):
        chosen = rng.choice(train, 64)
        cubes = torch.from_numpy(sets.cubes[chosen])[:, None]
        cubes = cubes.flip(-1) if rng.random() < 0.5 else cubes
        target = torch.from_numpy(sets.warped[chosen].astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(layers(cubes)[:, 0], target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    layers.eval()
    with torch.inference_mode():
        scores = layers(torch.from_numpy(sets.cubes[sets.folds == fold])[:, None])[:, 0]
    return np.asarray(scores.double().numpy())


def texture_auc(scores: FloatArray, sets: Textures) -> Estimate:
    """How well scores of the cubes ``(n,)`` tell warped ones from the others."""

    def auc_of(chosen: Sequence[int]) -> float:
        return auc(scores[list(chosen)], sets.warped[list(chosen)])

    return bootstrap_by_patient(range(len(scores)), sets.patients, auc_of, repeats=500)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of the annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the straightened cases")
    parser.add_argument("--versions", type=int, default=4, help="how often each scan is warped")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the figures")


def run(arguments: argparse.Namespace) -> int:
    cases = [case for case in load_or_build_cases(arguments.cache, arguments.data) if case.fold is not None]
    content = {}
    for name, all_mapped in (("untouched", False), ("mapped", True)):
        sets = textures(cases, arguments.versions, all_mapped=all_mapped)
        scores = np.zeros(len(sets.warped))
        for fold in range(fold_count()):
            scores[sets.folds == fold] = probe(sets, fold, arguments.steps)
        found = texture_auc(scores, sets)
        content[name] = {**asdict(found), "warped": int(sets.warped.sum())}
        words = "Texture tells collapsed from %s bodies with an AUC of %.3f (%.3f to %.3f)"
        logger.info(words, name, found.value, found.low, found.high)
    write_file(arguments.out, json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args()))
