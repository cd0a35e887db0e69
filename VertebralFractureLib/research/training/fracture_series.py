"""A store of ready training series, made once and shared by every fold, member and variant.

Simulating a series costs several times what training on it does; a fold does not read the series of its patients.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.fracture.patches import CODE_PERIODS_MM, PatchGrid
from VertebralFractureLib.research.datasets.content_keys import key_of
from VertebralFractureLib.research.datasets.disk_space import say_space
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.training.fracture_data import Batch, SeriesOptions, make_series
from VertebralFractureLib.types import Float32Array

logger = logging.getLogger(__name__)
_CODE_SHIFT_MM = 30.0
_MOST_NOISE = 0.12
_COLUMNS = ("code", "valid", "grade", "weight", "heights", "heights_known")


def build_series(
    folder: Path, cases: Sequence[StraightCase], grids: Mapping[str, PatchGrid], options: SeriesOptions, per_case: int
) -> list[Path]:
    """Series files of the cases, ``per_case`` of each on average (more of longer spines), built where missing.

    A file's name says what it was made of, so that another grade, grid or option makes another file. A case of which no
    vertebra has a known grade gives none.

    Raises:
        OutputRefused: when the disk has no room for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = [repr(options), {name: repr(grid) for name, grid in grids.items()}]
    wanted = []
    for case in cases:
        known = sum(v.complete and v.grade is not None for v in case.reference.vertebrae)
        count = 0 if known == 0 else max(1, round(per_case * float(np.sqrt(known / 10.0))))
        stem = f"{case.identifier}--{key_of([case.content_key, recipe])}"
        wanted.append((case, [folder / f"{stem}--{index:04d}.npz" for index in range(count)]))
    missing = sum(not path.is_file() for _, paths in wanted for path in paths)
    one = sum(_patch_bytes(grid, options.length) for grid in grids.values())
    say_space(folder, missing * one, f"{missing} training series")
    files = []
    for number, (case, paths) in enumerate(wanted, 1):
        if not all(path.is_file() for path in paths):
            logger.info("Series of %s (%d of %d)", case.identifier, number, len(wanted))
        for index, path in enumerate(paths):
            if not path.is_file():
                name = f"{case.identifier}--{index:04d}"
                seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")
                columns = make_series(case, grids, options, seed)
                with atomic_write(path) as partial, partial.open("wb") as stream:
                    np.savez(stream, **{name: values.astype(np.float16) for name, values in columns.items()})  # type: ignore[arg-type]
            files.append(path)
    return files


def scan_of_series(path: Path) -> str:
    """The case that a series file was made of."""
    return path.stem.rsplit("--", 2)[0]


def _patch_bytes(grid: PatchGrid, length: int) -> int:
    """Of the patches of one series on disk: HU and inside, in half precision."""
    return 4 * length * int(np.prod(grid.shape))


@dataclass(frozen=True)
class SeriesStore:
    """Series of one representation: their small columns in memory, their patches (float16) read when they are drawn."""

    files: Sequence[Path]
    grid_name: str
    columns: Mapping[str, Float32Array]

    @staticmethod
    def load(files: Sequence[Path], grid_name: str) -> SeriesStore:
        columns: dict[str, list[Float32Array]] = {name: [] for name in _COLUMNS}
        for path in files:
            with np.load(path, allow_pickle=False) as content:
                for name in _COLUMNS:
                    columns[name].append(content[name].astype(np.float32))
        return SeriesStore(tuple(files), grid_name, {name: np.stack(values) for name, values in columns.items()})

    def patches(self, index: int) -> NDArray[np.float16]:
        """``(t, 2, S, A, R)`` of one series; the system keeps files that were read lately in memory."""
        with np.load(self.files[index], allow_pickle=False) as content:
            return np.asarray(content[f"patches-{self.grid_name}"])

    def batch(self, series: int, seed: int) -> Batch:
        """``series`` of them at random, mirrored, rescaled in density and with more noise: cheap variation."""
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(self.files), series)
        patches = torch.from_numpy(np.stack([self.patches(index) for index in chosen]).astype(np.float32))
        if rng.random() < 0.5:
            patches = patches.flip(-1)
        inside = patches[:, :, 1]
        gain = torch.from_numpy(rng.uniform(0.92, 1.08, (series, 1, 1, 1, 1)).astype(np.float32))
        offset = torch.from_numpy(rng.uniform(-0.1, 0.1, (series, 1, 1, 1, 1)).astype(np.float32))
        patches[:, :, 0] = patches[:, :, 0] * gain + offset
        if rng.random() < 0.5:
            generator = torch.Generator().manual_seed(seed)
            patches[:, :, 0] += _MOST_NOISE * float(rng.random()) * torch.randn(inside.shape, generator=generator)
        patches[:, :, 0] *= inside > 0.05
        columns = {name: torch.from_numpy(self.columns[name][chosen]) for name in _COLUMNS}
        columns["code"] = _shifted_code(columns["code"], rng)
        return Batch(patches, *columns.values())


def _shifted_code(code: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The position code as if the centerline began and ended elsewhere, so that no series is known by its place."""
    code = code.clone()
    column = 0
    for _ in range(2):
        shift = rng.normal(0.0, _CODE_SHIFT_MM, len(code))
        for period in CODE_PERIODS_MM:
            angle = torch.from_numpy(2.0 * np.pi * shift / period).float()[:, None]
            sine, cosine = code[..., column].clone(), code[..., column + 1].clone()
            code[..., column] = sine * angle.cos() + cosine * angle.sin()
            code[..., column + 1] = cosine * angle.cos() - sine * angle.sin()
            column += 2
    noise = rng.normal(0.0, 0.15, (len(code), 1, code.shape[-1] - column))
    code[..., column:] += torch.from_numpy(noise).float()
    return code
