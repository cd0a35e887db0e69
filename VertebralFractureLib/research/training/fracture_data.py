"""Training series for the fracture network: sub-sequences of spines, with fractures and mimics simulated on real ones.

The frame is disturbed as a detected centerline would disturb it, and bent where a simulated wedge would bend it; every
series is a pure function of its seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from VertebralFractureLib.cpr import ReformatFrame, StraightenedVolume
from VertebralFractureLib.fracture.patches import (
    PatchGrid,
    encode_positions,
    lay_patch_points,
    list_patch_positions,
    sample_patches,
)
from VertebralFractureLib.research.datasets import BodyBox, ReferenceVertebra
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.fracture_shapes import Deformation, random_fracture_count, random_plan
from VertebralFractureLib.research.simulation.incidental_findings import add_findings, reacquired
from VertebralFractureLib.research.simulation.noise_texture import blurred
from VertebralFractureLib.research.simulation.simulate_fracture import BLUR_SHARE, DEPTHS, simulate
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.vertebrae.grading import classify_shape, grade_from_loss
from VertebralFractureLib.vertebrae.vertebra import HeightLosses

_CROP_R_MM, _CROP_A_MM, _CROP_S_MM = 30.0, (-24.0, 56.0), 44.0
_LEAST_INSIDE = 0.5
HEIGHT_UNIT_MM = 20.0
_DISC_WEIGHT, _UNREAD_WEIGHT = 0.5, 0.4


@dataclass(frozen=True)
class LabeledVertebra:
    """Where a vertebra lies in a (possibly deformed) volume; ``grade`` None where nobody knows.

    ``simulated`` is "" (as scanned or drawn), "fracture", "mimic" or "mapped" (onto itself); ``is_cut``: the field of
    view cuts it, and nothing speaks for a fracture.
    """

    low_mm: float
    high_mm: float
    grade: int | None
    heights_mm: tuple[float | None, float | None, float | None]
    shape: str | None = None
    simulated: str = ""
    level: str | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class LabeledSpine:
    volume: StraightenedVolume
    vertebrae: tuple[LabeledVertebra, ...]


@dataclass(frozen=True)
class Batch:
    """``b`` series of ``t`` patches; see ``FractureNetwork.forward``. ``weight`` is 0 where the truth is unknown."""

    patches: torch.Tensor
    code: torch.Tensor
    valid: torch.Tensor
    grade: torch.Tensor
    weight: torch.Tensor
    heights: torch.Tensor
    heights_known: torch.Tensor


@dataclass(frozen=True)
class SeriesOptions:
    """What a training series is made of.

    ``fracture_share``: share of series that get fractures (half of it on a phantom, which may have some of its own);
    ``mimic_share``: chance of every other vertebra to become a mimic; ``with_findings``: osteophytes, metal and
    the like.
    """

    length: int = 22
    fracture_share: float = 0.6
    mimic_share: float = 0.25
    with_findings: bool = True


def _is_cut(vertebra: ReferenceVertebra) -> bool:
    return not vertebra.complete and not vertebra.grade


def labeled(case: StraightCase) -> LabeledSpine:
    """A case as it is."""
    vertebrae = [
        LabeledVertebra(
            v.box.s_inf,
            v.box.s_sup,
            v.grade if v.complete else None,
            v.heights_mm,
            v.shape,
            level=v.level,
            is_cut=_is_cut(v),
        )
        for v in case.reference.vertebrae
        if v.box is not None
    ]
    return LabeledSpine(case.volume, tuple(vertebrae))


def simulated(
    case: StraightCase,
    plan: dict[int, Deformation],
    grades: dict[int, int],
    volume: StraightenedVolume,
    rng: np.random.Generator,
) -> LabeledSpine:
    """``volume`` (a float32 crop of the case) with the deformations of ``plan``, by index among the boxed vertebrae.

    Whatever was asked for, grade and shape of a fracture are those of the heights that it left; the grade of one that
    took less than a grade 1 is None. A mimic keeps its grade.
    """
    known = [v for v in case.reference.vertebrae if v.box is not None]
    boxes = boxes_of(case)
    thickness = max(case.source_spacing_mm)
    result = simulate(volume.hu, volume.inside, volume.origin_mm, boxes, list(plan.values()), rng, thickness)
    bends = [(0.5 * (item.box.s_inf + item.box.s_sup), item.bend_angle_rad) for item in plan.values()]
    frame = bent_frame(volume.frame, [bend for bend in bends if bend[1] > 0.0])
    vertebrae = []
    for index, (vertebra, box) in enumerate(zip(known, boxes, strict=True)):
        level_ends = np.repeat([[box.s_inf], [box.s_sup]], len(DEPTHS), axis=1)
        left = _read_heights(frame, box, result.endplates_mm[index]) / _read_heights(volume.frame, box, level_ends)
        front, middle, back = (
            None if height is None else height * float(share)
            for height, share in zip(vertebra.heights_mm, left, strict=True)
        )
        low, high = result.middle_mm[index]
        kind = "" if index not in plan else "mapped" if plan[index].keeps_the_body else "mimic"
        grade = grades.get(index, vertebra.grade if vertebra.complete else None)
        shape = vertebra.shape
        if index in plan and grades.get(index, 0) > 0:
            kind = "fracture"
            grade, shape = _judge_losses(HeightLosses(*(1.0 - left).tolist()))
        trio = (front, middle, back)
        vertebrae.append(LabeledVertebra(low, high, grade, trio, shape, kind, vertebra.level, _is_cut(vertebra)))
    return LabeledSpine(replace(volume, hu=result.hu, inside=result.inside, frame=frame), tuple(vertebrae))


def _read_heights(frame: ReformatFrame, box: BodyBox, endplates_mm: FloatArray) -> FloatArray:
    """Anterior, middle and posterior height in the patient, mm, of endplates ``(2, 3)`` (lower, upper) at ``DEPTHS``.

    In a bend the planes fan out about the canal, so that a kyphosis takes from the front and from the back wall too.
    """
    a = box.a_post + np.array(DEPTHS) * (box.a_ant - box.a_post)
    r = np.full(len(DEPTHS), 0.5 * (box.r_left + box.r_right))
    lower, upper = (frame.straight_to_ras(np.stack([r, a, s], axis=1)) for s in endplates_mm)
    return np.asarray(np.linalg.norm(upper - lower, axis=1))


def _judge_losses(losses: HeightLosses) -> tuple[int | None, str | None]:
    """Grade and shape of a fracture by its true losses; None where it lost less than a grade 1."""
    grade = grade_from_loss(losses.largest)
    return (grade, str(classify_shape(losses))) if grade else (None, None)


def eligible(case: StraightCase, low_mm: float, high_mm: float) -> list[int]:
    """Indices, among the boxed vertebrae, of the complete ones of grade 0 within the range: these may be deformed.

    The neck and the sacrum are left as they are: the model is not made for them.
    """
    known = [v for v in case.reference.vertebrae if v.box is not None]
    return [
        index
        for index, v in enumerate(known)
        if v.complete
        and v.grade == 0
        and not (v.level or "").startswith(("C", "S"))
        and v.box is not None
        and v.box.s_inf > low_mm
        and v.box.s_sup < high_mm
    ]


def boxes_of(case: StraightCase) -> list[BodyBox]:
    """Boxes of the vertebrae that have one, caudal to cranial."""
    return [vertebra.box for vertebra in case.reference.vertebrae if vertebra.box is not None]


def disturbed(
    case: StraightCase, spine: LabeledSpine, rng: np.random.Generator, *, with_findings: bool
) -> LabeledSpine:
    """The spine with findings that are no fractures, and as another scanner would have taken it.

    The grade of a body that got cement is None.
    """
    volume = spine.volume
    hu, inside = volume.hu.copy(), volume.inside.copy()
    vertebrae = list(spine.vertebrae)
    thickness = max(case.source_spacing_mm)
    if with_findings:
        boxes = [
            replace(box, s_inf=v.low_mm, s_sup=v.high_mm) for box, v in zip(boxes_of(case), vertebrae, strict=True)
        ]
        for index in add_findings(hu, inside, volume.origin_mm, boxes, rng):
            vertebrae[index] = replace(vertebrae[index], grade=None, is_cut=False)
        drawn = blurred(hu - volume.hu, BLUR_SHARE * max(thickness, 1.0))
        hu = np.where(inside, volume.hu + drawn, hu)
    hu, _ = reacquired(hu, inside, thickness, rng)
    return LabeledSpine(replace(volume, hu=hu, inside=inside), tuple(vertebrae))


def bent_frame(frame: ReformatFrame, bends: Sequence[tuple[float, float]], width_mm: float = 5.0) -> ReformatFrame:
    """The frame after it bends forward by angles (rad) around arc lengths (mm); its own rows keep their order."""
    if not bends:
        return frame
    step = float(frame.s_mm[1] - frame.s_mm[0])
    rate = sum(
        (angle * np.exp(-0.5 * ((frame.s_mm - where) / width_mm) ** 2) / (width_mm * np.sqrt(2.0 * np.pi)))
        for where, angle in bends
    )
    turn = np.cumsum(np.asarray(rate) * step)[:, None]
    middle = len(frame.s_mm) // 2
    turn = turn - turn[middle]
    normal, anterior = frame.normal_ras, frame.anterior_ras
    new_normal = np.cos(turn) * normal + np.sin(turn) * anterior
    new_anterior = np.cos(turn) * anterior - np.sin(turn) * normal
    path = np.gradient(frame.origin_ras, step, axis=0)
    along = np.einsum("nd,nd->n", path, normal)[:, None]
    forward = np.einsum("nd,nd->n", path, anterior)[:, None]
    sideways = np.einsum("nd,nd->n", path, frame.right_ras)[:, None]
    new_path = along * new_normal + forward * new_anterior + sideways * frame.right_ras
    origin = frame.origin_ras[middle] + np.cumsum(new_path * step, axis=0)
    origin += frame.origin_ras[middle] - origin[middle]
    return replace(frame, origin_ras=origin, anterior_ras=new_anterior)


def crop(volume: StraightenedVolume, low_mm: float, high_mm: float) -> StraightenedVolume:
    """The part around the bodies between two arc lengths, as float32 arrays of its own."""
    r, a, s = (volume.axis_mm(axis) for axis in "ras")
    keep_r = np.flatnonzero(np.abs(r) <= _CROP_R_MM)
    keep_a = np.flatnonzero((a >= _CROP_A_MM[0]) & (a <= _CROP_A_MM[1]))
    keep_s = np.flatnonzero((s >= low_mm) & (s <= high_mm))
    window = tuple(slice(keep[0], keep[-1] + 1) for keep in (keep_s, keep_a, keep_r))
    origin = (float(r[keep_r[0]]), float(a[keep_a[0]]), float(s[keep_s[0]]))
    hu = np.array(volume.hu[window], dtype=np.float32)
    return replace(volume, hu=hu, inside=np.array(volume.inside[window]), origin_mm=origin)


def position_labels(
    vertebrae: Sequence[LabeledVertebra], positions_mm: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Grade ``(n,)``, weight ``(n,)``, heights ``(n, 3)`` in 20 mm and whether they are known ``(n, 3)``.

    Inside a body the weight is 1, or 0 where its grade is in doubt; in a disc between two of a kind it is 0.5, between
    a fracture and a normal body 0. Bodies that the field of view cuts, and what lies beyond the annotated ones, were
    not read, but hold no known fracture: 0.4, so that the series' score learns to be quiet there.
    """
    count = len(positions_mm)
    grade, weight = np.zeros(count), np.full(count, _UNREAD_WEIGHT)
    heights, known = np.zeros((count, 3)), np.zeros((count, 3))
    ordered = sorted(vertebrae, key=lambda item: item.low_mm)
    for lower, upper in pairwise(ordered):
        between = (positions_mm > lower.high_mm) & (positions_mm < upper.low_mm)
        alike = lower.grade is not None and upper.grade is not None and (lower.grade > 0) == (upper.grade > 0)
        cut = lower.is_cut or upper.is_cut
        weight[between] = _UNREAD_WEIGHT if cut else _DISC_WEIGHT if alike else 0.0
        if lower.grade is not None and upper.grade is not None:
            grade[between] = min(lower.grade, upper.grade)
    for vertebra in ordered:
        within = (positions_mm >= vertebra.low_mm) & (positions_mm <= vertebra.high_mm)
        weight[within] = 1.0 if vertebra.grade is not None else _UNREAD_WEIGHT if vertebra.is_cut else 0.0
        grade[within] = vertebra.grade or 0
        for index, height in enumerate(vertebra.heights_mm):
            if height is not None:
                heights[within, index], known[within, index] = height / HEIGHT_UNIT_MM, 1.0
    return grade, weight, heights, known


