"""What can happen to a vertebral body: a compression fracture, or what only looks like one, drawn at random.

A mimic differs from a fracture in its loss of height: rough endplates, bands, Schmorl's nodes, bulges and tilts are
drawn for both, so that none of them betrays a fracture by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox

WEDGE, BICONCAVE, CRUSH = "wedge", "biconcave", "crush"
GRADE_LOSS = {0: (-0.25, 0.10), 1: (0.20, 0.25), 2: (0.25, 0.40), 3: (0.40, 0.62)}
"""Genant 1993; a negative loss is growth. Losses of 10 to 20 % are drawn for Scheuermann's disease alone."""
_SCHEUERMANN_LOSS = (0.06, 0.16)
_SHAPE_SHARES = {WEDGE: 0.5, BICONCAVE: 0.3, CRUSH: 0.2}
_GRADE_SHARES = {1: 0.3, 2: 0.4, 3: 0.3}
_FRACTURE_COUNTS = {1: 0.5, 2: 0.28, 3: 0.14, 4: 0.08}
_VALLEY_SHARE = 0.25
"""Of the fractures: how many have a concavity in the shape of a V."""
_RESAMPLED_SHARE = 2.0 / 3.0
"""Of the spines without a fracture: how many have all their bodies mapped."""
_Drawn = TypeVar("_Drawn")


@dataclass(frozen=True)
class Deformation:
    """What happens to one body; heights as fractions of its own height, distances in mm, densities in HU.

    Attributes:
        box: the body before.
        shape: ``WEDGE``, ``BICONCAVE`` or ``CRUSH``.
        loss: largest loss of height; negative for growth.
        upper_share: share of a concavity that dents the upper endplate; the rest dents the lower one.
        concavity: additional dent of the upper endplate.
        bowl_center: where along the depth (0 posterior, 1 anterior) a concavity is deepest.
        valley: how much a concavity is a V, two planes that meet in a line, and not a bowl.
        wedge_power: how the loss of a wedge rises from the back to the front.
        lateral_tilt: relative rise of the loss from the left wall (minus) to the right one (plus).
        dents: like Schmorl's nodes (a, r as fractions of the box, depth mm, radius mm), in the upper endplate.
        roughness_mm: standard deviation of an irregular upper endplate; the lower one gets half of it.
        break_mm: step by which the upper endplate in front of ``break_at`` (0 to 1) lies deeper.
        break_at: where along the depth the endplate has a step.
        band_hu: density of the impacted band below the upper endplate; negative for a cleft.
        band_depth_mm, band_width_mm: where it lies.
        density_gain: rise of the whole body's density per unit of local loss.
        retropulsion_mm: of the upper posterior corner into the canal.
        bulge_mm: of the upper anterior corner.
        buckle_mm: of the anterior cortex, a narrow kink below the upper corner.
        bend_share: share of a wedge that the canal's own kyphosis takes up; the caller bends the frame by it.
        seams_mm: distance of the (soft) lower and upper seam from mid height, between which lies the rigid core.
        core_shift_mm, core_flipped: how far above mid height the core comes from, and if it is turned upside
            down. Like the seams they say nothing about a fracture and are drawn alike for every body that is mapped.
    """

    box: BodyBox
    shape: str = WEDGE
    loss: float = 0.0
    upper_share: float = 0.8
    concavity: float = 0.0
    bowl_center: float = 0.5
    wedge_power: float = 1.0
    lateral_tilt: float = 0.0
    dents: tuple[tuple[float, float, float, float], ...] = ()
    roughness_mm: float = 0.0
    break_mm: float = 0.0
    break_at: float = 0.5
    band_hu: float = 0.0
    band_depth_mm: float = 2.5
    band_width_mm: float = 2.0
    density_gain: float = 0.0
    retropulsion_mm: float = 0.0
    bulge_mm: float = 0.0
    buckle_mm: float = 0.0
    bend_share: float = 0.0
    seams_mm: tuple[float, float] = (5.0, 5.0)
    core_shift_mm: float = 0.0
    core_flipped: bool = False
    valley: float = 0.0

    @property
    def height_mm(self) -> float:
        return self.box.s_sup - self.box.s_inf

    @property
    def keeps_the_body(self) -> bool:
        """True where the body goes through the map and stays what it was."""
        drawn = (self.loss, self.break_mm, self.band_hu, self.retropulsion_mm, self.bulge_mm, self.buckle_mm)
        return not self.dents and not any(drawn)

    @property
    def bend_angle_rad(self) -> float:
        """Kyphotic angle that the frame is to be bent by at the body's middle."""
        return float(np.arctan2(self.bend_share * self.loss * self.height_mm, self.box.a_ant - self.box.a_post))


