"""The worker that stays: one CT and the networks in memory, and an answer to every correction of the centerline.

It reads one JSON object per line from standard input and answers in JSON lines on standard output, each with the ``id``
of its request: ``{"id", "stage", "fraction"}`` while it works, then ``{"id", "done": true, ...}`` or ``{"id", "error",
"exit_code"}``. A new ``rescore`` cancels the one that runs, because only the last position of a drag matters.
``docs/reference/worker.md`` lists the requests.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from VertebralFractureLib.cli.exit_codes import BAD_INPUT, CANCELLED, DONE, INTERNAL_ERROR, NOT_EVALUABLE_CODE
from VertebralFractureLib.cli.progress_display import JsonLines
from VertebralFractureLib.errors import Cancelled, VertebralFractureError
from VertebralFractureLib.progress import CancelToken

Request = dict[str, Any]
_COMMANDS = ("detect", "rescore", "repair", "draw", "measure", "prepare")


class Inbox:
    """Requests as they arrive. ``cancel`` and a newer ``rescore`` reach the running one through its token."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Request | None] = queue.Queue()
        self._lock = threading.Lock()
        self._running: tuple[Request, CancelToken] | None = None
        self._revoked: set[int] = set()

    def put(self, request: Request) -> None:
        """A request, or a ``cancel`` (with the ``id`` of one, or of all that there are)."""
        if request.get("command") == "cancel":
            self._cancel(request.get("id"))
        elif request.get("command") == "stop":
            self._cancel(None)
            self._waiting.put(None)
        else:
            if request.get("command") == "rescore":
                self._cancel_rescores()
            self._waiting.put(request)

    def next(self) -> tuple[Request, CancelToken] | None:
        """Wait for the next request; None when it is time to stop. A revoked one comes with a token that is set."""
        request = self._waiting.get()
        if request is None:
            return None
        token = CancelToken()
        with self._lock:
            self._running = (request, token)
            if id(request) in self._revoked:
                self._revoked.discard(id(request))
                token.cancel()
        return request, token

    def _cancel(self, identifier: Any) -> None:
        self._revoke(lambda request: identifier is None or request.get("id") == identifier)

    def _cancel_rescores(self) -> None:
        self._revoke(lambda request: request.get("command") == "rescore")

    def _revoke(self, concerned: Any) -> None:
        with self._lock:
            if self._running is not None and concerned(self._running[0]):
                self._running[1].cancel()
            with self._waiting.mutex:
                self._revoked |= {id(one) for one in self._waiting.queue if one is not None and concerned(one)}


class NumberedLines:
    """JSON lines that carry the ``id`` of the request they answer."""

    def __init__(self, lines: JsonLines, identifier: Any) -> None:
        self._lines = lines
        self._identifier = identifier

    def __call__(self, stage: str, fraction: float) -> None:
        self.write({"stage": stage, "fraction": round(fraction, 3)})

    def write(self, content: dict[str, object]) -> None:
        self._lines.write({"id": self._identifier, **content})


def serve(request: Request, lines: JsonLines) -> int:
    """Read the CT that ``request`` names, say ``{"ready": true}``, and answer until standard input closes or says stop.

    Args:
        request: ``input`` and perhaps ``series`` and options, as for the worker that runs once.

    Raises:
        UnreadableVolume: when there is no such CT.
        OptionRefused: when an option has a value that it cannot have.
    """
    from VertebralFractureLib.pipeline import DetectionOptions
    from VertebralFractureLib.session import VolumeSession
    from VertebralFractureLib.volume import read_volume, with_acquisition

    inbox = Inbox()
    threading.Thread(target=_listen, args=(inbox,), daemon=True).start()
    series, options = request.get("series"), DetectionOptions.from_request(request)
    ct = read_volume(Path(str(request["input"])), series=str(series) if series else None)
    ct = with_acquisition(ct, request.get("acquisition"))
    rescorer = VolumeSession(ct)
    lines.write({"ready": True, "commands": list(_COMMANDS)})
    while (received := inbox.next()) is not None:
        asked, token = received
        _answer(asked, token, (rescorer, options), NumberedLines(lines, asked.get("id")))
    lines.write({"done": True, "exit_code": DONE})
    return DONE


def _listen(inbox: Inbox) -> None:
    for line in _lines_of_standard_input():
        try:
            request = json.loads(line)
        except ValueError:
            request = None
        # What is no request still gets an answer, so that the program that wrote it can find its mistake.
        inbox.put(request if isinstance(request, dict) else {"command": line.decode("utf-8", errors="replace")})
        if isinstance(request, dict) and request.get("command") == "stop":
            return
    os._exit(CANCELLED)


def _lines_of_standard_input() -> Iterator[bytes]:
    """Not through ``sys.stdin``: its lock would be held by this thread when the interpreter shuts down."""
    rest = b""
    while received := os.read(sys.stdin.fileno(), 65536):
        *whole, rest = (rest + received).split(b"\n")
        yield from (line for line in whole if line.strip())


def _answer(request: Request, token: CancelToken, rescorer: Any, lines: NumberedLines) -> None:
    started, worked = time.monotonic(), time.process_time()
    try:
        if token.cancelled:
            raise Cancelled("Cancelled before it began.")
        answer = _done(request, token, rescorer, lines)
        elapsed, spent = time.monotonic() - started, time.process_time() - worked
        lines.write({"done": True, **answer, "seconds": round(elapsed, 3), "cpu_seconds": round(spent, 3)})
    except Cancelled as error:
        lines.write({"error": str(error), "exit_code": CANCELLED})
    except (VertebralFractureError, ValueError, KeyError, TypeError) as error:
        lines.write({"error": f"The request could not be answered: {error}", "exit_code": BAD_INPUT})
    except OSError as error:
        lines.write(
            {"error": f"A file could not be read or written: {error.strerror or error}.", "exit_code": BAD_INPUT}
        )
    except Exception as error:
        traceback.print_exc()
        lines.write({"error": f"The worker met a defect of the program: {error}.", "exit_code": INTERNAL_ERROR})


def _done(request: Request, token: CancelToken, rescorer: Any, lines: NumberedLines) -> dict[str, object]:
    from VertebralFractureLib.worker import write_answer

    rescorer, options = rescorer
    command = request.get("command")
    if command in ("detect", "rescore"):
        if command == "detect":
            detection = rescorer.detect(options, listener=lines, token=token)
        else:
            detection = rescorer.rescore(request["centerline_ras"], options, listener=lines, token=token)
        path = write_answer(detection, Path(str(request["output"])))
        code = DONE if detection.report.status == "evaluable" else NOT_EVALUABLE_CODE
        return {"report": str(path), "exit_code": code}
    if command == "prepare":
        rescorer.prepare(options)
        return {"exit_code": DONE}
    if command == "measure":
        bodies = rescorer.measure(request["centerline_ras"], request["extents_mm"], options)
        return {"bodies": [_body(body) for body in bodies], "exit_code": DONE}
    if command == "draw":
        points, anchors = rescorer.draw(request["points_ras"], options)
    elif command == "repair":
        points, anchors = rescorer.repair(
            request["points_ras"], request["dragged_ras"], request.get("anchors_ras"), options
        )
    else:
        raise ValueError(f"there is no command '{command}'; use {', '.join(_COMMANDS)}, cancel or stop.")
    return {"points_ras": points, "anchors_ras": anchors, "exit_code": DONE}


def _body(body: Any) -> dict[str, object]:
    landmarks = None if body.landmarks_ras is None else body.landmarks_ras.tolist()
    return {"extent_mm": body.extent_mm, "landmarks_ras": landmarks}
