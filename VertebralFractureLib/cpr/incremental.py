"""``IncrementalReformatter``: reformat only the planes that changed while somebody drags the centerline.

``s`` is arc length, so a longer way past a moved point slides all planes above it by a fraction of their distance.
While a point is dragged, planes below and above the dragged stretch therefore keep the ``s`` that they were committed
with, the stretch between takes up the difference, and only its slab is reformatted: the picture above stands still.
``commit`` at release returns to arc length. A plane is sampled again when it moved by more than float tolerance against
what it was sampled with, so the volume always equals a full run on its own frame, however many moves came before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr.frame import STRAIGHTENED, ReformatFrame, lay_frame_at, list_stations
from VertebralFractureLib.cpr.grid import ReformatBox, ReformatGrid, lay_box
from VertebralFractureLib.cpr.plane_intersection import IntersectionLimits, find_intersections
from VertebralFractureLib.cpr.sampler import ReformatSampler
from VertebralFractureLib.cpr.straighten import refuse_empty
from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU, StraightenedVolume
from VertebralFractureLib.thresholds import REFORMATTING
from VertebralFractureLib.types import BoolArray, Float32Array, FloatArray, IntArray
from VertebralFractureLib.volume import CTVolume

_TOLERANCE_VOXELS = 5e-5
"""A plane is kept while no corner of it moved further: the step of a float32 index in a volume of 512 voxels."""
_LIMIT_TOLERANCE_MM = 1e-4
_SPARE_PLANES = 64


@dataclass(frozen=True)
class IncrementalUpdate:
    """What a move changed.

    Attributes:
        spine: the whole volume. Its arrays belong to the reformatter and follow the next move: copy what is to stay.
        changed_planes: indices k, ascending, of the planes that were sampled; the others hold what they held before.
        same_shape: False when the volume has another number of planes, or another extent, than before.
    """

    spine: StraightenedVolume
    changed_planes: IntArray
    same_shape: bool


class IncrementalReformatter:
    """Straighten once, then follow the centerline; free of Qt and Slicer, not thread-safe.

    Raises:
        NoSpineFound: from every method as ``straighten`` does; the last volume stays valid then.
    """

    def __init__(
        self,
        ct: CTVolume,
        centerline: Centerline,
        kind: str = STRAIGHTENED,
        grid: ReformatGrid | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        self._kind = kind
        self._grid = grid or ReformatGrid()
        self._sampler = ReformatSampler(ct, self._grid, threads)
        self._box = ReformatBox((0.0, 0.0, 0.0), self._grid.spacing_mm, (0, 0, 0))
        self._kept = _Planes.empty((0, 0, 0), 1)
        self._limits = IntersectionLimits({})
        self._committed = centerline
        self._spine = self.commit(centerline).spine

    @property
    def spine(self) -> StraightenedVolume:
        """The volume along the last centerline; see ``IncrementalUpdate.spine``."""
        return self._spine

    @property
    def kept_bytes(self) -> int:
        """Memory of the volume and of the planes that it was sampled with; the CT is not counted."""
        return self._kept.hu.nbytes + self._kept.inside.nbytes + self._kept.planes.nbytes

    def move(self, centerline: Centerline, tolerance_voxels: float = _TOLERANCE_VOXELS) -> IncrementalUpdate:
        """Follow a dragged point; the planes away from it keep their positions, so only the slab around it is sampled.

        Where planes cannot keep their positions (points added or removed, another kind) this is ``commit``.

        Args:
            tolerance_voxels: how far a corner of a plane may lie from where it was sampled; a fiftieth of a voxel,
                which nobody sees, leaves half of the planes out, until ``commit`` samples them.
        """
        can_align = self._kind == STRAIGHTENED and self._grid.arc_length_offset_mm == 0.0
        aligned = align_frame(self._committed, centerline) if can_align else None
        if aligned is None:
            return self.commit(centerline)
        return self._follow(centerline, aligned.rotated(self._grid.rotation_deg), tolerance_voxels)

    def commit(self, centerline: Centerline) -> IncrementalUpdate:
        """The volume that ``straighten`` gives for this centerline, ``s`` being arc length; for the end of a drag."""
        update = self._follow(centerline, self._grid.frame(centerline, self._kind))
        self._committed = centerline
        return update

    def adopt(self, centerline: Centerline, spine: StraightenedVolume) -> None:
        """Take a volume that was straightened along ``centerline`` elsewhere as what ``commit`` gives; samples nothing.

        Raises:
            ValueError: when ``spine`` does not lie on the grid that ``commit`` would lay along this centerline.
        """
        frame = self._grid.frame(centerline, self._kind)
        box = lay_box(centerline, frame, self._grid)
        if (spine.hu.shape, spine.origin_mm, spine.spacing_mm) != (box.shape_kji, box.origin_mm, box.spacing_mm):
            raise ValueError("The volume was straightened on another grid.")
        planes = self._sampler.planes(frame, box)
        kept = self._kept.holding(box, self._box, planes.shape[1])
        everything = np.arange(len(planes))
        kept.hu[everything], kept.inside[everything], kept.planes[everything] = spine.hu, spine.inside, planes
        self._keep(kept, frame, box, find_intersections(frame, box))
        self._committed = centerline

    def _follow(
        self, centerline: Centerline, frame: ReformatFrame, tolerance_voxels: float = _TOLERANCE_VOXELS
    ) -> IncrementalUpdate:
        box = lay_box(centerline, frame, self._grid)
        limits = find_intersections(frame, box)
        planes = self._sampler.planes(frame, box)
        count = len(planes)
        kept = self._kept.holding(box, self._box, planes.shape[1])
        moved = _moved(planes, kept.planes[:count], box, tolerance_voxels)
        moved[[k for k in limits.differing_planes(self._limits, _LIMIT_TOLERANCE_MM) if k < count]] = True
        changed = np.flatnonzero(moved)
        hu, inside = self._sampler.sample(planes[changed], box)
        limits.mask_outside(box, changed, hu, inside)
        if not inside.any() and not kept.inside[:count][~moved].any():
            refuse_empty(inside)
        kept.hu[changed], kept.inside[changed], kept.planes[changed] = hu, inside, planes[changed]
        same_shape = box == self._box
        self._keep(kept, frame, box, limits)
        return IncrementalUpdate(self._spine, changed, same_shape)

    def _keep(self, kept: _Planes, frame: ReformatFrame, box: ReformatBox, limits: IntersectionLimits) -> None:
        count = box.shape_kji[0]
        # Planes beyond the end are kept for when the curve grows again, but not with limits that are forgotten.
        kept.planes[[k for k in self._limits.half_planes if k >= count]] = np.nan
        self._limits, self._kept, self._box = limits, kept, box
        self._spine = StraightenedVolume(kept.hu[:count], kept.inside[:count], box.origin_mm, box.spacing_mm, frame)


@dataclass(frozen=True)
class _Planes:
    """Room for the volume and for the scan planes that each of its planes was sampled with (NaN: not sampled yet)."""

    hu: Float32Array
    inside: BoolArray
    planes: FloatArray

    @staticmethod
    def empty(shape_kji: tuple[int, int, int], scan_planes: int) -> _Planes:
        hu = np.full(shape_kji, OUTSIDE_HU, dtype=np.float32)
        return _Planes(hu, np.zeros(shape_kji, dtype=np.bool_), np.full((shape_kji[0], scan_planes, 3, 3), np.nan))

    def holding(self, box: ReformatBox, previous: ReformatBox, scan_planes: int) -> _Planes:
        """These planes, or as many of them as can be kept, with room for ``box``."""
        k, j, i = box.shape_kji
        same_plane = box.shape_kji[1:] == previous.shape_kji[1:] and box.origin_mm == previous.origin_mm
        if same_plane and k <= len(self.hu):
            return self
        larger = _Planes.empty((k + _SPARE_PLANES, j, i), scan_planes)
        if same_plane:
            count = len(self.hu)
            larger.hu[:count], larger.inside[:count], larger.planes[:count] = self.hu, self.inside, self.planes
        return larger


def _moved(planes: FloatArray, sampled: FloatArray, box: ReformatBox, tolerance_voxels: float) -> BoolArray:
    """``(n,)`` True where a corner of a plane moved by more than the tolerance, or the plane was never sampled."""
    corners = np.array([(1.0, r, a) for r in box.axis_mm("r")[[0, -1]] for a in box.axis_mm("a")[[0, -1]]])
    distance = np.abs(corners @ planes - corners @ sampled).max(axis=(1, 2, 3))
    return np.asarray(~(distance <= tolerance_voxels))


def align_frame(committed: Centerline, moved: Centerline) -> ReformatFrame | None:
    """Lay the frame along ``moved`` so that planes away from the moved points stay where ``committed`` has them.

    Away from a dragged point a curve through the same control points is the same curve, so planes that keep their
    distance from its nearer end are the same planes. Between them ``s`` runs a little faster or slower than arc length.

    Returns:
        None where that cannot be: points were added or removed, or the picture would be too distorted.

    Raises:
        NoSpineFound: as ``lay_frame`` does.
    """
    tuned = REFORMATTING
    if len(committed.points_ras) != len(moved.points_ras):
        return None
    differs = np.flatnonzero(np.any(committed.points_ras != moved.points_ras, axis=1))
    if len(differs) == 0:
        s = list_stations(moved.length_mm)
        return lay_frame_at(moved, s, s)
    before, now = committed.point_arc_lengths_mm, moved.point_arc_lengths_mm
    low = max(0.0, float(before[differs[0]]) - tuned.alignment_reach_mm)
    high = float(before[differs[-1]]) + tuned.alignment_reach_mm
    if high >= committed.length_mm:
        s = list_stations(moved.length_mm)
        return lay_frame_at(moved, s, s)
    longer = float(now[-1] - before[-1])
    fraction = (high - low) / (high + longer - low)
    if not tuned.least_alignment <= fraction <= tuned.most_alignment:
        return None
    s = list_stations(committed.length_mm)
    return lay_frame_at(moved, _arc_length_at(s, low, high, longer), s)


def _arc_length_at(s_mm: FloatArray, low: float, high: float, longer: float) -> FloatArray:
    """Arc length of each plane: ``s`` below ``low``, ``s + longer`` above ``high``, a smooth step between."""
    x = np.clip((s_mm - low) / (high - low), 0.0, 1.0)
    return np.asarray(s_mm + longer * x**3 * (10.0 - 15.0 * x + 6.0 * x**2))
