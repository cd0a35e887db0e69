"""Edit a correction, one function for each thing that a reader does: each returns a new one and changes nothing.

Vertebrae are identified by their index in the report that is shown, which is what a panel and a command line know. What
was done to a curve follows from its points before and after (``curve_step``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.canal.centerline import order_points
from VertebralFractureLib.result.apply_correction import arc_length_at
from VertebralFractureLib.result.correction import (
    AddedVertebra,
    AssignedLevel,
    Correction,
    DraggedLandmarks,
    GivenAssessment,
    find_misplaced_landmarks,
)
from VertebralFractureLib.result.lookup import vertebra_at
from VertebralFractureLib.result.report import SpineReport, is_suspected
from VertebralFractureLib.thresholds import CORRECTION
from VertebralFractureLib.types import FloatArray, Point
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL, LEVEL_NUMBERS
from VertebralFractureLib.vertebrae.vertebra import LANDMARK_COUNT, Assessment, ReaderAssessment, Vertebra

_REGULAR = tuple(level for level in CRANIAL_TO_CAUDAL if level not in ("T13", "L6"))
_SAME_PLACE_MM = 1e-4


def set_centerline(
    correction: Correction, points_ras: Sequence[Point], anchors_ras: Sequence[Point] = ()
) -> Correction:
    """The corrected curve, caudal to cranial, and those of its points that the reader placed."""
    return replace(correction, centerline_ras=tuple(points_ras), anchors_ras=tuple(anchors_ras))


def reset_centerline(correction: Correction) -> Correction:
    """Return to the detected curve."""
    return replace(correction, centerline_ras=None, anchors_ras=())


def set_level(correction: Correction, shown: SpineReport, index: int, level: str) -> Correction:
    """Set one vertebra's level and let all others follow; earlier levels of the reader give way.

    Raises:
        ValueError: when there is no such level.
        IndexError: when there is no such vertebra.
    """
    _check_level(level)
    return replace(correction, levels=(AssignedLevel(shown.vertebrae[index].center_ras, level),))


def pin_level(correction: Correction, shown: SpineReport, index: int, level: str) -> Correction:
    """Set one vertebra's level and keep those set before; where they do not fit a regular count, the odd vertebra
    (a T13, an L6, a missing T12 or L5) lies between them.

    Raises:
        ValueError, IndexError: as ``set_level``.
    """
    _check_level(level)
    kept = tuple(a for a in correction.levels if vertebra_at(shown.vertebrae, a.at_ras) != index)
    return replace(correction, levels=(*kept, AssignedLevel(shown.vertebrae[index].center_ras, level)))


def shift_levels(correction: Correction, shown: SpineReport, steps: int) -> Correction:
    """Shift all levels: +1 makes every vertebra the next level above (L1 becomes T12).

    Raises:
        ValueError: when no vertebra has a level, or the column ends before.
    """
    labeled = [(i, v.level) for i, v in enumerate(shown.vertebrae) if v.level in _REGULAR]
    if not labeled:
        raise ValueError("No vertebra has a level that could be shifted; name one of them instead.")
    index, level = labeled[len(labeled) // 2]
    at = _REGULAR.index(str(level)) - steps
    if not 0 <= at < len(_REGULAR):
        raise ValueError(f"There is no level {abs(steps)} {'above' if steps > 0 else 'below'} {level}.")
    return set_level(correction, shown, index, _REGULAR[at])


def reset_levels(correction: Correction) -> Correction:
    """Return to the model's levels."""
    return replace(correction, levels=())


def remove_vertebra(correction: Correction, shown: SpineReport, index: int) -> Correction:
    """Remove a vertebra; its assessment, landmarks and level go with it."""
    return _without(correction, shown, shown.vertebrae[index])


def add_vertebra(
    correction: Correction, shown: SpineReport, center_ras: Point, height_mm: float | None = None
) -> Correction:
    """Add a vertebra at a point in its body; its height is the room between its neighbors at most.

    Raises:
        ValueError: when there is a vertebra at that point already.
    """
    at = arc_length_at(shown.centerline, center_ras)
    below = [v for v in shown.vertebrae if v.middle_mm <= at]
    above = [v for v in shown.vertebrae if v.middle_mm > at]
    taken = [v for v in (*below[-1:], *above[:1]) if v.extent_mm[0] < at < v.extent_mm[1]]
    if taken:
        raise ValueError(f"{taken[0].label} is at this place already; split it, or click where no vertebra is marked.")
    near = [v.extent_mm[1] - v.extent_mm[0] for v in (*below[-2:], *above[:2])]
    height = height_mm or (float(np.median(near)) if near else CORRECTION.usual_height_mm)
    room = [2.0 * (at - v.extent_mm[1]) for v in below[-1:]] + [2.0 * (v.extent_mm[0] - at) for v in above[:1]]
    height = max(min([height, *room]), CORRECTION.lowest_height_mm)
    return replace(correction, added=(*correction.added, AddedVertebra(center_ras, height)))


