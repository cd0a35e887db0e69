"""Figures of merit on plain numbers: AUC by ranks, its bootstrap interval by patient, calibration error, Platt's line.

Patients and not vertebrae are resampled, because the vertebrae of one spine are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.types import FloatArray

_RESAMPLES = 500


def auc(scores: FloatArray, truth: NDArray[np.bool_]) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half); nan where one class is missing."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if positives == 0 or negatives == 0:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[inverse]
    return float((ranks[truth].sum() - 0.5 * positives * (positives + 1)) / (positives * negatives))


def auc_interval(
    scores: FloatArray, truth: NDArray[np.bool_], patients: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the AUC over patients drawn with replacement."""
    rng = np.random.default_rng(seed)
    names = sorted(set(patients))
    rows = {name: np.flatnonzero(np.asarray(patients) == name) for name in names}
    values = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([rows[names[i]] for i in rng.integers(0, len(names), len(names))])
        values.append(auc(scores[chosen], truth[chosen]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def calibration_error(probability: FloatArray, truth: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017)."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    error = 0.0
    for b in range(bins):
        here = index == b
        if here.any():
            error += float(here.mean()) * abs(float(truth[here].mean()) - float(probability[here].mean()))
    return error


def calibration_error_by_chance(probability: FloatArray, draws: int = 200, seed: int = 0) -> float:
    """The calibration error that a perfectly calibrated model would show on average, were these its probabilities.

    Few cases a bin make it large, and no model can be held to less (Roelofs et al. 2022).
    """
    rng = np.random.default_rng(seed)
    truths = rng.random((draws, len(probability))) < probability
    return float(np.mean([calibration_error(probability, truth) for truth in truths]))


def platt_line(logits: FloatArray, truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset that maximise the likelihood of ``truth`` (Platt 1999, with his smoothed targets), by Newton.

    Raises:
        ValueError: when one class is missing.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if positives == 0 or negatives == 0:
        raise ValueError("A calibration needs fractured and normal examples.")
    target = np.where(truth, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    line = np.array([1.0, 0.0])
    for _ in range(50):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ line, -30.0, 30.0)))
        gradient = design.T @ (probability - target)
        curvature = (design * (probability * (1.0 - probability))[:, None]).T @ design + 1e-6 * np.eye(2)
        step = np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
        line = line - step
        if float(np.abs(step).max()) < 1e-8:
            break
    return float(line[0]), float(line[1])


def operating_point(scores: FloatArray, truth: NDArray[np.bool_], threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity of ``scores >= threshold``; nan where a class is missing."""
    called = scores >= threshold
    sensitivity = float(called[truth].mean()) if truth.any() else float("nan")
    specificity = float((~called[~truth]).mean()) if (~truth).any() else float("nan")
    return sensitivity, specificity
