"""The English of a result, one table: states become words here, for page, table, command line, panel and scene.

No code decides anything by these words, and no file is read by them (``result.migration`` knows those of old files).
"""

from __future__ import annotations

from VertebralFractureLib.result.report import NOT_EVALUABLE, SpineReport
from VertebralFractureLib.vertebrae.vertebra import Assessment, Reason, Status, Vertebra

STATUS_WORDS: dict[Status, str] = {
    Status.SCORED: "scored",
    Status.NOT_EVALUABLE: "not evaluable",
    Status.EXCLUDED_BY_READER: "excluded by the reader",
}
REASON_WORDS: dict[Reason, str] = {
    Reason.TRUNCATED: "partially imaged",
    Reason.LEVEL_NOT_SCORED: "level not scored",
    Reason.LOW_CONFIDENCE: "low confidence",
    Reason.METAL_OR_CEMENT: "implant or cement",
    Reason.NO_SEQUENCE_POSITION: "no position of the sequence lies inside it",
    Reason.MARKED_BY_READER: "marked not evaluable by the reader",
    Reason.FRACTURED: "fractured or suspected of it",
    Reason.DEGENERATED: "sclerotic or degenerated",
    Reason.NOT_TRACED: "its outline could not be traced",
    Reason.OTHER: "another reason",
}
ASSESSMENT_WORDS: dict[Assessment, str] = {
    Assessment.CONFIRMED: "confirmed",
    Assessment.REJECTED: "rejected",
    Assessment.REGRADED: "regraded",
    Assessment.NOT_EVALUABLE: "not evaluable",
}


def describe_reason(vertebra: Vertebra) -> str:
    """Why the vertebra was not judged, in words; empty where it was."""
    return _describe(vertebra.reason, vertebra.note)


def describe_trabecular_reason(vertebra: Vertebra) -> str:
    """Why the vertebra has no trabecular HU, in words; empty where it has."""
    return _describe(vertebra.trabecular_reason, vertebra.note)


def _describe(reason: Reason | None, note: str | None) -> str:
    if reason == Reason.OTHER and note:
        return note
    return "" if reason is None else REASON_WORDS[reason]


def describe_status(vertebra: Vertebra) -> str:
    """The status in words with its reason, for example "not evaluable: partially imaged"."""
    reason = describe_reason(vertebra)
    return STATUS_WORDS[vertebra.status] + (f": {reason}" if reason else "")


def write_impression(report: SpineReport) -> str:
    """One line for a person, for example "2 fractures suspected, T8 and L1; 14 vertebrae scored, 1 not evaluable"."""
    if report.status == NOT_EVALUABLE:
        return f"Not evaluable: {report.reason}"
    scored = sum(vertebra.status == Status.SCORED for vertebra in report.vertebrae)
    not_evaluable = sum(vertebra.status == Status.NOT_EVALUABLE for vertebra in report.vertebrae)
    labels = [vertebra.label for vertebra in reversed(report.suspected)]
    found = "No fracture suspected"
    if labels:
        listed = labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
        found = f"{len(labels)} fracture{'s' if len(labels) > 1 else ''} suspected, {listed}"
    return f"{found}; {scored} vertebrae scored, {not_evaluable} not evaluable"
