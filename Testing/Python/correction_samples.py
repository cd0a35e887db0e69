"""A straight column of measured vertebrae for tests that correct a report: T8 to L4, one of them a clear wedge."""

from __future__ import annotations

from report_samples import a_reported_vertebra

from VertebralFractureLib.result import SpineReport
from VertebralFractureLib.result.report import InputIdentity, ReportedCenterline, ReportedSequence, ScanResult, Software
from VertebralFractureLib.vertebrae.vertebra import Heights

LEVELS = ("L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8")
PITCH_MM, HALF_MM = 30.0, 12.5
WEDGE = "T12"


def a_column() -> SpineReport:
    """The canal runs straight up at R = A = 0; the body of vertebra i is centered on S = 20 + 30 i."""
    vertebrae = tuple(_measured(level, 20.0 + PITCH_MM * index) for index, level in enumerate(LEVELS))
    length = int(20 + PITCH_MM * len(LEVELS))
    points = tuple((0.0, 0.0, float(s)) for s in range(0, length, 5))
    positions = tuple(float(s) for s in range(2, length - 5, 6))
    middle = 20.0 + PITCH_MM * LEVELS.index(WEDGE)
    probability = tuple(0.93 if abs(s - middle) < HALF_MM else 0.04 for s in positions)
    return SpineReport(
        software=Software("0.1.0", {"cord": "ab" * 32}),
        input=InputIdentity("a scan", (40, 40, 40), (1.0, 1.0, 1.0)),
        status="evaluable",
        reason=None,
        scan=ScanResult(0.95, 2, (WEDGE,), 0.5),
        centerline=ReportedCenterline(points, (0.9,) * len(points)),
        sequence=ReportedSequence(positions, probability, (0.02,) * len(positions)),
        vertebrae=vertebrae,
        timings_s={"total": 1.0},
    )


def landmarks(s_mm: float, front_mm: float, middle_mm: float, back_mm: float):
    """Six points of a body centered on height ``s_mm`` whose three heights are given."""
    depths = ((40.0, front_mm), (27.0, middle_mm), (14.0, back_mm))
    return tuple((0.0, a, s_mm + sign * 0.5 * height) for sign in (1.0, -1.0) for a, height in depths)


def _measured(level: str, s_mm: float):
    front = 17.0 if level == WEDGE else 24.0
    is_wedge = level == WEDGE
    return a_reported_vertebra(
        level,
        s_mm,
        HALF_MM,
        center_ras=(0.0, 27.0, s_mm),
        level_probability=round(0.8 + 0.01 * LEVELS.index(level), 2),
        fracture_probability=0.93 if is_wedge else 0.04,
        uncertainty=0.02,
        grade=2 if is_wedge else 0,
        shape="wedge" if is_wedge else None,
        heights_mm=Heights(front, 23.0, 25.0),
        height_loss=0.26 if is_wedge else 0.0,
        landmarks_ras=landmarks(s_mm, front, 23.0, 25.0),
    )
