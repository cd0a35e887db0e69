"""``BodySurface``: the surface of one vertebral body below the size of a voxel, and everything that is read from it.

It is kept as the signed distance in mm on a block around the body (``surface_input``), which gives the outline on any
plane, walls and endplates, landmarks, a solid, and how sure each of them is. Imports torch inside its functions only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.thresholds import ENDPLATES, SURFACES
from VertebralFractureLib.types import Float32Array, FloatArray
from VertebralFractureLib.vertebrae.endplates import BodyShape, shape_of_curves
from VertebralFractureLib.vertebrae.mid_plane import MidPlane
from VertebralFractureLib.vertebrae.surface_input import (
    SHAPE,
    STEP_MM,
    BodyBlock,
    block_axes_mm,
    build_surface_input,
)
from VertebralFractureLib.volume.sampling import sample_linear

if TYPE_CHECKING:
    from VertebralFractureLib.vertebrae.surface_network import SurfaceModel

_FAR_MM = 100.0
_LEAST_COLUMNS = 4
_OUTLINE_POINTS = 72


@dataclass(frozen=True)
class BodySurface:
    """The surface of one body.

    Attributes:
        block: where it lies in straight space.
        distance_mm: float32 ``SHAPE`` along (s, a, r): signed distance, negative inside; exact within about 4 mm.
        scale_mm: float32, same shape: how far off the distance may be (mean absolute error).
    """

    block: BodyBlock
    distance_mm: Float32Array
    scale_mm: Float32Array

    def sample(self, points: FloatArray) -> FloatArray:
        """Signed distance in mm at straight points ``(..., 3)`` (r, a, s); 100 mm outside the block."""
        index = self._index(self._local(points))
        within = np.all((index >= 0.0) & (index <= np.array(SHAPE[::-1]) - 1.0), axis=-1)
        return np.where(within, sample_linear(self.distance_mm, index), _FAR_MM)

    def _local(self, points: FloatArray) -> FloatArray:
        return np.asarray(self.block.plane.to_plane(points) - np.array([0.0, self.block.a_mm, self.block.s_mm]))

    @staticmethod
    def _index(local: FloatArray) -> FloatArray:
        """Voxel (i, j, k) of points (r, a, s) from the block's middle."""
        return np.asarray(local / np.array(STEP_MM[::-1]) + 0.5 * (np.array(SHAPE[::-1]) - 1.0))

    def measure(self, landmark_outward_mm: Sequence[float] = (0.0, 0.0, 0.0)) -> SurfaceMeasures | None:
        """Walls, endplates and landmarks on the mid plane; None where the block's middle is in no body.

        Args:
            landmark_outward_mm: added to the anterior, middle and posterior landmark, away from the body.
        """
        s, a, _ = block_axes_mm()
        plane, scale = _on_mid_plane(self.distance_mm), _on_mid_plane(self.scale_mm)
        core = _core(plane, s, a)
        if core is None or core.walls[1] - core.walls[0] < ENDPLATES.minimum_depth_mm:
            return None
        traced = _trace_leaning(plane, core, _tilt(plane, core, s, a))
        if len(traced) < _LEAST_COLUMNS:
            return None
        upper, lower = traced[:, :2], traced[:, 2:]
        low, high = core.extent
        to_straight = np.array([self.block.a_mm, self.block.s_mm])
        walls = (core.walls[0] + self.block.a_mm, core.walls[1] + self.block.a_mm)
        shape = shape_of_curves(upper + to_straight, lower + to_straight, walls, high - low)
        outward = np.array([*landmark_outward_mm, *(-mm for mm in landmark_outward_mm)])
        shape = replace(shape, landmarks=shape.landmarks + np.stack([np.zeros(6), outward], axis=1))
        first = np.array([a[0], s[0]])
        rows = np.arange(np.ceil(low), high)
        back, front = (np.stack([np.full(len(rows), wall), rows], axis=1) for wall in core.walls)
        scales = [float(np.median(sample_linear(scale, edge - first))) for edge in (upper, lower, back, front)]
        return SurfaceMeasures(
            shape,
            (low + self.block.s_mm, high + self.block.s_mm),
            self._lateral_walls(core.middle_s, 0.5 * sum(core.walls)),
            *scales,
        )

    def _lateral_walls(self, middle_s: float, middle_a: float) -> tuple[float, float]:
        """Left (negative) and right wall at mid height and depth, mm from the plane."""
        s, a, r = block_axes_mm()
        rows, columns = np.abs(s - middle_s) <= SURFACES.strip_mm, np.abs(a - middle_a) <= SURFACES.strip_mm
        profile = np.asarray(self.distance_mm[np.ix_(rows, columns)].mean(axis=(0, 1)), dtype=np.float64)
        start = int(np.where(np.abs(r) <= SURFACES.lateral_seed_mm, profile, np.inf).argmin())
        right, left = _crossing(r, profile, start), _crossing(-r[::-1], profile[::-1], len(r) - 1 - start)
        return -(left if left is not None else r[-1]), right if right is not None else float(r[-1])

    def outline(self, middle: tuple[float, float]) -> FloatArray | None:
        """The mid-sagittal outline ``(72, 2)`` of (a, s), from the anterior upper corner over the top backward.

        Where rays from ``middle``, 5 degrees apart, first leave the body; None where one never does, or ``middle``
        lies outside.
        """
        s, a, _ = block_axes_mm()
        plane = _on_mid_plane(self.distance_mm)
        angles = 0.25 * np.pi + np.linspace(0.0, 2.0 * np.pi, _OUTLINE_POINTS, endpoint=False)
        radius = np.arange(0.0, 0.5 * np.hypot(SHAPE[0] * STEP_MM[0], SHAPE[1] * STEP_MM[1]), 0.25)
        at_a = middle[0] - self.block.a_mm + np.cos(angles)[:, None] * radius
        at_s = middle[1] - self.block.s_mm + np.sin(angles)[:, None] * radius
        found = sample_linear(plane, np.stack([at_a - a[0], at_s - s[0]], axis=-1))
        ends = [_crossing(radius, ray, 0) for ray in found]
        known = np.array([np.nan if end is None else end for end in ends])
        if np.isnan(known).any():
            return None
        return np.stack([middle[0] + np.cos(angles) * known, middle[1] + np.sin(angles) * known], axis=1)


