"""Step 6: the result as plain data: the report with its JSON schema, and what a reader corrects, kept beside it."""

from VertebralFractureLib.result.agreement import Agreement, agreement, reader_fractures
from VertebralFractureLib.result.apply_correction import apply_correction
from VertebralFractureLib.result.corrected_report import CorrectedReport
from VertebralFractureLib.result.correction import Correction, CorrectionHistory
from VertebralFractureLib.result.correction_json import (
    corrected_from_json,
    corrected_to_json,
    correction_from_json,
    correction_to_json,
)
from VertebralFractureLib.result.display_criteria import OWN_RULE, regrade
from VertebralFractureLib.result.report import (
    EVALUABLE,
    NOT_EVALUABLE,
    ReportedVertebra,
    SpineReport,
    is_suspected,
)
from VertebralFractureLib.result.report_json import report_from_json, report_to_json

__all__ = [
    "EVALUABLE",
    "NOT_EVALUABLE",
    "OWN_RULE",
    "Agreement",
    "CorrectedReport",
    "Correction",
    "CorrectionHistory",
    "ReportedVertebra",
    "SpineReport",
    "agreement",
    "apply_correction",
    "corrected_from_json",
    "corrected_to_json",
    "correction_from_json",
    "correction_to_json",
    "is_suspected",
    "reader_fractures",
    "regrade",
    "report_from_json",
    "report_to_json",
]
