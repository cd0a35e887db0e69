"""Deform real vertebrae in straight space: compression fractures, and what only looks like one.

A column-wise map along s moves the endplates; the tilt of the upper one is handed on to the vertebrae above through
their discs alone, so that no neighbor changes its height. A body is not squeezed as a whole: its core stays rigid, its
endplates are pressed into it, and what lies between vanishes in a seam under each endplate. So the texture of the core
is the scanner's own, in a fracture as in a body that keeps its height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.research.simulation.column_pieces import CORE, LOWER, UPPER, Piece, Seams, smooth
from VertebralFractureLib.research.simulation.fracture_shapes import CRUSH, WEDGE, Deformation
from VertebralFractureLib.research.simulation.noise_texture import Layers, blurred
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray

_ENDPLATE_MM = 1.6
BLUR_SHARE = 0.42
"""Standard deviation of a slice profile over the slice's thickness (a box has 0.29, with interpolation 0.41)."""
_REACH_MM = 14.0
DEPTHS = (0.88, 0.5, 0.12)
"""Where the anterior, middle and posterior height are read: 0 at the posterior, 1 at the anterior wall."""
_DISC_SHARES = ((1.0,), (0.6, 0.4), (0.5, 0.3, 0.2))


@dataclass(frozen=True)
class Simulated:
    """A deformed volume and where every body went, in the order of the ``boxes`` that were given.

    ``middle_mm``: (lower, upper) endplate at mid body. ``endplates_mm``: the same at the three depths ``DEPTHS``, as
    ``(2, 3)`` of lower and upper, for endplates that were level before. ``height_factors``: anterior, middle and
    posterior height after, relative to before.
    """

    hu: Float32Array
    inside: BoolArray
    middle_mm: tuple[tuple[float, float], ...]
    endplates_mm: tuple[FloatArray, ...]
    height_factors: tuple[tuple[float, float, float], ...]


def simulate(
    hu: Float32Array,
    inside: BoolArray,
    origin_mm: tuple[float, float, float],
    boxes: Sequence[BodyBox],
    deformations: Sequence[Deformation],
    rng: np.random.Generator,
    slice_mm: float = 1.0,
) -> Simulated:
    """Apply deformations to a straight volume of 1 mm voxels.

    Args:
        hu, inside: ``[k, j, i]`` along (s, a, r).
        origin_mm: straight (r, a, s) of voxel (0, 0, 0).
        boxes: every annotated body, caudal to cranial.
        deformations: at most one for each box; they are applied from the cranial to the caudal end, so that each
            still finds its box where it was annotated.
        rng: for the texture of the bands and the roughness of the endplates.
        slice_mm: thickness of the slices that the volume was made from.
    """
    layers = Layers.of(np.ascontiguousarray(hu, dtype=np.float32), inside, origin_mm, boxes)
    endplates = [np.repeat([[box.s_inf], [box.s_sup]], len(DEPTHS), axis=1) for box in boxes]
    factors = [(1.0, 1.0, 1.0) for _ in boxes]
    for deformation in sorted(deformations, key=lambda item: -item.box.s_inf):
        index = list(boxes).index(deformation.box)
        warp = _ColumnWarp(deformation, boxes[index + 1 :], boxes[index - 1] if index else None, rng, slice_mm)
        layers = warp.apply(layers, origin_mm, rng)
        at = warp.source_shift(np.array(DEPTHS), np.zeros(len(DEPTHS)))
        for above in range(index + 1, len(boxes)):
            endplates[above] -= warp.shift_of_above(at, above - index - 1)
        endplates[index] += np.stack([at.lower, -at.upper])
        lost = (at.upper + at.lower) / deformation.height_mm
        factors[index] = (1.0 - float(lost[0]), 1.0 - float(lost[1]), 1.0 - float(lost[2]))
    middle = tuple((float(plates[0, 1]), float(plates[1, 1])) for plates in endplates)
    return Simulated(layers.hu, layers.inside, middle, tuple(endplates), tuple(factors))