def split_vertebra(correction: Correction, shown: SpineReport, index: int) -> Correction:
    """Split a vertebra into two, with a disc between them at mid height."""
    one = shown.vertebrae[index]
    height = one.extent_mm[1] - one.extent_mm[0]
    part = max(0.5 * (height - CORRECTION.disc_mm), CORRECTION.lowest_height_mm)
    up = _axis(shown, index)
    shift = 0.5 * (height - part)
    halves = tuple(AddedVertebra(_moved(one.center_ras, sign * shift * up), part) for sign in (-1.0, 1.0))
    rest = _without(correction, shown, one)
    return replace(rest, added=(*rest.added, *halves))


def merge_with_next(correction: Correction, shown: SpineReport, index: int) -> Correction:
    """Merge two vertebrae, ``index`` and the next one above.

    Raises:
        IndexError: when there is none above.
    """
    lower, upper = shown.vertebrae[index], shown.vertebrae[index + 1]
    middle = 0.5 * (lower.extent_mm[0] + upper.extent_mm[1])
    span = upper.middle_mm - lower.middle_mm
    fraction = float(np.clip((middle - lower.middle_mm) / max(span, 1e-6), 0.0, 1.0))
    low, high = np.array(lower.center_ras), np.array(upper.center_ras)
    whole = AddedVertebra(_moved(lower.center_ras, fraction * (high - low)), upper.extent_mm[1] - lower.extent_mm[0])
    rest = _without(_without(correction, shown, lower), shown, upper)
    return replace(rest, added=(*rest.added, whole))


def drag_landmark(correction: Correction, shown: SpineReport, index: int, point: int, to_ras: Point) -> Correction:
    """Move one of the six endplate points; heights and grade follow when the correction is applied.

    Raises:
        ValueError: when the vertebra has no landmarks, or ``point`` is not 0 to 5.
    """
    landmarks = shown.vertebrae[index].landmarks_ras
    if landmarks is None or not 0 <= point < LANDMARK_COUNT:
        raise ValueError(f"{shown.vertebrae[index].label} has no such landmark; place all six of them first.")
    return set_landmarks(correction, shown, index, (*landmarks[:point], to_ras, *landmarks[point + 1 :]))


def set_landmarks(correction: Correction, shown: SpineReport, index: int, landmarks_ras: Sequence[Point]) -> Correction:
    """Set all six landmarks: anterior, middle, posterior of the upper endplate, then of the lower one, RAS mm.

    Raises:
        ValueError: when they are not six, or no vertebra could have them.
    """
    if len(landmarks_ras) != LANDMARK_COUNT:
        raise ValueError(f"A vertebra has six landmarks; {len(landmarks_ras)} were given.")
    at = shown.vertebrae[index].center_ras
    wrong = find_misplaced_landmarks(at, landmarks_ras)
    if wrong is not None:
        raise ValueError(f"The landmarks of {shown.vertebrae[index].label} stay where they were: {wrong}.")
    kept = tuple(d for d in correction.landmarks if vertebra_at(shown.vertebrae, d.at_ras) != index)
    return replace(correction, landmarks=(*kept, DraggedLandmarks(at, tuple(landmarks_ras))))


def measure_added(
    correction: Correction,
    shown: SpineReport,
    index: int,
    extent_mm: tuple[float, float],
    landmarks_ras: Sequence[Point],
    outline_ras: Sequence[Point] | None = None,
) -> Correction:
    """Give a vertebra that the reader added, or that came from a split or merge, what the network measured there.

    Args:
        extent_mm: arc length of its lower and upper endplate.
        landmarks_ras: six points as in ``set_landmarks``.
        outline_ras: its mid-sagittal outline, where it was traced.

    Raises:
        ValueError: when the vertebra is the model's own, or the landmarks are not six.
    """
    one = shown.vertebrae[index]
    indices = [at for at, added in enumerate(correction.added) if added.center_ras == one.center_ras]
    if not indices:
        raise ValueError(f"{one.label} was found by the model and is measured already; drag its landmarks instead.")
    r, a, s = (float(value) for value in np.mean(landmarks_ras, axis=0))
    placed = set_landmarks(correction, shown, index, landmarks_ras)
    added = list(correction.added)
    outline = None if outline_ras is None else tuple(outline_ras)
    added[indices[0]] = AddedVertebra((r, a, s), extent_mm[1] - extent_mm[0], outline)
    landmarks = (*placed.landmarks[:-1], replace(placed.landmarks[-1], at_ras=(r, a, s)))
    return replace(placed, added=tuple(added), landmarks=landmarks)


