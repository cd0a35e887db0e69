"""Step 6: the report, plain data with a JSON schema and a CSV."""

from VertebralFractureLib.report.regrade import OWN_RULE, regrade
from VertebralFractureLib.report.report_csv import report_to_csv
from VertebralFractureLib.report.report_json import report_from_json, report_to_json
from VertebralFractureLib.report.spine_report import (
    EVALUABLE,
    NOT_EVALUABLE,
    ReportedVertebra,
    SpineReport,
    is_suspected,
)

__all__ = [
    "EVALUABLE",
    "NOT_EVALUABLE",
    "OWN_RULE",
    "ReportedVertebra",
    "SpineReport",
    "is_suspected",
    "regrade",
    "report_from_json",
    "report_to_csv",
    "report_to_json",
]
