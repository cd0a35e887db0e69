"""Run the steps in their one direction: volume, canal, cpr, vertebrae, fracture, report.

A scan that cannot be judged comes back as a report that says so; only bad input and cancellation are raised.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from VertebralFractureLib.canal import Centerline, canal_evidence, detect_canal, refuse_short_scan
from VertebralFractureLib.canal.reader_curve import CurveFit, compare_with_canal
from VertebralFractureLib.compute_device import is_of_the_card
from VertebralFractureLib.cpr import ReformatGrid, StraightenedVolume, straighten
from VertebralFractureLib.cpr.canal_enclosure import weigh_enclosure
from VertebralFractureLib.cpr.grid import lay_box
from VertebralFractureLib.cpr.hu_scale import shift_to_hu_scale
from VertebralFractureLib.cpr.straighten import straighten_along
from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.errors import DeviceMissing, NotEvaluable
from VertebralFractureLib.fracture import FractureSequence, score_vertebrae
from VertebralFractureLib.models import Models
from VertebralFractureLib.options import AUTOMATIC, CPU, DetectionOptions
from VertebralFractureLib.orientation.patient_axes import (
    PlacedCenterline,
    check_front,
    find_centerline_in_patient,
    reverse_head,
)
from VertebralFractureLib.orientation.rotations import axes_of_curve, rotate_volume
from VertebralFractureLib.orientation.upright import is_head_down, list_position_doubts, measure_head_up
from VertebralFractureLib.progress import STAGES, CancelToken, ProgressListener, StageProgress
from VertebralFractureLib.result import SpineReport
from VertebralFractureLib.result.build_report import build_not_evaluable_report, build_report
from VertebralFractureLib.types import FloatArray, Point
from VertebralFractureLib.vertebrae import localize_vertebrae
from VertebralFractureLib.vertebrae.level_input import build_fine_volume
from VertebralFractureLib.vertebrae.localization import LocalizedBody, localize_bodies_in_canal_plane
from VertebralFractureLib.vertebrae.lost_slices import locate_faults
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra
from VertebralFractureLib.volume import CTVolume, read_volume, with_acquisition
from VertebralFractureLib.volume.continuity import list_plane_doubts, measure_resolution_mm, refuse_broken_stack

if TYPE_CHECKING:
    import torch

    from VertebralFractureLib.canal.control_point_path import CanalEvidence

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detection:
    """The report and what it was made from; the parts after a step that gave up are ``None``.

    ``spine`` has the spacing that the options ask for; the networks saw the same spine on a grid of 1 mm.
    """

    report: SpineReport
    ct: CTVolume
    centerline: Centerline | None = None
    spine: StraightenedVolume | None = None
    sequence: FractureSequence | None = None
    evidence: CanalEvidence | None = None
    """What the network sees of the canal, where this run looked for it: a curve is compared with it."""


@dataclass
class Stopwatch:
    """Seconds per stage, every stage of ``STAGES`` present."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*STAGES, "total"), 0.0))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            elapsed = time.monotonic() - started
            self.seconds[name] += elapsed
            self.seconds["total"] += elapsed


def detect_in_file(
    path: Path,
    *,
    series: str | None = None,
    acquisition: Mapping[str, object] | None = None,
    models: Models | None = None,
    options: DetectionOptions | None = None,
    listener: ProgressListener | None = None,
    token: CancelToken | None = None,
) -> Detection:
    """Read a volume (file or DICOM folder) and judge it.

    Args:
        acquisition: facts that the file does not hold, by the names of ``volume.acquisition.ACQUISITION_FACTS``.
        models: loaded for these options; None loads them.

    Raises:
        UnreadableVolume: when the input is not a CT volume that can be used.
        OptionRefused, DeviceMissing: as ``detect``, before anything is read.
        WeightsDamaged: when the models are not what they should be.
        Cancelled: when ``token`` was set.
    """
    options, token, watch = options or DetectionOptions(), token or CancelToken(), Stopwatch()
    models = models or Models.load(options)
    reading = StageProgress("read", listener, token)
    reading(0.0)
    with watch.stage("read"):
        ct = with_acquisition(read_volume(path, series=series), acquisition)
    reading(1.0)
    return detect(ct, models=models, options=options, listener=listener, token=token, watch=watch)


