"""Older reports and corrections become what this version would have written; newer ones are refused.

Schema 1, revision 1: the first. 2: ``correction``, and per vertebra ``origin``, ``model`` and the reader's verdict.
3: the device. 4: ``scan.bone_density``, and per vertebra ``height_sd_mm``, ``height_loss_sd``, ``trabecular_reason``,
``box``. Schema 2, revision 5: the field's standard words, states as enums, one record for the model's own answer, and
the networks' own probabilities, which older files do not hold and which stay unknown. 6: ``doubts``, which an older
version did not look for. 7: per vertebra ``density_finding``, which an older version did not look for either,
``outline_ras``, which stays unknown, and the posterior over the grades with what follows from it; before, the grade was
that of the heights alone, and an index of 0 stood where nothing had been graded. 8: per vertebra the
``expected_heights_mm`` and ``area_loss``, which stay unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from VertebralFractureLib.checked_json import show_value
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.result.report import AXES_OF_FILE, REVISION, SCHEMA
from VertebralFractureLib.vertebrae.levels import SPINAL_DEFORMITY_INDEX_LEVELS
from VertebralFractureLib.vertebrae.vertebra import Reason, Source, Status

SCHEMA_1 = "vertebral-fracture-report/1"
CORRECTION_SCHEMA = "vertebral-fracture-correction/2"
_CORRECTION_SCHEMA_1 = "vertebral-fracture-correction/1"
_EMPTY_READER = {"grade": None, "comment": "", "verdict": None, "fracture": None, "who": None, "when": None}
_UNKNOWN_BEFORE_4 = dict.fromkeys(("height_sd_mm", "height_loss_sd", "trabecular_reason", "box"))
_UNKNOWN_BEFORE_7 = {"density_finding": None, "outline_ras": None}
_UNKNOWN_BEFORE_8 = {"expected_heights_mm": None, "area_loss": None}
_MORE_ANSWERS = ("member_probability_of_2", "member_probability_of_3")
_STAGES = {"cord": "canal", "spine": "cpr"}
_STATUSES = {"excluded_by_user": Status.EXCLUDED_BY_READER.value}
_NOT_INSIDE = "not wholly inside the scan"
_REASONS = {
    "cut by the field of view": Reason.TRUNCATED,
    "level not scored": Reason.LEVEL_NOT_SCORED,
    "low confidence": Reason.LOW_CONFIDENCE,
    "implant or cement": Reason.METAL_OR_CEMENT,
    "no position of the sequence lies inside it": Reason.NO_SEQUENCE_POSITION,
    "marked not evaluable by the reader": Reason.MARKED_BY_READER,
    "fractured or suspected of it": Reason.FRACTURED,
    "sclerotic or degenerated": Reason.DEGENERATED,
}
"""The sentences of schema 1."""


def migrated(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a report of an older schema or revision as this version would have written it.

    Its ``correction`` stays as it is: the reports in it carry their own schema, the edits follow the report's.

    Raises:
        ValueError: for another schema, and for a newer revision.
        KeyError, TypeError: when the content is not a report at all.
    """
    schema, revision = content["schema"], content.get("revision", 1)
    check_schema(schema, revision)
    if schema == SCHEMA_1:
        content = _from_schema_1(_last_of_schema_1(content, revision))
    if revision < 6:
        content = _without_doubts(content)
    if revision < 7:
        content = _without_posterior(_with_each_vertebra(content, _UNKNOWN_BEFORE_7))
    if revision < 8:
        content = _with_each_vertebra(content, _UNKNOWN_BEFORE_8)
    return {**content, "schema": SCHEMA, "revision": REVISION}


def check_schema(schema: object, revision: object) -> None:
    """Refuse what this version cannot read.

    Raises:
        RefusedContent: with a sentence that says what to do.
    """
    if schema not in (SCHEMA_1, SCHEMA):
        raise RefusedContent(f"This report has the schema {show_value(schema)}; this version reads '{SCHEMA}'.")
    if not isinstance(revision, int) or isinstance(revision, bool) or revision < 1:
        raise RefusedContent(f"This report has the revision {show_value(revision)}; revisions count from 1.")
    if revision > REVISION:
        raise RefusedContent(
            f"This result was written by a newer version of VertebralFracture (revision {revision} of its schema; this "
            f"version reads up to {REVISION}); update VertebralFracture to open it."
        )


def check_correction_schema(schema: str | None) -> None:
    """Refuse corrections that this version cannot read.

    Args:
        schema: of a file of edits alone; None for those inside a report, which say by their keys what they are.

    Raises:
        RefusedContent: for another schema than those of this version and of the one before.
    """
    if schema not in (None, _CORRECTION_SCHEMA_1, CORRECTION_SCHEMA):
        raise RefusedContent(
            f"These corrections have the schema {show_value(schema)} of a newer version; update VertebralFracture."
        )


def migrate_edits(edits: Mapping[str, Any]) -> dict[str, Any]:
    """The edits of a correction as this version would have written them.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: when they have another form than their schema.
    """
    added = [{"outline_ras": None, **_rename(one, {"centre_ras": "center_ras"})} for one in edits["added"]]
    if "verdicts" not in edits:
        return {**edits, "added": added}
    kept = {key: value for key, value in edits.items() if key != "verdicts"}
    given = [{"at_ras": one["at_ras"], "reader": _reader(one["verdict"])} for one in edits["verdicts"]]
    return {**kept, "added": added, "assessments": given}


