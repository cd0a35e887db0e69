"""The one long-lived process beside a program that shows a CT: ``python -m VertebralFractureLib.session``.

It reads one JSON object per line from standard input and answers in JSON lines on standard output, each with the ``id``
of its request: ``{"id", "stage", "fraction"}`` while it works, then ``{"id", "done": true, ...}`` or ``{"id", "error",
"exit_code"}``. ``open`` reads a CT; what ``detect`` finds out about it serves the corrections, and the other way round.
It imports neither Slicer nor Qt, so that a crash or a cancel costs Slicer nothing. It ends when it is told to, at once
when its standard input closes, and after ``IDLE_S`` without a request. ``docs/reference/session.md`` lists them.

``python -m VertebralFractureLib.session export.json`` writes one file of a result instead and ends, see
``VertebralFractureLib.export.files``.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from VertebralFractureLib.checked_json import parse_json, read_text_file
from VertebralFractureLib.cli.exit_codes import BAD_INPUT, CANCELLED, DONE, INTERNAL_ERROR, NOT_EVALUABLE_CODE
from VertebralFractureLib.cli.progress_display import JsonLines
from VertebralFractureLib.errors import Cancelled, NotEvaluable, RefusedContent, VertebralFractureError
from VertebralFractureLib.options import DetectionOptions
from VertebralFractureLib.passive_waiting import use_passive_waiting
from VertebralFractureLib.progress import CancelToken, ProgressListener, StageProgress
from VertebralFractureLib.session_requests import Request, check_export, check_request, read_lines, read_request

if TYPE_CHECKING:
    from VertebralFractureLib.canal import Centerline
    from VertebralFractureLib.canal.control_point_path import CanalEvidence
    from VertebralFractureLib.cpr import IncrementalReformatter, StraightenedVolume
    from VertebralFractureLib.models import Models
    from VertebralFractureLib.pipeline import Detection
    from VertebralFractureLib.types import FloatArray, Point
    from VertebralFractureLib.vertebrae.measuring import MeasuredBody
    from VertebralFractureLib.volume import CTVolume

IDLE_S = 600.0
"""Without a request for so long the session ends and gives its memory back."""
KEPT_BYTES = 1_500_000_000
"""Above this, what was computed from the voxels is dropped after a request and made again when it is needed.

