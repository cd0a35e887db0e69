"""Batches for the orientation network: crops of coarse volumes in the standard position, and in every other.

The truth of a real scan is its file's geometry, which a reader saw, and the centerline that the reader drew; a crop is
turned, mirrored, cut, blurred and noisy at random, so that nothing but anatomy tells front and up.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.canal.axial_stack import OUTSIDE_HU, build_axial_stack
from VertebralFractureLib.orientation.network import CELL_VOXELS, VOXEL_MM, normalize_orientation
from VertebralFractureLib.research.datasets import read_annotation
from VertebralFractureLib.research.datasets.content_keys import file_sha256, key_of
from VertebralFractureLib.research.datasets.reference_set import describe_grouping, reference_scans
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume, read_volume
from VertebralFractureLib.volume.sampling import sample_tensor

logger = logging.getLogger(__name__)

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Input ``(n, 2, 48, 48, 48)``; target ``(n, 8, 12, 12, 12)``; weights ``(n, 3, 12, 12, 12)`` of canal, directions
and side."""

SIDE = 48
_CELLS = SIDE // CELL_VOXELS
_ON_MM, _OFF_MM, _DIRECTION_MM, _UNKNOWN_BEYOND_MM = 8.0, 20.0, 14.0, 60.0
_STANDARD_DEG, _OTHER_DEG = 35.0, 60.0
"""A crop turned by less is to be called standard, by more is not; between the two nothing is asked."""


@dataclass(frozen=True)
class OrientationCase:
    """One coarse volume with the canal in it.

    Attributes:
        hu: float32 ``[k, j, i]`` along S, A and R at 3 mm.
        origin_ras: RAS mm of voxel (0, 0, 0).
        points_ras: canal ``(m, 3)``, caudal to cranial, every 4 mm; empty where there is no spine.
        tangent: ``(m, 3)``, to the head.
        fold: of a real scan; None for a phantom.
        is_real: whether heart, liver and vessels are where a patient has them.
        content_key: of a real scan, tells whether volume and canal are the same as another's.
    """

    name: str
    hu: torch.Tensor
    origin_ras: FloatArray
    points_ras: FloatArray
    tangent: FloatArray
    fold: int | None
    is_real: bool
    content_key: str = ""


