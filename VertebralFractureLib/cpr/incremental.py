"""``IncrementalReformatter``: a spine volume that follows its centerline while somebody drags it.

``s`` is arc length, so a longer way past a moved point slides everything above it by a fraction of a row. While a
point is dragged the rows are therefore tied to where they lay: below and above the dragged stretch they keep their
``s``, the stretch between takes up the difference, and only its slab changes: the picture above stands still.
``settle`` at release returns to arc length. A row is sampled again when it moved by more than float tolerance against
what it was sampled with, so the volume always equals a full run on its own frame, however many moves came before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr.alignment import aligned_frame
from VertebralFractureLib.cpr.frame import STRAIGHTENED, ReformatFrame
from VertebralFractureLib.cpr.grid import ReformatBox, ReformatGrid, reformat_box
from VertebralFractureLib.cpr.plane_intersection import IntersectionLimits, intersection_limits
from VertebralFractureLib.cpr.sampler import ReformatSampler
from VertebralFractureLib.cpr.straighten import refuse_empty
from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU, StraightenedVolume
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.volume import CTVolume

_TOLERANCE_VOXELS = 5e-5
"""A row is kept while no corner of it moved further: the step of a float32 index in a volume of 512 voxels."""
_LIMIT_TOLERANCE_MM = 1e-4
_SPARE_ROWS = 64


@dataclass(frozen=True)
class IncrementalUpdate:
    """What a move changed.

    Attributes:
        spine: the whole volume. Its arrays belong to the straightener and follow the next move: copy what is to stay.
        changed_rows: indices k, ascending, of the rows that were sampled; the others hold what they held before.
        same_shape: False when the volume has another number of rows, or another extent, than before.
    """

    spine: StraightenedVolume
    changed_rows: NDArray[np.intp]
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
        self._rows = _Rows.empty((0, 0, 0), 1)
        self._limits = IntersectionLimits({})
        self._settled = centerline
        self._spine = self.commit(centerline).spine

    @property
    def spine(self) -> StraightenedVolume:
        """The volume along the last centerline; see ``IncrementalUpdate.spine``."""
        return self._spine

    @property
    def kept_bytes(self) -> int:
        """Memory of the volume and of the planes that it was sampled with; the CT is not counted."""
        return self._rows.hu.nbytes + self._rows.inside.nbytes + self._rows.planes.nbytes

    def move(self, centerline: Centerline, tolerance_voxels: float = _TOLERANCE_VOXELS) -> IncrementalUpdate:
        """Follow a dragged point; the rows away from it keep their place, so only the slab beside it is sampled.

        Where rows cannot be tied (points added or removed, another kind) this is ``settle``.

        Args:
            tolerance_voxels: how far a corner of a row may lie from where it was sampled; a fiftieth of a voxel, which
                nobody sees, leaves half of the rows out, until ``settle`` samples them.
        """
        can_tie = self._kind == STRAIGHTENED and self._grid.even_at_anterior_mm == 0.0
        tied = aligned_frame(self._settled, centerline) if can_tie else None
        if tied is None:
            return self.commit(centerline)
        return self._follow(centerline, tied.rotated(self._grid.rotation_deg), tolerance_voxels)

    def commit(self, centerline: Centerline) -> IncrementalUpdate:
        """The volume that ``straighten`` gives for this centerline, ``s`` being arc length; for the end of a drag."""
        update = self._follow(centerline, self._grid.frame(centerline, self._kind))
        self._settled = centerline
        return update

    def _follow(
        self, centerline: Centerline, frame: ReformatFrame, tolerance_voxels: float = _TOLERANCE_VOXELS
    ) -> IncrementalUpdate:
        box = reformat_box(centerline, frame, self._grid)
        limits = intersection_limits(frame, box)
        planes = self._sampler.planes(frame, box)
        count = len(planes)
        rows = self._rows.holding(box, self._box, planes.shape[1])
        moved = _moved(planes, rows.planes[:count], box, tolerance_voxels)
        moved[[k for k in limits.other_rows(self._limits, _LIMIT_TOLERANCE_MM) if k < count]] = True
        changed = np.flatnonzero(moved)
        hu, inside = self._sampler.sample(planes[changed], box)
        limits.mask_outside(box, changed, hu, inside)
        if not inside.any() and not rows.inside[:count][~moved].any():
            refuse_empty(inside)
        rows.hu[changed], rows.inside[changed], rows.planes[changed] = hu, inside, planes[changed]
        # Rows beyond the end are kept for when the curve grows again, but not with limits that are forgotten.
        rows.planes[[k for k in self._limits.half_planes if k >= count]] = np.nan
        self._limits = limits
        same_shape = box == self._box
        self._rows, self._box = rows, box
        self._spine = StraightenedVolume(rows.hu[:count], rows.inside[:count], box.origin_mm, box.spacing_mm, frame)
        return IncrementalUpdate(self._spine, changed, same_shape)


@dataclass(frozen=True)
class _Rows:
    """Room for the volume and for what each row of it was sampled with (NaN: not sampled yet)."""

    hu: NDArray[np.float32]
    inside: NDArray[np.bool_]
    planes: FloatArray

    @staticmethod
    def empty(shape_kji: tuple[int, int, int], planes_per_row: int) -> _Rows:
        hu = np.full(shape_kji, OUTSIDE_HU, dtype=np.float32)
        return _Rows(hu, np.zeros(shape_kji, dtype=np.bool_), np.full((shape_kji[0], planes_per_row, 3, 3), np.nan))

    def holding(self, box: ReformatBox, previous: ReformatBox, planes_per_row: int) -> _Rows:
        """These rows, or as many of them as can be kept, with room for ``box``."""
        k, j, i = box.shape_kji
        same_plane = box.shape_kji[1:] == previous.shape_kji[1:] and box.origin_mm == previous.origin_mm
        if same_plane and k <= len(self.hu):
            return self
        larger = _Rows.empty((k + _SPARE_ROWS, j, i), planes_per_row)
        if same_plane:
            count = len(self.hu)
            larger.hu[:count], larger.inside[:count], larger.planes[:count] = self.hu, self.inside, self.planes
        return larger


def _moved(planes: FloatArray, sampled: FloatArray, box: ReformatBox, tolerance_voxels: float) -> NDArray[np.bool_]:
    """``(n,)`` True where a corner of a row moved by more than the tolerance, or the row was never sampled."""
    corners = np.array([(1.0, r, a) for r in box.axis_mm("r")[[0, -1]] for a in box.axis_mm("a")[[0, -1]]])
    distance = np.abs(corners @ planes - corners @ sampled).max(axis=(1, 2, 3))
    return np.asarray(~(distance <= tolerance_voxels))
