"""Progress for a person (one line with the stage's name) or for a program (one JSON object per line)."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

from VertebralFractureLib.cli.terminal import write_text
from VertebralFractureLib.progress import STAGES, ProgressListener

STAGE_TITLES = {
    "read": "reading the volume",
    "canal": "finding the spinal canal",
    "cpr": "straightening the spine",
    "fracture": "scoring patches along the spine",
    "vertebrae": "finding and measuring vertebrae",
    "scene": "writing scene, report and pictures",
}
_BAR_WIDTH = 24


def progress_listener(style: str) -> ProgressListener:
    """``"bar"`` writes to standard error, ``"json"`` to standard output, ``"none"`` writes nothing."""
    stream = sys.stdout if style == "json" else sys.stderr
    if style == "none" or stream is None:
        return lambda _stage, _fraction: None
    return Bar(stream) if style == "bar" else JsonLines(stream)


class JsonLines:
    """``{"stage": ..., "fraction": ...}`` per line, at most ten per stage and second, ends of stages always.

    Every line begins with what ``common`` holds. A stream that nobody reads any more is no reason to stop.
    """

    def __init__(self, stream: TextIO, common: Mapping[str, object] = MappingProxyType({})) -> None:
        self._stream = stream
        self._common = dict(common)
        self._last = ("", 0.0)

    def __call__(self, stage: str, fraction: float) -> None:
        now = time.monotonic()
        if stage == self._last[0] and 0.0 < fraction < 1.0 and now - self._last[1] < 0.1:
            return
        self._last = (stage, now)
        self.write({"stage": stage, "fraction": round(fraction, 3)})

    def write(self, content: dict[str, object]) -> None:
        write_text(self._stream, json.dumps({**self._common, **content}) + "\n")


class Bar:
    """A bar that is redrawn on a terminal; elsewhere one line per stage."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._interactive = stream.isatty()
        self._stage = ""

    def __call__(self, stage: str, fraction: float) -> None:
        title = f"[{STAGES.index(stage) + 1}/{len(STAGES)}] {STAGE_TITLES[stage]}"
        if not self._interactive:
            if stage != self._stage:
                write_text(self._stream, title + "\n")
        else:
            filled = round(_BAR_WIDTH * fraction)
            bar = "#" * filled + "-" * (_BAR_WIDTH - filled)
            ended = "\n" if fraction >= 1.0 and stage == STAGES[-1] else ""
            write_text(self._stream, f"\r\033[K{title:<46} {bar} {fraction:4.0%}{ended}")
        self._stage = stage
