"""``apply_correction``: the model's report and a reader's correction become the report that is shown; neither changes.

Pure and fast, so that a panel can call it at every movement of the mouse. It needs no model: the networks' own answers
are in the report, and what only a new run could know (a new centerline) is not invented here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.fracture import FractureSequence
from VertebralFractureLib.fracture.vertebra_scores import join_witnesses, score_vertebrae, told_from
from VertebralFractureLib.result.bone_density import bone_density
from VertebralFractureLib.result.correction import AddedVertebra, AssignedLevel, Correction
from VertebralFractureLib.result.lookup import vertebra_at
from VertebralFractureLib.result.report import (
    EVALUABLE,
    ReportedCenterline,
    ReportedSequence,
    SpineReport,
    is_suspected,
)
from VertebralFractureLib.result.scan_result import scan_probability, summarize_scan
from VertebralFractureLib.thresholds import CORRECTION
from VertebralFractureLib.types import FloatArray, Point
from VertebralFractureLib.vertebrae.grading import grade_vertebrae, measure_heights
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL
from VertebralFractureLib.vertebrae.outline import follow_landmarks
from VertebralFractureLib.vertebrae.relabeling import relabel, relabel_levels
from VertebralFractureLib.vertebrae.vertebra import Assessment, Reason, Source, Status, Vertebra

_SAME_PROBABILITY = 1e-6
_SAME_LOSS = 2e-6
_OF_THE_READER = ("reader", "model")
_OF_THE_MODEL = tuple(one.name for one in fields(Vertebra) if one.name not in _OF_THE_READER)


@dataclass(frozen=True)
class CorrectedReport:
    """A report under correction: the model's answers and the reader's correction, kept apart for good.

    Attributes:
        detected: the model's answer on the centerline that it detected.
        correction: what the reader changed.
        rescored: the model's answer on the corrected centerline; None as long as there is none.
    """

    detected: SpineReport
    correction: Correction = field(default_factory=Correction)
    rescored: SpineReport | None = None

    @property
    def model(self) -> SpineReport:
        """The model's answer on the centerline that holds now, or the best one there is until it has been scored."""
        if self.correction.centerline_ras is None or self.rescored is None:
            return self.detected
        return self.rescored

    @property
    def needs_scores(self) -> bool:
        """Whether the centerline was changed since the model last answered."""
        points = self.correction.centerline_ras
        return points is not None and (self.rescored is None or self.rescored.centerline.points_ras != points)

    @cached_property
    def shown(self) -> SpineReport:
        """The report to show and to export."""
        return apply_correction(self.model, self.correction)

    def corrected_by(self, correction: Correction) -> CorrectedReport:
        """With another correction; without a corrected curve there is no answer of the model on one."""
        rescored = None if correction.centerline_ras is None else self.rescored
        return replace(self, correction=correction, rescored=rescored)

    def scored_again(self, rescored: SpineReport) -> CorrectedReport:
        """With the model's answer on the corrected centerline."""
        return replace(self, rescored=rescored)


def apply_correction(report: SpineReport, correction: Correction) -> SpineReport:
    """The report that is shown: ``report`` with the reader's correction.

    The result is the same object where the correction is empty. Where a shown value differs from the model's, the
    vertebra's ``model`` holds the model's; assessments change no measured value, except that a vertebra marked not
    evaluable is excluded. The scan's probability is that of the most suspicious vertebra that is left; that of an
    older report, which may be more, stays as long as every vertebra that the model suspected is no less suspicious.

    Args:
        report: the model's report, on the corrected centerline where ``correction`` has one.
    """
    if correction.is_empty:
        return report
    line = report.centerline
    drawn = correction.centerline_ras
    # Of a patient who does not lie as the file says, the reader's curve may run from head to feet.
    if drawn is not None and line.points_ras not in (drawn, drawn[::-1]):
        line = ReportedCenterline(drawn, (1.0,) * len(drawn), line.patient_axes_ras)
    if report.status != EVALUABLE:
        return replace(report, centerline=line)
    vertebrae = _remove(report.vertebrae, correction.removed_ras)
    vertebrae = _add(vertebrae, correction.added, report.centerline)
    if len(vertebrae) != len(report.vertebrae) or correction.added:
        vertebrae = _recount(vertebrae)
    vertebrae = _assign_levels(vertebrae, correction.levels)
    for dragged in correction.landmarks:
        index = vertebra_at(vertebrae, dragged.at_ras)
        if index is not None:
            vertebrae[index] = _move_landmarks(vertebrae[index], dragged.landmarks_ras)
    density = report.scan.bone_density
    if vertebrae != list(report.vertebrae):
        vertebrae = _regrade(vertebrae, report.sequence, report.scan.decision_threshold)
        # A report from before bone density was measured has HU of vertebrae and none of the scan, and keeps none.
        if density is not None or bone_density(report.vertebrae, report.input.identifiers) is None:
            density = bone_density(vertebrae, report.input.identifiers)
    for given in correction.assessments:
        index = vertebra_at(vertebrae, given.at_ras)
        if index is not None:
            vertebrae[index] = replace(vertebrae[index], reader=given.reader)
            if given.reader.assessment == Assessment.NOT_EVALUABLE:
                vertebrae[index] = replace(
                    vertebrae[index], status=Status.EXCLUDED_BY_READER, reason=Reason.MARKED_BY_READER
                )
    shown = tuple(_keep_model(vertebra, report.vertebrae) for vertebra in vertebrae)
    doubts = (*report.doubts, *_find_doubts(report.vertebrae, vertebrae, correction))
    scan = summarize_scan(
        shown, report.scan.decision_threshold, _probability(report, shown), density, report.scan.network_probability
    )
    return replace(report, centerline=line, vertebrae=shown, scan=scan, doubts=doubts)