A CT of 400 slices of 512 x 512 takes 210 MB, its straightened volume 20 MB, its axial slices for the canal 30 MB.
"""


@dataclass(frozen=True)
class _Canal:
    """The canal in the CT: what the network saw, and the centerline in it, or why it cannot be evaluated."""

    evidence: CanalEvidence
    centerline: Centerline | None
    refusal: NotEvaluable | None


class VolumeSession:
    """One CT with everything that a further detection or correction of it can use again; not thread-safe.

    Args:
        models: of an earlier volume, whose networks serve again.

    Left out the second time are reading, the search for the canal, and every plane of the straightened volume that did
    not move. The networks look at the whole spine again, because a longer way past a moved point shifts every patch
    above it.
    """

    def __init__(self, ct: CTVolume, models: Models | None = None) -> None:
        from VertebralFractureLib.result.deidentification import VOXELS_SHA256, voxels_sha256

        self.ct = replace(ct, source={**ct.source, VOXELS_SHA256: voxels_sha256(ct)})
        self.models = models
        self.canal_runs = 0
        self._canals: dict[tuple[Path, str, int], _Canal] = {}
        self._reformatters: dict[int | None, IncrementalReformatter] = {}
        self._own_threads: int | None = None

    def detect(
        self,
        options: DetectionOptions | None = None,
        *,
        listener: ProgressListener | None = None,
        token: CancelToken | None = None,
    ) -> Detection:
        """The whole detection; raises as ``pipeline.detect`` does."""

        def find_canal(models: Models, progress: StageProgress) -> Centerline:
            canal = self._canal(models, progress)
            if canal.refusal is not None:
                raise canal.refusal
            assert canal.centerline is not None
            return canal.centerline

        return self._detect(options or DetectionOptions(), listener, token, find_canal=find_canal)

    def rescore(
        self,
        points_ras: Sequence[Point] | FloatArray,
        options: DetectionOptions | None = None,
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
        from VertebralFractureLib.orientation.rotations import axes_of_curve
        from VertebralFractureLib.pipeline import reader_centerline

        options, line = options or DetectionOptions(), reader_centerline(points_ras)
        evidence = self._evidence(options, axes_of_curve(line.points_ras))
        return self._detect(options, listener, token, centerline=line, evidence=evidence)

    def repair(
        self,
        points_ras: FloatArray,
        dragged_ras: FloatArray,
        anchors_ras: FloatArray | None = None,
        options: DetectionOptions | None = None,
    ) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
        """The curve after a drag and its control points, RAS mm; see ``canal.repair_centerline``."""
        import numpy as np

        from VertebralFractureLib.canal import repair_centerline
        from VertebralFractureLib.orientation.rotations import axes_of_curve

        axes = axes_of_curve(points_ras)
        anchors = None if anchors_ras is None else np.asarray(anchors_ras, dtype=np.float64).reshape(-1, 3) @ axes.T
        points, dragged = np.asarray(points_ras) @ axes.T, np.asarray(dragged_ras) @ axes.T
        repaired = repair_centerline(self._evidence(options, axes), points, dragged, anchors)
        return _as_points(repaired.points_ras @ axes), _as_points(repaired.anchors_ras @ axes)

    def draw(
        self, points_ras: FloatArray, options: DetectionOptions | None = None
    ) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
        """The curve through a handful of points and its control points, RAS mm; see ``canal.draw_centerline``."""
        import numpy as np

        from VertebralFractureLib.canal import draw_centerline
        from VertebralFractureLib.orientation.rotations import axes_of_curve

        axes = axes_of_curve(points_ras)
        drawn = draw_centerline(self._evidence(options, axes), np.asarray(points_ras) @ axes.T)
        return _as_points(drawn.points_ras @ axes), _as_points(drawn.anchors_ras @ axes)

    def measure(
        self,
        points_ras: Sequence[Point] | FloatArray,
        extents_mm: Sequence[tuple[float, float]],
        options: DetectionOptions | None = None,
    ) -> list[MeasuredBody]:
        """What the network measures of vertebrae that a reader placed; see ``vertebrae.measuring``.

        Args:
            points_ras: the centerline that ``extents_mm`` (arc lengths of lower and upper endplates) belong to.
        """
        from VertebralFractureLib.orientation.patient_axes import check_front
        from VertebralFractureLib.pipeline import reader_centerline
        from VertebralFractureLib.vertebrae.measuring import measure_bodies

        options = options or DetectionOptions()
        models = self._models_for(options)
        line = check_front(self.ct, reader_centerline(points_ras), models.orientation).centerline
        spine = self._straightened(options, line, StageProgress("cpr"))
        return measure_bodies(spine, extents_mm, models.vertebrae)

    def prepare(self, options: DetectionOptions | None = None) -> None:
        """Look for the canal now, so that the first drag does not wait for it."""
        self._evidence(options)

    @property
    def kept_bytes(self) -> dict[str, int]:
        """Memory of the ``volume``, its ``straightened`` planes, and the slices in which the ``canal`` is sought."""
        return {
            "volume": self.ct.hu.nbytes,
            "straightened": sum(one.kept_bytes for one in self._reformatters.values()),
            "canal": sum(canal.evidence.stack.hu.nbytes for canal in self._canals.values()),
        }

    def drop_surplus(self, limit_bytes: int = KEPT_BYTES) -> None:
        """Give up the straightened planes, then the canal, until no more than ``limit_bytes`` are kept."""
        for kept in (self._reformatters, self._canals):
            if sum(self.kept_bytes.values()) > limit_bytes:
                kept.clear()

    def _detect(
        self,
        options: DetectionOptions,
        listener: ProgressListener | None,
        token: CancelToken | None,
        *,
        centerline: Centerline | None = None,
        evidence: CanalEvidence | None = None,
        find_canal: Callable[[Models, StageProgress], Centerline] | None = None,
    ) -> Detection:
        import torch

        from VertebralFractureLib.pipeline import detect

        # Torch keeps a number of threads that was set, also for a request that leaves it to torch.
        self._own_threads = self._own_threads or torch.get_num_threads()
        torch.set_num_threads(options.threads or self._own_threads)
        return detect(
            self.ct,
            models=self._models_for(options),
            centerline=centerline,
            evidence=evidence,
            find_canal=find_canal,
            straightened=lambda line, progress: self._straightened(options, line, progress),
            options=options,
            listener=listener,
            token=token,
        )

    def _straightened(
        self, options: DetectionOptions, centerline: Centerline, progress: StageProgress
    ) -> StraightenedVolume:
        from VertebralFractureLib.cpr import IncrementalReformatter

        progress(0.0)
        reformatter = self._reformatters.get(options.threads)
        if reformatter is None:
            reformatter = IncrementalReformatter(self.ct, centerline, threads=options.threads)
            self._reformatters = {options.threads: reformatter}
        else:
            reformatter.commit(centerline)
        spine = reformatter.spine
        progress(1.0)
        return replace(spine, hu=spine.hu.copy(), inside=spine.inside.copy())

    def _evidence(self, options: DetectionOptions | None, axes: FloatArray | None = None) -> CanalEvidence:
        """What the network sees of the canal, along ``axes`` (``rotations.axes_of_curve``); None: those of the file."""
        models = self._models_for(options or DetectionOptions())
        return self._canal(models, StageProgress("canal"), axes).evidence

    def _models_for(self, options: DetectionOptions) -> Models:
        from VertebralFractureLib.models import Models

        self.models = Models.load(options, before=self.models)
        return self.models

    def _canal(self, models: Models, progress: StageProgress, axes: FloatArray | None = None) -> _Canal:
        """The canal as a detection sees it, whatever a correction has the network read later."""
        from VertebralFractureLib.canal import canal_evidence, detect_canal
        from VertebralFractureLib.orientation.rotations import rotate_volume

        # A spine along another axis than S (the file is wrong) is looked at along its own.
        along = 2 if axes is None else int(axes[2].argmax())
        key = (models.weights.path, models.device, along)
        if key not in self._canals:
            ct = self.ct if axes is None or along == 2 else rotate_volume(self.ct, axes)
            evidence = canal_evidence(ct, models.canal, progress=progress)
            self.canal_runs += 1
            centerline = refusal = None
            try:
                centerline = detect_canal(ct, models.canal, evidence=evidence).centerline
            except NotEvaluable as error:
                refusal = error
            self._canals = {key: _Canal(evidence, centerline, refusal)}
        return self._canals[key]


class RequestQueue:
    """Requests as they arrive. ``cancel`` and a newer ``rescore`` reach the running one through its token."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Request | None] = queue.Queue()
        self._lock = threading.Lock()
        self._running: tuple[Request, CancelToken] | None = None
        self._cancelled: set[int] = set()

    def put(self, request: Request) -> None:
        """A request, or a ``cancel`` (with the ``id`` of one, or of all that there are)."""
        identifier = request.get("id")
        if request.get("command") == "cancel":
            self._cancel(lambda one: identifier is None or one.get("id") == identifier)
        elif request.get("command") == "stop":
            self._cancel(lambda _: True)
            self._waiting.put(None)
        else:
            if request.get("command") == "rescore":
                self._cancel(lambda one: one.get("command") == "rescore")
            self._waiting.put(request)

    def next(self, timeout_s: float) -> tuple[Request, CancelToken] | None:
        """Wait for the next request; None when it is time to stop. A cancelled one comes with a token that is set.

        Raises:
            queue.Empty: when none came in time.
        """
        request = self._waiting.get(timeout=timeout_s)
        if request is None:
            return None
        token = CancelToken()
        with self._lock:
            self._running = (request, token)
            if id(request) in self._cancelled:
                self._cancelled.discard(id(request))
                token.cancel()
        return request, token

    def _cancel(self, concerns: Callable[[Request], bool]) -> None:
        with self._lock:
            if self._running is not None and concerns(self._running[0]):
                self._running[1].cancel()
            with self._waiting.mutex:
                self._cancelled |= {id(one) for one in self._waiting.queue if one is not None and concerns(one)}


