"""How near do outlines and filled bodies come to the phantoms' true bodies?

    python -m VertebralFractureLib.research.evaluation.evaluate_bodies --cache CACHE --phantoms SEED ...

The weights that ship localize the bodies along the true centerline. An outline is compared with the edge of the true
body on the same mid plane, there and back; beside it stand the lines between the six landmarks. A filled body is
compared with the true one in space, on the straightened volume's voxels of 1 mm.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.cpr.hu_scale import shift_to_hu_scale
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.training.straightened_cases import load_or_build_cases
from VertebralFractureLib.types import BoolArray, FloatArray
from VertebralFractureLib.vertebrae import localize_vertebrae
from VertebralFractureLib.vertebrae.body_solid import bound_body, has_solid, mark_body
from VertebralFractureLib.vertebrae.models import VertebraModels
from VertebralFractureLib.vertebrae.vertebra import Vertebra
from VertebralFractureLib.volume.sampling import sample_linear

_STEP_MM, _BEYOND_MM = 0.25, 12.0


@dataclass(frozen=True)
class BodyMeasures:
    """One body: mean and 95th percentile distance of its outline and of the lines from the true edge, and overlap."""

    number: int
    outline_mm: float
    outline_95_mm: float
    lines_mm: float
    dice: float


def measure_case(case: StraightCase, models: VertebraModels) -> list[BodyMeasures]:
    """The bodies of a case with labels whose center lies in a labeled body."""
    if case.body_labels is None:
        raise ValueError(f"'{case.identifier}' has no labels of its bodies.")
    hu = np.asarray(case.volume.hu, dtype=np.float32)
    spine, _ = shift_to_hu_scale(replace(case.volume, hu=hu, inside=np.asarray(case.volume.inside)))
    labels = np.asarray(case.body_labels)
    measured = []
    for vertebra in localize_vertebrae(spine, models):
        if not has_solid(vertebra):
            continue
        at = spine.straight_to_ijk_points(spine.frame.ras_to_straight(np.array([vertebra.center_ras])))[0]
        number = int(labels[tuple(np.rint(at[::-1]).astype(int))])
        if number:
            measured.append(_measure(labels == number, case, vertebra, number))
    return measured


def _measure(label: BoolArray, case: StraightCase, vertebra: Vertebra, number: int) -> BodyMeasures:
    volume = case.volume
    corners = volume.straight_to_ijk_points(volume.frame.ras_to_straight(bound_body(vertebra)))
    held = np.argwhere(label)[:, ::-1]
    low = np.maximum(np.floor(np.minimum(corners.min(axis=0), held.min(axis=0))).astype(int), 0)
    high = np.minimum(np.ceil(np.maximum(corners.max(axis=0), held.max(axis=0))).astype(int) + 1, volume.hu.shape[::-1])
    k, j, i = np.meshgrid(*(np.arange(low[axis], high[axis]) for axis in (2, 1, 0)), indexing="ij")
    straight = np.stack([volume.axis_mm(name)[at] for name, at in (("r", i), ("a", j), ("s", k))], axis=-1)
    points = volume.frame.straight_to_ras(straight.reshape(-1, 3))
    filled, true = mark_body(vertebra, points), label[k, j, i].ravel()
    dice = 2.0 * float((filled & true).sum()) / float(filled.sum() + true.sum())
    outline, landmarks = np.array(vertebra.outline_ras), np.array(vertebra.landmarks_ras)
    edge = _true_edge(label, case, outline)
    distances = _both_ways(outline, edge)
    lines = _both_ways(landmarks[[0, 1, 2, 5, 4, 3]], edge)
    return BodyMeasures(number, float(distances.mean()), float(np.percentile(distances, 95)), float(lines.mean()), dice)


def _true_edge(label: BoolArray, case: StraightCase, outline: FloatArray) -> FloatArray:
    """Points ``(n, 3)`` in RAS of the label's edge on the plane of the outline."""
    middle = outline.mean(axis=0)
    _, _, axes = np.linalg.svd(outline - middle)
    flat = (outline - middle) @ axes[:2].T
    low, high = flat.min(axis=0) - _BEYOND_MM, flat.max(axis=0) + _BEYOND_MM
    x, y = np.meshgrid(*(np.arange(start, stop, _STEP_MM) for start, stop in zip(low, high, strict=True)))
    points = middle + x[..., None] * axes[0] + y[..., None] * axes[1]
    volume = case.volume
    ijk = volume.straight_to_ijk_points(volume.frame.ras_to_straight(points.reshape(-1, 3)))
    ijk = np.clip(ijk, 0.0, np.array(label.shape[::-1]) - 1.001)
    inside = (sample_linear(label.astype(np.float64), ijk) > 0.5).reshape(x.shape)
    core = inside[1:-1, 1:-1] & inside[2:, 1:-1] & inside[:-2, 1:-1] & inside[1:-1, 2:] & inside[1:-1, :-2]
    edge = inside.copy()
    edge[1:-1, 1:-1] &= ~core
    return np.asarray(points[edge])


def _both_ways(polygon: FloatArray, edge: FloatArray) -> FloatArray:
    """Distances of points along a closed polygon from the edge, and of the edge from them."""
    from scipy.spatial import cKDTree

    steps = np.linspace(0.0, 1.0, 30, endpoint=False)[:, None, None]
    line = ((1.0 - steps) * polygon + steps * np.roll(polygon, -1, axis=0)).reshape(-1, 3)
    return np.concatenate([cKDTree(edge).query(line)[0], cKDTree(line).query(edge)[0]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each phantom and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--phantoms", type=int, nargs="+", required=True, metavar="SEED")
    given = parser.parse_args(arguments)
    models = VertebraModels.load()
    everything: list[BodyMeasures] = []
    for case in load_or_build_cases(given.cache, None, given.phantoms):
        measured = measure_case(case, models)
        everything += measured
        print(_line(case.identifier, measured), flush=True)
    print(_line("all", everything))


def _line(name: str, measured: Sequence[BodyMeasures]) -> str:
    if not measured:
        return f"{name}: no body"
    columns = np.array([[one.outline_mm, one.outline_95_mm, one.lines_mm, one.dice] for one in measured])
    outline, outline_95, lines, dice = columns.mean(axis=0)
    return (
        f"{name}: {len(measured)} bodies, outline {outline:.2f} mm (95 % {outline_95:.2f}, worst body "
        f"{columns[:, 0].max():.2f}), lines between landmarks {lines:.2f} mm, Dice {dice:.3f} "
        f"(median {np.median(columns[:, 3]):.3f}, least {columns[:, 3].min():.3f})"
    )


if __name__ == "__main__":
    main()
