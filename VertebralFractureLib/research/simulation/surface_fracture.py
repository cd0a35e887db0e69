"""A second simulation of fractures, on the surfaces of a body: what was taught by the first is judged by this one.

``simulate_fracture`` moves columns of the scan and keeps a rigid core between two seams. Here a body is its surfaces.
The endplates are traced on the scan as height fields over the footprint; a loss map (``loss_maps``) says how far each
gives way; one smooth displacement field, continued beyond the walls, shears the whole body and its surroundings along.
What a fracture leaves is then drawn anew and not moved: the cortical endplate, as sharp as the scan's own slices, the
impacted trabeculae below it, the disc that follows it down, and the noise. So where an endplate lies is known exactly,
in every column and over the full width.

How to use it: ``with_surface_fractures(case, {index: (grade, shape)}, rng)`` gives a ``SurfaceCase``. Its ``case`` is a
``StraightCase`` as any other, the broken bodies with their exact landmarks, heights, grade and shape; its ``surfaces``
hold the endplates of every body of the plan. Grade 0 in the plan draws a body's endplates anew without a fracture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.special import ndtr

from VertebralFractureLib.research.datasets import BodyBox, ReferenceVertebra
from VertebralFractureLib.research.datasets.straight_case import StraightCase
from VertebralFractureLib.research.simulation.body_surfaces import BodySurfaces, trace_surfaces
from VertebralFractureLib.research.simulation.column_pieces import smooth
from VertebralFractureLib.research.simulation.fracture_shapes import CRUSH, GRADE_LOSS, WEDGE
from VertebralFractureLib.research.simulation.loss_maps import LossMap, draw_loss_map
from VertebralFractureLib.research.simulation.simulate_fracture import BLUR_SHARE
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray
from VertebralFractureLib.vertebrae.grading import classify_shape, grade_from_loss
from VertebralFractureLib.vertebrae.vertebra import HeightLosses

_TRIES = 120
_CORTEX_MM = 0.8
_SHARPEST_MM = 0.7
"""Standard deviation of the kernel of a scan with thin slices."""
_RIM = 0.35
"""Part of a disc that goes with each of its endplates."""
_TILT_KEPT = (1.0, 0.6, 0.25)
"""How much of the tilt of a broken endplate the bodies above it take on: the discs make up for the rest."""
_BEHIND_MM, _AHEAD_MM, _BESIDE_MM = 5.0, 22.0, 14.0
"""How far the displacement reaches beyond the walls."""


@dataclass(frozen=True)
class SurfaceCase:
    """A case with fractures, and the surfaces of the bodies in its plan.

    Attributes:
        case: its vertebrae of the plan carry exact landmarks, heights, grade and shape; of the others the heights stay
            what they were, and the boxes move along. Its volume is float32 of the full width.
        surfaces: by index among the boxed vertebrae, in the straight space of ``case``.
        losses: anterior, middle and posterior loss of height against the body before, by the same index.
        families: which family of loss maps each fracture is of.
    """

    case: StraightCase
    surfaces: Mapping[int, BodySurfaces]
    losses: Mapping[int, tuple[float, float, float]]
    families: Mapping[int, str]


def with_surface_fractures(
    case: StraightCase,
    plan: Mapping[int, tuple[int, str | None]],
    rng: np.random.Generator,
    measured: Sequence[LossMap] = (),
) -> SurfaceCase:
    """The case with a fracture of (grade, shape) at every index of ``plan``, counted among the boxed vertebrae.

    Args:
        measured: loss maps of real bodies, each as likely to be taken as a drawn one where it leads to the shape.

    Raises:
        ValueError: for a shape without a family.
    """
    known = [v for v in case.reference.vertebrae if v.box is not None]
    scan = _Scan.of(case)
    found: dict[int, BodySurfaces] = {}
    losses: dict[int, tuple[float, float, float]] = {}
    families: dict[int, str] = {}
    boxes = [v.box for v in known if v.box is not None]
    for index in sorted(plan, reverse=True):
        grade, shape = plan[index]
        below = boxes[index - 1] if index else None
        body = scan.trace(boxes[index], below, boxes[index + 1 :], known[index].heights_mm)
        bulge_mm = float(rng.uniform(0.0, 2.0)) * min(grade, 2) / 2.0
        loss_map, lost = _scaled_map(body, scan, (grade, shape), bulge_mm, rng, measured)
        moved = _Break(scan, body, loss_map, below, boxes[index + 1 :], bulge_mm, rng).apply(rng)
        for at in range(index + 1, len(boxes)):
            down_mm = moved.down_above_mm[min(at - index, len(moved.down_above_mm)) - 1]
            boxes[at] = _sunk(boxes[at], down_mm, body)
            if at in found:
                found[at] = found[at].moved(down_mm)
        found[index], losses[index], families[index] = moved.body, lost, loss_map.family
        boxes[index] = moved.body.box
    vertebrae = [
        _as_reference(case, vertebra, boxes[index], found.get(index), plan.get(index))
        for index, vertebra in enumerate(known)
    ]
    volume = replace(case.volume, hu=scan.hu.clip(-1024.0, 3071.0), inside=scan.inside)
    changed = replace(
        case, volume=volume, reference=replace(case.reference, vertebrae=tuple(vertebrae)), body_labels=None
    )
    return SurfaceCase(changed, found, losses, families)


def _as_reference(
    case: StraightCase,
    vertebra: ReferenceVertebra,
    box: BodyBox,
    surfaces: BodySurfaces | None,
    planned: tuple[int, str | None] | None,
) -> ReferenceVertebra:
    frame = case.volume.frame
    middle = np.array([[0.0, 0.5 * (box.a_post + box.a_ant), 0.5 * (box.s_inf + box.s_sup)]])
    center = _triple(frame.straight_to_ras(middle)[0])
    if surfaces is None or planned is None:
        return replace(vertebra, box=box, center_ras=center, landmarks_ras=None)
    points = tuple(_triple(point) for point in frame.straight_to_ras(surfaces.landmarks()))
    grade, shape = planned
    return replace(
        vertebra,
        box=box,
        center_ras=center,
        heights_mm=surfaces.heights(frame),
        landmarks_ras=points,
        grade=grade,
        shape=shape if grade else None,
    )


def _triple(point: FloatArray) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])


def _sunk(box: BodyBox, down_mm: FloatArray, body: BodySurfaces) -> BodyBox:
    """The box of a body above after the columns sank."""
    middle = body.read(down_mm, 0.5 * (box.a_post + box.a_ant))
    return replace(box, s_inf=box.s_inf - middle, s_sup=box.s_sup - middle)


def _scaled_map(
    body: BodySurfaces,
    scan: _Scan,
    wish: tuple[int, str | None],
    bulge_mm: float,
    rng: np.random.Generator,
    measured: Sequence[LossMap],
) -> tuple[LossMap, tuple[float, float, float]]:
    """A map whose largest loss at a landmark is of the grade and whose shape is the one that was asked for."""
    grade, shape = wish
    for number in range(_TRIES):
        wanted = float(rng.uniform(*GRADE_LOSS[grade])) if grade else float(rng.uniform(0.0, 0.08))
        if measured and rng.random() < 0.5:
            drawn = measured[int(rng.integers(len(measured)))]
        else:
            drawn = draw_loss_map(shape or WEDGE, rng)
        if shape == CRUSH:
            # A mild crush is flat: what is steep loses too much in front before it has lost enough behind.
            drawn = drawn.flattened(number / _TRIES)
        losses = _losses(body, scan, drawn.times(wanted), bulge_mm)
        if losses.max() < 0.2 * wanted:
            continue
        drawn = drawn.times(wanted * wanted / float(losses.max()))
        front, middle, back = (float(loss) for loss in _losses(body, scan, drawn, bulge_mm))
        if grade and grade_from_loss(max(front, middle, back)) != grade:
            continue
        if not grade or classify_shape(HeightLosses(front, middle, back)) == shape:
            return drawn, (front, middle, back)
    raise ValueError(f"No map of a '{shape}' fracture of grade {grade} was found for this body.")


def _losses(body: BodySurfaces, scan: _Scan, loss_map: LossMap, bulge_mm: float) -> FloatArray:
    """Anterior, middle and posterior loss of height, as fractions of the heights before."""
    upper, lower = loss_map.at(*body.fractions())
    size = body.thickness_mm
    box = replace(body.box, a_ant=body.box.a_ant + bulge_mm)
    after = replace(body, box=box, upper_mm=body.upper_mm - upper * size, lower_mm=body.lower_mm + lower * size)
    before_mm, after_mm = (np.array(one.heights(scan.case.volume.frame)) for one in (body, after))
    return np.asarray(1.0 - after_mm / before_mm)


@dataclass
class _Scan:
    """The scan while it is changed, in place, and what its slices and noise are like.

    Attributes:
        blur_mm: standard deviation of a slice's profile along s.
        noise_hu: standard deviation of the noise in the canal.
        noise_mm: standard deviations of the kernel that makes white noise look like it, along s and across.
    """

    case: StraightCase
    hu: Float32Array
    inside: BoolArray
    origin_mm: tuple[float, float, float]
    blur_mm: float
    noise_hu: float
    noise_mm: tuple[float, float]

    @staticmethod
    def of(case: StraightCase) -> _Scan:
        hu = np.array(case.volume.hu, dtype=np.float32)
        blur = max(BLUR_SHARE * max(case.source_spacing_mm), _SHARPEST_MM)
        return _Scan(case, hu, np.array(case.volume.inside), case.volume.origin_mm, blur, *_canal_noise(case, hu))

    def trace(
        self,
        box: BodyBox,
        below: BodyBox | None,
        above: Sequence[BodyBox],
        heights_mm: tuple[float | None, float | None, float | None],
    ) -> BodySurfaces:
        gaps = (box.s_inf - below.s_sup if below else 4.0, above[0].s_inf - box.s_sup if above else 4.0)
        return trace_surfaces(self.hu, self.origin_mm, self.case.volume.frame, box, gaps, heights_mm)

    def noise(self, shape: tuple[int, ...], rng: np.random.Generator) -> Float32Array:
        """Noise as the scan's own, HU."""
        along, across = self.noise_mm
        drawn = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (along, across, across))
        return np.asarray(drawn * np.float32(self.noise_hu / max(float(drawn.std()), 1e-6)), dtype=np.float32)