class Session:
    """Answers requests about the CT that was opened last."""

    def __init__(self) -> None:
        self._volume: VolumeSession | None = None
        self._volume_reads = 0

    def answer(self, request: Request, token: CancelToken, lines: JsonLines) -> None:
        """Do what a request asks, and write its last line."""
        started, worked = time.monotonic(), time.process_time()
        try:
            if token.cancelled:
                raise Cancelled("Cancelled before it began.")
            answer = self._do(request, token, lines)
            if self._volume is not None:
                self._volume.drop_surplus()
            elapsed, spent = time.monotonic() - started, time.process_time() - worked
            seconds = {"seconds": round(elapsed, 3), "cpu_seconds": round(spent, 3)}
            lines.write({"done": True, "exit_code": DONE, **answer, **seconds, "counters": self._counters})
        except RefusedContent as error:
            lines.write({"error": f"The request could not be answered: {error}", "exit_code": BAD_INPUT})
        except (ValueError, KeyError, TypeError) as error:
            traceback.print_exc()
            lines.write({"error": f"The request could not be answered: {error}", "exit_code": BAD_INPUT})
        except Exception as error:
            lines.write(_failure(error))

    @property
    def _counters(self) -> dict[str, int]:
        models = None if self._volume is None else self._volume.models
        return {
            "volume_reads": self._volume_reads,
            "canal_runs": 0 if self._volume is None else self._volume.canal_runs,
            "weights_reads": 0 if models is None else models.weights.files_read,
        }

    def _do(self, request: Request, token: CancelToken, lines: JsonLines) -> dict[str, object]:
        request = check_request(request)
        command = request["command"]
        if command == "open":
            self._open(request, token, lines)
            return {}
        if self._volume is None:
            raise ValueError("no volume is open.")
        volume, options = self._volume, DetectionOptions.from_request(request.get("options") or {})
        if command in ("detect", "rescore"):
            if command == "detect":
                detection = volume.detect(options, listener=lines, token=token)
            else:
                detection = volume.rescore(request["centerline_ras"], options, listener=lines, token=token)
            if token.cancelled:
                raise Cancelled("Cancelled by the user.")
            path = write_answer(detection, Path(str(request["output"])))
            evaluable = detection.report.status == "evaluable"
            return {"report": str(path), "exit_code": DONE if evaluable else NOT_EVALUABLE_CODE}
        if command == "measure":
            bodies = volume.measure(request["centerline_ras"], request["extents_mm"], options)
            return {"bodies": [_body(body) for body in bodies]}
        if command in ("repair", "draw"):
            if command == "draw":
                points, anchors = volume.draw(request["points_ras"], options)
            else:
                before, dragged = request["points_ras"], request["dragged_ras"]
                points, anchors = volume.repair(before, dragged, request.get("anchors_ras"), options)
            return {"points_ras": points, "anchors_ras": anchors}
        if command == "prepare":
            volume.prepare(options)
            return {}
        return {"kept_bytes": volume.kept_bytes, "limit_bytes": KEPT_BYTES, "idle_s": IDLE_S}

    def _open(self, request: Request, token: CancelToken, lines: JsonLines) -> None:
        from VertebralFractureLib.volume import read_volume, with_acquisition

        progress = StageProgress("read", lines, token)
        progress(0.0)
        models = None if self._volume is None else self._volume.models
        self._volume = None
        series = request.get("series")
        ct = read_volume(Path(str(request["input"])), series=str(series) if series else None)
        self._volume_reads += 1
        self._volume = VolumeSession(with_acquisition(ct, request.get("acquisition")), models)
        progress(1.0)


