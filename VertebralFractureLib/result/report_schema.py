"""The JSON Schema of ``report.json``, made from the records that it is written from.

Renew the published file with ``python -m VertebralFractureLib.result.report_schema docs/reference/report.schema.json``.
"""

from __future__ import annotations

import json
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from VertebralFractureLib.result.agreement import Agreement
from VertebralFractureLib.result.correction import Correction
from VertebralFractureLib.result.report import REVISION, SCHEMA, SpineReport

_KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}
_NULL = {"type": "null"}
_RANGE = (("minimum", "least"), ("maximum", "most"))


def build_schema() -> dict[str, Any]:
    """The schema (JSON Schema 2020-12) of a report of this revision; every key is required, and no other is allowed."""
    definitions: dict[str, Any] = {}
    report = _record(SpineReport, definitions)
    correction = _object(
        {
            "edits": _schema(Correction, {}, definitions),
            "agreement": _schema(Agreement, {}, definitions),
            "detected": {"$ref": "#/$defs/SpineReport"},
            "rescored": {"anyOf": [{"$ref": "#/$defs/SpineReport"}, _NULL]},
        }
    )
    head = {"schema": {"const": SCHEMA}, "revision": {"const": REVISION}, "disclaimer": {"type": "string"}}
    tail = {"correction": {"anyOf": [{"$ref": "#/$defs/CorrectionBlock"}, _NULL]}}
    definitions["SpineReport"] = _object({**head, **report["properties"], **tail})
    definitions["CorrectionBlock"] = correction
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"VertebralFracture report, revision {REVISION}",
        "description": "Research use only. Points are RAS mm, lengths mm; null means unknown.",
        "$ref": "#/$defs/SpineReport",
        "$defs": dict(sorted(definitions.items())),
    }


def _record(record: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return _object({one.name: _field(hints[one.name], one.metadata, definitions) for one in fields(record)})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _field(hint: Any, metadata: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    described = {"description": metadata["about"]} if "about" in metadata else {}
    return {**_schema(hint, metadata, definitions), **described}


def _schema(hint: Any, metadata: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; range, form and count of the field's metadata go to the values inside."""
    kind, parts = typing.get_origin(hint), typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        known = next(part for part in parts if part is not type(None))
        return {"anyOf": [_schema(known, metadata, definitions), _NULL]}
    if kind is tuple:
        inner = {key: value for key, value in metadata.items() if key not in ("count", "up_to")}
        count = metadata.get("count") if parts[-1] is Ellipsis else len(parts)
        most = count or metadata.get("up_to")
        limits = {**({"minItems": count} if count else {}), **({"maxItems": most} if most else {})}
        return {"type": "array", "items": _schema(parts[0], inner, definitions), **limits}
    if kind is not None and issubclass(kind, Mapping):
        return {"type": "object", "additionalProperties": _schema(parts[1], metadata, definitions)}
    if is_dataclass(hint):
        name = typing.cast(type, hint).__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _record(typing.cast(type, hint), definitions)
        return {"$ref": f"#/$defs/{name}"}
    if issubclass(hint, Enum):
        return {"enum": [str(member.value) for member in hint]}
    names = {int: _RANGE, float: _RANGE, str: (("pattern", "pattern"), ("maxLength", "longest"))}.get(hint, ())
    limits = {name: metadata[key] for name, key in names if key in metadata}
    return {"type": _KINDS[hint], **limits}


def main(arguments: list[str]) -> None:
    """Write the schema to the file that is named."""
    Path(arguments[0]).write_text(json.dumps(build_schema(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
