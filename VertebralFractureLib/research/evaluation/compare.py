"""Compare one report with the truth of its scan: centerline, vertebrae, levels, heights, calls.

Vertebrae are matched by the distance of their centers in RAS, nearest pairs first, never beyond ``MATCH_MM``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.research.datasets import ReferenceSpine, ReferenceVertebra, Source
from VertebralFractureLib.research.evaluation.evaluate_canal import CenterlineErrors, centerline_errors
from VertebralFractureLib.result import SpineReport, is_suspected
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL
from VertebralFractureLib.vertebrae.vertebra import Vertebra

MATCH_MM = 10.0
_SAME_MM = 0.002
"""Between a curve and itself after an annotation rounded it; no reader draws one so."""
_REGULAR_LEVELS = [name for name in CRANIAL_TO_CAUDAL if name not in ("T13", "L6")]


@dataclass(frozen=True)
class VertebraPair:
    """One reference vertebra and what was found there (``None``: missed)."""

    truth: ReferenceVertebra
    found: Vertebra | None
    distance_mm: float | None


@dataclass(frozen=True)
class Comparison:
    """A report beside its truth.

    Attributes:
        centerline: None when no centerline was found.
        pairs: every complete reference vertebra; the sacrum is no vertebra that a report lists.
        extra: found, scored vertebrae that match no reference vertebra although they lie within the annotated stretch.
        level_shift: the most frequent difference (found minus true, in levels, caudal positive), None when no level
            was named.
        false_alarms: labels of suspected vertebrae that the reference calls normal, and of suspected ``extra`` ones.
        called_ungraded: labels of suspected vertebrae whose grade nobody knows.
        unplaced: for each of the reference's ``unplaced_grades`` the vertebra that was found under its level, or None.
    """

    centerline: CenterlineErrors | None
    pairs: tuple[VertebraPair, ...]
    extra: tuple[Vertebra, ...]
    level_shift: int | None
    levels_named: int
    levels_right: int
    false_alarms: tuple[str, ...]
    called_ungraded: tuple[str, ...] = ()
    unplaced: tuple[Vertebra | None, ...] = ()


def compare(report: SpineReport, truth: ReferenceSpine) -> Comparison:
    """Everything that can be compared without knowing how the report was made.

    What the reference has from the program itself is compared with nothing: its centerline, and its levels.
    """
    matched, unmatched = _match(report.vertebrae, truth)
    unplaced = [next((v for v in unmatched if v.level == level), None) for level in truth.unplaced_grades]
    low, high = _annotated_stretch(truth)
    extra = [
        vertebra
        for vertebra in unmatched
        if vertebra not in unplaced and vertebra.status == "scored" and low <= vertebra.center_ras[2] <= high
    ]
    pairs = [pair for pair in matched if pair.truth.complete and pair.truth.level != "S1"]
    shifts = [shift for pair in matched if (shift := _level_shift(pair)) is not None]
    threshold = report.scan.decision_threshold
    called = [pair for pair in pairs if pair.found is not None and is_suspected(pair.found, threshold)]
    alarms = [pair.found.label for pair in called if pair.found is not None and pair.truth.grade == 0]
    alarms += [vertebra.label for vertebra in extra if is_suspected(vertebra, threshold)]
    return Comparison(
        centerline=None if is_own_centerline(report, truth) else _centerline_errors(report, truth),
        pairs=tuple(pairs),
        extra=tuple(extra),
        level_shift=Counter(shifts).most_common(1)[0][0] if shifts else None,
        levels_named=len(shifts),
        levels_right=shifts.count(0),
        false_alarms=tuple(alarms),
        called_ungraded=tuple(p.found.label for p in called if p.found is not None and p.truth.grade is None),
        unplaced=tuple(unplaced),
    )


def is_own_centerline(report: SpineReport, truth: ReferenceSpine) -> bool:
    """Whether the reference's centerline is the program's: it says so, or it is the report's to the last digit."""
    if truth.centerline_by is Source.PROGRAM:
        return True
    points = np.array(report.centerline.points_ras)
    own = truth.centerline.points_ras
    return points.shape == own.shape and len(points) > 2 and bool(np.allclose(points, own, atol=_SAME_MM))


def _centerline_errors(report: SpineReport, truth: ReferenceSpine) -> CenterlineErrors | None:
    points = np.array(report.centerline.points_ras)
    if len(points) < 2:
        return None
    return centerline_errors(Centerline(points, np.array(report.centerline.confidence)), truth)


def match_centers(truth_ras: Sequence[Point], found_ras: Sequence[Point]) -> dict[int, tuple[int, float]]:
    """For every true center that has a partner its index and distance in mm: nearest pairs first, each center once."""
    partner: dict[int, tuple[int, float]] = {}
    if not truth_ras or not found_ras:
        return partner
    distance = cdist(truth_ras, found_ras)
    taken = set[int]()
    for flat in np.argsort(distance, axis=None):
        row, column = divmod(int(flat), len(found_ras))
        if distance[row, column] > MATCH_MM:
            break
        if row not in partner and column not in taken:
            partner[row] = (column, float(distance[row, column]))
            taken.add(column)
    return partner


def _match(found: tuple[Vertebra, ...], truth: ReferenceSpine) -> tuple[list[VertebraPair], list[Vertebra]]:
    references = truth.vertebrae
    partner = match_centers([v.center_ras for v in references], [v.center_ras for v in found])
    pairs = [
        VertebraPair(reference, found[partner[row][0]], partner[row][1])
        if row in partner
        else VertebraPair(reference, None, None)
        for row, reference in enumerate(references)
    ]
    matched = {column for column, _ in partner.values()}
    return pairs, [vertebra for column, vertebra in enumerate(found) if column not in matched]


def _annotated_stretch(truth: ReferenceSpine) -> tuple[float, float]:
    heights = [vertebra.center_ras[2] for vertebra in truth.vertebrae]
    return (min(heights), max(heights)) if heights else (0.0, 0.0)


def _level_shift(pair: VertebraPair) -> int | None:
    if pair.found is None or pair.found.level is None or pair.truth.level is None:
        return None
    if pair.truth.level_by is Source.PROGRAM:
        return None
    if pair.found.level == pair.truth.level:
        return 0
    names = _REGULAR_LEVELS
    if pair.found.level not in names or pair.truth.level not in names:
        return None
    return names.index(pair.found.level) - names.index(pair.truth.level)
