"""Windows around bodies with their signed distance, for the surface network: drawn, as scanned, and fractured.

Both simulations break bodies, and in both the truth goes along: the first moves the distance field with the picture
(``simulate_fracture``), the second knows the endplates that it draws (``surface_fracture``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.datasets.straight_case import StraightCase, whole_folder
from VertebralFractureLib.research.phantom import random_options
from VertebralFractureLib.research.simulation.fracture_shapes import (
    BICONCAVE,
    CRUSH,
    WEDGE,
    Deformation,
    random_fracture,
    random_mimic,
)
from VertebralFractureLib.research.simulation.simulate_fracture import simulate, simulate_field
from VertebralFractureLib.research.simulation.surface_fracture import with_surface_fractures
from VertebralFractureLib.research.training.straightened_cases import phantom_spacing_mm
from VertebralFractureLib.research.training.surface_truth import (
    BrokenSurface,
    Distance,
    annotated_bodies,
    phantom_bodies,
)
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.vertebrae.body_network import BodyModel
from VertebralFractureLib.vertebrae.localization import localize_bodies_in_their_planes

logger = logging.getLogger(__name__)

REACH_MM = {"s": (-38, 38), "a": (-34, 38), "r": (-40, 40)}
DISTANCE_UNITS = 256.0
"""A distance is kept as int16 in 1/256 mm, cut at 20 mm."""
_FARTHEST_MM = 20.0
_DRAWN_TO_FALL_MM = 0.3
"""The fall lies outside a phantom's surface by 0.2 to 0.35 mm, by 0.6 on thick slices (docs/results/vertebrae.md)."""
_GRADES = {1: 0.3, 2: 0.4, 3: 0.3}
_SHAPES = {WEDGE: 0.34, BICONCAVE: 0.33, CRUSH: 0.33}
_MIMIC_SHARE = 0.2
VARIANTS = 2


@dataclass(frozen=True)
class Window:
    """A body and what lies around it on 1 mm voxels ``[k, j, i]`` along (s, a, r).

    Attributes:
        pair: int16 ``(2, k, j, i)``: HU, and the signed distance in 1/256 mm (memory-mapped).
        case, kind, level: whose body it is; ``kind`` is "phantom", "scan", "fracture" or "drawn fracture" (of the first
            and the second simulation).
        middle: index (i, j, k) of the body's center.
        height_mm: between its endplates at mid body.
        turn_rad: of its mid plane about s.
        slice_mm: thickness of the slices that it was scanned with.
    """

    pair: np.ndarray
    case: str
    kind: str
    level: str | None
    middle: tuple[float, float, float]
    height_mm: float
    turn_rad: float
    slice_mm: float

    @property
    def hu(self) -> Float32Array:
        """A copy of the HU."""
        return np.array(self.pair[0], dtype=np.float32)

    @property
    def distance_mm(self) -> Float32Array:
        """The signed distance from where HU fall most steeply, which is what a reader marks."""
        distance = np.asarray(self.pair[1], dtype=np.float32) / np.float32(DISTANCE_UNITS)
        outward = _DRAWN_TO_FALL_MM if self.kind == "phantom" else 0.0
        return np.asarray(distance - np.float32(outward))


def load_or_build_windows(cache: Path, case: StraightCase, body: BodyModel | None) -> list[Window]:
    """The windows of a case, built once in ``cache/surfaces``.

    Args:
        cache: also holds the straightened cases.
        case: a phantom or an annotated scan; every body of a scan breaks ``VARIANTS`` times by each simulation.
        body: finds the bodies of a scan for their planes; a phantom needs none.
    """
    folder = cache / "surfaces" / case.identifier
    if case.is_phantom:
        return _kept(folder, lambda: _phantom_windows(case))
    if body is None:
        raise ValueError("The bodies of a scan are found by the body network, which is missing.")
    return [
        *_kept(folder, lambda: _scan_windows(case, body)),
        *_kept(folder / "drawn", lambda: _drawn_windows(case, body)),
    ]


def _kept(folder: Path, build: Callable[[], Iterator[Window]]) -> list[Window]:
    if not (folder / "windows.json").is_file():
        logger.info("Windows in %s", folder)
        _write_windows(folder, build())
    rows = json.loads((folder / "windows.json").read_text(encoding="utf-8"))
    return [
        Window(pair=np.load(folder / f"{index}.npy", mmap_mode="r"), **{**row, "middle": tuple(row["middle"])})
        for index, row in enumerate(rows)
    ]


def _write_windows(folder: Path, windows: Iterator[Window]) -> None:
    rows = []
    with whole_folder(folder) as partial:
        for index, window in enumerate(windows):
            np.save(partial / f"{index}.npy", window.pair)
            rows.append({key: value for key, value in window.__dict__.items() if key != "pair"})
        (partial / "windows.json").write_text(json.dumps(rows), encoding="utf-8")


def _phantom_windows(case: StraightCase) -> Iterator[Window]:
    seed = int(case.identifier.removeprefix("phantom-"))
    options = random_options(seed, field_of_view="spine", spacing_mm=phantom_spacing_mm(seed))
    bodies = phantom_bodies(options, case.volume.frame)
    for vertebra in case.reference.vertebrae:
        box = vertebra.box
        if box is None or not vertebra.complete or vertebra.level not in bodies or vertebra.level == "S1":
            continue
        if vertebra.level.startswith("C"):
            continue
        hu, origin = _cut(case, box)
        yield _window(
            case, "phantom", vertebra.level, hu, _field(bodies[vertebra.level], hu.shape, origin), origin, box, 0.0
        )