def make_series(
    case: StraightCase, grids: Mapping[str, PatchGrid], options: SeriesOptions, seed: int
) -> dict[str, Float32Array]:
    """One training series of a case, a pure function of ``seed``.

    Returns the columns of a ``Batch`` without the leading axis; in place of ``patches`` there is one
    ``patches-<name>`` for every grid, all of the same series.
    """
    rng = np.random.default_rng(seed)
    positions = list_patch_positions(case.volume.frame) + rng.uniform(-3.0, 3.0)
    positions = window(positions, options.length, rng)
    volume = crop(case.volume, positions[0] - _CROP_S_MM, positions[-1] + _CROP_S_MM + 16.0)
    spine = replace(labeled(case), volume=volume)
    candidates = eligible(case, positions[0] - 8.0, positions[-1] + 8.0)
    share = options.fracture_share * (0.5 if case.is_phantom else 1.0)
    fractures = random_fracture_count(rng) if rng.random() < share else 0
    plan, grades = random_plan(boxes_of(case), candidates, fractures, options.mimic_share, rng)
    if plan:
        spine = simulated(case, plan, grades, volume, rng)
    spine = disturbed(case, spine, rng, with_findings=options.with_findings)
    grade, weight, heights, known = position_labels(spine.vertebrae, positions)
    disturbance = int(rng.integers(2**32))
    columns: dict[str, NDArray[Any]] = {}
    for name, grid in grids.items():
        points, scale = _disturbed_points(spine.volume.frame, positions, grid, np.random.default_rng(disturbance))
        columns[f"patches-{name}"] = sample_patches(spine.volume, points, grid).numpy()
    inside = columns[f"patches-{next(iter(grids))}"][:, 1].mean(axis=(1, 2, 3))
    weight = np.where(inside >= _LEAST_INSIDE, weight, 0.0)
    columns |= {
        "code": encode_positions(spine.volume.frame, positions),
        "valid": weight > 0.0,
        "grade": grade,
        "weight": weight,
        "heights": heights / scale,
        "heights_known": known * (weight > 0.0)[:, None],
    }
    missing = options.length - len(positions)
    return {
        name: np.pad(values.astype(np.float32), [(0, missing)] + [(0, 0)] * (values.ndim - 1))
        for name, values in columns.items()
    }