def _canal_noise(case: StraightCase, hu: Float32Array) -> tuple[float, tuple[float, float]]:
    """Standard deviation in the canal, HU, and the kernel of its correlation along s and across, mm."""
    r, a = case.volume.axis_mm("r"), case.volume.axis_mm("a")
    canal = hu[:, np.abs(a) <= 3.5][:, :, np.abs(r) <= 3.5]
    seen = np.asarray(case.volume.inside)[:, np.abs(a) <= 3.5][:, :, np.abs(r) <= 3.5].all(axis=(1, 2))
    fine = (canal - gaussian_filter(canal, 2.5))[seen]
    power = np.maximum((fine**2).mean(axis=(1, 2)), 1.0) if seen.any() else np.array([100.0])
    quiet = fine[power <= np.median(power)] if seen.any() else np.zeros((2, 2, 2))
    scale = max(float((quiet**2).mean()), 1e-3)
    lags = [float((quiet[1:] * quiet[:-1]).mean()) / scale, float((quiet[:, 1:] * quiet[:, :-1]).mean()) / scale]
    along, across = (float(np.sqrt(-0.25 / np.log(np.clip(lag, 0.05, 0.95)))) for lag in lags)
    return float(np.clip(np.sqrt((quiet**2).mean()), 4.0, 80.0)), (along, across)