def simulate_field(
    field: FloatArray,
    origin_mm: tuple[float, float, float],
    boxes: Sequence[BodyBox],
    deformation: Deformation,
    rng: np.random.Generator,
    slice_mm: float = 1.0,
) -> FloatArray:
    """Move any smooth field with the tissue of one deformation, such as the distance from a body's surface.

    Args:
        field: ``[k, j, i]`` like the volume.
        rng: in the state in which ``simulate`` was given its own for this deformation alone.

    The other arguments and the map are those of ``simulate``; densities, which are no part of the map, are left out.
    """
    plain = replace(deformation, band_hu=0.0, density_gain=0.0)
    index = list(boxes).index(deformation.box)
    warp = _ColumnWarp(plain, boxes[index + 1 :], boxes[index - 1] if index else None, rng, slice_mm)
    structure = np.ascontiguousarray(field, dtype=np.float32)
    layers = Layers(structure, np.zeros_like(structure), np.ones(structure.shape, dtype=np.bool_), 1.0, 1.0)
    return np.asarray(warp.apply(layers, origin_mm, rng).structure, dtype=np.float64)


@dataclass(frozen=True)
class _Columns:
    """Per column: mm that the upper endplate sinks, of that the rigid part, and mm that the lower endplate rises."""

    upper: FloatArray
    rigid: FloatArray
    lower: FloatArray


