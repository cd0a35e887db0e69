"""The surfaces of one vertebral body in straight space: its endplates as height fields over its footprint.

An endplate lies where the reference readers put it: at the steepest fall from bone to disc. Landmarks follow the
readers' rule too: the median of a strip 5 mm deep and 6 mm wide, 3 mm inside the posterior wall, in the middle, and
3.5 mm inside the anterior wall.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from VertebralFractureLib.cpr.frame import ReformatFrame
from VertebralFractureLib.research.datasets import BodyBox
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray

_POSTERIOR_INSET_MM, _ANTERIOR_INSET_MM = 3.0, 3.5
_STRIP_A_MM, _STRIP_R_MM = 2.5, 3.0
_SMOOTH_MM = 2.5
_WIDTHS_MM = (3.0, 2.0, 1.5)
"""How far from the surface before an edge is looked for, one pass after the other."""


@dataclass(frozen=True)
class BodySurfaces:
    """Both endplates of a body, over every column of the volume that it lies in.

    Attributes:
        box: walls at mid height, and where the endplates are at mid depth; straight mm.
        a_mm, r_mm: of the columns, ``(A,)`` and ``(R,)``.
        upper_mm, lower_mm: s of the endplates ``(A, R)``; beyond the footprint they go on without meaning.
        footprint: ``(A, R)``, the columns that the body covers.
    """

    box: BodyBox
    a_mm: FloatArray
    r_mm: FloatArray
    upper_mm: FloatArray
    lower_mm: FloatArray
    footprint: BoolArray

    @property
    def depths_mm(self) -> FloatArray:
        """a of the anterior, the middle and the posterior landmarks."""
        box = self.box
        return np.array(
            [box.a_ant - _ANTERIOR_INSET_MM, 0.5 * (box.a_ant + box.a_post), box.a_post + _POSTERIOR_INSET_MM]
        )

    @property
    def middle_r_mm(self) -> float:
        return 0.5 * (self.box.r_left + self.box.r_right)

    @property
    def thickness_mm(self) -> FloatArray:
        """How far the endplates are apart in every column ``(A, R)``, smooth, about as in the middle beyond."""
        middle = self.box.s_sup - self.box.s_inf
        apart = gaussian_filter(self.upper_mm - self.lower_mm, _SMOOTH_MM)
        return np.asarray(np.clip(apart, 0.6 * middle, 1.4 * middle))

    def landmarks(self) -> FloatArray:
        """Straight (r, a, s) ``(6, 3)``: anterior, middle, posterior of the upper endplate, then of the lower one."""
        points = [
            (self.middle_r_mm, float(a), self.read(plate, float(a)))
            for plate in (self.upper_mm, self.lower_mm)
            for a in self.depths_mm
        ]
        return np.array(points)

    def read(self, plate_mm: FloatArray, a_mm: float) -> float:
        """Median of a field ``(A, R)`` over the strip around a landmark."""
        rows = np.abs(self.a_mm - a_mm) <= _STRIP_A_MM
        columns = np.abs(self.r_mm - self.middle_r_mm) <= _STRIP_R_MM
        return float(np.median(plate_mm[np.ix_(rows, columns)].mean(axis=1)))

    def heights(self, frame: ReformatFrame) -> tuple[float, float, float]:
        """Anterior, middle and posterior height: straight 3D distances of the landmarks, mm."""
        points = frame.straight_to_ras(self.landmarks())
        front, middle, back = np.linalg.norm(points[:3] - points[3:], axis=1)
        return float(front), float(middle), float(back)

    def moved(self, down_mm: FloatArray) -> BodySurfaces:
        """The body after its columns sank by ``down_mm`` ``(A, R)``."""
        upper, lower = self.upper_mm - down_mm, self.lower_mm - down_mm
        return replace(self, upper_mm=upper, lower_mm=lower).with_middle()

    def with_middle(self) -> BodySurfaces:
        """The same with the box's endplates read from the fields."""
        at = float(self.depths_mm[1])
        low, high = self.read(self.lower_mm, at), self.read(self.upper_mm, at)
        return replace(self, box=replace(self.box, s_inf=low, s_sup=high))

    def fractions(self) -> tuple[FloatArray, FloatArray]:
        """x (0 at the posterior, 1 at the anterior wall), y (-1 to 1 from wall to wall) of the columns ``(A, R)``."""
        return footprint_fractions(self.box, self.a_mm, self.r_mm)


