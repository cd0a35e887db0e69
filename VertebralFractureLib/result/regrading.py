"""Heights, losses, grades and probabilities after levels, landmarks or neighbors changed; no model is needed.

The network's answer along the spine is in the report already, so a vertebra that was added or renamed takes its share
of it as any other does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from VertebralFractureLib.fracture import FractureSequence
from VertebralFractureLib.fracture.pooling import two_members
from VertebralFractureLib.result.report import ReportedSequence, ReportedVertebra
from VertebralFractureLib.vertebrae import Vertebra, score_vertebrae
from VertebralFractureLib.vertebrae.assembly import REASON_LEVEL, grade_vertebrae
from VertebralFractureLib.vertebrae.grading import is_graded

_GRADED = ("grade", "shape", "severity", "height_loss", "borderline", "height_loss_sd", "heights_mm")
_SCORED = ("status", "reason", "fracture_probability", "uncertainty")


def regraded(vertebrae: Sequence[ReportedVertebra], sequence: ReportedSequence) -> list[ReportedVertebra]:
    """The vertebrae, caudal to cranial, graded by their heights and levels and scored from ``sequence``.

    A vertebra whose height loss and status stay as they were keeps its probability to the last digit.
    """
    plain = [_vertebra(vertebra) for vertebra in vertebrae]
    graded = grade_vertebrae(plain, [vertebra.heights_mm for vertebra in vertebrae])
    scored = score_vertebrae(graded, _sequence(sequence))
    results = []
    for before, after in zip(vertebrae, scored, strict=True):
        result = replace(before, **{name: getattr(after, name) for name in _GRADED})
        if before.height_loss != after.height_loss or before.status != after.status:
            result = replace(result, **{name: getattr(after, name) for name in _SCORED})
        results.append(result)
    return results


def _vertebra(reported: ReportedVertebra) -> Vertebra:
    lower, upper = reported.extent_mm
    reason = reported.reason
    if reason in (None, REASON_LEVEL):
        reason = None if is_graded(reported.level) else REASON_LEVEL
    return Vertebra(
        s_inferior_mm=lower,
        s_superior_mm=upper,
        center_straight=(0.0, 0.0, 0.5 * (lower + upper)),
        center_ras=reported.center_ras,
        complete=reported.complete,
        detection_confidence=reported.detection_confidence,
        level=reported.level,
        level_probability=reported.level_probability,
        label=reported.label,
        reason=reason,
        trabecular_hu=reported.trabecular_hu,
        height_sd_mm=reported.height_sd_mm,
    )


def _sequence(reported: ReportedSequence) -> FractureSequence:
    """What is needed to score vertebrae.

    A report holds the ensemble's answer and the members' standard deviation, which two members can have as well; which
    patches the field of view cuts is not in it. One network alone has no deviation.
    """
    positions = np.array(reported.positions_mm, dtype=np.float64)
    probability = np.array(reported.probability, dtype=np.float64)
    uncertainty = np.array(reported.uncertainty, dtype=np.float64)
    low, high = two_members(probability, uncertainty)
    return FractureSequence(
        positions_mm=positions,
        probability=probability,
        uncertainty=uncertainty,
        inside_fraction=np.ones_like(positions),
        member_probability={"low": low, "high": high} if uncertainty.any() else {"only": probability},
        scan_probability=float("nan"),
    )
