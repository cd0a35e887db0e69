"""A finished report under another threshold or another grading rule, without detecting again.

The report itself is never changed: what comes back is a second one, and the model's own answer stays in the first.
"""

from __future__ import annotations

from dataclasses import replace

from VertebralFractureLib.result.report import EVALUABLE, SpineReport
from VertebralFractureLib.result.scan_result import summarize_scan
from VertebralFractureLib.vertebrae.grading import GRADING_RULES, grade_heights, with_grading
from VertebralFractureLib.vertebrae.vertebra import Vertebra

OWN_RULE = next(iter(GRADING_RULES))
"""The rule that a report is made with."""


def apply_display_criteria(report: SpineReport, threshold: float, rule: str) -> SpineReport:
    """``report`` as it reads with ``threshold`` (probability from which a vertebra is suspected) and ``rule``.

    Probabilities and heights stay; grade, shape, loss, the suspected levels and the spinal deformity index follow.

    Args:
        rule: a key of ``GRADING_RULES``; the first one keeps the report's own grades.

    Raises:
        ValueError: when the threshold is not between 0 and 1, or there is no such rule.
    """
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"The threshold must lie between 0 and 1, not at {threshold:g}.")
    if rule not in GRADING_RULES:
        raise ValueError(f"There is no grading rule '{rule}'; use one of {', '.join(GRADING_RULES)}.")
    if report.status != EVALUABLE:
        return replace(report, scan=replace(report.scan, decision_threshold=threshold))
    vertebrae = tuple(_graded_by(vertebra, rule) for vertebra in report.vertebrae)
    scan = summarize_scan(vertebrae, threshold, report.scan.fracture_probability, report.scan.bone_density)
    return replace(report, scan=scan, vertebrae=vertebrae)


def _graded_by(vertebra: Vertebra, rule: str) -> Vertebra:
    """Only what the model graded is graded: a vertebra without a grade gets none from another rule."""
    if rule == OWN_RULE or vertebra.grade is None or vertebra.heights_mm is None:
        return vertebra
    grading = grade_heights(vertebra.heights_mm, vertebra.level, rule, height_sd_mm=vertebra.height_sd_mm)
    return with_grading(vertebra, grading)
