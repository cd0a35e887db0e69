"""Which vertebra a point in the patient means: the nearest one, if the point lies in it or close to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from VertebralFractureLib.thresholds import CORRECTION
from VertebralFractureLib.types import Point
from VertebralFractureLib.vertebrae.vertebra import Vertebra


def vertebra_at(vertebrae: Sequence[Vertebra], at_ras: Point) -> int | None:
    """Index of the vertebra that ``at_ras`` (RAS mm) means; None where there is none."""
    if not vertebrae:
        return None
    distances = [math.dist(vertebra.center_ras, at_ras) for vertebra in vertebrae]
    nearest = min(range(len(distances)), key=distances.__getitem__)
    lower, upper = vertebrae[nearest].extent_mm
    return nearest if distances[nearest] <= max(0.5 * (upper - lower), CORRECTION.nearest_mm) else None
