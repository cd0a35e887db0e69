"""What a normal vertebra of each level measures: the one table that heights are judged against.

Ratios, not millimeters, so that the patient's size drops out. T1 to L2 are measured; the lumbar levels below, where the
readings end, carry neutral values, and the table says which.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LevelNorm:
    """Median ratios of a normal vertebra.

    Attributes:
        anterior: anterior over posterior height.
        middle: middle over posterior height.
        posterior_over_above: posterior height over that of the next vertebra above; None where it is not known.
        measured: False for a neutral value.
    """

    anterior: float
    middle: float
    posterior_over_above: float | None
    measured: bool = True


LEVEL_NORMS: dict[str, LevelNorm] = {
    "T1": LevelNorm(0.966, 0.862, None),
    "T2": LevelNorm(0.983, 0.863, 1.061),
    "T3": LevelNorm(0.964, 0.854, 1.040),
    "T4": LevelNorm(0.943, 0.855, 1.043),
    "T5": LevelNorm(0.911, 0.844, 1.044),
    "T6": LevelNorm(0.882, 0.841, 1.034),
    "T7": LevelNorm(0.868, 0.842, 1.033),
    "T8": LevelNorm(0.891, 0.847, 1.013),
    "T9": LevelNorm(0.922, 0.852, 1.019),
    "T10": LevelNorm(0.945, 0.863, 1.053),
    "T11": LevelNorm(0.918, 0.849, 1.076),
    "T12": LevelNorm(0.916, 0.862, 1.054),
    "L1": LevelNorm(0.938, 0.859, 1.046),
    "L2": LevelNorm(0.955, 0.865, 1.008),
    "L3": LevelNorm(1.000, 0.865, 0.979, measured=False),
    "L4": LevelNorm(1.000, 0.865, 0.970, measured=False),
    "L5": LevelNorm(1.154, 0.900, None, measured=False),
}
"""T1-L2: medians over 100 CTs of the public readings of neuro-ml/anchor-free-genant (heights to the endplate's floor).

L3 and L4: no wedging assumed, the middle as at L2; L5: anterior 30 over posterior 26 mm, the middle between. The
posterior ratio of L3 follows from the heights 24.3 (L2) and 23.8 mm of the same design table; that of L4 is the middle
between 1.013, from its 24.1 mm, and 0.93, the mean of the two reference scans in which a reader measured both.
L5 has none: its posterior wall is the lowest of the lumbar spine and varies most. Genant's readings end at L4 too.
"""

UNKNOWN_LEVEL_NORM = LevelNorm(0.930, 0.855, 1.036, measured=False)
"""For a vertebra without a level: the medians of the table's T4 to L2."""

STAND_IN_LEVELS = {"T13": "T12", "L6": "L5"}
"""A supernumerary vertebra is judged as the last regular one of its kind."""


def find_level_norm(level: str | None) -> LevelNorm:
    """The norm of a level; the mean norm where there is none (cervical, sacral, unknown)."""
    if level is None:
        return UNKNOWN_LEVEL_NORM
    return LEVEL_NORMS.get(STAND_IN_LEVELS.get(level, level), UNKNOWN_LEVEL_NORM)
