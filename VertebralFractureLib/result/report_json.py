"""Reports and corrections as JSON and back, without loss: the shown report, and in ``correction`` where it came from.

The schema's name is checked before anything else is believed. A file of an older revision is migrated while it is read;
one of a newer revision is refused, because what this version does not know would be lost when it is saved again. The
edits alone are a file of their own as well, so that a batch can be corrected without a window.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.result.agreement import agreement
from VertebralFractureLib.result.apply_correction import CorrectedReport
from VertebralFractureLib.result.correction import Correction
from VertebralFractureLib.result.migration import CORRECTION_SCHEMA, migrate_edits, migrated
from VertebralFractureLib.result.report import REVISION, SCHEMA, SpineReport

_NUMBERS_ON_LINES = re.compile(r"\[\n\s+([-+.\deE,\s]+?)\n\s+\]")
_Record = TypeVar("_Record")


def report_to_json(report: SpineReport) -> str:
    """The report as indented JSON text, numbers rounded to six decimals; its ``correction`` is null."""
    return json_text(_report_content(report))


def corrected_to_json(corrected: CorrectedReport, indent: int | None = 2) -> str:
    """The text of ``report.json``; without a correction that of the report alone. ``indent`` as in ``json_text``."""
    content = _report_content(corrected.shown)
    if not corrected.correction.is_empty:
        rescored = corrected.rescored
        content["correction"] = {
            "edits": asdict(corrected.correction),
            "agreement": asdict(agreement(corrected.shown)),
            "detected": _report_content(corrected.detected),
            "rescored": None if rescored is None else _report_content(rescored),
        }
    return json_text(content, indent)


def correction_to_json(correction: Correction, indent: int | None = 2) -> str:
    """The edits alone, for a file that ``detect --correction`` takes. ``indent`` as in ``json_text``."""
    return json_text({"schema": CORRECTION_SCHEMA, "edits": asdict(correction)}, indent)


def json_text(content: dict[str, Any], indent: int | None = 2) -> str:
    """JSON text with numbers rounded to six decimals; without ``indent`` it is for programs, and made much faster."""
    text = json.dumps(_rounded(content), indent=indent, allow_nan=False)
    if indent is not None:
        # Lists of numbers on one line each; a line break inside a JSON string is written as \n and never matches.
        text = _NUMBERS_ON_LINES.sub(lambda match: "[" + " ".join(match.group(1).split()) + "]", text)
    return text + "\n"


def report_from_json(text: str) -> SpineReport:
    """Read what ``report_to_json`` wrote, in this revision of the schema or an older one.

    Raises:
        ValueError: when the text is not a report of this schema, or was written by a newer version.
    """
    return report_from_content(_parse(text))


def corrected_from_json(text: str) -> CorrectedReport:
    """Read ``report.json``, corrected or not, of this revision of the schema or an older one.

    Raises:
        ValueError: when it is no report, or was written by a newer version.
    """
    content = _parse(text)
    shown = report_from_content(content)
    block = content.get("correction")
    if block is None:
        return CorrectedReport(shown)
    try:
        rescored = block["rescored"]
        return CorrectedReport(
            report_from_content(block["detected"]),
            from_content(Correction, migrate_edits(block["edits"])),
            None if rescored is None else report_from_content(rescored),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_report(error) from error


def correction_from_json(text: str) -> Correction:
    """The edits of ``correction_to_json``, or those inside a corrected ``report.json``.

    Raises:
        ValueError: when the text is neither, or was written by a newer version.
    """
    try:
        content = json.loads(text)
        schema = str(content["schema"])
        if schema.startswith("vertebral-fracture-correction/"):
            return from_content(Correction, migrate_edits(content["edits"], schema))
        return corrected_from_json(text).correction
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"This file holds no corrections: {error}.") from error


def from_content(record: type[_Record], content: Mapping[str, Any]) -> _Record:
    """A frozen dataclass from the plain values that ``asdict`` and JSON make of it, by the types of its fields.

    Raises:
        KeyError: when a field without a default is missing; nothing that is unknown is filled in.
        TypeError: for an unknown field, or a value of another form.
        ValueError: for a word that an enum does not know.
    """
    hints = _hints(typing.cast(type, record))
    unknown = sorted(set(content) - set(hints))
    if unknown:
        raise TypeError(f"unknown {', '.join(unknown)}")
    return record(**{name: _value(hint, content[name]) for name, hint in hints.items()})


def _value(hint: Any, value: Any) -> Any:
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        return None if value is None else _value(next(part for part in parts if part is not type(None)), value)
    if kind is tuple:
        if len(parts) == 2 and parts[1] is Ellipsis:
            return tuple(_value(parts[0], item) for item in value)
        return tuple(_value(part, item) for part, item in zip(parts, value, strict=True))
    if kind is not None and issubclass(kind, Mapping):
        return {str(key): _value(parts[1], item) for key, item in value.items()}
    if is_dataclass(hint):
        return from_content(typing.cast(type[Any], hint), value)
    if issubclass(hint, Enum):
        return hint(value)
    if hint is float:
        return float(value)
    if not isinstance(value, hint):
        raise TypeError(f"{value!r} is not {hint.__name__}")
    return value


@cache
def _hints(record: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return {one.name: hints[one.name] for one in fields(record)}


def _parse(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise _no_report(error) from error
    if not isinstance(content, dict):
        raise _no_report("it is not an object")
    return content


def _report_content(report: SpineReport) -> dict[str, Any]:
    head: dict[str, Any] = {"schema": SCHEMA, "revision": REVISION, "disclaimer": RESEARCH_USE_ONLY}
    return {**head, **asdict(report), "correction": None}


def report_from_content(content: dict[str, Any]) -> SpineReport:
    """As ``report_from_json``, from plain values.

    Raises:
        ValueError: as ``report_from_json``.
    """
    try:
        known = migrated(content)
        return from_content(SpineReport, {one.name: known[one.name] for one in fields(SpineReport)})
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_report(error) from error


def _no_report(error: object) -> ValueError:
    return ValueError(f"This is not a VertebralFracture report: {error}.")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
