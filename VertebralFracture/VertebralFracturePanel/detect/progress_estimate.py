"""How far a detection is and how long it still takes, from the measured weight of each stage; neither goes backward."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from VertebralFractureLib.cli.progress_display import STAGE_TITLES
from VertebralFractureLib.progress import STAGES
from VertebralFracturePanel.process.session_process import EXPORT

RUN_STAGES = (EXPORT, *STAGES)
TITLES = {**STAGE_TITLES, EXPORT: "exporting the volume", "scene": "showing the result"}
STAGE_WEIGHTS: Mapping[str, float] = {
    EXPORT: 0.05,
    "read": 0.15,
    "canal": 0.45,
    "cpr": 0.12,
    "fracture": 0.16,
    "vertebrae": 0.05,
    "scene": 0.02,
}
"""Fractions of the time of a whole run."""
_ESTIMATES_FROM_SHARE = 0.10
_ESTIMATES_FROM_S = 2.0


class ProgressEstimate:
    """``update`` as progress comes in; ``share`` is 0 to 1, ``secondsLeft`` None until it means something."""

    def __init__(
        self, weights: Mapping[str, float] = STAGE_WEIGHTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._started = clock()
        whole = sum(weights.values())
        self._weights = {stage: weight / whole for stage, weight in weights.items()}
        self._ends: float | None = None
        self.stage = RUN_STAGES[0]
        self.share = 0.0

    def update(self, stage: str, fraction: float) -> None:
        """``stage`` is one of ``RUN_STAGES``, ``fraction`` of it from 0 to 1."""
        position = RUN_STAGES.index(stage)
        if position < RUN_STAGES.index(self.stage):
            return
        self.stage = stage
        before = sum(self._weights[name] for name in RUN_STAGES[:position])
        self.share = max(self.share, min(before + self._weights[stage] * min(max(fraction, 0.0), 1.0), 1.0))
        elapsed = self._clock() - self._started
        if self.share >= _ESTIMATES_FROM_SHARE and elapsed >= _ESTIMATES_FROM_S:
            ends = self._started + elapsed / self.share
            shown = self.secondsLeft
            left = ends - self._clock()
            self._ends = self._clock() + (left if shown is None else min(left, shown))

    @property
    def secondsLeft(self) -> float | None:
        """Counts down with the clock; a run that turns out slower stays at its last few seconds, it never counts up."""
        return None if self._ends is None else max(self._ends - self._clock(), 0.0)

    @property
    def words(self) -> str:
        """For example "Step 4 of 7: straightening the spine, about 10 s left"."""
        step = f"Step {RUN_STAGES.index(self.stage) + 1} of {len(RUN_STAGES)}: {TITLES[self.stage]}"
        left = self.secondsLeft
        return step if left is None else f"{step}, {timeWords(left)}"


def timeWords(seconds: float) -> str:
    """A duration as a person would say it: "about 2 min left", "about 20 s left", "a few seconds left"."""
    if seconds < 5.0:
        return "a few seconds left"
    if seconds < 95.0:
        return f"about {5 * round(seconds / 5)} s left"
    return f"about {round(seconds / 60)} min left"
