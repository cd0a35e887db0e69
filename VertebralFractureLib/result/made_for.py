"""Whether a correction was made for this scan, and whether the levels in it fit the number of vertebrae.

A correction's points are the centers of the vertebrae that were shown when it was made. In the same scan, in whatever
file, the same vertebrae are found within a few millimeters of them; in another patient's some of them by chance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.errors import UnusableCorrection
from VertebralFractureLib.result.apply_correction import CorrectedReport
from VertebralFractureLib.result.correction import Correction
from VertebralFractureLib.result.lookup import vertebra_at
from VertebralFractureLib.result.report import MOST_VERTEBRAE, SpineReport
from VertebralFractureLib.thresholds import CORRECTION
from VertebralFractureLib.types import Point, about
from VertebralFractureLib.vertebrae.levels import CRANIAL_TO_CAUDAL
from VertebralFractureLib.vertebrae.vertebra import about_point

VOXELS_SHA256 = "voxels_sha256"


@dataclass(frozen=True)
class MadeFor:
    """The scan that a correction was made for."""

    voxels_sha256: str | None = field(metadata=about("of its voxels; null where it is not known", longest=64))
    centers_ras: tuple[Point, ...] = field(
        metadata=about_point("centers of the vertebrae that were found in it", up_to=MOST_VERTEBRAE)
    )

    @staticmethod
    def of_report(report: SpineReport) -> MadeFor:
        """The scan of a report."""
        centers = tuple(vertebra.center_ras for vertebra in report.vertebrae)
        return MadeFor(report.input.identifiers.get(VOXELS_SHA256), centers)


def judge_origin(made_for: MadeFor | None, correction: Correction, corrected: CorrectedReport) -> tuple[Doubt, ...]:
    """What is doubtful about a correction that came from a file: whether it was made for this scan.

    Args:
        made_for: the scan that it says it was made for; None for a file of edits alone.
        corrected: this scan's report with the correction.

    Raises:
        UnusableCorrection: when the vertebrae of that scan do not lie where this one has its own, or when none of the
            correction's points lies in a vertebra of this one.
    """
    sha256 = corrected.detected.input.identifiers.get(VOXELS_SHA256)
    if made_for is not None and made_for.voxels_sha256 is not None and made_for.voxels_sha256 == sha256:
        return ()
    centers = _centers(correction, corrected)
    points = points_of(correction)
    theirs = points if made_for is None or not made_for.centers_ras else made_for.centers_ras
    if centers and theirs:
        least = CORRECTION.same_scan_fraction * min(len(theirs), len(centers))
        matched = sum(_nearest_mm(point, centers) <= CORRECTION.same_center_mm for point in theirs)
        means_one = any(_nearest_mm(point, centers) <= CORRECTION.nearest_mm for point in points)
        if (theirs is not points and matched < least) or (points and not means_one):
            raise UnusableCorrection(
                f"The correction was made for another scan: {matched} of the {len(theirs)} vertebrae that it knows lie "
                f"where this scan has one of its {len(centers)}; use the correction that was made for this scan."
            )
        if matched >= least and (made_for is None or made_for.voxels_sha256 is None):
            return ()
    return (Doubt(DoubtKind.CORRECTION_OF_OTHER_VOXELS),) if theirs or made_for is not None else ()


def points_of(correction: Correction) -> tuple[Point, ...]:
    """The points by which the edits of a correction mean vertebrae."""
    at = (correction.levels, correction.landmarks, correction.assessments)
    return (*correction.removed_ras, *(one.at_ras for part in at for one in part))


def refuse_levels_without_room(shown: SpineReport, correction: Correction) -> None:
    """Refuse levels that a reader gave two vertebrae, when the spine has not so many between them, or in other order.

    Raises:
        ValueError: with the two levels.
    """
    found = ((vertebra_at(shown.vertebrae, one.at_ras), one.level) for one in correction.levels)
    given = sorted((index, level) for index, level in found if index is not None)
    for (lower, below), (upper, above) in itertools.pairwise(given):
        room = CRANIAL_TO_CAUDAL.index(below) - CRANIAL_TO_CAUDAL.index(above)
        if room < upper - lower:
            raise ValueError(
                f"{below} and {above} do not fit the number of vertebrae: one lies {upper - lower} above the other, "
                f"and no spine has {above} so far above {below}."
            )


def _centers(correction: Correction, corrected: CorrectedReport) -> list[Point]:
    """Of all vertebrae that a point of the correction may mean."""
    reports = (corrected.detected, corrected.model)
    found = [vertebra.center_ras for report in reports for vertebra in report.vertebrae]
    return [*dict.fromkeys([*found, *(one.center_ras for one in correction.added)])] if found else []


def _nearest_mm(point: Point, centers: Sequence[Point]) -> float:
    return min(math.dist(point, center) for center in centers)
