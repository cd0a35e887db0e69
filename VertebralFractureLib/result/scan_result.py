"""What the vertebrae say of the whole scan: its probability, the spinal deformity index, the suspected vertebrae.

Computed only here: for a new report, for other display criteria and after a correction.
"""

from __future__ import annotations

from collections.abc import Sequence

from VertebralFractureLib.fracture.grade_posterior import sum_grades
from VertebralFractureLib.result.report import BoneDensity, ScanResult, is_suspected
from VertebralFractureLib.vertebrae.grading import spinal_deformity_index
from VertebralFractureLib.vertebrae.levels import SPINAL_DEFORMITY_INDEX_LEVELS
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra


def summarize_scan(
    vertebrae: Sequence[Vertebra],
    threshold: float,
    probability: float | None,
    density: BoneDensity | None,
    network: float | None = None,
) -> ScanResult:
    """The scan's result from its vertebrae, caudal to cranial.

    Args:
        threshold: probability from which a vertebra is suspected.
        probability: of the scan, see ``scan_probability``.
        network: probability of the networks alone over the whole scan.
    """
    suspected = [vertebra for vertebra in vertebrae if is_suspected(vertebra, threshold)]
    index = compute_deformity_index(vertebrae, suspected)
    return ScanResult(
        fracture_probability=probability,
        sdi=index,
        fractured_levels=tuple(vertebra.label for vertebra in reversed(suspected)),
        decision_threshold=threshold,
        bone_density=density,
        sdi_range=None if index is None else find_index_range(vertebrae, index),
        network_probability=network,
    )


def compute_deformity_index(vertebrae: Sequence[Vertebra], suspected: Sequence[Vertebra]) -> int | None:
    """The spinal deformity index of the suspected vertebrae; None where no vertebra from T4 to L4 was graded at all."""
    if spinal_deformity_index([v for v in vertebrae if v.status == Status.SCORED]) is None:
        return None
    return spinal_deformity_index(suspected) or 0


def find_index_range(vertebrae: Sequence[Vertebra], index: int) -> tuple[int, int] | None:
    """Least and highest index that are not improbable; None where a graded vertebra has no probabilities of grades."""
    counted = [
        v
        for v in vertebrae
        if v.status == Status.SCORED and v.level in SPINAL_DEFORMITY_INDEX_LEVELS and v.grade is not None
    ]
    known = [v.grade_probability for v in counted if v.grade_probability is not None]
    if len(known) < len(counted):
        return None
    low, high = sum_grades(known)
    return min(low, index), max(high, index)


def scan_probability(vertebrae: Sequence[Vertebra], series: float | None = None) -> float | None:
    """The probability of the most suspicious vertebra; None where none is scored.

    So a scan is suspected exactly where one of its vertebrae is.

    Args:
        series: of an older report, whose sequence model over the whole scan may have said more.
    """
    known = [v.fracture_probability or 0.0 for v in vertebrae if v.status == Status.SCORED]
    if not known:
        return None
    return max(known) if series is None else max(series, *known)