def random_fracture(box: BodyBox, grade: int, shape: str, rng: np.random.Generator) -> Deformation:
    """A fracture of a Genant grade (1 to 3) and shape.

    Raises:
        ValueError: for an unknown shape or a grade that is no fracture.
    """
    if shape not in (WEDGE, BICONCAVE, CRUSH) or grade not in (1, 2, 3):
        raise ValueError(f"A fracture has grade 1 to 3 and a known shape, not {grade} and '{shape}'.")
    loss = float(rng.uniform(*GRADE_LOSS[grade]))
    acute = rng.random() < 0.6
    own = rng.spawn(1)[0]
    return replace(
        _mapped(box, rng),
        shape=shape,
        loss=loss,
        upper_share=float(rng.choice([0.5, 0.65, 0.85, 1.0])),
        concavity=float(rng.uniform(0.0, 0.12)) if shape != BICONCAVE else 0.0,
        bowl_center=float(rng.uniform(0.36, 0.64)),
        wedge_power=float(rng.uniform(0.7, 1.5)),
        lateral_tilt=float(rng.uniform(-0.35, 0.35)),
        roughness_mm=_roughness(rng),
        break_mm=float(rng.uniform(0.6, 2.2)) if rng.random() < 0.4 else 0.0,
        break_at=float(rng.uniform(0.3, 0.8)),
        band_hu=float(rng.uniform(60.0, 260.0)) if acute else float(rng.choice([0.0, 0.0, -60.0])),
        band_depth_mm=float(rng.uniform(1.5, 4.0)),
        band_width_mm=float(rng.uniform(1.2, 2.6)),
        density_gain=float(rng.uniform(0.0, 0.7)),
        retropulsion_mm=float(rng.uniform(0.0, 1.5 + 6.0 * max(loss - 0.25, 0.0))),
        bulge_mm=float(rng.uniform(0.0, 3.0)),
        buckle_mm=float(rng.uniform(0.8, 2.5)) if rng.random() < 0.4 else 0.0,
        bend_share=float(rng.uniform(0.0, 0.7)) if shape == WEDGE else 0.0,
        valley=float(own.uniform(0.6, 1.0)) if own.random() < _VALLEY_SHARE else 0.0,
    )


def random_mimic(box: BodyBox, rng: np.random.Generator) -> Deformation:
    """Not a fracture: growth or a loss of at most 10 %, no change of height at all, a Schmorl's node, or a band."""
    kind = rng.choice(["height", "identity", "node", "band"], p=[0.4, 0.15, 0.25, 0.2])
    base = replace(
        _mapped(box, rng),
        shape=str(rng.choice([WEDGE, BICONCAVE, CRUSH])),
        loss=float(rng.uniform(*GRADE_LOSS[0])) if kind == "height" else 0.0,
        upper_share=float(rng.choice([0.5, 0.65, 0.85, 1.0])),
        bowl_center=float(rng.uniform(0.36, 0.64)),
        wedge_power=float(rng.uniform(0.7, 1.5)),
        lateral_tilt=float(rng.uniform(-0.35, 0.35)),
        roughness_mm=_roughness(rng),
        bulge_mm=float(rng.uniform(0.0, 3.0)),
        buckle_mm=float(rng.uniform(0.8, 1.8)) if rng.random() < 0.2 else 0.0,
    )
    if kind == "node":
        nodes = tuple(_schmorl_node(rng) for _ in range(int(rng.integers(1, 3))))
        return replace(base, dents=nodes, band_hu=float(rng.choice([0.0, 120.0])), roughness_mm=0.5 * base.roughness_mm)
    if kind == "band":
        band = float(rng.uniform(-80.0, 260.0))
        depth, width = float(rng.uniform(1.5, 8.0)), float(rng.uniform(1.2, 2.6))
        return replace(base, band_hu=band, band_depth_mm=depth, band_width_mm=width)
    return base