def _scan_windows(case: StraightCase, body: BodyModel) -> Iterator[Window]:
    found = localize_bodies_in_their_planes(case.volume, body)
    rng = np.random.default_rng([17, *case.identifier.encode()])
    fitted = annotated_bodies(case, found)
    boxes = [vertebra.box for vertebra, _ in fitted if vertebra.box is not None]
    for index, (vertebra, surface) in enumerate(fitted):
        box = boxes[index]
        hu, origin = _cut(case, box)
        field = _field(surface.distance, hu.shape, origin)
        turn = float(surface.plane.turn_rad[0])
        yield _window(case, "scan", vertebra.level, hu, field, origin, box, turn)
        inside = np.asarray(hu > -1000)
        near = [other for other in boxes if abs(other.s_inf - box.s_inf) < 60.0]
        for _ in range(VARIANTS):
            seed = int(rng.integers(2**31))
            deformation = _draw(box, np.random.default_rng(seed))
            slice_mm = max(case.source_spacing_mm)
            made = simulate(
                hu.astype(np.float32), inside, origin, near, [deformation], np.random.default_rng(seed), slice_mm
            )
            moved = simulate_field(field, origin, near, deformation, np.random.default_rng(seed), slice_mm)
            low, high = made.middle_mm[near.index(box)]
            after = replace(box, s_inf=low, s_sup=high)
            yield _window(case, "fracture", vertebra.level, made.hu, _distance_of(moved), origin, after, turn)


def _drawn_windows(case: StraightCase, body: BodyModel) -> Iterator[Window]:
    found = localize_bodies_in_their_planes(case.volume, body)
    known = [vertebra.level for vertebra in case.reference.vertebrae if vertebra.box is not None]
    rng = np.random.default_rng([29, *case.identifier.encode()])
    for vertebra, surface in annotated_bodies(case, found):
        if vertebra.grade != 0:
            continue
        index = known.index(vertebra.level)
        for _ in range(VARIANTS):
            grade = int(rng.choice(list(_GRADES), p=list(_GRADES.values())))
            shape = str(rng.choice(list(_SHAPES), p=list(_SHAPES.values())))
            try:
                made = with_surface_fractures(case, {index: (grade, shape)}, rng)
            except ValueError:
                logger.info("No map breaks %s %s into a %s of grade %d", case.identifier, vertebra.level, shape, grade)
                continue
            box = made.surfaces[index].box
            hu, origin = _cut(made.case, box)
            broken = BrokenSurface(surface, made.surfaces[index])
            field = _field(broken.distance, hu.shape, origin)
            yield _window(
                case, "drawn fracture", vertebra.level, hu, field, origin, box, float(surface.plane.turn_rad[0])
            )


def _draw(box: BodyBox, rng: np.random.Generator) -> Deformation:
    if rng.random() < _MIMIC_SHARE:
        return random_mimic(box, rng)
    grade = int(rng.choice(list(_GRADES), p=list(_GRADES.values())))
    shape = str(rng.choice(list(_SHAPES), p=list(_SHAPES.values())))
    return replace(random_fracture(box, grade, shape, rng), bend_share=0.0)


def _cut(case: StraightCase, box: BodyBox) -> tuple[np.ndarray, tuple[float, float, float]]:
    """HU int16 around a body, padded with what is outside the field of view, and straight (r, a, s) of voxel 0."""
    volume = case.volume
    center = (0.5 * (box.r_left + box.r_right), 0.5 * (box.a_post + box.a_ant), 0.5 * (box.s_inf + box.s_sup))
    first = [round(c - o + REACH_MM[axis][0]) for axis, c, o in zip("ras", center, volume.origin_mm, strict=True)]
    count = [REACH_MM[axis][1] - REACH_MM[axis][0] + 1 for axis in "ras"]
    hu = np.full(count[::-1], -1024, dtype=np.int16)
    have = [(max(f, 0), min(f + n, size)) for f, n, size in zip(first, count, volume.hu.shape[::-1], strict=True)]
    target = tuple(slice(lo - f, hi - f) for (lo, hi), f in zip(have[::-1], first[::-1], strict=True))
    source = tuple(slice(lo, hi) for lo, hi in have[::-1])
    hu[target] = np.where(volume.inside[source], volume.hu[source], -1024)
    r, a, s = (o + f for o, f in zip(volume.origin_mm, first, strict=True))
    return hu, (r, a, s)


def _field(distance: Distance, shape: Sequence[int], origin: tuple[float, float, float]) -> FloatArray:
    k, j, i = (np.arange(count, dtype=np.float64) for count in shape)
    s, a, r = np.meshgrid(k + origin[2], j + origin[1], i + origin[0], indexing="ij")
    return distance(np.stack([r, a, s], axis=-1))


def _distance_of(field: FloatArray) -> FloatArray:
    """A moved field as a distance again: divided by its slope, which a map along s changes."""
    slope = np.sqrt(sum(gradient**2 for gradient in np.gradient(field)))
    return np.asarray(field / np.clip(slope, 0.5, 4.0))


def _window(
    case: StraightCase,
    kind: str,
    level: str | None,
    hu: np.ndarray,
    field: FloatArray,
    origin: tuple[float, float, float],
    box: BodyBox,
    turn: float,
) -> Window:
    limited = np.clip(field, -_FARTHEST_MM, _FARTHEST_MM) * DISTANCE_UNITS
    pair = np.stack([np.round(hu).clip(-1024, 3071).astype(np.int16), np.round(limited).astype(np.int16)])
    center = (0.5 * (box.r_left + box.r_right), 0.5 * (box.a_post + box.a_ant), 0.5 * (box.s_inf + box.s_sup))
    i, j, k = (c - o for c, o in zip(center, origin, strict=True))
    return Window(
        pair, case.identifier, kind, level, (i, j, k), box.s_sup - box.s_inf, turn, max(case.source_spacing_mm)
    )
