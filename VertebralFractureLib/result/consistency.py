"""Check that the fields of a report or of a correction fit each other: what no range of a single field can say.

A report's impression is made from its rows, and its rows from what was measured. A file in which one contradicts the
other was changed by somebody, and nobody can say which of the two is right: it is refused. Numbers in files are rounded
to six decimals, so that what lies nearer to a limit than that may stand on either side of it.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

from VertebralFractureLib.checked_json import show_value
from VertebralFractureLib.checked_record import name_row
from VertebralFractureLib.errors import RefusedContent
from VertebralFractureLib.result.correction import Correction, find_misplaced_landmarks
from VertebralFractureLib.result.report import EVALUABLE, ReportedCenterline, ReportedSequence, ScanResult, SpineReport
from VertebralFractureLib.result.scan_result import compute_deformity_index
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.grading import grade_from_loss
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL
from VertebralFractureLib.vertebrae.vertebra import (
    LONGEST_CURVE_MM,
    TALLEST_MM,
    Assessment,
    ReaderAssessment,
    Source,
    Status,
    Vertebra,
)

_ROUNDED = 2e-6
_SEEN_ROUNDED = 1e-4
"""A probability in the table of a scene of schema 1 has six significant digits."""
_SAME_PROBABILITY = 1e-5
_SAME_HU = 0.1
_BEYOND_MM = 200.0
"""No endplate lies farther beyond the end of the curve: bodies are sought along it, and 50 mm beyond."""


def check_report(report: SpineReport, *, is_corrected: bool = False) -> None:
    """Check a report that was read.

    Args:
        is_corrected: a reader's correction is in it, which may remove vertebrae and name them in any order.

    Raises:
        RefusedContent: with the field, what it holds, and what contradicts it.
    """
    line = report.centerline
    if len(line.points_ras) != len(line.confidence):
        raise RefusedContent(
            f"'centerline' holds {len(line.points_ras)} points and {len(line.confidence)} confidences; each has one"
        )
    if line.points_ras:
        check_curve_points(line.points_ras, "'centerline'")
    _check_sequence(report.sequence)
    for index, vertebra in enumerate(report.vertebrae):
        for words in _contradictions(vertebra):
            raise RefusedContent(f"'vertebrae', {name_row(index, vertebra)}: {words}")
    _check_order(report.vertebrae, line)
    if not is_corrected:
        _check_levels(report.vertebrae)
    if report.status == EVALUABLE:
        _check_evaluable(report, is_corrected)
    else:
        _check_not_evaluable(report)


def check_correction(correction: Correction) -> None:
    """Check a correction that was read.

    Raises:
        RefusedContent: with the field, what it holds, and what contradicts it.
    """
    if correction.centerline_ras is not None:
        check_curve_points(correction.centerline_ras, "'centerline_ras'")
    elif correction.anchors_ras:
        raise RefusedContent("'anchors_ras' holds points of a curve, and there is no 'centerline_ras'")
    for index, dragged in enumerate(correction.landmarks):
        row = f"'landmarks', row {index + 1}"
        wrong = find_misplaced_landmarks(dragged.at_ras, dragged.landmarks_ras)
        if wrong is not None:
            raise RefusedContent(f"{row}: {wrong}")
    for index, one in enumerate(correction.added):
        for words in _outline_contradictions(one.outline_ras):
            raise RefusedContent(f"'added', row {index + 1}: {words}")
    for index, given in enumerate(correction.assessments):
        for words in _reader_contradictions(given.reader):
            raise RefusedContent(f"'assessments', row {index + 1}: {words}")


def check_curve_points(points_ras: Sequence[Point], name: str) -> None:
    """Check that points are a curve: at least two, none repeated, of a length that a body can have.

    Raises:
        RefusedContent: ``name`` is what the sentence calls it.
    """
    if len(points_ras) < 2:
        raise RefusedContent(f"{name} holds {len(points_ras)} points; a curve has at least two")
    steps = [math.dist(one, other) for one, other in itertools.pairwise(points_ras)]
    if min(steps) < _ROUNDED:
        raise RefusedContent(f"{name} repeats its point {steps.index(min(steps)) + 1}; a curve goes on from each")
    if sum(steps) > LONGEST_CURVE_MM:
        raise RefusedContent(f"{name} is {sum(steps):g} mm long; at most {LONGEST_CURVE_MM:g} mm are allowed")


def _outline_contradictions(outline_ras: Sequence[Point] | None) -> Iterator[str]:
    if outline_ras is not None and len(outline_ras) < 3:
        yield f"'outline_ras' holds {len(outline_ras)} points; an outline has at least three"


def _check_sequence(sequence: ReportedSequence) -> None:
    counts = {"probability": sequence.probability, "uncertainty": sequence.uncertainty}
    if sequence.inside_fraction is not None:
        counts["inside_fraction"] = sequence.inside_fraction
    counts |= {f"member_probability of {name}": values for name, values in (sequence.member_probability or {}).items()}
    for name, values in counts.items():
        if len(values) != len(sequence.positions_mm):
            raise RefusedContent(
                f"'sequence' holds {len(sequence.positions_mm)} positions and {len(values)} values of {name}"
            )
    if any(above <= below for below, above in itertools.pairwise(sequence.positions_mm)):
        raise RefusedContent("'sequence', 'positions_mm': they do not rise; arc lengths go from caudal to cranial")


def _contradictions(vertebra: Vertebra) -> Iterator[str]:
    """What of one vertebra contradicts itself, in words."""
    if vertebra.status == Status.SCORED and vertebra.fracture_probability is None:
        yield "'status' is scored, and there is no 'fracture_probability'; unscored is not_evaluable with a reason"
    if vertebra.status == Status.SCORED and vertebra.reason is not None:
        yield f"'status' is scored, and 'reason' says {vertebra.reason}"
    if vertebra.status == Status.NOT_EVALUABLE and vertebra.fracture_probability is not None:
        yield "'status' is not_evaluable, and there is a 'fracture_probability'"
    yield from _grade_contradictions(vertebra)
    yield from _outline_contradictions(vertebra.outline_ras)
    if vertebra.heights_mm is not None:
        heights = vertebra.heights_mm
        if not min(heights.anterior, heights.middle, heights.posterior) > 0.0:
            yield "one of 'heights_mm' is 0"
    if vertebra.level is not None and vertebra.label != vertebra.level:
        yield f"'label' is {show_value(vertebra.label)}, and 'level' is {vertebra.level}"
    lower, upper = vertebra.extent_mm
    if lower >= upper:
        yield f"'extent_mm' holds {lower:g} and {upper:g}; the lower endplate comes first"
    elif upper - lower > TALLEST_MM:
        yield f"'extent_mm' is {upper - lower:g} mm high; at most {TALLEST_MM:g} mm are allowed"
    yield from _reader_contradictions(vertebra.reader)
    if vertebra.model is not None:
        if vertebra.model.model is not None:
            yield "'model' holds another 'model'; the model has one answer"
        if vertebra.source == Source.READER:
            yield "'source' is reader, and there is a 'model' that found it"
        yield from (f"'model': {words}" for words in _contradictions(vertebra.model))


def _grade_contradictions(vertebra: Vertebra) -> Iterator[str]:
    grade, alone, loss = vertebra.grade, vertebra.morphometric_grade, vertebra.height_loss
    if (alone is None) != (loss is None):
        yield "one of 'morphometric_grade' and 'height_loss' is there without the other, from which it is cut"
    elif (
        alone is not None
        and loss is not None
        and not grade_from_loss(loss - _ROUNDED) <= alone <= grade_from_loss(loss + _ROUNDED)
    ):
        yield f"'morphometric_grade' is {alone}, and 'height_loss' is {loss:g}, which is grade {grade_from_loss(loss)}"
    if vertebra.shape is not None and not grade:
        yield f"'grade' is {show_value(grade)}, and 'shape' is {vertebra.shape}; only a fracture has one"
    yield from _posterior_contradictions(vertebra)


def _posterior_contradictions(vertebra: Vertebra) -> Iterator[str]:
    """What contradicts the probabilities of the grades; in an older report, without them, the heights alone decide."""
    grade, posterior = vertebra.grade, vertebra.grade_probability
    if posterior is None:
        if vertebra.grade_range is not None:
            yield "there is a 'grade_range', and no 'grade_probability' that it is of"
        if grade is not None and grade != vertebra.morphometric_grade:
            yield f"'grade' is {grade}, and 'morphometric_grade' is {show_value(vertebra.morphometric_grade)}"
        if grade and vertebra.shape is None:
            yield f"'grade' is {grade}, and 'shape' is null; a fracture has a shape"
        return
    if abs(sum(posterior) - 1.0) > _SAME_PROBABILITY:
        yield f"'grade_probability' sums up to {sum(posterior):g}; probabilities sum up to 1"
    probability = vertebra.fracture_probability
    if probability is None or abs(1.0 - posterior[0] - probability) > _SAME_PROBABILITY:
        yield (
            f"'fracture_probability' is {show_value(probability)}, and 'grade_probability' gives a grade of 1 or more "
            f"{1.0 - posterior[0]:g}"
        )
    if grade is None or vertebra.grade_range is None:
        yield "there is a 'grade_probability', and no 'grade' or no 'grade_range' that follow from it"
    elif not vertebra.grade_range[0] <= grade <= vertebra.grade_range[1]:
        yield f"'grade' is {grade}, and 'grade_range' is {vertebra.grade_range[0]} to {vertebra.grade_range[1]}"


def _reader_contradictions(reader: ReaderAssessment) -> Iterator[str]:
    """What of a reader's assessment contradicts itself; of schema 1, a grade alone or without the call is known."""
    called, grade = reader.fracture, reader.grade
    if reader.assessment == Assessment.REGRADED and grade is None:
        yield "'assessment' is regraded, and there is no 'grade'"
    if reader.assessment == Assessment.REGRADED and None not in (called, grade) and called != bool(grade):
        yield f"'fracture' is {show_value(called)}, and 'grade' is {grade}"
    if reader.assessment == Assessment.REJECTED and (called or grade):
        yield "'assessment' is rejected, which is no fracture, and the reader calls it one"
    if reader.assessment == Assessment.NOT_EVALUABLE and (called is not None or grade is not None):
        yield "'assessment' is not_evaluable, and there is a 'fracture' or a 'grade'"