def _find_doubts(models: Sequence[Vertebra], shown: Sequence[Vertebra], correction: Correction) -> Iterator[Doubt]:
    """What of a correction does not fit the vertebrae that it was applied to."""
    parts = (correction.levels, correction.landmarks, correction.assessments)
    points = [one.at_ras for part in parts for one in part]
    left_out = sum(vertebra_at(shown, point) is None for point in points)
    if left_out:
        yield Doubt(DoubtKind.EDIT_WITHOUT_VERTEBRA, {"edits": left_out})
    if not correction.levels:
        return
    numbers = [CRANIAL_TO_CAUDAL.index(vertebra.level) for vertebra in shown if vertebra.level is not None]
    if any(above >= below for below, above in itertools.pairwise(numbers)):
        yield Doubt(DoubtKind.LEVELS_CONTRADICT)
    before = {vertebra.center_ras: vertebra for vertebra in models}
    moved = [
        abs(CRANIAL_TO_CAUDAL.index(vertebra.level) - CRANIAL_TO_CAUDAL.index(own.level))
        for vertebra in shown
        if vertebra.level is not None
        and (own := before.get(vertebra.center_ras)) is not None
        and own.level is not None
        and own.level_probability >= CORRECTION.sure_level
    ]
    if moved and max(moved) >= CORRECTION.levels_moved:
        yield Doubt(DoubtKind.LEVELS_MOVED_FAR, {"levels": max(moved)})


def _remove(vertebrae: Sequence[Vertebra], removed: Sequence[Point]) -> list[Vertebra]:
    gone = {vertebra_at(vertebrae, point) for point in removed}
    return [vertebra for index, vertebra in enumerate(vertebrae) if index not in gone]


def _add(vertebrae: Sequence[Vertebra], added: Sequence[AddedVertebra], line: ReportedCenterline) -> list[Vertebra]:
    new = [_added_vertebra(one, line) for one in added]
    return sorted([*vertebrae, *new], key=lambda vertebra: vertebra.middle_mm)


def _move_landmarks(vertebra: Vertebra, landmarks_ras: tuple[Point, ...]) -> Vertebra:
    """The vertebra with other landmarks, which its heights and its outline follow."""
    heights = measure_heights(np.array(landmarks_ras))
    outline = vertebra.outline_ras
    if outline is not None:
        outline = follow_landmarks(outline, vertebra.landmarks_ras, landmarks_ras)
    placed = replace(vertebra, landmarks_ras=landmarks_ras, heights_mm=heights, outline_ras=outline)
    # Of a vertebra that the reader added, the program itself may have measured the points.
    is_by_reader = vertebra.source == Source.MODEL
    if not is_by_reader:
        return placed
    doubts = tuple(kind for kind in placed.doubts if kind != DoubtKind.ENDPLATE_UNSURE)
    return replace(placed, heights_source=Source.READER, height_sd_mm=None, doubts=doubts)


def _added_vertebra(added: AddedVertebra, line: ReportedCenterline) -> Vertebra:
    middle = arc_length_at(line, added.center_ras)
    return Vertebra(
        center_ras=added.center_ras,
        extent_mm=(middle - 0.5 * added.height_mm, middle + 0.5 * added.height_mm),
        complete=True,
        detection_confidence=1.0,
        outline_ras=added.outline_ras,
        source=Source.READER,
    )


def arc_length_at(line: ReportedCenterline, at_ras: Point) -> float:
    """Arc length of the point of the centerline nearest to ``at_ras``, mm."""

    curve = line.curve()
    s = np.arange(0.0, curve.length_mm, 0.5, dtype=np.float64)
    return float(s[np.linalg.norm(curve.positions_ras(s) - np.array(at_ras), axis=1).argmin()])


