"""Older reports become what this version would have written, one schema after the other; newer ones are refused.

Schema 1, revision 1: the first. 2: ``correction``, and per vertebra ``origin``, ``model`` and the reader's verdict.
3: the device. 4: ``scan.bone_density``, and per vertebra ``height_sd_mm``, ``height_loss_sd``, ``trabecular_reason``,
``box``. Schema 2, revision 5: the field's standard words.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from VertebralFractureLib.result.report import FROM_MODEL, REVISION, SCHEMA, ReaderVerdict

SCHEMA_1 = "vertebral-fracture-report/1"
_EMPTY_READER = asdict(ReaderVerdict())
_UNKNOWN_BEFORE_4 = dict.fromkeys(("height_sd_mm", "height_loss_sd", "trabecular_reason", "box"))
_STAGES = {"cord": "canal", "spine": "cpr"}


def migrated(content: dict[str, Any]) -> dict[str, Any]:
    """The content of an older schema or revision as this version would have written it.

    Raises:
        ValueError: for another schema, and for a newer revision.
        KeyError, TypeError: when the content is not a report at all.
    """
    schema, revision = content["schema"], content.get("revision", 1)
    check_schema(schema, revision)
    if schema == SCHEMA_1:
        content = _from_schema_1(_last_of_schema_1(content, revision))
    return {**content, "schema": SCHEMA, "revision": REVISION}


def check_schema(schema: str, revision: int) -> None:
    """Refuse what this version cannot read.

    Raises:
        ValueError: with a sentence that says what to do.
    """
    if schema not in (SCHEMA_1, SCHEMA):
        raise ValueError(f"This report has the schema '{schema}'; this version reads '{SCHEMA}'.")
    if revision > REVISION:
        raise ValueError(
            f"This result was written by a newer version of VertebralFracture (revision {revision} of its schema; this "
            f"version reads up to {REVISION}); update VertebralFracture to open it."
        )


def _last_of_schema_1(content: dict[str, Any], revision: int) -> dict[str, Any]:
    if revision < 2:
        vertebrae = [
            {**item, "reader": {**_EMPTY_READER, **item["reader"]}, "origin": FROM_MODEL, "model": None}
            for item in content["vertebrae"]
        ]
        content = {**content, "vertebrae": vertebrae, "correction": None}
    if revision < 3:
        content = {**content, "software": {**content["software"], "device": None}}
    if revision < 4:
        vertebrae = [{**item, **_UNKNOWN_BEFORE_4} for item in content["vertebrae"]]
        content = {**content, "vertebrae": vertebrae, "scan": {**content["scan"], "bone_density": None}}
    return content


def _from_schema_1(content: dict[str, Any]) -> dict[str, Any]:
    vertebrae = [
        {("center_ras" if key == "centre_ras" else key): value for key, value in item.items()}
        for item in content["vertebrae"]
    ]
    timings = {_STAGES.get(key, key): value for key, value in content["timings_s"].items()}
    return {**content, "vertebrae": vertebrae, "timings_s": timings}
