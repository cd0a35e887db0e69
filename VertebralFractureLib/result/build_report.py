"""Gather what the steps found into a ``SpineReport``; the only place that decides whether a scan was evaluable.

A scan counts as evaluable when at least ``minimum_scored`` vertebrae were scored: fewer say nothing about a spine, and
calling such a scan free of fractures would be harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from VertebralFractureLib import __version__
from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.fracture import FractureSequence
from VertebralFractureLib.result.bone_density import bone_density
from VertebralFractureLib.result.deidentification import VOXELS_SHA256, voxels_sha256
from VertebralFractureLib.result.report import (
    EVALUABLE,
    NOT_EVALUABLE,
    InputIdentity,
    ReportedCenterline,
    ReportedSequence,
    ScanResult,
    Software,
    SpineReport,
)
from VertebralFractureLib.result.scan_result import scan_probability, summarize_scan
from VertebralFractureLib.result.words import describe_reason
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra
from VertebralFractureLib.volume import CTVolume


def build_report(
    ct: CTVolume,
    centerline: Centerline,
    sequence: FractureSequence,
    vertebrae: Sequence[Vertebra],
    weights_sha256: Mapping[str, str],
) -> SpineReport:
    """The report of a scan whose steps all ran; not evaluable when too few vertebrae could be scored."""
    if sum(vertebra.status == Status.SCORED for vertebra in vertebrae) < SCORING.minimum_scored:
        return build_not_evaluable_report(ct, _too_few_reason(vertebrae), weights_sha256, centerline)
    return SpineReport(
        software=Software(__version__, dict(weights_sha256)),
        input=_identity(ct),
        status=EVALUABLE,
        reason=None,
        doubts=tuple(ct.doubts),
        scan=summarize_scan(
            vertebrae,
            SCORING.decision_threshold,
            scan_probability(vertebrae),
            bone_density(vertebrae, ct.source),
            float(sequence.scan_probability),
        ),
        centerline=_reported_centerline(centerline),
        sequence=ReportedSequence(
            tuple(sequence.positions_mm.tolist()),
            tuple(sequence.probability.tolist()),
            tuple(sequence.uncertainty.tolist()),
            tuple(sequence.inside_fraction.tolist()),
            *(
                {name: tuple(values.tolist()) for name, values in members.items()}
                for members in (
                    sequence.member_probability,
                    sequence.member_probability_of_2,
                    sequence.member_probability_of_3,
                )
            ),
        ),
        vertebrae=tuple(vertebrae),
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
        doubts=tuple(ct.doubts),
        scan=ScanResult(None, None, (), SCORING.decision_threshold),
        centerline=empty if centerline is None else _reported_centerline(centerline),
        sequence=ReportedSequence((), (), ()),
        vertebrae=(),
        timings_s={},
    )


def _too_few_reason(vertebrae: Sequence[Vertebra]) -> str:
    scored = sum(vertebra.status == Status.SCORED for vertebra in vertebrae)
    reasons = Counter(describe_reason(vertebra) for vertebra in vertebrae if vertebra.reason)
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
    right, front, head = ((float(r), float(a), float(s)) for r, a, s in centerline.patient_axes)
    return ReportedCenterline(points, tuple(centerline.confidence.tolist()), (right, front, head))
