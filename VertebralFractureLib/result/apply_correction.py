"""``apply_correction``: the model's report and a reader's correction become the report that is shown; neither changes.

Pure and fast, so that a panel can call it at every movement of the mouse. It needs no model: what only a new run of the
model can know (a new centerline) is not invented here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from VertebralFractureLib.result.correction import AddedVertebra, Correction
from VertebralFractureLib.result.correction_levels import recount, relevel
from VertebralFractureLib.result.regrading import regraded
from VertebralFractureLib.result.report import (
    EVALUABLE,
    FROM_READER,
    UNJUDGED,
    ModelAnswer,
    Point,
    ReportedCenterline,
    ReportedVertebra,
    ScanResult,
    SpineReport,
    is_suspected,
)
from VertebralFractureLib.result.vertebra_lookup import vertebra_at
from VertebralFractureLib.vertebrae.grading import measure_heights
from VertebralFractureLib.vertebrae.levels import SPINAL_DEFORMITY_INDEX_LEVELS
from VertebralFractureLib.vertebrae.vertebra import STATUS_EXCLUDED, STATUS_NOT_EVALUABLE, STATUS_SCORED

REASON_READER = "marked not evaluable by the reader"
_SAME_PROBABILITY = 1e-6
_ANSWER = tuple(field.name for field in fields(ModelAnswer))


def apply_correction(report: SpineReport, correction: Correction) -> SpineReport:
    """The report that is shown: ``report`` with the reader's correction.

    The result is the same object where the correction is empty. Where a shown value differs from the model's, the
    vertebra's ``model`` holds the model's; verdicts change no measured value, except that a vertebra marked not
    evaluable is excluded. The scan's probability stays the model's own as long as every vertebra that the model
    suspected is judged and no less suspicious; otherwise it is that of the most suspicious vertebra that is left.

    Args:
        report: the model's report, on the corrected centerline where ``correction`` has one.
    """
    if correction.is_empty:
        return report
    line = report.centerline
    if correction.centerline_ras is not None and line.points_ras != correction.centerline_ras:
        line = ReportedCenterline(correction.centerline_ras, (1.0,) * len(correction.centerline_ras))
    if report.status != EVALUABLE:
        return replace(report, centerline=line)
    vertebrae = _without(report.vertebrae, correction.removed_ras)
    vertebrae = _with_added(vertebrae, correction.added, report.centerline)
    if len(vertebrae) != len(report.vertebrae) or correction.added:
        vertebrae = recount(vertebrae)
    vertebrae = relevel(vertebrae, correction.levels)
    for dragged in correction.landmarks:
        index = vertebra_at(vertebrae, dragged.at_ras)
        if index is not None:
            vertebrae[index] = _with_landmarks(vertebrae[index], dragged.landmarks_ras)
    if vertebrae != list(report.vertebrae):
        vertebrae = regraded(vertebrae, report.sequence)
    for given in correction.verdicts:
        index = vertebra_at(vertebrae, given.at_ras)
        if index is not None:
            vertebrae[index] = replace(vertebrae[index], reader=given.verdict)
            if given.verdict.verdict == UNJUDGED:
                vertebrae[index] = replace(vertebrae[index], status=STATUS_EXCLUDED, reason=REASON_READER)
    shown = tuple(_remembering(vertebra, report.vertebrae) for vertebra in vertebrae)
    return replace(report, centerline=line, vertebrae=shown, scan=_scan(report, shown))


def _without(vertebrae: Sequence[ReportedVertebra], removed: Sequence[Point]) -> list[ReportedVertebra]:
    gone = {vertebra_at(vertebrae, place) for place in removed}
    return [vertebra for index, vertebra in enumerate(vertebrae) if index not in gone]


def _with_added(
    vertebrae: Sequence[ReportedVertebra], added: Sequence[AddedVertebra], line: ReportedCenterline
) -> list[ReportedVertebra]:
    new = [_added_vertebra(one, line) for one in added]
    return sorted([*vertebrae, *new], key=lambda vertebra: sum(vertebra.extent_mm))


def _added_vertebra(added: AddedVertebra, line: ReportedCenterline) -> ReportedVertebra:
    middle = arc_length_at(line, added.center_ras)
    return ReportedVertebra(
        level=None,
        level_probability=0.0,
        label="",
        center_ras=added.center_ras,
        status=STATUS_NOT_EVALUABLE,
        reason=None,
        fracture_probability=None,
        uncertainty=None,
        grade=None,
        shape=None,
        severity=None,
        heights_mm=None,
        height_loss=None,
        borderline=False,
        trabecular_hu=None,
        complete=True,
        detection_confidence=1.0,
        extent_mm=(middle - 0.5 * added.height_mm, middle + 0.5 * added.height_mm),
        landmarks_ras=None,
        origin=FROM_READER,
    )


def arc_length_at(line: ReportedCenterline, at_ras: Point) -> float:
    """Arc length of the point of the centerline nearest to ``at_ras``, mm."""
    from VertebralFractureLib.canal import Centerline

    curve = Centerline(np.array(line.points_ras), np.array(line.confidence))
    s = np.arange(0.0, curve.length_mm, 0.5, dtype=np.float64)
    return float(s[np.linalg.norm(curve.positions_ras(s) - np.array(at_ras), axis=1).argmin()])


def _with_landmarks(vertebra: ReportedVertebra, landmarks: tuple[Point, ...]) -> ReportedVertebra:
    return replace(vertebra, landmarks_ras=landmarks, heights_mm=measure_heights(np.array(landmarks)))


def _remembering(vertebra: ReportedVertebra, models: Sequence[ReportedVertebra]) -> ReportedVertebra:
    """The vertebra with the model's answer beside it where the shown values are no longer the model's."""
    if vertebra.origin == FROM_READER:
        return vertebra
    told = next(model for model in models if model.center_ras == vertebra.center_ras)
    if all(getattr(told, name) == getattr(vertebra, name) for name in _ANSWER):
        return vertebra
    return replace(vertebra, model=ModelAnswer(**{name: getattr(told, name) for name in _ANSWER}))


def _scan(report: SpineReport, vertebrae: tuple[ReportedVertebra, ...]) -> ScanResult:
    threshold = report.scan.decision_threshold
    scored = [v for v in vertebrae if v.status == STATUS_SCORED]
    suspected = [v for v in scored if is_suspected(v, threshold)]
    highest = max((v.fracture_probability or 0.0 for v in scored), default=None)
    now = {v.center_ras: v.fracture_probability or 0.0 for v in scored}
    holds = all(
        now.get(v.center_ras, 0.0) >= (v.fracture_probability or 0.0) - _SAME_PROBABILITY
        for v in report.vertebrae
        if is_suspected(v, threshold)
    )
    own = report.scan.fracture_probability
    probability = max(own, highest) if holds and own is not None and highest is not None else highest
    counted = [v.grade for v in suspected if v.level in SPINAL_DEFORMITY_INDEX_LEVELS and v.grade is not None]
    labels = tuple(v.label for v in reversed(suspected))
    return ScanResult(probability, sum(counted), labels, threshold, report.scan.bone_density)