def main(arguments: Sequence[str]) -> int:
    """Answer requests, or write the file that the one argument asks for; the exit code, which the last line names."""
    return _export(Path(arguments[0]), JsonLines(sys.stdout)) if arguments else serve()


def serve(idle_s: float = IDLE_S) -> int:
    """Answer until standard input closes, says stop, or is silent for ``idle_s`` seconds; the exit code."""
    requests, session, lines = RequestQueue(), Session(), JsonLines(sys.stdout)
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    try:
        while (received := requests.next(idle_s)) is not None:
            request, token = received
            session.answer(request, token, JsonLines(sys.stdout, {"id": request.get("id")}))
    except queue.Empty:
        lines.write({"idle": True})
    lines.write({"done": True, "exit_code": DONE})
    return DONE


def write_answer(detection: Detection, folder: Path) -> Path:
    """Write report, table and straightened volume for the program that asked; the report's path."""
    from VertebralFractureLib.atomic_write import write_file
    from VertebralFractureLib.cpr.straightened_volume import save_straightened
    from VertebralFractureLib.export.table import write_table
    from VertebralFractureLib.result import report_to_json

    folder.mkdir(parents=True, exist_ok=True)
    if detection.spine is not None and detection.report.status == "evaluable":
        save_straightened(detection.spine, folder / "spine.npz")
    write_table(detection.report, folder / "vertebrae.csv")
    report_path = folder / "report.json"
    write_file(report_path, report_to_json(detection.report))
    return report_path