def footprint_fractions(box: BodyBox, a_mm: FloatArray, r_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x and y of columns, see ``BodySurfaces.fractions``."""
    x = (a_mm[:, None] - box.a_post) / (box.a_ant - box.a_post) + 0.0 * r_mm[None]
    y = (2.0 * r_mm[None] - box.r_left - box.r_right) / (box.r_right - box.r_left) + 0.0 * a_mm[:, None]
    return np.asarray(x), np.asarray(y)


def footprint_of(box: BodyBox, a_mm: FloatArray, r_mm: FloatArray) -> BoolArray:
    """Columns inside the walls: nearly flat behind, round in front."""
    x, y = footprint_fractions(box, a_mm, r_mm)
    ahead = np.where(x > 0.4, np.abs(x - 0.4) / 0.6, 0.0) ** 2.4
    behind = np.where(x < 0.4, np.abs(x - 0.4) / 0.4, 0.0) ** 5.0
    return np.asarray(ahead + behind + np.abs(y) ** 2.6 <= 1.0)


def trace_surfaces(
    hu: Float32Array,
    origin_mm: tuple[float, float, float],
    box: BodyBox,
    gaps_mm: tuple[float, float],
    heights_mm: tuple[float | None, float | None, float | None] = (None, None, None),
) -> BodySurfaces:
    """The endplates of a body on the image, from its box.

    Args:
        hu: float32 ``[k, j, i]`` along (s, a, r), 1 mm.
        origin_mm: straight (r, a, s) of voxel (0, 0, 0).
        gaps_mm: of the disc below and above, beyond whose middle nothing is looked for.
        heights_mm: read by a person; where all three are known, the fields are moved to agree with them.
    """
    a_mm = origin_mm[1] + np.arange(hu.shape[1], dtype=np.float64)
    r_mm = origin_mm[0] + np.arange(hu.shape[2], dtype=np.float64)
    footprint = footprint_of(box, a_mm, r_mm)
    fields = [
        _trace(hu, origin_mm[2], at, sign, footprint, min(max(0.5 * gap, 1.0), 4.0))
        for at, sign, gap in ((box.s_sup, 1.0, gaps_mm[1]), (box.s_inf, -1.0, gaps_mm[0]))
    ]
    found = BodySurfaces(box, a_mm, r_mm, fields[0], fields[1], footprint)
    if None not in heights_mm:
        wanted = np.array([float(height or 0.0) for height in heights_mm])
        own = np.array([found.read(found.upper_mm - found.lower_mm, float(a)) for a in found.depths_mm])
        lacking = np.polyval(np.polyfit(found.depths_mm, np.clip(wanted - own, -3.0, 3.0), 2), a_mm)
        lacking = np.clip(lacking, -3.0, 3.0)[:, None]
        found = replace(found, upper_mm=found.upper_mm + 0.5 * lacking, lower_mm=found.lower_mm - 0.5 * lacking)
    return found.with_middle()


def _trace(
    hu: Float32Array, s_from_mm: float, start_mm: float, sign: float, footprint: BoolArray, beyond_mm: float
) -> FloatArray:
    """The steepest fall outward near a level, smooth over the footprint ``(A, R)``."""
    first = max(int(np.floor(start_mm - s_from_mm)) - 9, 0)
    part = np.clip(hu[first : first + 20], -50.0, 600.0)
    part = gaussian_filter(part, (0.7, 1.0, 1.0))
    s = s_from_mm + first + np.arange(len(part), dtype=np.float64)[:, None, None]
    fall = np.maximum(-sign * np.gradient(part, axis=0), 0.0) ** 2
    fall = np.where(sign * (s - start_mm) <= beyond_mm, fall, 0.0)
    surface = np.full(footprint.shape, start_mm)
    for width in _WIDTHS_MM:
        weight = fall * np.exp(-0.5 * ((s - surface) / width) ** 2) * footprint
        weight[:, ~footprint] = 0.0
        mass, moment = weight.sum(axis=0), (weight * s).sum(axis=0)
        floor = 0.05 * float(np.median(mass[footprint])) + 1e-6
        smooth_mass = gaussian_filter(mass, _SMOOTH_MM) + floor
        surface = (gaussian_filter(moment, _SMOOTH_MM) + floor * surface) / smooth_mass
    return np.asarray(surface, dtype=np.float64)
