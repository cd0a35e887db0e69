"""Bodies found, named and measured become ``Vertebra`` objects, not scored yet.

A vertebra that cannot be judged keeps its place in the list with a reason; nothing is normal by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.spine.spine_volume import SpineVolume
from VertebralFractureLib.vertebrae import naming
from VertebralFractureLib.vertebrae.finding import FoundBody, find_bodies_in_their_planes
from VertebralFractureLib.vertebrae.grading import grade_column, is_graded, measure_heights
from VertebralFractureLib.vertebrae.level_assignment import LevelName
from VertebralFractureLib.vertebrae.vertebra import STATUS_NOT_EVALUABLE, Heights, Vertebra

FloatArray = NDArray[np.float64]

REASON_CUT = "cut by the field of view"
REASON_LEVEL = "level not scored"
REASON_CONFIDENCE = "low confidence"
REASON_METAL = "implant or cement"

LOWEST_CONFIDENCE = 0.35
THICKEST_MEASURED_MM = 4.0
"""Beyond this slice thickness a height is a guess: partial volume alone moves an endplate by a tenth of the height."""
_METAL_HU, _METAL_SHARE = 1000.0, 0.08
_TRABECULAR_R_MM = 8.0


def find_vertebrae(
    spine: SpineVolume,
    *,
    weights_folder: Path | None = None,
    slice_thickness_mm: float | None = None,
    device: str = "cpu",
    progress: StageProgress | None = None,
) -> list[Vertebra]:
    """Every vertebra of the spine volume, caudal to cranial: found, named, measured; not scored yet.

    Args:
        spine: the ``straightened`` volume at 1 mm.
        slice_thickness_mm: the largest spacing of the CT; heights are left out beyond 4 mm. None: measure always.
        device: where the networks run, as torch names it.

    Raises:
        WeightsDamaged: when the weights are missing or damaged.
        Cancelled: from ``progress``.
    """
    tell = progress or StageProgress("vertebrae")
    tell(0.0)
    bodies = find_bodies_in_their_planes(spine, weights_folder, lambda share: tell(0.7 * share), device)
    tell(0.7)
    rows, log_p = naming.level_log_probability(spine, weights_folder, device)
    names = naming.name_spans([body.span for body in bodies], rows, log_p)
    tell(0.9)
    kept = [(body, name) for body, name in zip(bodies, names, strict=True) if name.level != "S1"]
    found = [_vertebra(spine, body, name, rank) for rank, (body, name) in enumerate(kept, start=1)]
    if slice_thickness_mm is None or slice_thickness_mm <= THICKEST_MEASURED_MM:
        found = grade_vertebrae(found, [_heights(spine, body) for body, _ in kept])
    tell(1.0)
    return found


def _vertebra(spine: SpineVolume, body: FoundBody, name: LevelName, rank: int) -> Vertebra:
    span, shape = body.span, body.shape
    middle = body.middle_mm if shape is None else 0.5 * (shape.a_posterior + shape.a_anterior)
    centre = body.plane.straight(np.zeros(()), np.array(middle), np.array(span.middle_mm))
    r, a, s = spine.frame.straight_to_ras(centre[None])[0]
    landmarks, points = None, body.landmarks_straight()
    if points is not None and body.complete:
        landmarks = tuple(_point(point) for point in points)
    core, metal = _body_hu(spine, body)
    reason = None
    if not body.complete:
        reason = REASON_CUT
    elif not is_graded(name.level):
        reason = REASON_LEVEL
    elif span.confidence < LOWEST_CONFIDENCE:
        reason = REASON_CONFIDENCE
    elif metal > _METAL_SHARE:
        reason = REASON_METAL
    return Vertebra(
        s_inferior_mm=span.s_inferior_mm,
        s_superior_mm=span.s_superior_mm,
        centre_straight=_point(centre),
        centre_ras=(float(r), float(a), float(s)),
        complete=body.complete,
        detection_confidence=span.confidence,
        landmarks_straight=landmarks,
        level=name.level,
        level_probability=name.probability,
        label=name.level or f"V{rank}",
        status=STATUS_NOT_EVALUABLE,
        reason=reason,
        trabecular_hu=core if reason in (None, REASON_LEVEL) else None,
    )


def _point(values: FloatArray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _heights(spine: SpineVolume, body: FoundBody) -> Heights | None:
    points = body.landmarks_straight()
    if points is None or not body.complete:
        return None
    return measure_heights(spine.frame.straight_to_ras(points))


def grade_vertebrae(vertebrae: Sequence[Vertebra], heights: Sequence[Heights | None]) -> list[Vertebra]:
    """The vertebrae with heights, losses and grades; those that cannot be judged get heights at most."""
    usable = [h if v.reason is None else None for v, h in zip(vertebrae, heights, strict=True)]
    gradings = grade_column(usable, [v.level for v in vertebrae])
    graded = []
    for vertebra, own, grading in zip(vertebrae, heights, gradings, strict=True):
        if grading is None:
            graded.append(replace(vertebra, heights_mm=own))
            continue
        graded.append(
            replace(
                vertebra,
                heights_mm=own,
                grade=grading.grade,
                shape=grading.shape,
                severity=grading.severity,
                height_loss=grading.severity,
                borderline=grading.borderline,
            )
        )
    return graded


def without_judgment(vertebra: Vertebra) -> Vertebra:
    """The vertebra with nothing that calls it fractured or not; what was measured stays."""
    return replace(
        vertebra,
        fracture_probability=None,
        uncertainty=None,
        grade=None,
        shape=None,
        severity=None,
        height_loss=None,
        borderline=False,
    )


def _body_hu(spine: SpineVolume, body: FoundBody) -> tuple[float | None, float]:
    """Median HU of the body's inside (the middle half of depth and height, 16 mm wide), and its share of metal."""
    span, shape = body.span, body.shape
    if shape is None:
        return None, 0.0
    r, a, s = spine.axis_mm("r"), spine.axis_mm("a"), spine.axis_mm("s")
    height, depth = span.s_superior_mm - span.s_inferior_mm, shape.a_anterior - shape.a_posterior
    k = np.flatnonzero(np.abs(s - 0.5 * (span.s_superior_mm + span.s_inferior_mm)) <= 0.25 * height)
    j = np.flatnonzero(np.abs(a - 0.5 * (shape.a_anterior + shape.a_posterior)) <= 0.25 * depth)
    i = np.flatnonzero(np.abs(r) <= _TRABECULAR_R_MM)
    box = np.ix_(k, j, i)
    values = np.asarray(spine.hu[box], dtype=np.float64)[np.asarray(spine.inside[box])]
    if len(values) == 0:
        return None, 0.0
    return float(np.median(values)), float((values > _METAL_HU).mean())
