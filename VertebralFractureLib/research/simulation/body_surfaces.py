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

    def opened(self, frame: ReformatFrame, heights_mm: FloatArray) -> BodySurfaces:
        """The body with its endplates moved apart, both alike and smoothly, until its heights are these."""
        body = self
        for _ in range(2):
            own = np.array(body.heights(frame))
            apart = np.array([body.read(body.upper_mm - body.lower_mm, float(a)) for a in body.depths_mm])
            lacking = np.polyfit(body.depths_mm, apart * (heights_mm / own - 1.0), 2)
            half = 0.5 * np.polyval(lacking, np.clip(body.a_mm, body.box.a_post, body.box.a_ant))[:, None]
            body = replace(body, upper_mm=body.upper_mm + half, lower_mm=body.lower_mm - half)
        return body

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
    frame: ReformatFrame,
    box: BodyBox,
    gaps_mm: tuple[float, float],
    heights_mm: tuple[float | None, float | None, float | None] = (None, None, None),
) -> BodySurfaces:
    """The endplates of a body on the image, from its box.

    In a bend of the spine the planes fan out, so that endplates which are parallel in the patient are not in straight
    space. The search starts from what the heights are there.

    Args:
        hu: float32 ``[k, j, i]`` along (s, a, r), 1 mm.
        origin_mm: straight (r, a, s) of voxel (0, 0, 0).
        frame: of the straight space.
        gaps_mm: of the disc below and above, beyond whose middle nothing is looked for.
        heights_mm: read by a person; where all three are known, the fields are moved to agree with them. Otherwise the
            body is taken to be as high in front and behind as in its middle.
    """
    a_mm = origin_mm[1] + np.arange(hu.shape[1], dtype=np.float64)
    r_mm = origin_mm[0] + np.arange(hu.shape[2], dtype=np.float64)
    footprint = footprint_of(box, a_mm, r_mm)
    level = np.zeros((len(a_mm), len(r_mm)))
    flat = BodySurfaces(box, a_mm, r_mm, level + box.s_sup, level + box.s_inf, footprint)
    known = [height for height in heights_mm if height is not None]
    middle = flat.heights(frame)[1]
    wanted = np.array(known if len(known) == len(heights_mm) else [middle] * len(heights_mm), dtype=np.float64)
    start = flat.opened(frame, wanted)
    fields = [
        _trace(hu, origin_mm[2], at, sign, footprint, min(max(0.5 * gap, 1.0), 4.0))
        for at, sign, gap in ((start.upper_mm, 1.0, gaps_mm[1]), (start.lower_mm, -1.0, gaps_mm[0]))
    ]
    found = replace(flat, upper_mm=fields[0], lower_mm=fields[1])
    if len(known) == len(heights_mm):
        found = found.opened(frame, wanted)
    return found.with_middle()


def _trace(
    hu: Float32Array, s_from_mm: float, start_mm: FloatArray, sign: float, footprint: BoolArray, beyond_mm: float
) -> FloatArray:
    """The steepest fall outward near a surface ``(A, R)``, smooth over the footprint."""
    first = max(int(np.floor(float(start_mm.min()) - s_from_mm)) - 9, 0)
    last = int(np.ceil(float(start_mm.max()) - s_from_mm)) + 11
    part = np.clip(hu[first:last], -50.0, 600.0)
    part = gaussian_filter(part, (0.7, 1.0, 1.0))
    s = s_from_mm + first + np.arange(len(part), dtype=np.float64)[:, None, None]
    fall = np.maximum(-sign * np.gradient(part, axis=0), 0.0) ** 2
    fall = np.where(sign * (s - start_mm) <= beyond_mm, fall, 0.0)
    away = np.zeros(footprint.shape)
    for width in _WIDTHS_MM:
        weight = fall * np.exp(-0.5 * ((s - start_mm - away) / width) ** 2) * footprint
        mass, moment = weight.sum(axis=0), (weight * (s - start_mm)).sum(axis=0)
        floor = 0.05 * float(np.median(mass[footprint])) + 1e-6
        smooth_mass = gaussian_filter(mass, _SMOOTH_MM) + floor
        away = (gaussian_filter(moment, _SMOOTH_MM) + floor * away) / smooth_mass
    return np.asarray(start_mm + away, dtype=np.float64)
