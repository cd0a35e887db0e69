"""``FractureSequence``: the sequence model's answer at every position along the centerline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from VertebralFractureLib.types import FloatArray


@dataclass(frozen=True)
class FractureSequence:
    """What the ensemble says.

    Attributes:
        positions_mm: ``(n,)`` arc length of the patch centers, ascending.
        probability: ``(n,)`` ensemble probability of a fracture at each position.
        uncertainty: ``(n,)`` standard deviation of the members' probabilities.
        inside_fraction: ``(n,)`` share of each patch that lies inside the field of view.
        member_probability: member name to ``(n,)``.
        scan_probability: the aggregate ``F_agg`` for the whole series.
    """

    positions_mm: FloatArray
    probability: FloatArray
    uncertainty: FloatArray
    inside_fraction: FloatArray
    member_probability: Mapping[str, FloatArray]
    scan_probability: float