def assess(
    correction: Correction,
    shown: SpineReport,
    index: int,
    assessment: str,
    *,
    grade: int | None = None,
    comment: str = "",
    who: str | None = None,
    when: str | None = None,
) -> Correction:
    """Confirm the model's call, reject it as no fracture, give another grade, or mark the vertebra not evaluable.

    Args:
        assessment: one of ``Assessment``; "rejected" says that there is no fracture.
        grade: Genant 0 to 3, with "regraded" only; any grade from 1 on calls it a fracture.
        who, when: kept only when given.

    Raises:
        ValueError: for an unknown assessment or grade.
    """
    if assessment not in set(Assessment):
        raise ValueError(f"There is no assessment '{assessment}'; use {', '.join(Assessment)}.")
    given = Assessment(assessment)
    if (given == Assessment.REGRADED) != (grade is not None) or grade not in (None, 0, 1, 2, 3):
        raise ValueError("A grade from 0 to 3 belongs to the assessment 'regraded', and to no other.")
    vertebra = shown.vertebrae[index]
    fracture, final_grade = {
        Assessment.CONFIRMED: (is_suspected(vertebra, shown.scan.decision_threshold), vertebra.grade),
        Assessment.REJECTED: (False, 0),
        Assessment.REGRADED: (bool(grade), grade),
        Assessment.NOT_EVALUABLE: (None, None),
    }[given]
    reader = ReaderAssessment(given, fracture, final_grade, comment, who, when)
    rest = withdraw_assessment(correction, shown, index)
    return replace(rest, assessments=(*rest.assessments, GivenAssessment(vertebra.center_ras, reader)))


def withdraw_assessment(correction: Correction, shown: SpineReport, index: int) -> Correction:
    """As if the reader had said nothing about this vertebra."""
    kept = tuple(one for one in correction.assessments if vertebra_at(shown.vertebrae, one.at_ras) != index)
    return replace(correction, assessments=kept)


def _without(correction: Correction, shown: SpineReport, vertebra: Vertebra) -> Correction:
    """One that the reader had added is simply no longer added."""
    index = shown.vertebrae.index(vertebra)
    at = vertebra.center_ras
    kept = tuple(one for one in correction.added if one.center_ras != at)
    removed = correction.removed_ras if len(kept) < len(correction.added) else (*correction.removed_ras, at)
    landmarks = tuple(d for d in correction.landmarks if vertebra_at(shown.vertebrae, d.at_ras) != index)
    levels = tuple(one for one in correction.levels if vertebra_at(shown.vertebrae, one.at_ras) != index)
    rest = withdraw_assessment(correction, shown, index)
    return replace(rest, added=kept, removed_ras=removed, landmarks=landmarks, levels=levels)


def _axis(shown: SpineReport, index: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Unit vector from the vertebra below to the one above, at the ends from or to the vertebra itself; RAS."""
    low = np.array(shown.vertebrae[max(index - 1, 0)].center_ras)
    high = np.array(shown.vertebrae[min(index + 1, len(shown.vertebrae) - 1)].center_ras)
    length = float(np.linalg.norm(high - low))
    return (high - low) / length if length > 0.0 else np.array([0.0, 0.0, 1.0])


def _moved(point: Point, by: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Point:
    r, a, s = (float(value) for value in np.array(point) + by)
    return r, a, s


def _check_level(level: str) -> None:
    if level not in LEVEL_NUMBERS:
        raise ValueError(f"There is no level '{level}'; use C1 to C7, T1 to T13, L1 to L6 or S1.")


@dataclass(frozen=True)
class CurveStep:
    """One step of an edit of the curve.

    Attributes:
        points_ras: the curve afterwards, caudal to cranial, RAS mm rounded to six decimals as a report holds them.
        anchors_ras: those of its points that the reader placed earlier, without ``dragged_ras``.
        dragged_ras: the one point that was moved or placed; None where points were taken away, or several moved.
    """

    points_ras: tuple[Point, ...]
    anchors_ras: tuple[Point, ...]
    dragged_ras: Point | None


def curve_step(before: Sequence[Point], control_points: Sequence[Point], after: Sequence[Point]) -> CurveStep | None:
    """The step from the curve ``before``, with the ``control_points`` set on it, to ``after``; None for none.

    Raises:
        ValueError: when fewer than two points are left.
    """
    placed = _missing(after, before)
    gone = _missing(before, after)
    if not placed and not gone:
        return None
    ordered = order_points(np.array(after, dtype=np.float64).reshape(-1, 3), _head_of(before))
    points = tuple(_rounded(point) for point in ordered)
    if len(points) < 2:
        raise ValueError("A centerline needs at least two points; place another one along the canal first.")
    kept = tuple(point for point in control_points if point not in gone)
    if len(placed) == 1 and len(gone) <= 1:
        return CurveStep(points, kept, _rounded(placed[0]))
    return CurveStep(points, kept, None)


def _head_of(points: Sequence[Point]) -> FloatArray:
    """The axis of the file, with its sign, nearest to the way of a curve; not S where the patient lies otherwise."""
    if len(points) < 2:
        return np.array([0.0, 0.0, 1.0])
    way = np.subtract(points[-1], points[0])
    return np.asarray(np.where(np.arange(3) == np.abs(way).argmax(), np.sign(way), 0.0))


def _missing(points: Sequence[Point], others: Sequence[Point]) -> list[Point]:
    """Those of ``points`` that are not among ``others``."""
    return [point for point in points if all(math.dist(point, other) > _SAME_PLACE_MM for other in others)]


def _rounded(point: Sequence[float]) -> Point:
    r, a, s = (round(float(value), 6) for value in point)
    return r, a, s
