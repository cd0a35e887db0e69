"""``Rescorer``: one CT kept in memory, judged again and again along a centerline that a reader corrects.

What is left out the second time is reading, the search for the canal and every row of the spine volume that did not
move. The networks look at the whole spine again, because a longer way past a moved point shifts every patch above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.canal import Centerline, canal_evidence, draw_centerline, repair_centerline
from VertebralFractureLib.compute_device import usable_device
from VertebralFractureLib.cpr import IncrementalReformatter, StraightenedVolume
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.pipeline.detection import Detection, detect
from VertebralFractureLib.progress import CancelToken, ProgressListener, StageProgress
from VertebralFractureLib.result.deidentification import VOXELS_SHA256, voxels_sha256
from VertebralFractureLib.result.report import Point
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.measuring import MeasuredBody, measure_bodies
from VertebralFractureLib.volume import CTVolume

if TYPE_CHECKING:
    from VertebralFractureLib.canal.control_point_path import CanalEvidence


class Rescorer:
    """Keeps what a second run can use; not thread-safe."""

    def __init__(self, ct: CTVolume, options: DetectionOptions | None = None) -> None:
        self.ct = replace(ct, source={**ct.source, VOXELS_SHA256: voxels_sha256(ct)})
        self._options = options or DetectionOptions()
        self._live: IncrementalReformatter | None = None
        self._evidence: CanalEvidence | None = None

    def detect(self, *, listener: ProgressListener | None = None, token: CancelToken | None = None) -> Detection:
        """A first run, which searches for the canal; raises as ``pipeline.detect`` does."""
        return detect(self.ct, straightened=self._straightened, options=self._options, listener=listener, token=token)

    def rescore(
        self,
        points_ras: Sequence[Point] | FloatArray,
        *,
        listener: ProgressListener | None = None,
        token: CancelToken | None = None,
    ) -> Detection:
        """The model's answer along a corrected centerline ``(n, 3)`` RAS mm, caudal to cranial.

        It equals that of ``pipeline.detect`` with this centerline.

        Raises:
            ValueError: when the points are no curve.
            Cancelled: when ``token`` was set.
        """
        return detect(
            self.ct,
            centerline=reader_centerline(points_ras),
            straightened=self._straightened,
            options=self._options,
            listener=listener,
            token=token,
        )

    def repair(
        self, points_ras: FloatArray, dragged_ras: FloatArray, anchors_ras: FloatArray | None = None
    ) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
        """The curve after a drag and its anchors; see ``cord.repair_centerline``. The first call runs the network."""
        repaired = repair_centerline(self._canal_evidence(), points_ras, dragged_ras, anchors_ras)
        return as_points(repaired.points_ras), as_points(repaired.anchors_ras)

    def draw(self, points_ras: FloatArray) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
        """The curve through a handful of points and its anchors; see ``cord.draw_centerline``."""
        drawn = draw_centerline(self._canal_evidence(), points_ras)
        return as_points(drawn.points_ras), as_points(drawn.anchors_ras)

    def measure(
        self, points_ras: Sequence[Point] | FloatArray, extents_mm: Sequence[tuple[float, float]]
    ) -> list[MeasuredBody]:
        """What the network measures of vertebrae that a reader placed; see ``vertebrae.measuring``.

        Args:
            points_ras: the centerline that ``extents_mm`` (arc lengths of lower and upper endplates) belong to.
        """
        spine = self._straightened(reader_centerline(points_ras), StageProgress("cpr"))
        return measure_bodies(spine, extents_mm, self._options.weights_folder, usable_device(self._options.device))

    def prepare(self) -> None:
        """Run the canal network now, so that the first drag does not wait for it."""
        self._canal_evidence()

    def _straightened(self, centerline: Centerline, progress: StageProgress) -> StraightenedVolume:
        progress(0.0)
        if self._live is None:
            self._live = IncrementalReformatter(self.ct, centerline, threads=self._options.threads)
            spine = self._live.spine
        else:
            spine = self._live.commit(centerline).spine
        progress(1.0)
        return replace(spine, hu=spine.hu.copy(), inside=spine.inside.copy())

    def _canal_evidence(self) -> CanalEvidence:
        if self._evidence is None:
            device = usable_device(self._options.device)
            self._evidence = canal_evidence(self.ct, weights_folder=self._options.weights_folder, device=device)
        return self._evidence


def reader_centerline(points_ras: Sequence[Point] | FloatArray) -> Centerline:
    """The centerline through a reader's points, which count as certain.

    Raises:
        ValueError: when the points are no curve.
    """
    points = np.asarray(points_ras, dtype=np.float64).reshape(-1, 3)
    return Centerline(points, np.ones(len(points)))


def as_points(points: FloatArray) -> tuple[Point, ...]:
    """Plain tuples, rounded to the six decimals that a report holds, so that a saved curve is the very same curve."""
    return tuple((round(float(r), 6), round(float(a), 6), round(float(s), 6)) for r, a, s in points)
