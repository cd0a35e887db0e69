"""Carry a person's labels of some vertebrae on to the whole column.

One labeled vertebra decides the rest by counting; two that do not fit a regular count put the odd vertebra (a T13, an
L6, or a missing T12 or L5) between them. The network's opinion plays no part any more: a person has seen more than it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from VertebralFractureLib.thresholds import LABELING, LOCALIZATION
from VertebralFractureLib.vertebrae.grading import is_graded
from VertebralFractureLib.vertebrae.level_assignment import LEVELS, STATES, LevelLabel, decode_levels, list_states
from VertebralFractureLib.vertebrae.level_column import weigh_steps
from VertebralFractureLib.vertebrae.vertebra import Reason, Vertebra

_CONTRADICTION = -60.0
"""In log: leaves a labeled vertebra its label, and lets labels that no spine can have together still be carried out."""


def relabel_levels(extents_mm: Sequence[tuple[float, float]], labels: Mapping[int, str]) -> list[LevelLabel]:
    """The level of every vertebra when some have been labeled by a person.

    Args:
        extents_mm: arc length of the lower and upper endplate of each vertebra, caudal to cranial; a hole counts the
            levels that fit into it.
        labels: level by index into ``extents_mm``, at least one.

    Returns:
        One name each, with the probability that it follows from the given ones (numbering variants leave a doubt that
        grows with every transition between regions); 1 for those that were given. A level is always given.

    Raises:
        ValueError: for an index outside the column, a name that is no level, or no name at all.
    """
    count = len(extents_mm)
    if not labels:
        raise ValueError("At least one vertebra must be labeled.")
    for index, level in labels.items():
        if not 0 <= index < count:
            raise ValueError(f"There is no vertebra {index}; the column has {count}, counted from 0 at the lowest.")
        if level not in LEVELS:
            raise ValueError(f"'{level}' is no level; use C1 to C7, T1 to T13, L1 to L6 or S1.")
    evidence = np.zeros((count, len(STATES)))
    evidence[:, STATES.index("S1")] = LABELING.not_sacral
    for index, level in labels.items():
        evidence[index] = _CONTRADICTION
        evidence[index, list_states(level)] = 0.0
    decoded = decode_levels(evidence, weigh_steps(extents_mm))
    return [LevelLabel(labels[i], 1.0) if i in labels else label for i, label in enumerate(decoded)]


def relabel(vertebra: Vertebra, name: LevelLabel) -> Vertebra:
    """The vertebra with another level, and with the reason that follows from it; what was measured stays.

    Grade and score belong to the old level until the column is graded and scored again.
    """
    reason = vertebra.reason
    if reason == Reason.LEVEL_NOT_SCORED and is_graded(name.level):
        reason = Reason.LOW_CONFIDENCE if vertebra.detection_confidence < LOCALIZATION.lowest_confidence else None
    elif reason is None and not is_graded(name.level):
        reason = Reason.LEVEL_NOT_SCORED
    return replace(
        vertebra,
        level=name.level,
        level_probability=name.probability,
        label=name.level or vertebra.label,
        reason=reason,
    )
