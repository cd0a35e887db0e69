"""The column of ``correction_samples`` with an outline and a box around every body."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from correction_samples import a_column

from VertebralFractureLib.result import SpineReport
from VertebralFractureLib.vertebrae.vertebra import OrientedBox

WIDTH_MM, DEPTH_MM, HEIGHT_MM = 40.0, 32.0, 24.0


def an_outline(s_mm: float) -> tuple[tuple[float, float, float], ...]:
    """24 mm high and 32 mm deep, in the plane R = 0, around the landmarks of ``correction_samples``."""
    along = np.linspace(43.0, 11.0, 9)
    upper = [(0.0, float(a), s_mm + 0.5 * HEIGHT_MM) for a in along]
    return (*upper, *((0.0, a, s_mm - 0.5 * HEIGHT_MM) for _, a, _ in reversed(upper)))


def an_outlined_report() -> SpineReport:
    report = a_column()
    outlined = []
    for vertebra in report.vertebrae:
        s = vertebra.center_ras[2]
        corner = (-0.5 * WIDTH_MM, 11.0, s - 0.5 * HEIGHT_MM)
        axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        box = OrientedBox(corner, axes, (WIDTH_MM, DEPTH_MM, HEIGHT_MM))
        outlined.append(replace(vertebra, outline_ras=an_outline(s), box=box))
    return replace(report, vertebrae=tuple(outlined))
