"""A finished report under another threshold or another grading rule, without detecting again.

The report itself is never changed: what comes back is a second one, and the model's own answer stays in the first.
"""

from __future__ import annotations

from dataclasses import replace

from VertebralFractureLib.result.report import EVALUABLE, ReportedVertebra, ScanResult, SpineReport, is_suspected
from VertebralFractureLib.vertebrae import GRADING_RULES, grade_heights
from VertebralFractureLib.vertebrae.levels import SPINAL_DEFORMITY_INDEX_LEVELS

OWN_RULE = next(iter(GRADING_RULES))
"""The rule that a report is made with."""


def regrade(report: SpineReport, threshold: float, rule: str) -> SpineReport:
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
    vertebrae = tuple(_regraded(vertebra, rule) for vertebra in report.vertebrae)
    suspected = [vertebra for vertebra in vertebrae if is_suspected(vertebra, threshold)]
    scan = ScanResult(
        fracture_probability=report.scan.fracture_probability,
        sdi=sum(v.grade or 0 for v in suspected if v.level in SPINAL_DEFORMITY_INDEX_LEVELS),
        fractured_levels=tuple(vertebra.label for vertebra in reversed(suspected)),
        decision_threshold=threshold,
        bone_density=report.scan.bone_density,
    )
    return replace(report, scan=scan, vertebrae=vertebrae)


def _regraded(vertebra: ReportedVertebra, rule: str) -> ReportedVertebra:
    """Only what the model graded is graded: a vertebra without a grade gets none from another rule."""
    if rule == OWN_RULE or vertebra.grade is None or vertebra.heights_mm is None:
        return vertebra
    grading = grade_heights(vertebra.heights_mm, vertebra.level, rule, height_sd_mm=vertebra.height_sd_mm)
    return replace(
        vertebra,
        grade=grading.grade,
        shape=grading.shape,
        severity=grading.severity,
        height_loss=grading.severity,
        borderline=grading.borderline,
        height_loss_sd=grading.loss_sd,
    )