@dataclass(frozen=True)
class _Moved:
    """The broken body, and mm ``(A, R)`` that the next bodies above sank; the last stands for all beyond."""

    body: BodySurfaces
    down_above_mm: list[FloatArray]


class _Break:
    """One body giving way: the displacement that follows from its loss map, and what is drawn anew."""

    def __init__(
        self,
        scan: _Scan,
        body: BodySurfaces,
        loss_map: LossMap,
        below: BodyBox | None,
        above: Sequence[BodyBox],
        bulge_mm: float,
        rng: np.random.Generator,
    ) -> None:
        self.scan, self.body, self.bulge_mm = scan, body, bulge_mm
        box = body.box
        self.size_mm = box.s_sup - box.s_inf
        self.floor_below = below.s_sup if below and below.s_sup < box.s_inf - 0.5 else box.s_inf - 4.0
        self.above = list(above)[: len(_TILT_KEPT)]
        x, _ = body.fractions()
        upper, lower = (field * body.thickness_mm for field in loss_map.at(*body.fractions()))
        outside = ~body.footprint
        self.upper = np.where(outside, gaussian_filter(upper, 2.0), upper)
        self.lower = np.where(outside, gaussian_filter(lower, 2.0), lower)
        self.reach = _reach(body)
        back = float(body.read(self.upper + self.lower, float(body.depths_mm[2])))
        self.sink_mm = max(back, 0.0) if back > 0.1 * self.size_mm else 0.0
        front = float(body.read(self.upper, float(body.depths_mm[0])))
        tilt = max(front - self.sink_mm, 0.0) * float(rng.uniform(0.6, 1.0))
        self.tilt_mm = tilt * np.clip(x, 0.0, 1.15)
        self.push_back_mm = float(rng.uniform(0.0, 0.35)) * self.sink_mm
        self.cortex = float(rng.uniform(0.6, 1.3))
        self.band_hu = float(rng.uniform(40.0, 220.0)) if rng.random() < 0.65 else 0.0
        self.band_mm = float(rng.uniform(1.5, 4.0))
        self.packing = float(rng.uniform(0.0, 0.7))

    def apply(self, rng: np.random.Generator) -> _Moved:
        body, scan = self.body, self.scan
        target = replace(body, upper_mm=body.upper_mm - self.upper, lower_mm=body.lower_mm + self.lower).with_middle()
        down = [self.sink_mm + kept * self.tilt_mm for kept in (*_TILT_KEPT[: len(self.above)], 0.0)]
        down += [down[-1]] * (len(_TILT_KEPT) + 1 - len(down))
        disc_hu = self._disc_hu()
        profiles = [self._measure_profile(side, disc_hu[side]) for side in (0, 1)]
        piece = self._displacement(down)
        first, last, squeeze = self._warp(piece)
        rows = slice(first, last)
        s = (scan.origin_mm[2] + np.arange(first, last, dtype=np.float32))[:, None, None]
        part = scan.hu[rows]
        noise = scan.noise(part.shape, rng)
        share = np.clip(1.0 - 1.0 / np.maximum(squeeze, 1.0) ** 2, 0.0, 1.0)
        blurred = gaussian_filter(part, (scan.blur_mm, 0.0, 0.0))
        part = part + share * (blurred - part)
        within = _soft(body.footprint)
        self._fill_discs(part, s, squeeze, within, target, down[0], disc_hu, noise)
        self._pack(part, s, within, target, rng)
        for side in (0, 1):
            self._draw_endplate(part, s, within, target, side, profiles[side], down[0], noise)
        scan.hu[rows] = np.where(scan.inside[rows], part, scan.hu[rows])
        box = replace(target.box, a_ant=target.box.a_ant + self.bulge_mm)
        return _Moved(replace(target, box=box).with_middle(), down)

    def _displacement(self, down: Sequence[FloatArray]) -> _FieldPiece:
        """Source arc lengths, per column, and how far above their target they lie."""
        box, body = self.body.box, self.body
        zero = np.zeros_like(self.upper)
        below = self.floor_below + _RIM * (box.s_inf - self.floor_below)
        knots: list[tuple[FloatArray, FloatArray]] = [
            (zero + below, zero),
            (body.lower_mm, -self.lower),
            (body.upper_mm, self.upper),
        ]
        last = box.s_sup
        for order, other in enumerate(self.above):
            floor = max(other.s_inf, last + 1.0)
            rim = _RIM * (floor - last)
            if order:
                knots.append((zero + last + rim, down[order - 1]))
            knots += [(zero + floor - rim, down[order])]
            last = max(other.s_sup, floor + 4.0)
        knots.append((zero + last + 5.0, zero + self.sink_mm))
        shifts = []
        for source, shift in knots:
            far = self.sink_mm * np.clip((source - box.s_inf + 4.0) / (self.size_mm + 8.0), 0.0, 1.0)
            shifts.append(self.reach * shift + (1.0 - self.reach) * far)
        return _FieldPiece([source for source, _ in knots], shifts)

    def _warp(self, piece: _FieldPiece) -> tuple[int, int, Float32Array]:
        """Shear the scan; the rows that changed, and how much their content is squeezed along s."""
        scan = self.scan
        count = len(scan.hu)
        first = max(int(np.floor(float(piece.sources[0].min()) - scan.origin_mm[2])) - 2, 0)
        last = count
        if not self.sink_mm:
            last = min(int(np.ceil(float(piece.sources[-1].max()) - scan.origin_mm[2])) + 3, count)
        s = (scan.origin_mm[2] + np.arange(first, last, dtype=np.float32))[:, None, None]
        u = piece.source_of(s)
        u = gaussian_filter(u - s, (1.0, 0.0, 0.0), mode="nearest") + s
        start = max(first - 3, 0)
        source = scan.hu[start : min(last + 40, count)]
        source = self._pushed(source, scan.origin_mm[2] + start)
        inside = scan.inside[start : start + len(source)]
        where = np.maximum(u - np.float32(scan.origin_mm[2] + start), 0.0)
        moved, seen = _sampled_along_s(source, inside, where)
        scan.hu[first:last] = moved
        scan.inside[first:last] = seen
        return first, last, np.asarray(np.gradient(u, axis=0), dtype=np.float32)

    def _pushed(self, source: Float32Array, s_from_mm: float) -> Float32Array:
        """The walls moved in the source: the front bulges at mid height, the upper back corner goes backward."""
        if not (self.bulge_mm or self.push_back_mm):
            return source
        box, body = self.body.box, self.body
        s = (s_from_mm + np.arange(len(source), dtype=np.float32))[:, None, None]
        a = body.a_mm.astype(np.float32)[None, :, None]
        r = body.r_mm.astype(np.float32)[None, None, :]
        side = np.exp(-0.5 * ((r - body.middle_r_mm) / (0.3 * (box.r_right - box.r_left))) ** 2)
        height = (s - 0.5 * (box.s_inf + box.s_sup)) / self.size_mm
        push = self.bulge_mm * _bump(height, 0.3) * np.exp(-0.5 * ((a - box.a_ant) / 5.0) ** 2)
        push = push - self.push_back_mm * _bump(height - 0.35, 0.25) * np.exp(-0.5 * ((a - box.a_post) / 4.0) ** 2)
        where = np.clip(a - push * side - body.a_mm[0], 0.0, source.shape[1] - 1.001)
        low = where.astype(np.int32)
        weight = (where - low).astype(np.float32)
        one, two = (np.take_along_axis(source, low + step, axis=1) for step in (0, 1))
        return np.asarray(one + weight * (two - one), dtype=np.float32)

    def _disc_hu(self) -> tuple[float, float]:
        """What the discs above and below hold, HU; a usual disc where none is resolved."""
        box, body = self.body.box, self.body
        x, y = body.fractions()
        core = (np.abs(x - 0.5) < 0.3) & (np.abs(y) < 0.5)
        found = []
        top = self.above[0].s_inf if self.above else box.s_sup + 4.0
        for low, high in ((box.s_sup, top), (self.floor_below, box.s_inf)):
            rows = self._rows(low + _RIM * (high - low), high - _RIM * (high - low))
            values = self.scan.hu[rows][:, core]
            found.append(float(np.clip(np.percentile(values, 30), 30.0, 120.0)) if values.size else 75.0)
        return found[0], found[1]

    def _rows(self, low: float, high: float) -> slice:
        first = max(round(low - self.scan.origin_mm[2]), 0)
        return slice(first, max(round(high - self.scan.origin_mm[2]) + 1, first))

    def _measure_profile(self, side: int, disc_hu: float) -> _Profile:
        """How bright the endplate is here, fitted on the scan, and changed as a fracture changes it."""
        body, scan = self.body, self.scan
        plate = (body.upper_mm, body.lower_mm)[side]
        sign = 1.0 if side == 0 else -1.0
        x, y = body.fractions()
        core = (np.abs(x - 0.5) < 0.3) & (np.abs(y) < 0.5) & body.footprint
        gap = (self.above[0].s_inf if self.above else body.box.s_sup + 4.0) - body.box.s_sup
        gap = gap if side == 0 else body.box.s_inf - self.floor_below
        out = np.arange(-5.0, min(3.0, 0.5 * gap) + 0.01, 0.5)
        k = plate[None, core] + sign * out[:, None] - scan.origin_mm[2]
        k = np.clip(k, 0.0, len(scan.hu) - 1.001)
        low = k.astype(int)
        columns = scan.hu[:, core]
        at = np.arange(columns.shape[1])[None]
        seen = columns[low, at] * (1.0 - k + low) + columns[low + 1, at] * (k - low)
        mean = seen.mean(axis=1)
        bump = _gauss(out + 0.5 * _CORTEX_MM, scan.blur_mm)
        design = np.stack([ndtr(-out / scan.blur_mm), bump], axis=1)
        step, area = np.linalg.lstsq(design, mean - disc_hu, rcond=None)[0]
        return _Profile(disc_hu, float(np.clip(area, 150.0, 900.0)) * self.cortex, float(max(step, 30.0)))

    def _fill_discs(
        self,
        part: Float32Array,
        s: Float32Array,
        squeeze: Float32Array,
        within: FloatArray,
        target: BodySurfaces,
        down: FloatArray,
        disc_hu: tuple[float, float],
        noise: Float32Array,
    ) -> None:
        """Disc where one is stretched, in place: it followed the endplate, and its texture is its own."""
        stretched = np.clip((1.0 / np.maximum(squeeze, 0.1) - 1.15) / 0.5, 0.0, 1.0)
        top = (self.above[0].s_inf if self.above else self.body.box.s_sup + 4.0) - down
        above = _ramp(s - target.upper_mm, 1.0) * _ramp(top - self.scan.blur_mm - s, 1.0)
        below = _ramp(target.lower_mm - s, 1.0) * _ramp(s - self.floor_below - self.scan.blur_mm, 1.0)
        for zone, value in ((above, disc_hu[0]), (below, disc_hu[1])):
            share = (zone * stretched * within).astype(np.float32)
            part += share * (np.float32(value) + noise - part)

    def _pack(
        self, part: Float32Array, s: Float32Array, within: FloatArray, target: BodySurfaces, rng: np.random.Generator
    ) -> None:
        """Impacted trabeculae: denser where more was lost, most of all below the endplate that came down; in place."""
        room = np.maximum(target.upper_mm - target.lower_mm, 1.0)
        lost = np.clip((self.upper + self.lower) / self.size_mm, 0.0, 0.7)
        if float(lost.max()) < 0.1:
            return
        body = within * _ramp(target.upper_mm - s, 1.5) * _ramp(s - target.lower_mm, 1.5)
        grain = 1.0 + 0.3 * _unit(gaussian_filter(rng.standard_normal(part.shape, dtype=np.float32), 1.5))
        part += np.float32(self.packing) * body * lost * np.clip(part, 0.0, 350.0)
        seen = float(np.hypot(0.5 * self.band_mm, self.scan.blur_mm))
        for plate, sign, own in ((target.upper_mm, 1.0, self.upper), (target.lower_mm, -1.0, self.lower)):
            depth = sign * (plate - s)
            band = np.exp(-0.5 * ((depth - np.minimum(self.band_mm, 0.4 * room)) / seen) ** 2)
            share = np.clip(own / max(float((self.upper + self.lower).max()), 1e-6), 0.0, 1.0)
            part += np.float32(self.band_hu * 0.5 * self.band_mm / seen) * body * band * share * grain

    def _draw_endplate(
        self,
        part: Float32Array,
        s: Float32Array,
        within: FloatArray,
        target: BodySurfaces,
        side: int,
        profile: _Profile,
        down: FloatArray,
        noise: Float32Array,
    ) -> None:
        """The cortical endplate, in place, so that the steepest fall lies on the target's surface."""
        plate, sign = ((target.upper_mm, 1.0), (target.lower_mm, -1.0))[side]
        slope = np.hypot(*np.gradient(gaussian_filter(plate, 0.7)))
        blur = np.hypot(self.scan.blur_mm, np.minimum(slope, 3.0) * _SHARPEST_MM)
        bone = self._bone_below(part, s, plate, sign, target)
        offset = profile.steepest_mm(blur)
        out = sign * (s - plate) + offset
        room = np.maximum(target.upper_mm - target.lower_mm, 2.0)
        top = (self.above[0].s_inf if self.above else self.body.box.s_sup + 4.0) - down
        gap = top - target.upper_mm if side == 0 else target.lower_mm - self.floor_below
        outer = np.clip(0.5 * gap, 0.8, 2.0 * blur + 1.0)
        inner = np.minimum(2.0 * blur + 1.0, 0.45 * room)
        zone = _ramp(outer + 0.8 - out, 1.0) * _ramp(out + inner + 1.0, 1.5) * within
        drawn = profile.disc_hu + (bone - profile.disc_hu) * ndtr(-out / blur)
        drawn = drawn + profile.area * _gauss(out + 0.5 * _CORTEX_MM, blur) + noise
        part += (zone * (drawn - part)).astype(np.float32)

    def _bone_below(
        self, part: Float32Array, s: Float32Array, plate: FloatArray, sign: float, target: BodySurfaces
    ) -> FloatArray:
        """The bone a few mm behind an endplate, smooth over the footprint, HU ``(A, R)``."""
        room = np.maximum(target.upper_mm - target.lower_mm, 2.0)
        depth = np.minimum(2.0 * self.scan.blur_mm + 2.0, 0.45 * room)
        near = np.exp(-0.5 * ((sign * (plate - s) - depth) / 1.0) ** 2)
        mean = (near * np.clip(part, -100.0, 900.0)).sum(axis=0) / np.maximum(near.sum(axis=0), 1e-6)
        weight = self.body.footprint.astype(np.float64)
        soft = gaussian_filter(weight, 2.0)
        return np.asarray(gaussian_filter(mean * weight, 2.0) / np.maximum(soft, 1e-3))