def migrate_vertebra(item: Mapping[str, Any]) -> dict[str, Any]:
    """A vertebra of the last revision of schema 1 as one of schema 2; its points may be spelled either way."""
    values = _rename(item, {"centre_ras": "center_ras", "origin": "source"})
    del values["severity"]
    values |= _states(values)
    values["reader"] = _reader(values["reader"])
    values["box"] = _box(values["box"])
    values["member_probability"] = None
    model = values["model"]
    if model is not None:
        # What a correction never changed stood in the shown vertebra only; the deviation of the loss was not kept.
        answer = {key: value for key, value in model.items() if key != "severity"}
        answer |= {"trabecular_reason": item["trabecular_reason"], "complete": item["complete"]}
        own = {"reader": _reader(_EMPTY_READER), "source": Source.MODEL.value, "model": None, "height_loss_sd": None}
        values["model"] = {**values, **answer, **_states(answer), **own}
    return values


def _without_doubts(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content, of the report and of every vertebra in it, with a list of doubts that is empty."""
    line = {"patient_axes_ras": AXES_OF_FILE, **content["centerline"]}
    return {**_with_each_vertebra(content, {"doubts": []}), "doubts": [], "centerline": line}


def _with_each_vertebra(content: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """The content with ``added`` in every vertebra, and in the model's own where there is one."""
    vertebrae = [{**item, **added} for item in content["vertebrae"]]
    for item in vertebrae:
        if item["model"] is not None:
            item["model"] = {**item["model"], **added}
    return {**content, "vertebrae": vertebrae}


def _without_posterior(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with what revision 7 added unknown, but for the grade of the heights alone, which was the grade."""
    vertebrae = [_without_joined_answer(item) for item in content["vertebrae"]]
    for item in vertebrae:
        if item["model"] is not None:
            item["model"] = _without_joined_answer(item["model"])
    sequence = {**content["sequence"], **dict.fromkeys(_MORE_ANSWERS)}
    scan = {**content["scan"], "sdi_range": None, "network_probability": None}
    if scan["sdi"] == 0 and not any(_counts_for_index(item) for item in vertebrae):
        scan["sdi"] = None
    return {**content, "scan": scan, "sequence": sequence, "vertebrae": vertebrae}


def _without_joined_answer(item: Mapping[str, Any]) -> dict[str, Any]:
    unknown = dict.fromkeys(
        ("grade_probability", "grade_range", "network_probability", *_MORE_ANSWERS, "height_losses")
    )
    return {**item, **unknown, "morphometric_grade": item["grade"], "heights_source": Source.MODEL.value}


def _counts_for_index(item: Mapping[str, Any]) -> bool:
    return (
        item["status"] == Status.SCORED.value
        and item["grade"] is not None
        and item["level"] in SPINAL_DEFORMITY_INDEX_LEVELS
    )


def _last_of_schema_1(content: dict[str, Any], revision: int) -> dict[str, Any]:
    if revision < 2:
        vertebrae = [
            {**item, "reader": {**_EMPTY_READER, **item["reader"]}, "origin": "model", "model": None}
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
    return {
        **_rename(content, {"notice": "disclaimer"}),
        "vertebrae": [migrate_vertebra(item) for item in content["vertebrae"]],
        "sequence": {**content["sequence"], "inside_fraction": None, "member_probability": None},
        "timings_s": _rename(content["timings_s"], _STAGES),
    }


def _states(item: Mapping[str, Any]) -> dict[str, Any]:
    """Status and reasons as enums' values; a sentence that is not known becomes ``other`` and stays in ``note``."""
    reason, unknown = _reason(item["reason"], item["complete"])
    trabecular_reason, also_unknown = _reason(item["trabecular_reason"], item["complete"])
    sentences = dict.fromkeys(sentence for sentence in (unknown, also_unknown) if sentence)
    return {
        "status": _STATUSES.get(item["status"], item["status"]),
        "reason": reason,
        "trabecular_reason": trabecular_reason,
        "note": "; ".join(sentences) or None,
    }


def _reason(sentence: str | None, complete: bool) -> tuple[str | None, str | None]:
    """The enum's value, and the sentence where it is not known."""
    if sentence is None:
        return None, None
    if sentence == _NOT_INSIDE:
        return (Reason.NOT_TRACED if complete else Reason.TRUNCATED).value, None
    known = _REASONS.get(sentence)
    return (Reason.OTHER.value, sentence) if known is None else (known.value, None)


def _reader(reader: Mapping[str, Any]) -> dict[str, Any]:
    return _rename(reader, {"verdict": "assessment"})


def _rename(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The values, those of ``names`` under their new name."""
    return {names.get(key, key): value for key, value in values.items()}


def _box(box: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The box by its corner instead of its middle."""
    if box is None:
        return None
    axes, size, middle = box["axes_ras"], box["size_mm"], box["center_ras"]
    corner = [
        middle[i] - 0.5 * sum(length * axis[i] for length, axis in zip(size, axes, strict=True)) for i in range(3)
    ]
    return {"corner_ras": corner, "axes_ras": axes, "size_mm": size}
