"""What a reader corrects, kept beside the model's answer: edits as plain data, undo and redo, and what follows."""

from VertebralFractureLib.correction.agreement import Agreement, agreement, reader_fractures
from VertebralFractureLib.correction.applying import apply_correction
from VertebralFractureLib.correction.corrected_report import CorrectedReport
from VertebralFractureLib.correction.correction import Correction, CorrectionHistory
from VertebralFractureLib.correction.correction_json import (
    corrected_from_json,
    corrected_to_json,
    correction_from_json,
    correction_to_json,
)

__all__ = [
    "Agreement",
    "CorrectedReport",
    "Correction",
    "CorrectionHistory",
    "agreement",
    "apply_correction",
    "corrected_from_json",
    "corrected_to_json",
    "correction_from_json",
    "correction_to_json",
    "reader_fractures",
]
