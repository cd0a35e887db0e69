"""Step 6: the result as plain data: the report with its JSON schema, and what a reader corrects, kept apart."""

from VertebralFractureLib.result.agreement import agreement
from VertebralFractureLib.result.apply_correction import CorrectedReport, apply_correction
from VertebralFractureLib.result.correction import Correction, CorrectionHistory
from VertebralFractureLib.result.display_criteria import OWN_RULE, apply_display_criteria
from VertebralFractureLib.result.report import EVALUABLE, SpineReport, is_suspected
from VertebralFractureLib.result.report_json import (
    corrected_from_json,
    corrected_to_json,
    correction_from_json,
    correction_to_json,
    report_from_json,
    report_to_json,
)

__all__ = [
    "EVALUABLE",
    "OWN_RULE",
    "CorrectedReport",
    "Correction",
    "CorrectionHistory",
    "SpineReport",
    "agreement",
    "apply_correction",
    "apply_display_criteria",
    "corrected_from_json",
    "corrected_to_json",
    "correction_from_json",
    "correction_to_json",
    "is_suspected",
    "report_from_json",
    "report_to_json",
]
