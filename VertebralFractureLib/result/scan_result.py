"""What the vertebrae say of the whole scan: its probability, the spinal deformity index, the suspected vertebrae.

Computed only here: for a new report, for other display criteria and after a correction.
"""

from __future__ import annotations

from collections.abc import Sequence

from VertebralFractureLib.result.report import BoneDensity, ScanResult, is_suspected
from VertebralFractureLib.vertebrae.grading import spinal_deformity_index
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra


def summarize_scan(
    vertebrae: Sequence[Vertebra], threshold: float, probability: float | None, density: BoneDensity | None
) -> ScanResult:
    """The scan's result from its vertebrae, caudal to cranial.

    Args:
        threshold: probability from which a vertebra is suspected.
        probability: of the scan, see ``scan_probability``.
    """
    suspected = [vertebra for vertebra in vertebrae if is_suspected(vertebra, threshold)]
    return ScanResult(
        fracture_probability=probability,
        sdi=spinal_deformity_index(suspected) or 0,
        fractured_levels=tuple(vertebra.label for vertebra in reversed(suspected)),
        decision_threshold=threshold,
        bone_density=density,
    )


def scan_probability(vertebrae: Sequence[Vertebra], series: float | None) -> float | None:
    """The larger of the series' own probability and that of the most suspicious vertebra; None where none is scored.

    So a scan is never called less suspicious than a part of it.

    Args:
        series: from the sequence model over the whole scan; None where it holds no longer.
    """
    known = [v.fracture_probability or 0.0 for v in vertebrae if v.status == Status.SCORED]
    if not known:
        return None
    return max(known) if series is None else max(series, *known)