def detect(
    ct: CTVolume,
    *,
    models: Models | None = None,
    centerline: Centerline | None = None,
    find_canal: Callable[[Models, StageProgress], Centerline] | None = None,
    straightened: Callable[[Centerline, StageProgress], StraightenedVolume] | None = None,
    evidence: CanalEvidence | None = None,
    options: DetectionOptions | None = None,
    listener: ProgressListener | None = None,
    token: CancelToken | None = None,
    watch: Stopwatch | None = None,
) -> Detection:
    """Judge a volume; raises as ``detect_in_file`` does, except for reading.

    Where the device was left to the program and the graphics card fails, everything is done again on the CPU.

    Args:
        models: loaded for these options; None loads them.
        centerline: a curve that a reader corrected or drew; the canal is not searched for then, and the canal
            network's weights are not among those that the report names. Where the network sees no canal along it, the
            report says so.
        find_canal: what gives the canal's centerline, where it may be known already; ``detect_canal`` otherwise.
        straightened: what gives the spine volume along a centerline, where rows of an earlier one can be used again;
            the same as ``straighten`` otherwise.
        evidence: what the canal network sees in this volume, where it is known already; it is compared with
            ``centerline``.

    Raises:
        OptionRefused: when there is no such fracture network.
        DeviceMissing: when the graphics card that was asked for is not there, or fails.
    """
    options, token, watch = options or DetectionOptions(), token or CancelToken(), watch or Stopwatch()
    models = models or Models.load(options)
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    run = _Run(ct, centerline, find_canal, straightened, evidence, options, listener, token, watch)
    device = models.device
    try:
        return run.with_models(models)
    except RuntimeError as error:
        if device == CPU or not is_of_the_card(error):
            raise
        if options.device != AUTOMATIC:
            raise DeviceMissing(f"The graphics card failed ({_first_line(error)}); choose automatic or cpu.") from error
        logger.warning("The graphics card failed (%s); going on with the CPU.", _first_line(error))
    return run.with_models(models.on(CPU))


@dataclass(frozen=True)
class _Run:
    """What ``detect`` was asked for."""

    ct: CTVolume
    centerline: Centerline | None
    find_canal: Callable[[Models, StageProgress], Centerline] | None
    straightened: Callable[[Centerline, StageProgress], StraightenedVolume] | None
    evidence: CanalEvidence | None
    options: DetectionOptions
    listener: ProgressListener | None
    token: CancelToken
    watch: Stopwatch

    def with_models(self, models: Models) -> Detection:
        """All steps, with the networks on the models' device."""
        ct, centerline, watch, evidence = self.ct, self.centerline, self.watch, self.evidence
        fit: CurveFit | None = None
        sha256 = models.sha256(with_canal=centerline is None)
        spine: StraightenedVolume | None = None
        sequence: FractureSequence | None = None
        position: tuple[Doubt, ...] = ()
        try:
            with watch.stage("read"):
                refuse_broken_stack(ct)
            is_given = centerline is not None
            with watch.stage("canal"):
                if centerline is None:
                    placed, evidence = self._find_centerline(models)
                else:
                    axes = axes_of_curve(centerline.points_ras)
                    along = ct if np.array_equal(axes, np.eye(3)) else rotate_volume(ct, axes)
                    if evidence is None or along is not ct:
                        evidence = canal_evidence(along, models.canal, progress=self._progress("canal"))
                    fit = compare_with_canal(
                        along, evidence, Centerline(centerline.points_ras @ axes.T, centerline.confidence)
                    )
                    placed = check_front(ct, centerline, models.orientation)
                centerline = placed.centerline
            with watch.stage("cpr"):
                spine = self._straighten(centerline)
                seen, off_scale = shift_to_hu_scale(spine)
            with watch.stage("vertebrae"):
                first: list[LocalizedBody] | None = localize_bodies_in_canal_plane(seen, models.vertebrae.body)
                fine: torch.Tensor | None = build_fine_volume(seen)
                odds = measure_head_up(seen, first or (), models.upright, fine)
            if is_head_down(odds):
                first, fine = None, None
                centerline = reverse_head(centerline)
                with watch.stage("cpr"):
                    spine = self._straighten(centerline)
                    seen, off_scale = shift_to_hu_scale(spine)
            position = list_position_doubts(centerline, placed.is_front_seen, odds)
            if off_scale is not None:
                ct = replace(ct, doubts=(*ct.doubts, off_scale))
            if not is_given:
                centerline = _weighed(centerline, seen)
            with watch.stage("vertebrae"):
                found = localize_vertebrae(
                    seen,
                    models.vertebrae,
                    step_along_mm=ct.along_patient_mm(measure_resolution_mm(ct), centerline.patient_axes[2]),
                    faults=locate_faults(ct, spine.frame),
                    in_view=ct.contains_points,
                    first=first,
                    fine=fine,
                    progress=self._progress("vertebrae"),
                )
            with watch.stage("fracture"):
                sequence = models.fractures.score_positions(seen, self._progress("fracture"))
                vertebrae = score_vertebrae(found, sequence)
                if fit is not None and fit.is_doubtful:
                    vertebrae = [_doubt_off_canal(vertebra, fit) for vertebra in vertebrae]
                spans = [v.extent_mm for v in vertebrae if v.status == Status.SCORED]
                sequence = models.fractures.score_scan(sequence, spans)
                report = build_report(ct, centerline, sequence, vertebrae, sha256)
            with watch.stage("cpr"):
                spine = self._as_shown(spine, centerline)
        except NotEvaluable as error:
            report = build_not_evaluable_report(ct, str(error), sha256, centerline)
        if fit is not None and fit.is_doubtful:
            off = Doubt(DoubtKind.CURVE_OFF_CANAL, {"mm": round(fit.off_mm), "mm_in_all": round(fit.length_mm)})
            report = replace(report, doubts=(*report.doubts, off))
        report = replace(
            report,
            doubts=(*report.doubts, *position, *list_plane_doubts(ct)),
            software=replace(report.software, device=models.device),
            timings_s=dict(watch.seconds),
            peak_memory_mb=peak_memory_mb(),
        )
        return Detection(report, ct, centerline, spine, sequence, evidence)

    def _find_centerline(self, models: Models) -> tuple[PlacedCenterline, CanalEvidence | None]:
        """The canal's centerline with the patient's axes, and what the network sees of the canal as the file lies."""
        from VertebralFractureLib.canal.axial_stack import AxialStacks

        progress, seen, stacks = self._progress("canal"), None, AxialStacks(self.ct)

        def find(ct: CTVolume) -> Centerline:
            nonlocal seen
            if self.find_canal is not None and ct is self.ct:
                return self.find_canal(models, progress)
            refuse_short_scan(ct)
            own = stacks if ct is self.ct else None
            evidence = canal_evidence(ct, models.canal, stacks=own, progress=progress)
            seen = evidence if ct is self.ct else seen
            return detect_canal(ct, models.canal, evidence=evidence).centerline

        return find_centerline_in_patient(self.ct, find, models.orientation, stacks), seen

    def _straighten(self, centerline: Centerline) -> StraightenedVolume:
        if self.straightened is not None:
            return self.straightened(centerline, self._progress("cpr"))
        return straighten(self.ct, centerline, progress=self._progress("cpr"), threads=self.options.threads)

    def _as_shown(self, spine: StraightenedVolume, centerline: Centerline) -> StraightenedVolume:
        """The spine volume at the spacing that was asked for, along the frame that is laid already."""
        spacing = self.options.spacing_mm
        if spacing is None or spine.spacing_mm == (spacing,) * 3:
            return spine
        grid = ReformatGrid(spacing_mm=(spacing,) * 3)
        box = lay_box(centerline, spine.frame, grid)
        return straighten_along(self.ct, spine.frame, box, grid, threads=self.options.threads)

    def _progress(self, stage: str) -> StageProgress:
        return StageProgress(stage, self.listener, self.token)


