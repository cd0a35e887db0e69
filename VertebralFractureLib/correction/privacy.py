"""A corrected report that names nobody; see ``report.privacy``. What the reader wrote stays as it is."""

from __future__ import annotations

from dataclasses import replace

from VertebralFractureLib.correction.corrected_report import CorrectedReport
from VertebralFractureLib.report.privacy import without_identifiers


def without_names(corrected: CorrectedReport) -> CorrectedReport:
    """``without_identifiers`` for every report in it."""
    again = corrected.rescored
    return replace(
        corrected,
        detected=without_identifiers(corrected.detected),
        rescored=None if again is None else without_identifiers(again),
    )
