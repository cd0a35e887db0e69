"""``Correction``: everything that a reader changed, as plain data kept apart from the model's answer.

Vertebrae are identified by a point in the patient (RAS mm), not by their position in a list: a correction then survives
a new run of the model, which may find more or fewer vertebrae.
"""

from __future__ import annotations

from dataclasses import dataclass

from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import ReaderAssessment


@dataclass(frozen=True)
class AssignedLevel:
    """The reader's level for the vertebra at a point."""

    at_ras: Point
    level: str


@dataclass(frozen=True)
class AddedVertebra:
    """A vertebra that the reader placed; it has no landmarks until they are measured or placed by hand."""

    center_ras: Point
    height_mm: float


@dataclass(frozen=True)
class DraggedLandmarks:
    """Anterior, middle, posterior of the upper endplate, then of the lower one, RAS mm, of the vertebra at a point."""

    at_ras: Point
    landmarks_ras: tuple[Point, ...]


@dataclass(frozen=True)
class GivenAssessment:
    """The reader's assessment of the vertebra at a point."""

    at_ras: Point
    reader: ReaderAssessment


@dataclass(frozen=True)
class Correction:
    """What the reader changed; an empty one changes nothing.

    Attributes:
        centerline_ras: the corrected curve, caudal to cranial; None where the detected one stands.
        anchors_ras: the points of that curve which the reader set: fixed control points.
        levels: those that the reader assigned; all others are counted from them.
        removed_ras: points of vertebrae that are none.
        added: vertebrae that the model missed; a split or merged one is a removed one and what replaces it.
        landmarks, assessments: per vertebra.
    """

    centerline_ras: tuple[Point, ...] | None = None
    anchors_ras: tuple[Point, ...] = ()
    levels: tuple[AssignedLevel, ...] = ()
    removed_ras: tuple[Point, ...] = ()
    added: tuple[AddedVertebra, ...] = ()
    landmarks: tuple[DraggedLandmarks, ...] = ()
    assessments: tuple[GivenAssessment, ...] = ()

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