def load_or_build_cases(cache: Path, data: Path | None, phantoms: int) -> list[OrientationCase]:
    """Scans that may train, phantoms (every fourth of a neck) and volumes without a spine; made once and kept."""
    from VertebralFractureLib.research.phantom import make_phantom
    from VertebralFractureLib.research.phantom.no_spine import NO_SPINE_KINDS, make_no_spine
    from VertebralFractureLib.research.phantom.random_options import random_options

    cache.mkdir(parents=True, exist_ok=True)
    cases = []
    scans = [] if data is None else reference_scans(data)
    for said in describe_grouping(scans) if scans else ():
        logger.info("%s", said)
    for scan in scans:
        if scan.fold is None:
            continue
        line = read_annotation(scan.annotation_path).centerline
        key = key_of([file_sha256(scan.volume_path), line.points_ras.tolist()])
        path = cache / f"{scan.identifier}--{key}.npz"
        if not path.is_file():
            points = line.positions_ras(np.arange(0.0, line.length_mm, 4.0))
            _save(path, read_volume(scan.volume_path), points)
        cases.append(_load(path, scan.identifier, scan.fold, is_real=True, content_key=key))
    for seed in range(phantoms):
        path = cache / f"phantom-{seed}.npz"
        if not path.is_file():
            spacing = (2.5, 2.5, (2.0, 3.0, 5.0)[seed % 3])
            options = random_options(seed, spacing_mm=spacing, fractures=0 if seed % 4 == 3 else None)
            if seed % 4 == 3:
                caudal, cranial = (("T4", "C3"), ("T8", "C4"), ("T2", "C3"))[seed // 4 % 3]
                options = replace(
                    options, caudal_level=caudal, cranial_level=cranial, screw_levels=(), cement_levels=()
                )
            phantom = make_phantom(options)
            line = phantom.reference.centerline
            _save(path, phantom.ct, line.positions_ras(np.arange(0.0, line.length_mm, 4.0)))
        cases.append(_load(path, f"phantom-{seed}", None, is_real=False))
    for kind in NO_SPINE_KINDS:
        for seed in range(2):
            path = cache / f"no-spine-{kind}-{seed}.npz"
            if not path.is_file():
                _save(path, make_no_spine(kind, seed, (2.5, 2.5, 3.0)), np.zeros((0, 3)))
            cases.append(_load(path, path.stem, None, is_real=False))
    return cases


def _save(path: Path, ct: CTVolume, points_ras: FloatArray) -> None:
    logger.info("Resampling %s", path.stem)
    stack = build_axial_stack(ct, VOXEL_MM, VOXEL_MM)
    hu = np.rint(stack.hu.astype(np.float32)).clip(OUTSIDE_HU, 3071).astype(np.int16)
    with atomic_write(path) as partial, partial.open("wb") as stream:
        np.savez(stream, hu=hu, origin=np.array(stack.origin_ras), points=points_ras)


def _load(path: Path, name: str, fold: int | None, *, is_real: bool, content_key: str = "") -> OrientationCase:
    with np.load(path, allow_pickle=False) as content:
        points = content["points"]
        tangent = np.gradient(points, axis=0) if len(points) else points
        tangent = tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
        hu = torch.from_numpy(content["hu"].astype(np.float32))
        return OrientationCase(name, hu, content["origin"], points, tangent, fold, is_real, content_key)


class OrientationBatches:
    """Callable from a step's seed to a batch: real scans, phantoms and volumes without a spine by ``shares``."""

    def __init__(
        self,
        cases: Sequence[OrientationCase],
        batch_size: int = 6,
        shares: tuple[float, float, float] = (0.64, 0.28, 0.08),
    ) -> None:
        real = [case for case in cases if case.is_real]
        phantom = [case for case in cases if not case.is_real and len(case.points_ras)]
        empty = [case for case in cases if not len(case.points_ras)]
        self.pools = [pool or phantom or real for pool in (real, phantom, empty)]
        self.batch_size, self.shares = batch_size, shares

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        samples = []
        for _ in range(self.batch_size):
            pool = self.pools[int(rng.choice(3, p=self.shares))]
            samples.append(sample_crop(pool[int(rng.integers(len(pool)))], rng))
        pictures, targets, weights = zip(*samples, strict=True)
        return normalize_orientation(torch.stack(pictures)), torch.stack(targets), torch.stack(weights)


def draw_turn(rng: np.random.Generator) -> FloatArray:
    """An orthogonal 3x3 matrix from patient to crop; right and left change sides in every other one.

    Half of them are near the standard position, the others are axis permutations with signs and a small turn, among
    which those that keep the body's axis are the hardest to tell.
    """
    chance = rng.random()
    if chance < 0.52:
        turn = np.diag([rng.choice([-1.0, 1.0]), 1.0, 1.0])
        if rng.random() < 0.35:
            return np.asarray(_turn_about(np.array([0.0, 0.0, 1.0]), rng.uniform(-75.0, 75.0)) @ turn)
        return np.asarray(_turn_about(rng.normal(size=3), rng.normal(0.0, 20.0)) @ turn)
    if chance < 0.76:
        turn = np.diag(rng.choice([-1.0, 1.0], size=3))
    else:
        turn = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], size=(3, 1))
    return np.asarray(_turn_about(rng.normal(size=3), rng.normal(0.0, 12.0)) @ turn)


def _turn_about(axis: FloatArray, degrees: float) -> FloatArray:
    """Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross)


def sample_crop(case: OrientationCase, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One augmented crop of HU ``(48, 48, 48)``, its target and its weights."""
    turn = draw_turn(rng)
    size = VOXEL_MM * np.array(case.hu.shape[::-1])
    if len(case.points_ras) and rng.random() < 0.85:
        center = case.points_ras[int(rng.integers(len(case.points_ras)))] + rng.uniform(-40.0, 40.0, 3)
    else:
        center = case.origin_ras + rng.uniform(0.0, 1.0, 3) * size
    to_patient = rng.uniform(0.85, 1.2) * turn.T
    grid = np.stack(np.meshgrid(*[np.arange(SIDE) - 0.5 * (SIDE - 1)] * 3, indexing="ij"), axis=-1)[..., ::-1]
    index = (center - case.origin_ras + VOXEL_MM * grid @ to_patient.T) / VOXEL_MM
    hu = sample_tensor((case.hu - OUTSIDE_HU)[None, None], index[None], beyond="zeros")[0, 0]
    hu = _scan(hu, rng)
    kept = _cut(hu, rng)
    cell_grid = np.stack(np.meshgrid(*[np.arange(_CELLS) - 0.5 * (_CELLS - 1)] * 3, indexing="ij"), axis=-1)[..., ::-1]
    cells = center + CELL_VOXELS * VOXEL_MM * cell_grid.reshape(-1, 3) @ to_patient.T
    seen = np.all((cells >= case.origin_ras) & (cells <= case.origin_ras + size), axis=1)
    seen &= kept.reshape(_CELLS, CELL_VOXELS, _CELLS, CELL_VOXELS, _CELLS, CELL_VOXELS).mean((1, 3, 5)).ravel() > 0.6
    target, weight = _truth(case, cells, seen, turn)
    shape = (_CELLS, _CELLS, _CELLS)
    return hu, torch.from_numpy(target).view(-1, *shape), torch.from_numpy(weight).view(-1, *shape)