def window(positions: FloatArray, length: int, rng: np.random.Generator) -> FloatArray:
    """``length`` neighboring positions. Windows that would reach over an end are moved back to it, so that the ends of
    a spine, and with them the uppermost thoracic vertebrae, are seen a third as often as its middle.
    """
    spare = max(len(positions) - length, 0)
    start = int(np.clip(rng.integers(-(length // 2), spare + length // 2 + 1), 0, spare))
    return positions[start : start + length]


def _disturbed_points(
    frame: ReformatFrame, positions: FloatArray, grid: PatchGrid, rng: np.random.Generator
) -> tuple[Float32Array, float]:
    """Patch points as an imperfect centerline would lay them, mirrored and scaled at random; and that scale."""
    points = lay_patch_points(frame, positions, grid)
    center = positions.astype(np.float32)[:, None, None, None]
    scale = float(rng.uniform(0.9, 1.1))
    points[..., 2] = center + scale * (points[..., 2] - center)
    points[..., :2] *= scale
    if rng.random() < 0.5:
        points[..., 0] *= -1.0
    phase, period = rng.uniform(0.0, 2.0 * np.pi, 3), rng.uniform(40.0, 160.0, 3)
    waves = np.sin(positions[:, None] / period * 2.0 * np.pi + phase) * rng.uniform(0.0, [2.0, 2.0, 0.06])
    shift = (waves[:, :2] + rng.normal(0.0, 1.0, 2)).astype(np.float32)[:, None, None, None]
    points[..., 2] += waves[:, 2].astype(np.float32)[:, None, None, None] * points[..., 1]
    points[..., :2] += shift
    return points, scale
