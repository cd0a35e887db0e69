"""Find one path through the candidates of all slices: where the canal begins, how it runs, and where it ends.

The path with the highest total evidence is found by dynamic programming over all slices at once; it may skip slices
without evidence at a price (a gap), and it begins and ends where going on would cost more than it brings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VertebralFractureLib.thresholds import CANAL_PATH
from VertebralFractureLib.types import BoolArray, FloatArray, IntArray

_REQUIRED_GAIN = 1e6


@dataclass(frozen=True)
class CanalPath:
    """``rows`` ``(m,)`` ascending slices that the path uses, ``choices`` ``(m,)`` the candidate in each, ``evidence``
    the sum of log-odds less the costs of movement and gaps."""

    rows: IntArray
    choices: IntArray
    evidence: float


def find_canal_path(
    position_mm: FloatArray, probability: FloatArray, slice_mm: float, required: BoolArray | None = None
) -> CanalPath | None:
    """The best path; ``None`` when no candidate is more likely a canal than not.

    Args:
        position_mm: ``(n, c, 2)`` RAS R and A of the candidates of each slice.
        probability: ``(n, c)``, 0 for a candidate that is none.
        slice_mm: distance of neighboring slices.
        required: ``(n, c)`` candidates that the path takes wherever one can lead through all of them; None: no such.
    """
    tuned = CANAL_PATH
    count, choices = probability.shape
    gain = np.log((probability + tuned.probability_floor) / (1.0 - probability + tuned.probability_floor))
    gain = np.where(probability > 0.0, gain, -np.inf)
    if required is not None:
        gain = gain + np.where(required, _REQUIRED_GAIN, 0.0)
    reach = max(1, int(tuned.longest_gap_mm // slice_mm) + 1)
    total = gain.copy()
    before = np.full((count, choices), -1, dtype=np.intp)
    for row in range(1, count):
        first = max(row - reach, 0)
        earlier = total[first:row]
        steps = np.arange(row - first, 0, -1, dtype=np.float64)[:, None, None]
        moved = np.linalg.norm(position_mm[first:row, :, None] - position_mm[row][None, None], axis=-1)
        rise = steps * slice_mm
        cost = 0.5 * steps * (moved / (rise * tuned.typical_slope)) ** 2 + tuned.skipped_slice_cost * (steps - 1.0)
        cost = np.where(moved > tuned.steepest * rise + tuned.slack_mm, np.inf, cost)
        arriving = (earlier[:, :, None] - cost).reshape(-1, choices)
        best = arriving.argmax(axis=0)
        value = arriving[best, np.arange(choices)]
        better = value > 0.0
        total[row] += np.where(better, value, 0.0)
        before[row] = np.where(better, best + first * choices, -1)
    end = int(total.argmax())
    if not total.flat[end] > 0.0:
        return None
    nodes = [end]
    while before.flat[nodes[-1]] >= 0:
        nodes.append(int(before.flat[nodes[-1]]))
    order = np.array(nodes[::-1], dtype=np.intp)
    return CanalPath(order // choices, order % choices, float(total.flat[end]))
