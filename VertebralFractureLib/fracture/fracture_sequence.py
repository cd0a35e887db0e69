"""``FractureSequence``: the sequence model's answer at every position along the centerline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from VertebralFractureLib.types import FloatArray


@dataclass(frozen=True)
class FractureSequence:
    """What the ensemble says.

    Attributes:
        positions_mm: ``(n,)`` arc length of the patch centers, ascending.
        probability: ``(n,)`` ensemble probability of a fracture at each position.
        uncertainty: ``(n,)`` standard deviation of the members' probabilities.
        inside_fraction: ``(n,)`` fraction of each patch that lies inside the field of view.
        member_probability: member name to ``(n,)``, of a grade of at least 1.
        scan_probability: the aggregate ``F_agg`` over the judged vertebrae; NaN until they are known.
        member_logits: member name to ``(n,)``, of a grade of at least 1, before calibration; empty where a report is
            all that is left of it.
        member_probability_of_2, member_probability_of_3: the same of a grade of at least 2, and of 3; empty where an
            older report did not keep them.
    """

    positions_mm: FloatArray
    probability: FloatArray
    uncertainty: FloatArray
    inside_fraction: FloatArray
    member_probability: Mapping[str, FloatArray]
    scan_probability: float = math.nan
    member_logits: Mapping[str, FloatArray] = field(default_factory=dict)
    member_probability_of_2: Mapping[str, FloatArray] = field(default_factory=dict)
    member_probability_of_3: Mapping[str, FloatArray] = field(default_factory=dict)