@dataclass(frozen=True)
class SurfaceMeasures:
    """What a surface says of its body on the mid plane, mm in straight space.

    Attributes:
        shape: walls and landmarks.
        extent_mm: s of the lower and the upper endplate at mid depth.
        lateral_mm: left (negative) and right wall from the plane, at mid height.
        upper_scale_mm, lower_scale_mm: how far off each endplate may be, median over its depth.
        back_scale_mm, front_scale_mm: the same of the posterior and the anterior wall, over its height.
    """

    shape: BodyShape
    extent_mm: tuple[float, float]
    lateral_mm: tuple[float, float]
    upper_scale_mm: float
    lower_scale_mm: float
    back_scale_mm: float
    front_scale_mm: float

    @property
    def is_unsure(self) -> bool:
        """Whether an endplate is so hard to see that heights between them are doubtful."""
        return max(self.upper_scale_mm, self.lower_scale_mm) >= SURFACES.unsure_from_mm

    @property
    def has_unsure_wall(self) -> bool:
        """Whether the back or the front is so hard to see that it is doubtful where the heights stand."""
        return max(self.back_scale_mm, self.front_scale_mm) >= SURFACES.wall_unsure_from_mm

    @property
    def height_sd_mm(self) -> float:
        """Standard deviation of a height, from the scales of Laplace distributions of both endplates."""
        return math.sqrt(2.0) * math.hypot(self.upper_scale_mm, self.lower_scale_mm)


def compute_surfaces(spine: StraightenedVolume, blocks: Sequence[BodyBlock], model: SurfaceModel) -> list[BodySurface]:
    """The surfaces of the bodies that the blocks mean, in the 1 mm straightened volume."""
    import torch

    from VertebralFractureLib.torch_arrays import to_array, to_tensor

    surfaces: list[BodySurface] = []
    for first in range(0, len(blocks), SURFACES.at_once):
        some = blocks[first : first + SURFACES.at_once]
        pictures = to_tensor(np.stack([build_surface_input(spine, block) for block in some]))
        with torch.inference_mode():
            answer = model.network(pictures.to(model.device).contiguous(memory_format=torch.channels_last_3d))
        for block, one in zip(some, to_array(answer.float()), strict=True):
            surfaces.append(BodySurface(block, one[0], one[1]))
    return surfaces


def block_of(plane: MidPlane, middle_a: float, extent_mm: tuple[float, float]) -> BodyBlock:
    """The block around a body on its plane, which is taken at the body's height and stays unturned along s."""
    low, high = extent_mm
    return BodyBlock(plane.at(0.5 * (low + high)), middle_a, 0.5 * (low + high), high - low)


@dataclass(frozen=True)
class _Core:
    """Endplates at mid depth and walls at mid height, mm from the block's middle."""

    extent: tuple[float, float]
    walls: tuple[float, float]

    @property
    def middle_s(self) -> float:
        return 0.5 * (self.extent[0] + self.extent[1])