def _scan(hu: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Another density, offset, noise, and at times thick slices along one axis; from HU over -1024 to HU."""
    hu = (
        hu * float(rng.uniform(0.85, 1.15)) + OUTSIDE_HU + float(rng.normal(0.0, 45.0) * (1 + 2 * (rng.random() < 0.2)))
    )
    if rng.random() < 0.35:
        axis = int(rng.integers(3))
        moved = hu.movedim(axis, 0).flatten(1).T[:, None]
        moved = torch.nn.functional.avg_pool1d(moved, 3, 1, 1, count_include_pad=False)[:, 0].T
        hu = moved.reshape(hu.movedim(axis, 0).shape).movedim(0, axis).contiguous()
    level = float(rng.choice([0.0, 15.0, 40.0, 80.0]))
    noise = torch.from_numpy(rng.standard_normal(hu.shape, dtype=np.float32)) if level else 0.0
    return hu + level * noise


def _cut(hu: torch.Tensor, rng: np.random.Generator) -> np.ndarray:
    """Let the field of view end at random sides of the crop, in place; True where it shows something."""
    kept = np.ones(hu.shape, dtype=np.float32)
    for axis in range(3):
        for side in (0, 1):
            if rng.random() < 0.2:
                depth = int(rng.integers(4, SIDE // 2 - 4))
                part = slice(0, depth) if side == 0 else slice(SIDE - depth, SIDE)
                np.moveaxis(kept, axis, 0)[part] = 0.0
    hu[torch.from_numpy(kept) == 0.0] = OUTSIDE_HU
    return kept


def _degrees_away(front: FloatArray, up: FloatArray) -> FloatArray:
    """Angle ``(n,)`` between the frames ``(3, n)`` and the standard one, whose front is +A and whose up is +S."""
    right = np.cross(front, up, axis=0)
    return np.asarray(np.degrees(np.arccos(np.clip(0.5 * (right[0] + front[1] + up[2] - 1.0), -1.0, 1.0))))


def _truth(
    case: OrientationCase, cells: FloatArray, seen: np.ndarray, turn: FloatArray
) -> tuple[np.ndarray, np.ndarray]:
    target, weight = np.zeros((8, len(cells)), np.float32), np.zeros((3, len(cells)), np.float32)
    weight[0] = seen
    if not len(case.points_ras):
        return target, weight
    distance = np.linalg.norm(cells[:, None] - case.points_ras[None], axis=2)
    nearest = distance.argmin(axis=1)
    off = distance.min(axis=1)
    tangent = case.tangent[nearest]
    along = np.einsum("nk,nk->n", cells - case.points_ras[nearest], tangent)
    beyond = ((nearest == 0) & (along < -4.0)) | ((nearest == len(case.points_ras) - 1) & (along > 4.0))
    target[0] = (off < _ON_MM) & ~beyond
    weight[0] *= (off < _ON_MM) | (off > _OFF_MM)
    weight[0] *= ~(beyond & (off < _UNKNOWN_BEYOND_MM))
    front = np.array([0.0, 1.0, 0.0]) - tangent * tangent[:, 1:2]
    front /= np.maximum(np.linalg.norm(front, axis=1, keepdims=True), 1e-6)
    target[1:4], target[4:7] = turn @ front.T, turn @ tangent.T
    weight[1] = seen & (off < _DIRECTION_MM) & ~beyond
    target[7] = np.linalg.det(turn) > 0.0
    # How far the crop is from the standard position: the angle of the turn that would bring it there.
    away = _degrees_away(turn @ front.T, turn @ tangent.T)
    target[0] *= away < _STANDARD_DEG
    weight[0] *= ~((off < _ON_MM) & (away >= _STANDARD_DEG) & (away < _OTHER_DEG))
    weight[1] *= away < _OTHER_DEG
    weight[2] = weight[1] * case.is_real
    return target, weight
