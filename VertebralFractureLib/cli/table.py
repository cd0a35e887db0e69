"""The result as a table in the terminal, cranial first, words with every number."""

from __future__ import annotations

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.plain_text import one_line
from VertebralFractureLib.result import SpineReport, is_suspected
from VertebralFractureLib.result.words import (
    describe_call,
    describe_grade,
    describe_index,
    list_densities,
    list_doubts,
    write_finding,
)
from VertebralFractureLib.vertebrae.vertebra import Vertebra

_HEADER = ("level", "of the level", "probability", "+/-", "grade", "shape", "Ha/Hm/Hp mm", "loss", "status")


def format_report_table(report: SpineReport) -> str:
    """The report as plain text lines."""
    doubts = [f"In doubt: {line}" for line in list_doubts(report)]
    lines = [write_finding(report), *list_densities(report), *doubts]
    if report.vertebrae:
        threshold = report.scan.decision_threshold
        rows = [_row(vertebra, threshold) for vertebra in reversed(report.vertebrae)]
        widths = [max(len(row[column]) for row in [_HEADER, *rows]) for column in range(len(_HEADER))]
        lines += ["", _line(_HEADER, widths), _line(tuple("-" * width for width in widths), widths)]
        lines += [_line(row, widths) for row in rows]
    if report.scan.fracture_probability is not None:
        lines += [
            "",
            f"Scan: fracture probability {report.scan.fracture_probability:.2f}, "
            f"spinal deformity index {describe_index(report.scan)}",
        ]
    return "\n".join([*(one_line(line) for line in lines), RESEARCH_USE_ONLY])


def _row(vertebra: Vertebra, threshold: float) -> tuple[str, ...]:
    heights, call = vertebra.heights_mm, describe_call(vertebra, threshold)
    return (
        vertebra.label,
        "-" if vertebra.level is None else f"{vertebra.level_probability:.2f}",
        _number(vertebra.fracture_probability, ".2f"),
        _number(vertebra.uncertainty, ".2f"),
        "-" if vertebra.grade is None else describe_grade(vertebra),
        str(vertebra.shape or "-"),
        "-" if heights is None else f"{heights.anterior:.1f}/{heights.middle:.1f}/{heights.posterior:.1f}",
        _number(vertebra.height_loss, ".0%"),
        call.replace("suspected", "SUSPECTED", 1) if is_suspected(vertebra, threshold) else call,
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
