"""The straightened volume follows its curve during a drag: only the slab that changed is sampled and written.

The sampling is done in a thread, one movement at a time, always the latest; nodes are written between two steps.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr import IncrementalReformatter, IncrementalUpdate, ReformatGrid, StraightenedVolume
from VertebralFractureLib.errors import VertebralFractureError
from VertebralFractureLib.export.scene import SceneNodes
from VertebralFractureLib.export.scene.volume_nodes import (
    StraightPicture,
    grid_of,
    mark_picture,
    picture_of,
    show_picture,
    show_rows,
)
from VertebralFractureLib.result.report import AXES_OF_FILE
from VertebralFractureLib.types import Point
from VertebralFractureLib.volume import CTVolume
from VertebralFracturePanel.detect.volume_export import UnusableVolume, VolumeExport, exportOf
from VertebralFracturePanel.process.event_loop_steps import EventLoopSteps, finished
from VertebralFracturePanel.process.signal import Signal

_BETWEEN = "between two curves"
_DRAG_TOLERANCE_VOXELS = 0.02
_MOVE, _SETTLE, _PREPARE = "move", "settle", "prepare"


@dataclass(frozen=True)
class _Request:
    """What the volume is to follow: a drag, a whole curve (named ``along``), or one that the nodes show already."""

    kind: str
    points: tuple[Point, ...]
    along: str = ""
    spine: StraightenedVolume | None = None


class LiveStraightening:
    """Signals: ``followed()`` after the nodes show the latest movement, ``settled()`` after they show a whole curve."""

    def __init__(self) -> None:
        self.followed = Signal()
        self.settled = Signal()
        self._nodes: SceneNodes | None = None
        self._ct: CTVolume | None = None
        self._live: IncrementalReformatter | None = None
        self._settledOn: tuple[Point, ...] = ()
        self._axes = AXES_OF_FILE
        self._request: _Request | None = None
        self._background: ThreadPoolExecutor | None = None
        self._steps = EventLoopSteps()

    @property
    def isReady(self) -> bool:
        """Whether the next movement is followed at once."""
        return self._live is not None and not self._steps.isRunning

    def start(
        self, nodes: SceneNodes, points: Sequence[Point], patientAxes: tuple[Point, Point, Point] = AXES_OF_FILE
    ) -> None:
        """Get ready to follow the curve ``points`` of ``nodes``; without a straightened volume there is nothing to.

        Args:
            patientAxes: the patient's right, front and head along the axes of the file.
        """
        self.stop()
        if nodes.straightened is None or nodes.transform is None or nodes.input_volume is None:
            return
        try:
            export = exportOf(nodes.input_volume)
        except UnusableVolume:
            return
        self._nodes, self._axes = nodes, patientAxes
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="VertebralFracture")
        self._request = _Request(_PREPARE, tuple(points))
        self._steps.start(self._begin(export))

    def stop(self) -> None:
        """Follow no longer; what is being sampled is not shown any more."""
        self._steps.stop()
        if self._background is not None:
            self._background.shutdown(wait=False)
        self._background = self._nodes = self._ct = self._live = self._request = None

    def move(self, points: Sequence[Point]) -> None:
        """A point is being dragged; planes away from it stay where they are."""
        self._want(_Request(_MOVE, tuple(points)))

    def commit(self, points: Sequence[Point], along: str) -> None:
        """The drag is over: the volume and its transform become those of the whole curve, whose name is ``along``."""
        self._want(_Request(_SETTLE, tuple(points), along))

    def prepare(self, points: Sequence[Point], spine: StraightenedVolume | None = None) -> None:
        """The nodes show the volume along this curve already: only get ready for the next drag.

        Args:
            spine: that volume, as another process made it: it is not sampled again then.
        """
        self._want(_Request(_PREPARE, tuple(points), spine=spine))

    def _want(self, request: _Request) -> None:
        if self._nodes is None:
            return
        self._request = request
        if self._ct is not None and not self._steps.isRunning:
            self._steps.start(self._follow())

    def _begin(self, export: VolumeExport) -> Generator[int, None, None]:
        voxels = export.voxels
        if voxels is None:
            voxels = np.empty(export.shape, export.dtype)
            step = max(export.slabBytes // max(voxels[0].nbytes, 1), 1)
            for first in range(0, export.shape[0], step):
                slab = export.slab(first, min(first + step, export.shape[0]))
                voxels[first : first + len(slab)] = slab
                yield 0
        self._ct = CTVolume(voxels, export.ijkToRas, export.name)
        yield from self._follow()

    def _follow(self) -> Generator[int, None, None]:
        while self._request is not None:
            request, self._request = self._request, None
            if self._live is not None and request.kind == _PREPARE and request.points == self._settledOn:
                continue
            straightened = self._nodes.straightened
            if straightened.GetScene() is None:
                return
            try:
                if self._live is None:
                    grid = grid_of(straightened)
                    self._live = yield from finished(
                        self._background.submit(_started, self._ct, self._line(request.points), grid)
                    )
                done = yield from finished(
                    self._background.submit(_followed, self._live, request, self._line(request.points))
                )
            except (VertebralFractureError, ValueError):
                continue  # a curve that cannot be straightened; the next one may be
            if request.kind != _MOVE:
                self._settledOn = request.points
            isLatest = self._request is None or (request.kind == _MOVE and self._request.kind == _MOVE)
            if isLatest and straightened.GetScene() is not None:
                self._show(request, *done)

    def _line(self, points: tuple[Point, ...]) -> Centerline:
        return Centerline(np.array(points), np.ones(len(points)), patient_axes=np.array(self._axes))

    def _show(self, request: _Request, update: IncrementalUpdate | None, picture: StraightPicture | None) -> None:
        if request.kind == _MOVE:
            self._showMoved(update, picture)
            self.followed.emit()
        elif request.kind == _SETTLE:
            show_picture(self._nodes, picture, request.along)
            self.settled.emit()

    def _showMoved(self, update: IncrementalUpdate, picture: StraightPicture | None) -> None:
        if picture is None:
            show_rows(self._nodes.straightened, update.changed_planes, update.spine.hu[update.changed_planes])
            mark_picture(self._nodes, _BETWEEN)
        else:
            show_picture(self._nodes, picture, _BETWEEN)


def _started(ct: CTVolume, line: Centerline, grid: ReformatGrid) -> IncrementalReformatter:
    return IncrementalReformatter(ct, line, grid=grid)


def _followed(
    live: IncrementalReformatter, request: _Request, line: Centerline
) -> tuple[IncrementalUpdate | None, StraightPicture | None]:
    """In the thread. After a movement the whole picture only where planes were added or taken away."""
    if request.kind == _MOVE:
        update = live.move(line, _DRAG_TOLERANCE_VOXELS)
        return update, None if update.same_shape else picture_of(update.spine)
    if request.spine is not None:
        with suppress(ValueError):  # on another grid than that of the nodes
            live.adopt(line, request.spine)
            return None, None
    update = live.commit(line)
    return update, picture_of(update.spine) if request.kind == _SETTLE else None
