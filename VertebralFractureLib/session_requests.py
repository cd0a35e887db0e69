"""Read the requests of a session: one JSON object per line, checked before a volume is touched or a model is loaded.

What is no request becomes one that is answered with what is wrong with it, so that the program that wrote it can find
its mistake, and the session goes on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from VertebralFractureLib.checked_json import decode_text, listed, parse_json, show_value
from VertebralFractureLib.checked_record import value_from_content
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.types import Point, about

LONGEST_LINE_BYTES = 8_000_000
"""A curve of ``MOST_POINTS`` points has 0.3 MB."""
_PIECE_BYTES = 65_536
_REFUSAL = "refusal"
_WHERE_IDS_STAND = 1_000
"""Bytes of a line that cannot be read in which its id is looked for."""

Request = dict[str, Any]

_FACT = about("of the acquisition", longest=1_000, least=-1e9, most=1e9)
_Fields = Mapping[str, tuple[Any, Mapping[str, Any]]]


@cache
def _commands() -> Mapping[str, _Fields]:
    """What each command needs, by name; a field whose type has None may be left out.

    Made when it is first needed, so that a session starts without what only its answers need.
    """
    from VertebralFractureLib.result.report import MOST_POINTS, MOST_VERTEBRAE
    from VertebralFractureLib.vertebrae.vertebra import LONGEST_CURVE_MM, about_point

    text, points = about("a path", longest=32_768), about_point("a curve", up_to=MOST_POINTS)
    ends = about("endplates, mm", least=-LONGEST_CURVE_MM, most=2 * LONGEST_CURVE_MM, up_to=MOST_VERTEBRAE)
    curve = (tuple[Point, ...], points)
    return {
        "open": {"input": (str, text), "series": (str | None, text)},
        "detect": {"output": (str, text)},
        "rescore": {"centerline_ras": curve, "output": (str, text)},
        "repair": {
            "points_ras": curve,
            "dragged_ras": (Point, about_point("where a point was dragged")),
            "anchors_ras": (tuple[Point, ...] | None, points),
        },
        "draw": {"points_ras": curve},
        "measure": {"centerline_ras": curve, "extents_mm": (tuple[tuple[float, float], ...], ends)},
        "prepare": {},
        "status": {},
    }


@cache
def _exports() -> Mapping[str, _Fields]:
    """What each kind of file needs, as ``_commands``."""
    text = about("a path", longest=32_768)
    return {
        "scene": {"target": (str, text), "bundle": (str, text), "volumes": (Mapping[str, str], text)},
        "page": {
            **dict.fromkeys(("target", "input", "report"), (str, text)),
            "notes": (tuple[str, ...], about("sentences", longest=10_000, up_to=100)),
        },
    }


def read_lines(descriptor: int) -> Iterator[bytes]:
    """Lines that are not empty, until the file ends; of a line over ``LONGEST_LINE_BYTES`` no more than that is kept.

    Not through ``sys.stdin``: its lock would be held by the reading thread when the interpreter shuts down.
    """
    rest = b""
    while received := os.read(descriptor, _PIECE_BYTES):
        *whole, rest = (rest + received).split(b"\n")
        yield from (line for line in whole if line.strip())
        # One byte over the limit is kept, by which ``read_request`` knows that it was too long.
        rest = rest[: LONGEST_LINE_BYTES + 1]


def read_request(line: bytes) -> Request:
    """The request of a line; one that ``refuse_rubbish`` refuses where it is none."""
    try:
        if len(line) > LONGEST_LINE_BYTES:
            raise RefusedContent(f"it is longer than {LONGEST_LINE_BYTES // 1_000_000} MB")
        content = parse_json(decode_text(line, "the line"))
        if not isinstance(content, dict):
            raise RefusedContent(f"it holds {show_value(content)}; a request is an object")
        identifier = content.get("id")
        if not isinstance(identifier, int | str | None):
            raise RefusedContent(f"'id' holds {show_value(identifier)}; allowed is a number, a text or null")
    except RefusedContent as error:
        return {_REFUSAL: str(error), "id": _find_identifier(line)}
    return content


def _find_identifier(line: bytes) -> int | str | None:
    """What stands for the ``id`` at the beginning of a line that cannot be read, for the caller who waits for it."""
    found = re.search(rb'"id"\s*:\s*(?:([0-9]{1,15})|"([A-Za-z0-9_.-]{1,64})")', line[:_WHERE_IDS_STAND])
    if found is None:
        return None
    return int(found[1]) if found[1] is not None else found[2].decode("ascii")


def check_request(request: Request) -> Request:
    """The request with its fields as the types that its command needs; others stay as they are.

    Raises:
        RefusedContent: when the line was no request, its command is not one, or a field is missing or does not fit.
    """
    if _REFUSAL in request:
        words = request[_REFUSAL]
        raise RefusedContent(f"the line is no request: {words if isinstance(words, str) else show_value(words)}")
    command = request.get("command")
    commands = _commands()
    if not isinstance(command, str) or command not in commands:
        raise RefusedContent(f"there is no command {show_value(command)}; use {listed([*commands, 'cancel', 'stop'])}.")
    checked = {**request, **_checked(commands[command], request)}
    if not isinstance(request.get("options") or {}, dict):
        raise RefusedContent(f"'options' holds {show_value(request['options'])}; allowed is an object, or null.")
    if command == "open":
        checked["acquisition"] = _facts(request.get("acquisition"))
    if "centerline_ras" in commands[command]:
        from VertebralFractureLib.result.consistency import check_curve_points

        check_curve_points(checked["centerline_ras"], "'centerline_ras'")
    if command == "measure" and any(low >= high for low, high in checked["extents_mm"]):
        raise RefusedContent("'extents_mm' holds an upper endplate that is not above the lower one.")
    return checked


def check_export(request: Any) -> Request:
    """The request for one file of a result; raises as ``check_request``."""
    kind = request.get("export") if isinstance(request, dict) else None
    exports = _exports()
    if not isinstance(kind, str) or kind not in exports:
        raise RefusedContent(f"There is no export {show_value(kind)}; use {listed(list(exports))}.")
    return {**request, **_checked(exports[kind], request)}


def _checked(needed: _Fields, request: Request) -> Request:
    return {name: value_from_content(hint, request.get(name), name, limits) for name, (hint, limits) in needed.items()}


def _facts(facts: Any) -> Any:
    """What the caller knows of the acquisition: short texts and finite numbers."""
    if facts is None:
        return None
    if not isinstance(facts, dict) or len(facts) > 100:
        raise RefusedContent(f"'acquisition' holds {show_value(facts)}; allowed is an object, or null.")
    for name, value in facts.items():
        if not isinstance(value, bool):
            value_from_content(str if isinstance(value, str) else float | None, value, "acquisition", _FACT)
        if len(name) > 100:
            raise RefusedContent("'acquisition' holds a name of more than 100 characters.")
    return facts