def _check_order(vertebrae: Sequence[Vertebra], line: ReportedCenterline) -> None:
    if vertebrae and not line.points_ras:
        raise RefusedContent("'vertebrae' holds rows, and 'centerline' has no points along which they could lie")
    length = sum(math.dist(one, other) for one, other in itertools.pairwise(line.points_ras))
    for index, vertebra in enumerate(vertebrae):
        row = f"'vertebrae', {name_row(index, vertebra)}"
        lower, upper = vertebra.extent_mm
        if index and vertebra.middle_mm < vertebrae[index - 1].middle_mm - _ROUNDED:
            raise RefusedContent(f"{row}: it lies below the row before it; rows are caudal to cranial")
        if lower < -_BEYOND_MM or upper > 1.1 * length + _BEYOND_MM:
            raise RefusedContent(
                f"{row}: 'extent_mm' holds {lower:g} and {upper:g} mm along a curve of {length:.0f} mm"
            )


def _check_levels(vertebrae: Sequence[Vertebra]) -> None:
    known = [(index, CRANIAL_TO_CAUDAL.index(v.level)) for index, v in enumerate(vertebrae) if v.level is not None]
    for (_, below), (index, above) in itertools.pairwise(known):
        if above >= below:
            raise RefusedContent(
                f"'vertebrae', {name_row(index, vertebrae[index])}: it lies above {CRANIAL_TO_CAUDAL[below]}, and no "
                "spine has its levels so; rows are caudal to cranial"
            )