def _assign_levels(vertebrae: Sequence[Vertebra], assigned: Sequence[AssignedLevel]) -> list[Vertebra]:
    """The vertebrae, caudal to cranial, with the levels that follow from the reader's.

    One level relabels the column, two that do not fit leave room for a T13 or an L6. Where none means a vertebra, or
    all say what the model said, no level changes.
    """
    found = ((vertebra_at(vertebrae, one.at_ras), one.level) for one in assigned)
    labels = {index: level for index, level in found if index is not None}
    if not labels:
        return list(vertebrae)
    if all(vertebrae[index].level == level for index, level in labels.items()):
        relabeled = [replace(v, level_probability=1.0) if i in labels else v for i, v in enumerate(vertebrae)]
    else:
        relabeled = _relabel_column(vertebrae, labels)
    return [_without_counting_doubt(vertebra) for vertebra in relabeled]


def _without_counting_doubt(vertebra: Vertebra) -> Vertebra:
    """The vertebra, whose level now follows from a reader's."""
    return replace(vertebra, doubts=tuple(kind for kind in vertebra.doubts if kind != DoubtKind.LEVEL_BY_COUNTING))


def _recount(vertebrae: Sequence[Vertebra]) -> list[Vertebra]:
    """The levels after vertebrae were added or removed: all are counted from the model's most certain one."""
    known = [(v.level_probability, index, v.level) for index, v in enumerate(vertebrae) if v.level is not None]
    if not known:
        return [replace(vertebra, label=f"V{index + 1}") for index, vertebra in enumerate(vertebrae)]
    sure, index, level = max(known)
    return [
        replace(v, level_probability=min(v.level_probability, sure)) for v in _relabel_column(vertebrae, {index: level})
    ]


def _relabel_column(vertebrae: Sequence[Vertebra], labels: Mapping[int, str]) -> list[Vertebra]:
    levels = relabel_levels([vertebra.extent_mm for vertebra in vertebrae], labels)
    return [relabel(vertebra, name) for vertebra, name in zip(vertebrae, levels, strict=True)]


def _regrade(vertebrae: Sequence[Vertebra], sequence: ReportedSequence, threshold: float) -> list[Vertebra]:
    """The vertebrae, caudal to cranial, graded by their heights and levels, and scored where that changed.

    A vertebra whose height loss and status stay as they were keeps its answer to the last digit. The networks' own
    answers about a vertebra are in its record; one that has none takes its part of the sequence.
    """
    measured = grade_vertebrae(vertebrae)
    from_sequence = score_vertebrae(measured, _fracture_sequence(sequence))
    results = []
    for before, after, scored in zip(vertebrae, measured, from_sequence, strict=True):
        is_same = before.status == scored.status and _is_same_loss(before.height_loss, after.height_loss)
        if is_same and before.heights_source == Source.MODEL:
            results.append(before)
        elif scored.status == Status.SCORED and (before.member_probability or before.network_probability is not None):
            results.append(join_witnesses(after, threshold))
        else:
            results.append(told_from(scored, threshold))
    return results


def _is_same_loss(one: float | None, other: float | None) -> bool:
    """Whether two losses are the same, one of which may have been rounded in a file."""
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _SAME_LOSS


def _fracture_sequence(reported: ReportedSequence) -> FractureSequence:
    """What a report holds of the sequence; a report of schema 1 holds neither its members nor where patches are cut."""
    positions = np.array(reported.positions_mm, dtype=np.float64)
    inside = reported.inside_fraction
    return FractureSequence(
        positions_mm=positions,
        probability=np.array(reported.probability, dtype=np.float64),
        uncertainty=np.array(reported.uncertainty, dtype=np.float64),
        inside_fraction=np.ones_like(positions) if inside is None else np.array(inside, dtype=np.float64),
        member_probability=_arrays(reported.member_probability),
        member_probability_of_2=_arrays(reported.member_probability_of_2),
        member_probability_of_3=_arrays(reported.member_probability_of_3),
        scan_probability=float("nan"),
    )


def _arrays(members: Mapping[str, Sequence[float]] | None) -> dict[str, FloatArray]:
    return {name: np.array(values, dtype=np.float64) for name, values in (members or {}).items()}


def _keep_model(vertebra: Vertebra, models: Sequence[Vertebra]) -> Vertebra:
    """The vertebra with the model's own kept in it where the shown values are no longer the model's."""
    if vertebra.source == Source.READER:
        return vertebra
    own = next(model for model in models if model.center_ras == vertebra.center_ras)
    if all(getattr(own, name) == getattr(vertebra, name) for name in _OF_THE_MODEL):
        return vertebra
    return replace(vertebra, model=own)


def _probability(report: SpineReport, vertebrae: Sequence[Vertebra]) -> float | None:
    if report.scan.network_probability is not None:
        return scan_probability(vertebrae)
    now = {v.center_ras: v.fracture_probability or 0.0 for v in vertebrae if v.status == Status.SCORED}
    holds = all(
        now.get(v.center_ras, 0.0) >= (v.fracture_probability or 0.0) - _SAME_PROBABILITY
        for v in report.vertebrae
        if is_suspected(v, report.scan.decision_threshold)
    )
    return scan_probability(vertebrae, report.scan.fracture_probability if holds else None)
