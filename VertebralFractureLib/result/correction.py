"""``Correction``: everything that a reader changed, as plain data kept apart from the model's answer.

Vertebrae are identified by a point in the patient (RAS mm), not by their position in a list: a correction then survives
a new run of the model, which may find more or fewer vertebrae.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from VertebralFractureLib.result.report import MOST_POINTS, MOST_VERTEBRAE
from VertebralFractureLib.types import Point, about
from VertebralFractureLib.vertebrae.vertebra import (
    LANDMARK_COUNT,
    MOST_OUTLINE_POINTS,
    TALLEST_MM,
    ReaderAssessment,
    about_level,
    about_point,
)

MOST_EDITS = 2 * MOST_VERTEBRAE
"""Of one kind: edits of vertebrae that were removed again stay in a correction."""
_NEAR_MM = 150.0
"""No landmark lies farther from the point that means its vertebra."""
_AT = about_point("a point in the vertebra, RAS mm")


@dataclass(frozen=True)
class AssignedLevel:
    """The reader's level for the vertebra at a point."""

    at_ras: Point = field(metadata=_AT)
    level: str = field(metadata=about_level("that the reader gave it"))


@dataclass(frozen=True)
class AddedVertebra:
    """A vertebra that the reader placed; it has no landmarks until they are measured or placed by hand."""

    center_ras: Point = field(metadata=about_point("center of its body, RAS mm"))
    height_mm: float = field(metadata=about("from endplate to endplate", least=1, most=TALLEST_MM))
    outline_ras: tuple[Point, ...] | None = field(
        default=None,
        metadata=about_point(
            "its mid-sagittal outline, RAS mm, where it was measured; null until then", up_to=MOST_OUTLINE_POINTS
        ),
    )


@dataclass(frozen=True)
class DraggedLandmarks:
    """Anterior, middle, posterior of the upper endplate, then of the lower one, RAS mm, of the vertebra at a point."""

    at_ras: Point = field(metadata=_AT)
    landmarks_ras: tuple[Point, ...] = field(
        metadata=about_point("three of the upper endplate, three of the lower one, RAS mm", count=LANDMARK_COUNT)
    )


def find_misplaced_landmarks(at_ras: Point, landmarks_ras: Sequence[Point]) -> str | None:
    """What no vertebra has, in words: a landmark far from its vertebra, or a height of 0 or above any body's.

    Asked when a landmark is set as well as when a file is read, so that what can be saved can be opened again.
    """
    if any(math.dist(point, at_ras) > _NEAR_MM for point in landmarks_ras):
        return f"a landmark lies more than {_NEAR_MM:g} mm from its vertebra"
    for above, below in zip(landmarks_ras[:3], landmarks_ras[3:], strict=True):
        height = math.dist(above, below)
        if not 0.0 < height <= TALLEST_MM:
            return f"they give a height of {height:g} mm; allowed is more than 0 and at most {TALLEST_MM:g}"
    return None


@dataclass(frozen=True)
class GivenAssessment:
    """The reader's assessment of the vertebra at a point."""

    at_ras: Point = field(metadata=_AT)
    reader: ReaderAssessment


@dataclass(frozen=True)
class Correction:
    """What the reader changed; an empty one changes nothing."""

    centerline_ras: tuple[Point, ...] | None = field(
        default=None,
        metadata=about_point(
            "the corrected curve, caudal to cranial; null where the detected one stands", up_to=MOST_POINTS
        ),
    )
    anchors_ras: tuple[Point, ...] = field(
        default=(),
        metadata=about_point("the points of that curve which the reader set: fixed control points", up_to=MOST_POINTS),
    )
    levels: tuple[AssignedLevel, ...] = field(
        default=(),
        metadata=about("those that the reader assigned; all others are counted from them", up_to=MOST_VERTEBRAE),
    )
    removed_ras: tuple[Point, ...] = field(
        default=(), metadata=about_point("points of vertebrae that are none", up_to=MOST_EDITS)
    )
    added: tuple[AddedVertebra, ...] = field(
        default=(),
        metadata=about(
            "vertebrae that the model missed; a split or merged one is a removed one and what replaces it",
            up_to=MOST_EDITS,
        ),
    )
    landmarks: tuple[DraggedLandmarks, ...] = field(default=(), metadata=about("per vertebra", up_to=MOST_EDITS))
    assessments: tuple[GivenAssessment, ...] = field(default=(), metadata=about("per vertebra", up_to=MOST_EDITS))

    @property
    def is_empty(self) -> bool:
        return self == Correction()


@dataclass(frozen=True)
class CorrectionHistory:
    """One correction and the way to it; every step gives a new history, so undo cannot leave a trace behind."""

    present: Correction = Correction()
    past: tuple[Correction, ...] = ()
    future: tuple[Correction, ...] = ()

    def do(self, correction: Correction) -> CorrectionHistory:
        """``correction`` becomes the present; what had been undone is forgotten. Nothing happens without a change."""
        if correction == self.present:
            return self
        return CorrectionHistory(correction, (*self.past, self.present))

    def amend(self, correction: Correction) -> CorrectionHistory:
        """The last step led to ``correction``: what completes a step is undone with it."""
        return CorrectionHistory(correction, self.past, self.future)

    def undo(self) -> CorrectionHistory:
        """One step back; the same history where there is none."""
        if not self.past:
            return self
        return CorrectionHistory(self.past[-1], self.past[:-1], (self.present, *self.future))

    def redo(self) -> CorrectionHistory:
        """One step forth again; the same history where there is none."""
        if not self.future:
            return self
        return CorrectionHistory(self.future[0], (*self.past, self.present), self.future[1:])