def scheuermann(box: BodyBox, rng: np.random.Generator) -> Deformation:
    """One of several adjacent bodies with Scheuermann's disease: slightly wedged, with rough and pitted endplates."""
    return replace(
        _mapped(box, rng),
        shape=WEDGE,
        loss=float(rng.uniform(*_SCHEUERMANN_LOSS)),
        upper_share=float(rng.uniform(0.4, 0.7)),
        dents=tuple(_schmorl_node(rng) for _ in range(int(rng.integers(1, 3)))),
        roughness_mm=float(rng.uniform(0.5, 1.0)),
        bend_share=float(rng.uniform(0.3, 0.7)),
    )


def resampled(box: BodyBox, rng: np.random.Generator) -> Deformation:
    """A body that stays what it is, but went through the same map: what a map leaves must not tell a fracture."""
    return replace(
        _mapped(box, rng),
        shape=BICONCAVE,
        upper_share=float(rng.choice([0.5, 0.65, 0.85, 1.0])),
        concavity=float(rng.uniform(-0.03, 0.03)),
        roughness_mm=0.5 * _roughness(rng),
    )


def random_plan(
    boxes: Sequence[BodyBox], candidates: Sequence[int], fractures: int, mimic_share: float, rng: np.random.Generator
) -> tuple[dict[int, Deformation], dict[int, int]]:
    """Deformations by index into ``boxes`` and the grade that each leads to.

    Fractures like company: the next one is a neighbor of one that is already fractured with a chance of 40 %. With a
    chance of 10 % a run of three to five of the other bodies has Scheuermann's disease. What is left is mapped onto
    itself: all of it beside a fracture, and in two of three spines without one, so that spines as scanned are seen too.
    """
    plan: dict[int, Deformation] = {}
    grades: dict[int, int] = {}
    fractured: list[int] = []
    while len(fractured) < min(fractures, len(candidates)):
        free = [index for index in candidates if index not in fractured]
        adjacent = [index for index in free if any(abs(index - other) == 1 for other in fractured)]
        fractured.append(int(rng.choice(adjacent if adjacent and rng.random() < 0.4 else free)))
    for index in fractured:
        grades[index], shape = draw_grade_and_shape(rng)
        plan[index] = random_fracture(boxes[index], grades[index], shape, rng)
    rest = [index for index in candidates if index not in fractured]
    if len(rest) >= 3 and rng.random() < 0.1:
        start = int(rng.integers(0, len(rest) - 2))
        for index in rest[start : start + int(rng.integers(3, 6))]:
            plan[index], grades[index] = scheuermann(boxes[index], rng), 0
    for index in rest:
        if index not in plan and rng.random() < mimic_share:
            plan[index], grades[index] = random_mimic(boxes[index], rng), 0
    if fractured or rng.random() < _RESAMPLED_SHARE:
        for index in rest:
            if index not in plan:
                plan[index], grades[index] = resampled(boxes[index], rng), 0
    return plan, grades


def draw_grade_and_shape(rng: np.random.Generator) -> tuple[int, str]:
    """A Genant grade from 1 on, and a shape."""
    grade = _drawn(_GRADE_SHARES, rng)
    return grade, _drawn(_SHAPE_SHARES, rng)


def random_fracture_count(rng: np.random.Generator) -> int:
    """One to four, one being the most frequent."""
    return _drawn(_FRACTURE_COUNTS, rng)


def _drawn(shares: dict[_Drawn, float], rng: np.random.Generator) -> _Drawn:
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def _roughness(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.0, 0.8)) if rng.random() < 0.6 else 0.0


def _mapped(box: BodyBox, rng: np.random.Generator) -> Deformation:
    """What every map leaves in a body, whatever it does to its height."""
    low, high, shift = (float(value) for value in rng.uniform([5.5, 5.5, -1.5], [6.5, 6.5, 1.5]))
    return Deformation(box, seams_mm=(low, high), core_shift_mm=shift, core_flipped=bool(rng.random() < 0.7))


def _schmorl_node(rng: np.random.Generator) -> tuple[float, float, float, float]:
    where = (float(rng.uniform(0.25, 0.7)), float(rng.uniform(-0.5, 0.5)))
    return (*where, float(rng.uniform(2.0, 5.0)), float(rng.uniform(3.0, 5.5)))
