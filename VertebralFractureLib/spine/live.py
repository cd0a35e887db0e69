"""``LiveStraightener``: a spine volume that follows its centerline while somebody drags it.

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

from VertebralFractureLib.cord.centerline import Centerline
from VertebralFractureLib.spine.row_sampling import FlatVoxels, sample_planes
from VertebralFractureLib.spine.spine_frame import STRAIGHTENED, SpineFrame, spine_frame
from VertebralFractureLib.spine.spine_volume import OUTSIDE_HU, SpineVolume
from VertebralFractureLib.spine.straighten import SpineBox, SpineGrid, refuse_empty, row_planes, spine_box
from VertebralFractureLib.spine.tied_rows import tied_frame
from VertebralFractureLib.volume import CTVolume

FloatArray = NDArray[np.float64]
_TOLERANCE_VOXELS = 2e-5
"""A row is kept while no corner of it moved further: what float32 indices resolve in a volume of 512 voxels."""
_SPARE_ROWS = 64


@dataclass(frozen=True)
class LiveUpdate:
    """What a move changed.

    Attributes:
        spine: the whole volume. Its arrays belong to the straightener and follow the next move: copy what is to stay.
        changed_rows: indices k, ascending, of the rows that were sampled; the others hold what they held before.
        same_shape: False when the volume has another number of rows, or another extent, than before.
    """

    spine: SpineVolume
    changed_rows: NDArray[np.intp]
    same_shape: bool


class LiveStraightener:
    """Straighten once, then follow the centerline; free of Qt and Slicer, not thread-safe.

    Raises:
        NoSpineFound: from every method as ``straighten`` does; the last volume stays valid then.
    """

    def __init__(
        self,
        ct: CTVolume,
        centerline: Centerline,
        kind: str = STRAIGHTENED,
        grid: SpineGrid | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        self._ct = ct
        self._voxels = FlatVoxels.of(ct.hu)
        self._kind = kind
        self._grid = grid or SpineGrid()
        self._threads = threads
        self._box = SpineBox((0.0, 0.0, 0.0), self._grid.spacing_mm, (0, 0, 0))
        self._rows = _Rows.empty(0, 0, 0)
        self._settled = centerline
        self._spine = self.settle(centerline).spine

    @property
    def spine(self) -> SpineVolume:
        """The volume along the last centerline; see ``LiveUpdate.spine``."""
        return self._spine

    def move(self, centerline: Centerline) -> LiveUpdate:
        """Follow a dragged point; the rows away from it keep their place, so only the slab beside it is sampled.

        Where rows cannot be tied (points added or removed, another kind) this is ``settle``.
        """
        tied = None if self._kind != STRAIGHTENED else tied_frame(self._settled, centerline)
        return self.settle(centerline) if tied is None else self._follow(centerline, tied)

    def settle(self, centerline: Centerline) -> LiveUpdate:
        """The volume that ``straighten`` gives for this centerline, ``s`` being arc length; for the end of a drag."""
        update = self._follow(centerline, spine_frame(centerline, self._kind))
        self._settled = centerline
        return update

    def _follow(self, centerline: Centerline, frame: SpineFrame) -> LiveUpdate:
        box = spine_box(centerline, frame, self._grid)
        planes = row_planes(self._ct, frame, box.axis_mm("s"))
        r_mm, a_mm = box.axis_mm("r"), box.axis_mm("a")
        count = len(planes)
        rows = self._rows.holding(box, self._box)
        changed = np.flatnonzero(_moved(planes, rows.planes[:count], r_mm, a_mm))
        hu = np.full((len(changed), *box.shape_kji[1:]), OUTSIDE_HU, dtype=np.float32)
        inside = np.zeros(hu.shape, dtype=np.bool_)
        sample_planes(self._voxels, planes[changed], r_mm, a_mm, hu, inside, threads=self._threads)
        kept = np.ones(count, dtype=np.bool_)
        kept[changed] = False
        if not inside.any() and not rows.inside[:count][kept].any():
            refuse_empty(inside)
        rows.hu[changed], rows.inside[changed], rows.planes[changed] = hu, inside, planes[changed]
        same_shape = box == self._box
        self._rows, self._box = rows, box
        self._spine = SpineVolume(rows.hu[:count], rows.inside[:count], box.origin_mm, box.spacing_mm, frame)
        return LiveUpdate(self._spine, changed, same_shape)


@dataclass(frozen=True)
class _Rows:
    """Room for the volume and for what each row of it was sampled with (NaN: not sampled yet)."""

    hu: NDArray[np.float32]
    inside: NDArray[np.bool_]
    planes: FloatArray

    @staticmethod
    def empty(k: int, j: int, i: int) -> _Rows:
        hu = np.full((k, j, i), OUTSIDE_HU, dtype=np.float32)
        return _Rows(hu, np.zeros(hu.shape, dtype=np.bool_), np.full((k, 3, 3), np.nan))

    def holding(self, box: SpineBox, previous: SpineBox) -> _Rows:
        """These rows, or as many of them as can be kept, with room for ``box``."""
        k, j, i = box.shape_kji
        same_plane = box.shape_kji[1:] == previous.shape_kji[1:] and box.origin_mm == previous.origin_mm
        if same_plane and k <= len(self.hu):
            return self
        larger = _Rows.empty(k + _SPARE_ROWS, j, i)
        if same_plane:
            count = len(self.hu)
            larger.hu[:count], larger.inside[:count], larger.planes[:count] = self.hu, self.inside, self.planes
        return larger


def _moved(planes: FloatArray, sampled: FloatArray, r_mm: FloatArray, a_mm: FloatArray) -> NDArray[np.bool_]:
    """``(n,)`` True where a corner of a row moved by more than the tolerance, or the row was never sampled."""
    corners = np.array([(1.0, r, a) for r in r_mm[[0, -1]] for a in a_mm[[0, -1]]])
    distance = np.abs(corners @ planes - corners @ sampled).max(axis=(1, 2))
    return np.asarray(~(distance <= _TOLERANCE_VOXELS))