def _core(plane: FloatArray, s: FloatArray, a: FloatArray) -> _Core | None:
    """Extent and walls of the body in the middle, each read where the other has its middle."""
    seed = _deepest(plane, s, a)
    if seed is None:
        return None
    middle_a, core = float(a[seed[1]]), None
    for _ in range(2):
        column = plane[:, int(np.abs(a - middle_a).argmin())]
        ends = _both_ways(s, column, int(column.argmin()))
        if ends is None:
            return None
        middle_s = 0.5 * (ends[0] + ends[1])
        band = np.abs(s - middle_s) <= max(0.2 * (ends[1] - ends[0]), 0.5)
        profile = np.asarray(plane[band].mean(axis=0))
        walls = _both_ways(
            a, profile, int(np.where(np.abs(a - middle_a) <= SURFACES.seed_mm, profile, np.inf).argmin())
        )
        if walls is None:
            return None
        core, middle_a = _Core(ends, walls), 0.5 * (walls[0] + walls[1])
    return core


def _on_mid_plane(values: Float32Array) -> FloatArray:
    """Mean of the block's values ``SHAPE`` over the strip beside the mid plane, ``(s, a)``."""
    strip = np.abs(block_axes_mm()[2]) <= SURFACES.strip_mm
    return np.asarray(values[:, :, strip].mean(axis=-1), dtype=np.float64)


def _deepest(plane: FloatArray, s: FloatArray, a: FloatArray) -> tuple[int, int] | None:
    """Row and column of the deepest point near the block's middle; None where that is outside."""
    near = (np.abs(s) <= SURFACES.seed_mm)[:, None] & (np.abs(a) <= SURFACES.seed_mm)[None]
    at = np.unravel_index(int(np.where(near, plane, np.inf).argmin()), plane.shape)
    return (int(at[0]), int(at[1])) if plane[at] < 0.0 else None


def _crossing(x: FloatArray, distance: FloatArray, start: int) -> float | None:
    """Where the distance first leaves the body going up from index ``start``; None where it stays inside, or starts
    outside."""
    if distance[start] >= 0.0:
        return None
    outside = np.flatnonzero(distance[start:] >= 0.0)
    if len(outside) == 0:
        return None
    at = start + int(outside[0])
    share = distance[at - 1] / (distance[at - 1] - distance[at])
    return float(x[at - 1] + share * (x[at] - x[at - 1]))


def _both_ways(x: FloatArray, distance: FloatArray, start: int) -> tuple[float, float] | None:
    """Where the distance leaves the body going down and going up from index ``start``."""
    high, low = _crossing(x, distance, start), _crossing(-x[::-1], distance[::-1], len(x) - 1 - start)
    return None if high is None or low is None else (-low, high)


def _tilt(plane: FloatArray, core: _Core, s: FloatArray, a: FloatArray) -> float:
    """By how many mm the endplates rise per mm of a, from the columns that a leaning wall does not cut."""
    back, front = core.walls
    margin = SURFACES.tilt_from * (front - back)
    columns = np.flatnonzero((a >= back + margin) & (a <= front - margin))
    ends = [(a[j], both) for j in columns if (both := _trace(plane[:, j], s, core.middle_s)) is not None]
    if len(ends) < _LEAST_COLUMNS:
        return 0.0
    x = np.array([at for at, _ in ends])
    middle = np.array([0.5 * (low + high) for _, (low, high) in ends])
    return float(np.clip(np.polyfit(x, middle, 1)[0], -ENDPLATES.steepest, ENDPLATES.steepest))


def _trace_leaning(plane: FloatArray, core: _Core, tilt: float) -> FloatArray:
    """(a, s) of the upper and of the lower endplate ``(n, 4)`` on lines that lean with the body, 1 mm apart.

    Upright columns of a leaning body would leave it through a wall before they come to its endplate.
    """
    s, a, _ = block_axes_mm()
    at = np.arange(np.ceil(core.walls[0]), core.walls[1])
    leaning_a = at[None] - tilt * (s[:, None] - core.middle_s)
    index = np.stack([leaning_a - a[0], np.broadcast_to((s - s[0])[:, None], leaning_a.shape)], axis=-1)
    sheared = sample_linear(plane, index)
    points = []
    for column, start in enumerate(at):
        ends = _trace(sheared[:, column], s, core.middle_s)
        if ends is not None:
            low, high = ends
            points.append((start - tilt * (high - core.middle_s), high, start - tilt * (low - core.middle_s), low))
    return np.array(points).reshape(-1, 4)


def _trace(column: FloatArray, s: FloatArray, middle_s: float) -> tuple[float, float] | None:
    """s of the lower and upper endplate in one column, from its deepest point near mid height outward."""
    return _both_ways(s, column, int(np.where(np.abs(s - middle_s) <= SURFACES.seed_mm, column, np.inf).argmin()))
