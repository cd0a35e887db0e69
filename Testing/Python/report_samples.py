"""A vertebra of a report for tests: each names what it cares about and leaves the rest unknown."""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra


def a_reported_vertebra(label: str | None, s_mm: float, half_height_mm: float, **known: Any) -> Vertebra:
    """A scored vertebra called ``label`` whose body reaches ``half_height_mm`` to each side of ``s_mm``.

    Its grade, where one is given, is that of its heights alone, as before the networks were joined with them.
    """
    usual = {
        "level": label,
        "label": label or "V1",
        "level_probability": 0.9,
        "status": Status.SCORED,
        "center_ras": (0.0, 25.0, s_mm),
        "extent_mm": (s_mm - half_height_mm, s_mm + half_height_mm),
        "complete": True,
        "detection_confidence": 1.0,
        "morphometric_grade": known.get("grade"),
    }
    return Vertebra(**{**usual, **known})
