"""Where the canal runs at each vertebra of a report, and its directions, which hold where a body was not measured."""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.cpr import lay_frame
from VertebralFractureLib.errors import NotEvaluable
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.types import FloatArray

_USUAL_BEHIND_MM = 26.0
"""From the center of a body to that of the canal, where no curve says it."""


def find_canal(report: SpineReport) -> tuple[FloatArray, FloatArray]:
    """The canal's center at every vertebra, ``(n, 3)`` in RAS mm, and its right, front and tangent there.

    The directions are ``(n, 3, 3)``: rows are unit vectors in RAS; the patient's own where no frame can be laid.
    """
    try:
        frame = lay_frame(report.centerline.curve())
    except (NotEvaluable, ValueError):
        axes = np.array(report.centerline.patient_axes_ras, dtype=np.float64)
        centers = np.array([vertebra.center_ras for vertebra in report.vertebrae]).reshape(-1, 3)
        return centers - _USUAL_BEHIND_MM * axes[1], np.repeat(axes[None], len(centers), axis=0)
    planes = frame.reformat_planes(np.array([vertebra.middle_mm for vertebra in report.vertebrae]))
    right = planes.right_ras / np.linalg.norm(planes.right_ras, axis=1, keepdims=True)
    return planes.origin_ras, np.stack([right, np.cross(planes.normal_ras, right), planes.normal_ras], axis=1)
