"""Bodies found, named and measured become ``Vertebra`` objects, not scored yet.

A vertebra that cannot be judged keeps its place in the list with a reason; nothing is normal by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from VertebralFractureLib.cpr.straightened_volume import StraightenedVolume
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.thresholds import LOCALIZATION
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.grading import grade_column, is_graded, measure_heights
from VertebralFractureLib.vertebrae.labeling import label_bodies
from VertebralFractureLib.vertebrae.level_assignment import LevelLabel
from VertebralFractureLib.vertebrae.localization import LocalizedBody, localize_bodies_in_their_planes
from VertebralFractureLib.vertebrae.oriented_box import oriented_box
from VertebralFractureLib.vertebrae.trabecular import (
    REASON_METAL,
    TrabecularRegion,
    measure_trabecular_region,
    with_trabecular_hu,
)
from VertebralFractureLib.vertebrae.uncertainty import height_sd
from VertebralFractureLib.vertebrae.vertebra import STATUS_NOT_EVALUABLE, Heights, Vertebra

REASON_CUT = "cut by the field of view"
REASON_LEVEL = "level not scored"
REASON_CONFIDENCE = "low confidence"


def localize_vertebrae(
    spine: StraightenedVolume,
    *,
    weights_folder: Path | None = None,
    slice_thickness_mm: float | None = None,
    step_along_mm: float | None = None,
    device: str = "cpu",
    progress: StageProgress | None = None,
) -> list[Vertebra]:
    """Every vertebra of the spine volume, caudal to cranial: found, named, measured; not scored yet.

    Args:
        spine: the ``straightened`` volume at 1 mm.
        slice_thickness_mm: the coarsest of ``CTVolume.resolution_mm``; heights are left out beyond 4 mm. None: measure
            always.
        step_along_mm: ``CTVolume.resolution_along_patient_mm``, which the uncertainty of heights depends on; None takes
            the slice thickness, and without that the uncertainty is not told.
        device: where the networks run, as torch names it.

    Raises:
        WeightsDamaged: when the weights are missing or damaged.
        Cancelled: from ``progress``.
    """
    tell = progress or StageProgress("vertebrae")
    tell(0.0)
    bodies = localize_bodies_in_their_planes(spine, weights_folder, lambda share: tell(0.7 * share), device)
    tell(0.7)
    extents = [(body.span.s_inferior_mm, body.span.s_superior_mm) for body in bodies]
    names = label_bodies(spine, extents, weights_folder, device)
    tell(0.9)
    kept = [(body, name) for body, name in zip(bodies, names, strict=True) if name.level != "S1"]
    cores = [measure_trabecular_region(spine, body) for body, _ in kept]
    found = [
        _vertebra(spine, body, name, core, rank)
        for rank, ((body, name), core) in enumerate(zip(kept, cores, strict=True), start=1)
    ]
    if slice_thickness_mm is None or slice_thickness_mm <= LOCALIZATION.thickest_measured_mm:
        step = slice_thickness_mm if step_along_mm is None else step_along_mm
        heights = [_heights(spine, body) for body, _ in kept]
        found = [
            one if step is None or own is None else replace(one, height_sd_mm=height_sd(step, core.noise_hu))
            for one, own, core in zip(found, heights, cores, strict=True)
        ]
        found = grade_vertebrae(found, heights)
    found = with_trabecular_hu(found, cores)
    tell(1.0)
    return found


def _vertebra(
    spine: StraightenedVolume, body: LocalizedBody, name: LevelLabel, core: TrabecularRegion, rank: int
) -> Vertebra:
    span, shape = body.span, body.shape
    middle = body.middle_mm if shape is None else 0.5 * (shape.a_posterior + shape.a_anterior)
    center = body.plane.straight(np.zeros(()), np.array(middle), np.array(span.middle_mm))
    r, a, s = spine.frame.straight_to_ras(center[None])[0]
    landmarks, points = None, body.landmarks_straight()
    if points is not None and body.complete:
        landmarks = tuple(_point(point) for point in points)
    reason = None
    if not body.complete:
        reason = REASON_CUT
    elif not is_graded(name.level):
        reason = REASON_LEVEL
    elif span.confidence < LOCALIZATION.lowest_confidence:
        reason = REASON_CONFIDENCE
    elif core.holds_metal:
        reason = REASON_METAL
    return Vertebra(
        s_inferior_mm=span.s_inferior_mm,
        s_superior_mm=span.s_superior_mm,
        center_straight=_point(center),
        center_ras=(float(r), float(a), float(s)),
        complete=body.complete,
        detection_confidence=span.confidence,
        landmarks_straight=landmarks,
        level=name.level,
        level_probability=name.probability,
        label=name.level or f"V{rank}",
        status=STATUS_NOT_EVALUABLE,
        reason=reason,
        box=oriented_box(spine, body) if body.complete else None,
    )


def _point(values: FloatArray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _heights(spine: StraightenedVolume, body: LocalizedBody) -> Heights | None:
    points = body.landmarks_straight()
    if points is None or not body.complete:
        return None
    return measure_heights(spine.frame.straight_to_ras(points))


def grade_vertebrae(vertebrae: Sequence[Vertebra], heights: Sequence[Heights | None]) -> list[Vertebra]:
    """The vertebrae with heights, losses and grades; those that cannot be judged get heights at most."""
    usable = [h if v.reason is None else None for v, h in zip(vertebrae, heights, strict=True)]
    spreads = [v.height_sd_mm for v in vertebrae]
    gradings = grade_column(usable, [v.level for v in vertebrae], height_sds_mm=spreads)
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
                height_loss_sd=grading.loss_sd,
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
        height_loss_sd=None,
    )