class _ColumnWarp:
    """The map of one deformation, from a target voxel to where its content comes from."""

    def __init__(
        self,
        deformation: Deformation,
        above: Sequence[BodyBox],
        below: BodyBox | None,
        rng: np.random.Generator,
        slice_mm: float,
    ) -> None:
        self.deformation, self.below, self.slice_mm = deformation, below, slice_mm
        self.endplate_mm = min(max(_ENDPLATE_MM, 0.45 * slice_mm), 0.15 * deformation.height_mm)
        shares = _DISC_SHARES[int(rng.integers(len(_DISC_SHARES)))]
        self.above = list(above)[: len(shares) if deformation.loss else 1]
        kept = 1.0 - np.cumsum(shares)
        self.kept = [1.0, *kept[: len(self.above) - 1]] if self.above else []
        posterior = deformation.loss * deformation.height_mm if deformation.shape == CRUSH else 0.0
        self.sink_mm = 0.85 * posterior
        center = self.source_shift(np.array([0.5]), np.zeros(1))
        self.middle_sinks_mm = 0.5 * float(center.upper[0] - center.lower[0])

    def source_shift(self, t: FloatArray, q: FloatArray) -> _Columns:
        """``t``: 0 at the posterior, 1 at the anterior wall; ``q``: -1 to 1 from wall to wall."""
        item = self.deformation
        depth = np.clip(t, 0.0, 1.0)
        width = np.clip(q, -1.0, 1.0)
        lost = item.loss * item.height_mm * (1.0 + item.lateral_tilt * width)
        flat_rim = 1.0 - 0.85 * np.abs(width) ** 4
        skewed = depth ** (np.log(0.5) / np.log(item.bowl_center))
        away = np.abs(2.0 * skewed - 1.0)
        bowl = (1.0 - away ** (2.5 - 1.5 * item.valley)) * flat_rim
        rigid, upper, lower = np.zeros_like(depth), np.zeros_like(depth), np.zeros_like(depth)
        if item.shape == WEDGE:
            front = (1.0 - item.bend_share) * lost * np.clip(depth / 0.9, 0.0, 1.0) ** item.wedge_power
            upper, lower = item.upper_share * front, (1.0 - item.upper_share) * front
            rigid = (1.0 - item.bend_share) * lost * item.upper_share * depth
        elif item.shape == CRUSH:
            rigid = self.sink_mm + (lost - self.sink_mm) * depth
            upper = rigid.copy()
        else:
            upper, lower = item.upper_share * lost * bowl, (1.0 - item.upper_share) * lost * bowl
        upper = upper + item.concavity * item.height_mm * bowl
        upper = upper + item.break_mm * _edge(depth - item.break_at, 0.08) * flat_rim
        for dent_t, dent_q, dent_mm, radius_mm in item.dents:
            dt = (depth - dent_t) * (item.box.a_ant - item.box.a_post)
            dq = (width - dent_q) * 0.5 * (item.box.r_right - item.box.r_left)
            upper = upper + dent_mm * np.exp(-0.5 * (dt**2 + dq**2) / (0.6 * radius_mm) ** 2)
        return _Columns(upper, rigid, lower)

    def shift_of_above(self, columns: _Columns, order: int) -> FloatArray:
        """mm that the ``order``-th body above sinks in each column (0 = the next one)."""
        kept = self.kept[order] if order < len(self.kept) else 0.0
        return self.sink_mm + kept * (columns.rigid - self.sink_mm)

    def _knots_below(self, columns: _Columns) -> tuple[list[float], list[FloatArray]]:
        """Source arc lengths from the body below to the lower endplate and, per column, how far above their target."""
        box = self.deformation.box
        floor = self.below.s_sup if self.below is not None and self.below.s_sup < box.s_inf - 1.0 else box.s_inf - 4.0
        source = [floor, box.s_inf, box.s_inf + self.endplate_mm]
        return source, [np.zeros_like(columns.lower), -columns.lower, -columns.lower]

    def _knots_above(self, columns: _Columns) -> tuple[list[float], list[FloatArray]]:
        """The same from the upper endplate to the last vertebra that the deformation moves."""
        box = self.deformation.box
        source, shift = [box.s_sup - self.endplate_mm, box.s_sup], [columns.upper, columns.upper]
        last = box.s_sup
        for order, above in enumerate(self.above):
            here = self.shift_of_above(columns, order)
            floor_above = max(above.s_inf, last + 1.0)
            rim = 0.3 * (floor_above - last)
            source += [last + rim, floor_above - rim, floor_above, max(above.s_sup, floor_above + 4.0)]
            shift += [shift[-1], here, here, here]
            last = source[-1]
        source.append(last + 6.0)
        shift.append(np.zeros_like(columns.upper) + self.sink_mm)
        return source, shift

    def apply(self, layers: Layers, origin_mm: tuple[float, float, float], rng: np.random.Generator) -> Layers:
        box, item = self.deformation.box, self.deformation
        size_s, size_a, size_r = layers.structure.shape
        a = origin_mm[1] + np.arange(size_a, dtype=np.float64)[:, None]
        r = origin_mm[0] + np.arange(size_r, dtype=np.float64)[None, :]
        t = (a - box.a_post) / (box.a_ant - box.a_post) + 0.0 * r
        q = (2.0 * r - box.r_left - box.r_right) / (box.r_right - box.r_left) + 0.0 * a
        columns = self.source_shift(t, q)
        if item.roughness_mm > 0.0:
            rough = item.roughness_mm * _rough((2, size_a, size_r), rng)
            columns = _Columns(columns.upper + rough[0], columns.rigid, columns.lower + 0.5 * rough[1])
        fade = _fade(-np.minimum(a - box.a_post, 0.0), 5.0) * _fade(np.maximum(a - box.a_ant, 0.0), 25.0)
        fade = fade * _fade(
            np.maximum(np.abs(r - 0.5 * (box.r_left + box.r_right)) - 0.5 * (box.r_right - box.r_left), 0.0), _REACH_MM
        )
        below, above = (
            Piece(
                source,
                [fade * inner + (1.0 - fade) * self._far_shift(at) for at, inner in zip(source, shift, strict=True)],
            )
            for source, shift in (self._knots_below(columns), self._knots_above(columns))
        )
        first = max(int(np.floor(below.source[0] - origin_mm[2])) - 2, 0)
        last = size_s if self.sink_mm else min(int(np.ceil(above.source[-1] - origin_mm[2])) + 2, size_s)
        if first >= last:
            return layers
        part, u = self._moved(layers, origin_mm, (first, last), fade, below, above)
        structure = _blurred_where_squeezed(part.structure, u, BLUR_SHARE * max(self.slice_mm, 1.0))
        lost = np.clip((columns.upper + columns.lower) / item.height_mm, 0.0, 1.0)
        structure = structure + self._density(structure, u, t, q, lost, rng)
        return layers.with_rows(first, replace(part, structure=structure))

    def _moved(
        self,
        layers: Layers,
        origin_mm: tuple[float, float, float],
        rows: tuple[int, int],
        fade: FloatArray,
        below: Piece,
        above: Piece,
    ) -> tuple[Layers, Float32Array]:
        """The rows after the map, and the arc length that each voxel comes from.

        Below the lower seam and above the upper one a voxel has one source; between, up to three are blended.
        """
        _, size_a, size_r = layers.structure.shape
        a = (origin_mm[1] + np.arange(size_a, dtype=np.float32))[None, :, None]
        r = (origin_mm[0] + np.arange(size_r, dtype=np.float32))[None, None, :]
        seams = Seams.of(below.target(-1), above.target(0), self.deformation.seams_mm)
        ends = [int(np.clip(np.ceil(end - origin_mm[2]), *rows)) for end in (seams.first_mm, seams.last_mm)]
        parts, arcs = [], []
        pieces: tuple[tuple[int, int, tuple[str, ...]], ...] = (
            (rows[0], ends[0], (LOWER,)),
            (ends[0], ends[1], (LOWER, CORE, UPPER)),
            (ends[1], rows[1], (UPPER,)),
        )
        for start, stop, among in pieces:
            if start >= stop:
                continue
            s = (origin_mm[2] + np.arange(start, stop, dtype=np.float32))[:, None, None]
            copies = []
            for which, share in seams.shares(s).items():
                if which in among:
                    u = self._source(which, s, fade, below, above)
                    found = layers.sampled(u - origin_mm[2], a + self._push(a, r, u) - origin_mm[1])
                    copies.append((share, u, found))
            if len(copies) == 1:
                parts.append(copies[0][2])
                arcs.append(copies[0][1])
            else:
                parts.append(layers.blended([(share, found) for share, _, found in copies]))
                arcs.append(np.asarray(sum(share * u for share, u, _ in copies), dtype=np.float32))
        structure, texture, inside = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("structure", "texture", "inside")
        )
        return replace(layers, structure=structure, texture=texture, inside=inside), np.concatenate(arcs)

    def _source(self, which: str, s: Float32Array, fade: FloatArray, below: Piece, above: Piece) -> Float32Array:
        """Where the content of a target comes from, if it belongs to the lower endplate, the core or the upper one.

        The middle stays the middle, where the basivertebral veins run; far from the body the core telescopes,
        so that the laminae are not cut.
        """
        if which == LOWER:
            return below.source_of(s)
        if which == UPPER:
            return above.source_of(s)
        knots = np.array([below.source[-1], above.source[0]])
        far = np.array([self._far_shift(knot) for knot in knots])
        telescoped = np.interp(s, knots - far, far)
        item = self.deformation
        middle = item.box.s_inf + item.box.s_sup - 2.0 * s - self.middle_sinks_mm
        here = (middle if item.core_flipped else self.middle_sinks_mm) + item.core_shift_mm
        return np.asarray(s + fade * here + (1.0 - fade) * telescoped, dtype=np.float32)

    def _far_shift(self, knot: float) -> float:
        """Away from the body the stack sinks evenly over the body's own length, which telescopes the laminae."""
        box = self.deformation.box
        return self.sink_mm * float(np.clip((knot - box.s_inf + 4.0) / (box.s_sup - box.s_inf + 8.0), 0.0, 1.0))

    def _push(self, a: Float32Array, r: Float32Array, u: Float32Array) -> Float32Array:
        """mm to add to a: the upper corners move outward, into the canal and forward."""
        box, item = self.deformation.box, self.deformation
        if item.retropulsion_mm == item.bulge_mm == item.buckle_mm == 0.0:
            return np.zeros_like(u)
        corner = np.exp(-0.5 * ((u - box.s_sup + 4.0) / 4.5) ** 2)
        side = np.exp(-0.5 * ((r - 0.5 * (box.r_left + box.r_right)) / 9.0) ** 2)
        back = item.retropulsion_mm * np.exp(-0.5 * ((a - box.a_post) / 4.0) ** 2)
        wall = np.exp(-0.5 * ((a - box.a_ant) / 4.5) ** 2)
        kink = np.exp(-0.5 * ((u - box.s_sup + 0.35 * item.height_mm) / 1.8) ** 2)
        pushed = side * (corner * (back - item.bulge_mm * wall) - item.buckle_mm * kink * wall)
        return np.asarray(pushed, dtype=np.float32)

    def _density(
        self,
        values: Float32Array,
        u: Float32Array,
        t: FloatArray,
        q: FloatArray,
        lost: FloatArray,
        rng: np.random.Generator,
    ) -> Float32Array:
        box, item = self.deformation.box, self.deformation
        if item.band_hu == 0.0 and item.density_gain == 0.0:
            return np.zeros_like(values)
        body = _edge(t, 0.06) * _edge(1.0 - t, 0.06) * _edge(1.0 - np.abs(q), 0.12)
        body = body * _edge(u - box.s_inf, 1.5) * _edge(box.s_sup - u, 1.5)
        seen_mm = float(np.hypot(item.band_width_mm, BLUR_SHARE * self.slice_mm))
        band = np.exp(-0.5 * ((box.s_sup - item.band_depth_mm - u) / seen_mm) ** 2) * (item.band_width_mm / seen_mm)
        where = 0.35 + 0.65 * lost / max(float(lost.max()), 1e-6) if item.loss > 0.1 else np.ones_like(lost)
        texture = _texture(values.shape, rng)
        bone = np.clip(values, 0.0, 400.0)
        gain = item.density_gain * lost * bone
        return np.asarray(body * (item.band_hu * band * where * texture + gain), dtype=np.float32)


