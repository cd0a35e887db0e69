"""Run the steps in their one direction: volume, cord, spine, fracture, vertebrae, report.

A scan that cannot be judged comes back as a report that says so; only bad input and cancellation are raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from VertebralFractureLib.cord import Centerline, cord_weights_sha256, detect_centerline
from VertebralFractureLib.errors import NotEvaluable
from VertebralFractureLib.fracture import FractureSequence, fracture_weights_sha256, score_sequence, score_series
from VertebralFractureLib.pipeline.memory import peak_memory_mb
from VertebralFractureLib.progress import STAGES, CancelToken, ProgressListener, StageProgress
from VertebralFractureLib.report import SpineReport
from VertebralFractureLib.report.build_report import build_not_evaluable_report, build_report
from VertebralFractureLib.spine import SpineVolume, straighten
from VertebralFractureLib.vertebrae import find_vertebrae, score_vertebrae, vertebrae_weights_sha256
from VertebralFractureLib.volume import CTVolume, read_volume


@dataclass(frozen=True)
class DetectionOptions:
    """``weights_folder`` None means the weights that ship; ``threads`` None leaves torch's own choice."""

    weights_folder: Path | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Detection:
    """The report and what it was made from; the parts after a step that gave up are ``None``."""

    report: SpineReport
    ct: CTVolume
    centerline: Centerline | None = None
    spine: SpineVolume | None = None
    sequence: FractureSequence | None = None


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
    options: DetectionOptions | None = None,
    listener: ProgressListener | None = None,
    token: CancelToken | None = None,
) -> Detection:
    """Read a volume (file or DICOM folder) and judge it.

    Raises:
        UnreadableVolume: when the input is not a CT volume that can be used.
        WeightsDamaged: when the models are not what they should be.
        Cancelled: when ``token`` was set.
    """
    token = token or CancelToken()
    watch = Stopwatch()
    reading = StageProgress("read", listener, token)
    reading(0.0)
    with watch.stage("read"):
        ct = read_volume(path, series=series)
    reading(1.0)
    return detect(ct, options=options, listener=listener, token=token, watch=watch)


def detect(
    ct: CTVolume,
    *,
    centerline: Centerline | None = None,
    straightened: Callable[[Centerline, StageProgress], SpineVolume] | None = None,
    options: DetectionOptions | None = None,
    listener: ProgressListener | None = None,
    token: CancelToken | None = None,
    watch: Stopwatch | None = None,
) -> Detection:
    """Judge a volume; raises as ``detect_in_file`` does, except for reading.

    Args:
        centerline: a curve that a reader corrected or drew; the canal is not searched for then, and the canal
            network's weights are not among those that the report names.
        straightened: what gives the spine volume along a centerline, where rows of an earlier one can be used again;
            the same as ``straighten`` otherwise.
    """
    options, token, watch = options or DetectionOptions(), token or CancelToken(), watch or Stopwatch()
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    weights = options.weights_folder
    sha256 = {
        **({} if centerline else {"cord": cord_weights_sha256(weights)}),
        **fracture_weights_sha256(weights),
        **vertebrae_weights_sha256(weights),
    }
    spine: SpineVolume | None = None
    sequence: FractureSequence | None = None
    try:
        if centerline is None:
            with watch.stage("cord"):
                progress = StageProgress("cord", listener, token)
                centerline = detect_centerline(ct, weights_folder=weights, progress=progress)
        with watch.stage("spine"):
            progress = StageProgress("spine", listener, token)
            if straightened is None:
                spine = straighten(ct, centerline, progress=progress, threads=options.threads)
            else:
                spine = straightened(centerline, progress)
        with watch.stage("fracture"):
            progress = StageProgress("fracture", listener, token)
            sequence = score_sequence(spine, weights_folder=weights, progress=progress)
        with watch.stage("vertebrae"):
            progress = StageProgress("vertebrae", listener, token)
            thickness = max(ct.spacing_mm)
            found = find_vertebrae(spine, weights_folder=weights, slice_thickness_mm=thickness, progress=progress)
            vertebrae = score_vertebrae(found, sequence)
            spans = [(v.s_inferior_mm, v.s_superior_mm) for v in vertebrae if v.status == "scored"]
            sequence = score_series(sequence, spans, weights_folder=weights)
            report = build_report(ct, centerline, spine, sequence, vertebrae, sha256)
    except NotEvaluable as error:
        report = build_not_evaluable_report(ct, str(error), sha256, centerline)
    report = replace(report, timings_s=dict(watch.seconds), peak_memory_mb=peak_memory_mb())
    return Detection(report, ct, centerline, spine, sequence)
