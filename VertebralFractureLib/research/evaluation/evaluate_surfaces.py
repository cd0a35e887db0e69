"""How near the surface network's bodies lie to the true surfaces: fitted to the reader, simulated fractures, phantoms.

Every window is judged by weights that never saw its patient. The hint that the network is given errs as localization
does, by a fixed seed. Heights are read from the true distance by the same rule as from the network's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from VertebralFractureLib.atomic_write import write_file
from VertebralFractureLib.research.simulation.changed_acquisition import thicken_rows
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.research.training.surface_windows import (
    Window,
    load_or_build_windows,
)
from VertebralFractureLib.torch_arrays import to_array
from VertebralFractureLib.vertebrae.body_network import BodyModel
from VertebralFractureLib.vertebrae.body_surface import BodySurface, SurfaceMeasures
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.vertebrae.models import BODY_WEIGHTS, SURFACE_WEIGHTS
from VertebralFractureLib.vertebrae.surface_input import BodyBlock, assemble_channels, block_axes_mm
from VertebralFractureLib.vertebrae.surface_network import SurfaceModel
from VertebralFractureLib.volume.sampling import sample_tensor
from VertebralFractureLib.weights import WeightsFolder

HINT_ERROR_MM = 1.5
_NEAR_MM = 0.75


@dataclass(frozen=True)
class SurfaceErrors:
    """One body, mm: of the surface (mean and 95th percentile, both ways), Dice, walls, heights (found less true)."""

    case: str
    kind: str
    level: str | None
    slice_mm: float
    mean_mm: float
    p95_mm: float
    dice: float
    walls_mm: tuple[float, float, float, float] | None
    heights_mm: tuple[float, float, float] | None
    true_heights_mm: tuple[float, float, float] | None


def judge_window(window: Window, model: SurfaceModel, rng: np.random.Generator, thick_mm: int = 0) -> SurfaceErrors:
    """Compare the network's surface of one window with its truth; ``thick_mm``: on slices of that, averaged."""
    hu, truth = window.hu, window.distance_mm
    if thick_mm:
        hu = thicken_rows(hu, thick_mm, float(rng.uniform(0.0, thick_mm)))
    low, high = rng.normal(0.0, HINT_ERROR_MM, 2)
    ahead, aside = rng.normal(0.0, HINT_ERROR_MM, 2)
    s, a, r = block_axes_mm()
    turn = window.turn_rad
    grid = np.meshgrid(s + 0.5 * (low + high), a + ahead, r + aside, indexing="ij")
    index = np.stack(
        [
            grid[2] * np.cos(turn) + grid[1] * np.sin(turn),
            grid[1] * np.cos(turn) - grid[2] * np.sin(turn),
            grid[0],
        ],
        axis=-1,
    ) + np.array(window.middle)
    both = torch.from_numpy(np.stack([hu, truth]))[None]
    found = sample_tensor(both, index[None].astype(np.float32))[0].numpy()
    height = max(window.height_mm + high - low, 5.0)
    picture = torch.from_numpy(assemble_channels(found[0], height))[None]
    with torch.inference_mode():
        answer = to_array(model.network(picture).float())[0]
    block = BodyBlock(MidPlane.of_canal(), 22.0, 0.0, height)
    return _compare(window, BodySurface(block, answer[0], answer[1]), BodySurface(block, found[1], answer[1]))


def _compare(window: Window, found: BodySurface, true: BodySurface) -> SurfaceErrors:
    one, other = found.distance_mm, true.distance_mm
    errors = np.concatenate([np.abs(one - other)[np.abs(part) < _NEAR_MM] for part in (one, other)])
    dice = 2.0 * float(((one < 0) & (other < 0)).sum()) / max(float((one < 0).sum() + (other < 0).sum()), 1.0)
    measured, wanted = found.measure(), true.measure()
    if measured is None or wanted is None:
        walls, heights, sizes = None, None, None if wanted is None else _heights(wanted)
    else:
        walls = (
            measured.shape.a_posterior - wanted.shape.a_posterior,
            measured.shape.a_anterior - wanted.shape.a_anterior,
            measured.lateral_mm[0] - wanted.lateral_mm[0],
            measured.lateral_mm[1] - wanted.lateral_mm[1],
        )
        sizes = _heights(wanted)
        own = _heights(measured)
        heights = (own[0] - sizes[0], own[1] - sizes[1], own[2] - sizes[2])
    mean, p95 = float(errors.mean()), float(np.percentile(errors, 95))
    return SurfaceErrors(
        window.case, window.kind, window.level, window.slice_mm, mean, p95, dice, walls, heights, sizes
    )