def _export(request_path: Path, lines: JsonLines) -> int:
    """Write one file of a result as the request in ``request_path`` says; the exit code."""
    from VertebralFractureLib.export import files

    token = CancelToken()
    threading.Thread(target=_cancel_with_standard_input, args=(token,), daemon=True).start()
    tell = StageProgress("export", lines, token)
    try:
        request = check_export(parse_json(read_text_file(request_path)))
        target = Path(str(request["target"]))
        if request["export"] == "scene":
            volumes = {str(name): Path(str(path)) for name, path in request["volumes"].items()}
            files.pack_scene(Path(str(request["bundle"])), volumes, target, tell)
        else:
            report = Path(str(request["report"]))
            files.write_page(Path(str(request["input"])), report, request["notes"], target, tell)
    except Exception as error:
        failure = _failure(error)
        lines.write(failure)
        return int(str(failure["exit_code"]))
    lines.write({"done": True, "exit_code": DONE})
    return DONE


def _failure(error: Exception) -> dict[str, object]:
    """The last line for an error: a sentence for the user, and the exit code that it stands for."""
    if isinstance(error, VertebralFractureError):
        codes: Mapping[type, int] = {Cancelled: CANCELLED, NotEvaluable: NOT_EVALUABLE_CODE}
        code = next((code for kind, code in codes.items() if isinstance(error, kind)), BAD_INPUT)
        return {"error": str(error), "exit_code": code}
    if isinstance(error, OSError):
        words = f"A file could not be read or written: {error.strerror or error}."
        return {"error": words, "exit_code": BAD_INPUT}
    traceback.print_exception(error)
    return {"error": f"The session met an internal error: {error}.", "exit_code": INTERNAL_ERROR}


def _listen(requests: RequestQueue) -> None:
    """Hand on what is read; whatever happens here, the session never goes on without anybody who listens."""
    told_to_stop = False
    try:
        for line in read_lines(sys.stdin.fileno()):
            request = read_request(line)
            requests.put(request)
            told_to_stop = request.get("command") == "stop"
            if told_to_stop:
                return
    except BaseException:
        traceback.print_exc()
    finally:
        if not told_to_stop:
            os._exit(CANCELLED)


def _cancel_with_standard_input(token: CancelToken) -> None:
    """For an export, which takes away its unfinished file before it ends."""
    for _ in read_lines(sys.stdin.fileno()):
        pass
    token.cancel()


def _body(body: MeasuredBody) -> dict[str, object]:
    landmarks = None if body.landmarks_ras is None else body.landmarks_ras.tolist()
    return {"extent_mm": body.extent_mm, "landmarks_ras": landmarks, "outline_ras": body.outline_ras}


def _as_points(points: FloatArray) -> tuple[Point, ...]:
    """Plain tuples, rounded to the six decimals that a report holds, so that a saved curve is the very same curve."""
    return tuple((round(float(r), 6), round(float(a), 6), round(float(s), 6)) for r, a, s in points)


if __name__ == "__main__":
    use_passive_waiting()
    sys.exit(main(sys.argv[1:]))
