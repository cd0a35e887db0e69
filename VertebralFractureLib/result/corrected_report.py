"""``CorrectedReport``: the model's answer, the reader's correction, and what follows from both, kept apart for good.

Where the reader corrected the centerline there are two answers of the model, on the detected curve and on the corrected
one; both are stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from VertebralFractureLib.result.apply_correction import apply_correction
from VertebralFractureLib.result.correction import Correction
from VertebralFractureLib.result.report import SpineReport


@dataclass(frozen=True)
class CorrectedReport:
    """A report under correction.

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