def _fade(distance: FloatArray, reach: float) -> FloatArray:
    """1 at distance 0, 0 from ``reach`` on, smooth."""
    return smooth(1.0 - distance / reach)


def _edge(value: FloatArray | Float32Array, width: float) -> FloatArray:
    return np.asarray(np.clip(value / width, 0.0, 1.0))


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> Float32Array:
    """Random factors around 1 that vary over about 4 mm."""
    coarse = rng.normal(1.0, 0.35, [n // 4 + 2 for n in shape]).astype(np.float32)
    return _stretched(coarse, shape, range(len(shape)))


def _rough(shape: tuple[int, int, int], rng: np.random.Generator) -> Float32Array:
    """Independent maps ``shape[1:]``, as many as ``shape[0]``, of mean 0 and standard deviation about 1 over 4 mm."""
    coarse = rng.normal(0.0, 1.5, (shape[0], shape[1] // 4 + 2, shape[2] // 4 + 2)).astype(np.float32)
    return _stretched(coarse, shape, (1, 2))


def _stretched(coarse: Float32Array, shape: tuple[int, ...], axes: Sequence[int]) -> Float32Array:
    """Linear interpolation of values 4 voxels apart."""
    for axis in axes:
        count = shape[axis]
        where = np.arange(count, dtype=np.float32) / 4.0
        low = where.astype(int)
        weight = (where - low).reshape([-1 if d == axis else 1 for d in range(3)])
        coarse = np.take(coarse, low, axis) * (1.0 - weight) + np.take(coarse, low + 1, axis) * weight
    return coarse


def _blurred_where_squeezed(values: Float32Array, u: Float32Array, sigma: float) -> Float32Array:
    """The slice profile given back: content squeezed by a factor c keeps 1 / c of its blur; mm, 1 mm voxels."""
    squeeze = np.gradient(u, axis=0)
    share = np.clip(1.0 - 1.0 / np.maximum(squeeze, 1.0) ** 2, 0.0, 1.0)
    return np.asarray(values + share * (blurred(values, sigma) - values), dtype=np.float32)
