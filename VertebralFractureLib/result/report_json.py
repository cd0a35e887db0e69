"""Reports and corrections as JSON and back, without loss: the shown report, and in ``correction`` where it came from.

The schema's name is checked before anything else is believed. A file of an older revision is migrated while it is read;
one of a newer revision is refused, because what this version does not know would be lost when it is saved again. The
edits alone are a file of their own as well, so that a batch can be corrected without a window.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from typing import Any

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.checked_json import parse_json, show_value
from VertebralFractureLib.checked_record import record_from_content, value_from_content
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.result.agreement import agreement
from VertebralFractureLib.result.apply_correction import CorrectedReport
from VertebralFractureLib.result.consistency import check_correction, check_report
from VertebralFractureLib.result.correction import Correction
from VertebralFractureLib.result.made_for import MadeFor
from VertebralFractureLib.result.migration import (
    CORRECTION_SCHEMA,
    check_correction_schema,
    check_schema,
    migrate_edits,
    migrated,
)
from VertebralFractureLib.result.report import REVISION, SCHEMA, SpineReport

_NO_REPORT = "This is not a VertebralFracture report that can be used"
_ADVICE = "use the file as VertebralFracture wrote it"
_NUMBERS_ON_LINES = re.compile(r"\[\n\s+([-+.\deE,\s]+?)\n\s+\]")


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


def correction_to_json(correction: Correction, indent: int | None = 2, made_for: MadeFor | None = None) -> str:
    """The edits alone, for a file that ``detect --correction`` takes. ``indent`` as in ``json_text``.

    Args:
        made_for: the scan that they were made for, by which another one is refused.
    """
    scan = {} if made_for is None else {"made_for": asdict(made_for)}
    return json_text({"schema": CORRECTION_SCHEMA, **scan, "edits": asdict(correction)}, indent)


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
        RefusedContent: a ``ValueError``, when the text is not a report of this schema, contradicts itself, or was
            written by a newer version.
    """
    return report_from_content(_parse(text))


def corrected_from_json(text: str) -> CorrectedReport:
    """Read ``report.json``, corrected or not, of this revision of the schema or an older one.

    Raises:
        RefusedContent: as ``report_from_json``.
    """
    content = _parse(text)
    shown = report_from_content(content)
    block = content.get("correction")
    if block is None:
        return CorrectedReport(shown)
    if not isinstance(block, dict):
        raise _no_report(f"'correction' holds {show_value(block)}; allowed is an object, or null")
    missing = [name for name in ("edits", "detected", "rescored") if name not in block]
    if missing:
        raise _no_report(f"'correction', the field '{missing[0]}' is missing")
    rescored = block["rescored"]
    corrected = CorrectedReport(
        _inside("detected", block["detected"]),
        _correction(block["edits"]),
        None if rescored is None else _inside("rescored", rescored),
    )
    _check_shown(shown, corrected)
    return corrected


def correction_from_json(text: str) -> Correction:
    """The edits of ``correction_to_json``, or those inside a corrected ``report.json``.

    Raises:
        RefusedContent: a ``ValueError``, when the text is neither, contradicts itself, or is of a newer version.
    """
    return correction_with_scan_from_json(text)[0]


def correction_with_scan_from_json(text: str) -> tuple[Correction, MadeFor | None]:
    """As ``correction_from_json``, with the scan that the edits were made for; None where the text does not say it."""
    content = _parse(text, "This file holds no corrections that can be used")
    schema = content.get("schema")
    if not isinstance(schema, str):
        raise RefusedContent(f"This file holds no corrections: 'schema' holds {show_value(schema)}.")
    if schema.startswith("vertebral-fracture-correction/"):
        if "edits" not in content:
            raise RefusedContent("This file holds no corrections: the field 'edits' is missing.")
        made_for = value_from_content(MadeFor | None, content.get("made_for"), "made_for")
        return _correction(content["edits"], schema), made_for
    corrected = corrected_from_json(text)
    return corrected.correction, MadeFor.of_report(corrected.detected)


def _parse(text: str, what: str = "") -> dict[str, Any]:
    what = what or _NO_REPORT
    try:
        content = parse_json(text)
    except RefusedContent as error:
        raise RefusedContent(f"{what}: {error}.") from error
    if not isinstance(content, dict):
        raise RefusedContent(f"{what}: it holds {show_value(content)}; allowed is an object.")
    return content


def _correction(edits: Any, schema: str | None = None) -> Correction:
    check_correction_schema(schema)
    try:
        correction = record_from_content(Correction, migrate_edits(edits))
        check_correction(correction)
    except RefusedContent as error:
        raise RefusedContent(f"These corrections cannot be used: {error}; {_ADVICE}.") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RefusedContent(f"These corrections cannot be used: {_missing(error)}; {_ADVICE}.") from error
    return correction


def _inside(name: str, content: Any) -> SpineReport:
    """The model's own report inside a corrected one."""
    if not isinstance(content, dict):
        raise _no_report(f"'correction', '{name}' holds {show_value(content)}; allowed is an object")
    return report_from_content(content)


def _check_shown(shown: SpineReport, corrected: CorrectedReport) -> None:
    """Check that what a corrected file shows on top is of the same scan as the reports in it.

    What is shown is made again from the model's report and the edits, so that no row on top can say anything else.

    Raises:
        RefusedContent: when they are not.
    """
    for name, other in (("detected", corrected.detected), ("rescored", corrected.rescored)):
        if other is not None and (
            other.input.shape_kji != shown.input.shape_kji or other.input.spacing_mm != shown.input.spacing_mm
        ):
            raise _no_report(f"'correction', '{name}' is of another scan than the report itself")
    try:
        _ = corrected.shown
    except (ValueError, IndexError) as error:
        raise _no_report(f"'correction', its edits cannot be applied to its report ({error})") from error


def _report_content(report: SpineReport) -> dict[str, Any]:
    head: dict[str, Any] = {"schema": SCHEMA, "revision": REVISION, "disclaimer": RESEARCH_USE_ONLY}
    return {**head, **asdict(report), "correction": None}


def report_from_content(content: dict[str, Any]) -> SpineReport:
    """As ``report_from_json``, from plain values.

    Raises:
        RefusedContent: as ``report_from_json``.
    """
    check_schema(content.get("schema"), content.get("revision", 1))
    try:
        known = migrated(content)
        for one in fields(SpineReport):
            if one.name not in known:
                raise RefusedContent(f"the field '{one.name}' is missing; what is unknown is null")
        report = record_from_content(SpineReport, {one.name: known[one.name] for one in fields(SpineReport)})
        check_report(report, is_corrected=known.get("correction") is not None)
    except RefusedContent as error:
        raise _no_report(error) from error
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise _no_report(_missing(error)) from error
    return report


def _missing(error: Exception) -> str:
    """What an older file lacks, for the migration, which takes its form for granted."""
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    return f"it has another form than its schema ({error})"


def _no_report(error: object) -> RefusedContent:
    return RefusedContent(f"{_NO_REPORT}: {error}; {_ADVICE}.")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
