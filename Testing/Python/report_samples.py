"""A reported vertebra for tests that write reports: each names what it cares about and leaves the rest unknown."""

from __future__ import annotations

from typing import Any

from VertebralFractureLib.result import ReportedVertebra


def a_reported_vertebra(label: str | None, s_mm: float, half_height_mm: float, **known: Any) -> ReportedVertebra:
    """A scored vertebra called ``label`` whose body reaches ``half_height_mm`` to each side of ``s_mm``."""
    unknown = {
        "level_probability": 0.9,
        "center_ras": (0.0, 25.0, s_mm),
        "status": "scored",
        "reason": None,
        "fracture_probability": None,
        "uncertainty": None,
        "grade": None,
        "shape": None,
        "severity": None,
        "heights_mm": None,
        "height_loss": None,
        "borderline": False,
        "trabecular_hu": None,
        "complete": True,
        "detection_confidence": 1.0,
        "landmarks_ras": None,
    }
    extent = (s_mm - half_height_mm, s_mm + half_height_mm)
    return ReportedVertebra(**{**unknown, "level": label, "label": label or "V1", "extent_mm": extent, **known})
