"""Figures with their intervals: proportions, and any statistic by resampling patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % bootstrap interval, and how many cases (patients) it rests on."""

    value: float
    low: float
    high: float
    cases: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, n = {self.cases})"


def number_words(value: float | None) -> str:
    """Three digits, or a dash for what cannot be said."""
    return "-" if value is None else f"{value:.3f}"


def estimate_words(estimate: Mapping[str, float | None]) -> str:
    """An estimate as ``performance`` writes it: its value, and its interval in brackets; a dash without a value."""
    if estimate["value"] is None:
        return "-"
    return f"{number_words(estimate['value'])} ({number_words(estimate['low'])} to {number_words(estimate['high'])})"


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    z, share = 1.959964, successes / trials
    center = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return float(max(0.0, center - half)), float(min(1.0, center + half))


def bootstrap(
    groups: Sequence[object], statistic: Callable[[list[int]], float], repeats: int = 1000, seed: int = 0
) -> Estimate:
    """``statistic`` over indices of ``groups`` (one entry per patient), resampled with replacement."""
    rng = np.random.default_rng(seed)
    count = len(groups)
    draws = np.array([statistic(rng.integers(0, count, count).tolist()) for _ in range(repeats)])
    draws = draws[np.isfinite(draws)]
    low, high = np.percentile(draws, [2.5, 97.5]) if len(draws) else (float("nan"), float("nan"))
    return Estimate(statistic(list(range(count))), float(low), float(high), count)