def _check_not_evaluable(report: SpineReport) -> None:
    scan = report.scan
    if not report.reason:
        raise RefusedContent("'status' is not_evaluable, and 'reason' does not say why")
    if scan.fracture_probability is not None or scan.sdi is not None or scan.fractured_levels or report.vertebrae:
        raise RefusedContent("'status' is not_evaluable, and 'scan' or 'vertebrae' hold a result")


def _check_evaluable(report: SpineReport, is_corrected: bool) -> None:
    if not is_corrected and all(vertebra.status != Status.SCORED for vertebra in report.vertebrae):
        raise RefusedContent("'status' is evaluable, and no row of 'vertebrae' is scored")
    if report.reason is not None:
        raise RefusedContent("'status' is evaluable, and 'reason' says why it is not")
    if not report.centerline.points_ras:
        raise RefusedContent("'status' is evaluable, and 'centerline' has no points")
    _check_scan(report.scan, report.vertebrae)
    _check_density(report.scan, report.vertebrae, is_corrected)


def _check_scan(scan: ScanResult, vertebrae: Sequence[Vertebra]) -> None:
    """Check that the result of the scan follows from the rows, as ``scan_result.summarize_scan`` makes it."""
    threshold, listed = scan.decision_threshold, Counter(scan.fractured_levels)
    scored = [(v.fracture_probability or 0.0, v) for v in reversed(vertebrae) if v.status == Status.SCORED]
    least = max((probability for probability, _ in scored), default=None)
    if (least is None) != (scan.fracture_probability is None):
        raise RefusedContent("'scan', 'fracture_probability': it needs a scored row, and a scored row needs it")
    if least is not None and (scan.fracture_probability or 0.0) < least - _SEEN_ROUNDED:
        raise RefusedContent(
            f"'scan', 'fracture_probability': it holds {scan.fracture_probability:g}, and a row holds {least:g}; a "
            "scan is at least as suspicious as each of its vertebrae"
        )
    sure = Counter(v.label for probability, v in scored if probability >= threshold + _ROUNDED)
    possible = [v for probability, v in scored if probability >= threshold - _ROUNDED]
    if sure - listed or listed - Counter(v.label for v in possible):
        raise RefusedContent(
            f"'scan', 'fractured_levels': it holds {', '.join(scan.fractured_levels) or 'none'}, and the rows at or "
            f"above the threshold of {threshold:g} are {', '.join(v.label for v in possible) or 'none'}"
        )
    named = [v for v in possible if v.label in listed]
    if [v.label for v in named] != list(scan.fractured_levels):
        raise RefusedContent("'scan', 'fractured_levels': they are not in the order of the rows, cranial first")
    _check_index(scan, compute_deformity_index(vertebrae, named))
    for index, one in enumerate(vertebrae):
        called = one.label in listed if one in possible else False
        if one.grade_probability is not None and one.status == Status.SCORED and bool(one.grade) != called:
            raise RefusedContent(
                f"'vertebrae', {name_row(index, one)}: 'grade' is {show_value(one.grade)}, and it is "
                f"{'suspected' if called else 'not suspected'} of a fracture"
            )


def _check_index(scan: ScanResult, index: int | None) -> None:
    if scan.sdi != index:
        raise RefusedContent(
            f"'scan', 'sdi': it holds {show_value(scan.sdi)}, and the grades of the suspected rows from T4 to L4 sum "
            f"up to {show_value(index)}"
        )
    if scan.sdi_range is not None and (index is None or not scan.sdi_range[0] <= index <= scan.sdi_range[1]):
        raise RefusedContent(
            f"'scan', 'sdi_range': it holds {scan.sdi_range[0]} to {scan.sdi_range[1]}, and 'sdi' is "
            f"{show_value(index)}"
        )


def _check_density(scan: ScanResult, vertebrae: Sequence[Vertebra], is_corrected: bool) -> None:
    density = scan.bone_density
    # A corrected report of schema 1 kept the HU of the scan when the levels or the HU of its vertebrae changed.
    if density is None or is_corrected:
        return
    known = [v.trabecular_hu for v in vertebrae if v.level == density.level and v.trabecular_hu is not None]
    if not any(abs(hu - density.hu) <= _SAME_HU for hu in known):
        raise RefusedContent(
            f"'scan', 'bone_density': it holds {density.hu:g} HU of {density.level}, and no row of {density.level} "
            "holds the same"
        )
