"""Gather what the steps found into a ``SpineReport``; the only place that decides whether a scan was evaluable.

A scan counts as evaluable when at least ``minimum_scored`` vertebrae were scored: fewer say nothing about a spine, and
calling such a scan free of fractures would be harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from VertebralFractureLib import __version__
from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import StraightenedVolume
from VertebralFractureLib.fracture import FractureSequence
from VertebralFractureLib.result.bone_density import bone_density
from VertebralFractureLib.result.deidentification import VOXELS_SHA256, voxels_sha256
from VertebralFractureLib.result.report import (
    EVALUABLE,
    NOT_EVALUABLE,
    InputIdentity,
    Point,
    ReportedCenterline,
    ReportedSequence,
    ReportedVertebra,
    ScanResult,
    Software,
    SpineReport,
    is_suspected,
)
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.vertebrae import Vertebra, spinal_deformity_index
from VertebralFractureLib.volume import CTVolume


def build_report(
    ct: CTVolume,
    centerline: Centerline,
    spine: StraightenedVolume,
    sequence: FractureSequence,
    vertebrae: Sequence[Vertebra],
    weights_sha256: Mapping[str, str],
) -> SpineReport:
    """The report of a scan whose steps all ran; not evaluable when too few vertebrae could be scored.

    The scan's probability is the larger of the series' own and that of its most suspicious vertebra, so that a scan is
    never called less suspicious than a part of it.
    """
    tuned = SCORING
    reported = tuple(_reported(vertebra, spine) for vertebra in vertebrae)
    scored = [vertebra for vertebra in reported if vertebra.status == "scored"]
    if len(scored) < tuned.minimum_scored:
        return build_not_evaluable_report(ct, _too_few_reason(reported), weights_sha256, centerline)
    suspected = [vertebra for vertebra in reported if is_suspected(vertebra, tuned.decision_threshold)]
    suspected_labels = {vertebra.label for vertebra in suspected}
    return SpineReport(
        software=Software(__version__, dict(weights_sha256)),
        input=_identity(ct),
        status=EVALUABLE,
        reason=None,
        scan=ScanResult(
            fracture_probability=max([sequence.scan_probability, *(v.fracture_probability or 0.0 for v in scored)]),
            sdi=spinal_deformity_index([v for v in vertebrae if v.label in suspected_labels]) or 0,
            fractured_levels=tuple(vertebra.label for vertebra in reversed(suspected)),
            decision_threshold=tuned.decision_threshold,
            bone_density=bone_density(reported, ct.source),
        ),
        centerline=_reported_centerline(centerline),
        sequence=ReportedSequence(
            tuple(sequence.positions_mm.tolist()),
            tuple(sequence.probability.tolist()),
            tuple(sequence.uncertainty.tolist()),
        ),
        vertebrae=reported,
        timings_s={},
    )


def build_not_evaluable_report(
    ct: CTVolume, reason: str, weights_sha256: Mapping[str, str], centerline: Centerline | None = None
) -> SpineReport:
    """The report of a scan that could not be judged: it says why and holds nothing that looks like a result."""
    empty = ReportedCenterline((), ())
    return SpineReport(
        software=Software(__version__, dict(weights_sha256)),
        input=_identity(ct),
        status=NOT_EVALUABLE,
        reason=reason,
        scan=ScanResult(None, None, (), SCORING.decision_threshold),
        centerline=empty if centerline is None else _reported_centerline(centerline),
        sequence=ReportedSequence((), (), ()),
        vertebrae=(),
        timings_s={},
    )


def _too_few_reason(vertebrae: Sequence[ReportedVertebra]) -> str:
    scored = sum(vertebra.status == "scored" for vertebra in vertebrae)
    reasons = Counter(vertebra.reason for vertebra in vertebrae if vertebra.reason)
    others = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "no other was made out"
    return (
        f"Only {scored} thoracic or lumbar vertebrae could be scored ({others}) and at least "
        f"{SCORING.minimum_scored} are needed; use a scan that covers more of the spine, or a series with thinner "
        "slices."
    )


def _identity(ct: CTVolume) -> InputIdentity:
    identifiers = dict(ct.source)
    if VOXELS_SHA256 not in identifiers:
        identifiers[VOXELS_SHA256] = voxels_sha256(ct)
    return InputIdentity(ct.name, ct.shape_kji, ct.spacing_mm, ct.source.get("modality", "CT"), identifiers)


def _reported_centerline(centerline: Centerline) -> ReportedCenterline:
    points = tuple((float(r), float(a), float(s)) for r, a, s in centerline.points_ras)
    return ReportedCenterline(points, tuple(centerline.confidence.tolist()))


def _reported(vertebra: Vertebra, spine: StraightenedVolume) -> ReportedVertebra:
    landmarks: tuple[Point, ...] | None = None
    if vertebra.landmarks_straight is not None:
        in_ras = spine.frame.straight_to_ras(np.array(vertebra.landmarks_straight))
        landmarks = tuple((float(r), float(a), float(s)) for r, a, s in in_ras)
    return ReportedVertebra(
        level=vertebra.level,
        level_probability=vertebra.level_probability,
        label=vertebra.label,
        center_ras=vertebra.center_ras,
        status=vertebra.status,
        reason=vertebra.reason,
        fracture_probability=vertebra.fracture_probability,
        uncertainty=vertebra.uncertainty,
        grade=vertebra.grade,
        shape=vertebra.shape,
        severity=vertebra.severity,
        heights_mm=vertebra.heights_mm,
        height_loss=vertebra.height_loss,
        borderline=vertebra.borderline,
        trabecular_hu=vertebra.trabecular_hu,
        complete=vertebra.complete,
        detection_confidence=vertebra.detection_confidence,
        extent_mm=(vertebra.s_inferior_mm, vertebra.s_superior_mm),
        landmarks_ras=landmarks,
        height_sd_mm=vertebra.height_sd_mm,
        height_loss_sd=vertebra.height_loss_sd,
        trabecular_reason=vertebra.trabecular_reason,
        box=vertebra.box,
    )