def _doubt_off_canal(vertebra: Vertebra, fit: CurveFit) -> Vertebra:
    """The vertebra, in doubt where the given curve beside it runs off any canal that is seen."""
    if not fit.is_off(*vertebra.extent_mm):
        return vertebra
    return replace(vertebra, doubts=(*vertebra.doubts, DoubtKind.CURVE_OFF_CANAL))


def _weighed(centerline: Centerline, spine: StraightenedVolume) -> Centerline:
    """The curve, less sure where what lies around it on the voxels is no canal."""
    weight = np.interp(centerline.point_arc_lengths_mm, spine.axis_mm("s"), weigh_enclosure(spine))
    return replace(centerline, confidence=centerline.confidence * weight)


def find_patient_centerline(
    ct: CTVolume,
    models: Models,
    *,
    threads: int | None = None,
    progress: StageProgress | None = None,
) -> tuple[Centerline, tuple[Doubt, ...]]:
    """The canal's centerline from feet to head with the patient's axes, as ``detect`` places it, and what is doubtful.

    Args:
        threads: CPU threads of the reformation that the vertebrae are seen in.

    Raises:
        NotEvaluable: when there is no canal, or front and head cannot be told.
        Cancelled: from ``progress``.
    """

    def find(volume: CTVolume) -> Centerline:
        return detect_canal(volume, models.canal, progress=progress).centerline

    placed = find_centerline_in_patient(ct, find, models.orientation)
    seen, _ = shift_to_hu_scale(straighten(ct, placed.centerline, threads=threads))
    odds = measure_head_up(seen, localize_bodies_in_canal_plane(seen, models.vertebrae.body), models.upright)
    centerline = reverse_head(placed.centerline) if is_head_down(odds) else placed.centerline
    return centerline, list_position_doubts(centerline, placed.is_front_seen, odds)


def reader_centerline(points_ras: Sequence[Point] | FloatArray) -> Centerline:
    """The centerline through a reader's points, which count as certain.

    Raises:
        ValueError: when the points are no curve.
    """
    points = np.asarray(points_ras, dtype=np.float64).reshape(-1, 3)
    return Centerline(points, np.ones(len(points)))


def peak_memory_mb() -> float | None:
    """Peak resident memory of this process so far in MB (10^6 bytes); None on Windows, which has no such call here."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _first_line(error: RuntimeError) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
