"""A corrected report that names nobody; see ``report.privacy``. What the reader wrote stays as it is."""

from __future__ import annotations

from dataclasses import replace

from VertebralFractureLib.result.corrected_report import CorrectedReport
from VertebralFractureLib.result.deidentification import deidentify_report


def deidentify_corrected(corrected: CorrectedReport) -> CorrectedReport:
    """``deidentify_report`` for every report in it."""
    again = corrected.rescored
    return replace(
        corrected,
        detected=deidentify_report(corrected.detected),
        rescored=None if again is None else deidentify_report(again),
    )