def _heights(measures: SurfaceMeasures) -> tuple[float, float, float]:
    anterior, middle, posterior = np.linalg.norm(
        measures.shape.landmarks[:3] - measures.shape.landmarks[3:], axis=1
    ).tolist()
    return anterior, middle, posterior


def tabulate(rows: Sequence[SurfaceErrors]) -> list[str]:
    """A line for each kind of window."""
    lines = []
    for kind in ("scan", "fracture", "drawn fracture", "phantom"):
        some = [row for row in rows if row.kind == kind]
        if not some:
            continue
        heights = np.array([row.heights_mm for row in some if row.heights_mm is not None])
        walls = np.array([row.walls_mm for row in some if row.walls_mm is not None])
        lines.append(
            f"{kind}: {len(some)} bodies, unmeasured {sum(row.heights_mm is None for row in some)}, "
            f"mean {np.mean([r.mean_mm for r in some]):.2f}, p95 {np.mean([r.p95_mm for r in some]):.2f}, "
            f"Dice {np.mean([r.dice for r in some]):.3f}; "
            f"walls median {np.round(np.median(np.abs(walls), 0), 2)}; heights median "
            f"{np.round(np.median(np.abs(heights), 0), 2)}, 90 % {np.round(np.percentile(np.abs(heights), 90, 0), 2)}, "
            f"bias {np.round(np.median(heights, 0), 2)}"
        )
    return lines


def load_surface_model(folder: Path | None) -> SurfaceModel:
    return SurfaceModel.from_weights(WeightsFolder(folder).load(SURFACE_WEIGHTS))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of annotated scans")
    parser.add_argument("--cache", type=Path, required=True, help="folder for straightened volumes and windows")
    parser.add_argument("--folds-folder", type=Path, required=True, help="holds fold0, fold1, ... with weights")
    parser.add_argument("--weights-folder", type=Path, default=None, help="weights judged on phantoms; none: shipped")
    parser.add_argument("--phantoms", type=int, nargs=2, default=(500_000, 500_000), help="first seed and one past")
    parser.add_argument("--thick-mm", type=int, default=0, help="average slices to this thickness; 0: as they are")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the figures")


def run(arguments: argparse.Namespace) -> int:
    """Cross-validated figures on real scans, and on phantoms that were not trained on, into one JSON file."""
    body = BodyModel.from_weights(WeightsFolder(None).load(BODY_WEIGHTS))
    cases = load_or_build_cases(arguments.cache, arguments.data)
    models = {fold: load_surface_model(arguments.folds_folder / f"fold{fold}") for fold in {c.fold or 0 for c in cases}}
    rows = []
    for case in cases:
        rng = np.random.default_rng([5, *case.identifier.encode()])
        for window in load_or_build_windows(arguments.cache, case, body):
            rows.append(judge_window(window, models[case.fold or 0], rng, arguments.thick_mm))
    if arguments.phantoms[1] > arguments.phantoms[0]:
        shipped = load_surface_model(arguments.weights_folder)
        for case in load_or_build_cases(arguments.cache, None, range(*arguments.phantoms)):
            rng = np.random.default_rng([5, *case.identifier.encode()])
            for window in load_or_build_windows(arguments.cache, case, None):
                rows.append(judge_window(window, shipped, rng, arguments.thick_mm))
    lines = tabulate(rows)
    print("\n".join(lines))
    write_file(arguments.out, json.dumps({"table": lines, "bodies": [asdict(row) for row in rows]}, indent=1) + "\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
