"""A finished report under another threshold or another grading rule, without detecting again.

The report itself is never changed: what comes back is a second one, and the model's own answer stays in the first.
"""

from __future__ import annotations

from dataclasses import replace

from VertebralFractureLib.fracture.vertebra_scores import join_witnesses, told_from
from VertebralFractureLib.result.report import EVALUABLE, SpineReport
from VertebralFractureLib.result.scan_result import scan_probability, summarize_scan
from VertebralFractureLib.vertebrae.grading import GRADING_RULES, grade_heights, with_grading
from VertebralFractureLib.vertebrae.vertebra import Vertebra

OWN_RULE = next(iter(GRADING_RULES))
"""The rule that a report is made with."""


def apply_display_criteria(report: SpineReport, threshold: float, rule: str) -> SpineReport:
    """``report`` as it reads with ``threshold`` (probability from which a vertebra is suspected) and ``rule``.

    Heights and the networks' answers stay. Another threshold changes what is suspected, and with it the grades; another
    rule changes the loss, and with it everything that networks and heights say together.

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
    vertebrae = tuple(told_from(_measured_by(vertebra, rule), threshold) for vertebra in report.vertebrae)
    own = report.scan
    series = own.fracture_probability if own.network_probability is None else None
    probability = scan_probability(vertebrae, series)
    scan = summarize_scan(vertebrae, threshold, probability, own.bone_density, own.network_probability)
    return replace(report, scan=scan, vertebrae=vertebrae)


def _measured_by(vertebra: Vertebra, rule: str) -> Vertebra:
    """Only what the model measured is measured: a vertebra without a loss gets none from another rule.

    One of an older report, whose grade is that of its heights alone, keeps the probability that it has.
    """
    if rule == OWN_RULE or vertebra.height_loss is None or vertebra.heights_mm is None:
        return vertebra
    grading = grade_heights(vertebra.heights_mm, vertebra.level, rule, height_sd_mm=vertebra.height_sd_mm)
    measured = with_grading(vertebra, grading)
    if vertebra.grade_probability is None:
        return replace(measured, grade=grading.grade, shape=grading.shape, borderline=grading.borderline)
    return join_witnesses(measured)