@dataclass(frozen=True)
class _Profile:
    """An endplate across: the disc beside it, the cortex as an area in HU mm, and how much denser the bone is."""

    disc_hu: float
    area: float
    step_hu: float

    def steepest_mm(self, blur_mm: FloatArray) -> FloatArray:
        """How far outside the surface of the bone the steepest fall lies, for every blur."""
        out = np.arange(-1.0, 4.0, 0.02)
        widths = np.linspace(float(blur_mm.min()), float(blur_mm.max()) + 1e-3, 12)
        found = []
        for width in widths:
            curve = self.step_hu * ndtr(-out / width) + self.area * _gauss(out + 0.5 * _CORTEX_MM, width)
            found.append(out[int(np.gradient(curve).argmin())])
        return np.asarray(np.interp(blur_mm, widths, found))


@dataclass(frozen=True)
class _FieldPiece:
    """A piecewise linear map whose knots are fields: source arc lengths and, per column, how far above the target."""

    sources: list[FloatArray]
    shifts: list[FloatArray]

    def source_of(self, s: Float32Array) -> Float32Array:
        """Source of every target; knots are made ascending first, and shifts go on beyond the ends."""
        sources = [self.sources[0]]
        for source in self.sources[1:]:
            sources.append(np.maximum(source, sources[-1] + 0.3))
        targets = [sources[0] - self.shifts[0]]
        for source, shift in zip(sources[1:], self.shifts[1:], strict=True):
            targets.append(np.maximum(source - shift, targets[-1] + 0.2))
        u = s + (sources[0] - targets[0]).astype(np.float32)
        for low in range(len(sources) - 1):
            share = (s - targets[low]) / (targets[low + 1] - targets[low])
            u = np.where(share > 0.0, sources[low] + share * (sources[low + 1] - sources[low]), u)
        return np.asarray(np.where(s > targets[-1], s + sources[-1] - targets[-1], u), dtype=np.float32)


def _reach(body: BodySurfaces) -> FloatArray:
    """1 over the footprint, falling to 0 where the displacement ends."""
    away = distance_transform_edt(~body.footprint)
    box = body.box
    a = body.a_mm[:, None] + 0.0 * body.r_mm[None]
    limit = np.where(a < box.a_post, _BEHIND_MM, np.where(a > 0.5 * (box.a_post + box.a_ant), _AHEAD_MM, _BESIDE_MM))
    beside = np.abs(body.r_mm[None] - body.middle_r_mm) > 0.5 * (box.r_right - box.r_left)
    limit = np.where(beside & (a >= box.a_post), np.minimum(limit, _BESIDE_MM), limit)
    return np.asarray(gaussian_filter(smooth(1.0 - away / limit), 1.0))


def _soft(footprint: BoolArray) -> FloatArray:
    """The footprint with an edge of about 2 mm that lies inside the walls."""
    return np.asarray(np.clip((distance_transform_edt(footprint) - 0.5) / 2.0, 0.0, 1.0))


def _sampled_along_s(hu: Float32Array, inside: BoolArray, where: Float32Array) -> tuple[Float32Array, BoolArray]:
    """Cubic convolution along the first axis (Keys 1981); what comes from beyond the rows is outside the view."""
    last = len(hu) - 1
    within = where <= last
    low = np.clip(np.floor(where), 0, last).astype(np.int32)
    t = np.clip(where - low, 0.0, 1.0).astype(np.float32)
    weights = (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    total = np.zeros_like(where)
    for step, weight in enumerate(weights, start=-1):
        total += weight * np.take_along_axis(hu, np.clip(low + step, 0, last), axis=0)
    seen = np.take_along_axis(inside, np.clip(low + (t > 0.5), 0, last), axis=0) & within
    return np.where(seen, total, np.float32(-1024.0)).astype(np.float32), seen


def _bump(away: FloatArray | Float32Array, width: float) -> FloatArray:
    return np.asarray(np.exp(-0.5 * (away / width) ** 2))


def _gauss(x: FloatArray, width: FloatArray | float) -> FloatArray:
    return np.asarray(np.exp(-0.5 * (x / width) ** 2) / (width * np.sqrt(2.0 * np.pi)))


def _ramp(distance: FloatArray | Float32Array, width: float) -> FloatArray:
    return np.asarray(np.clip(distance / width, 0.0, 1.0))


def _unit(field: Float32Array) -> Float32Array:
    return field / max(float(field.std()), 1e-6)
