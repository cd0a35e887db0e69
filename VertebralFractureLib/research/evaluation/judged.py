"""What a program said of each vertebra and scan beside the truth: the plain rows that every figure is computed from.

A vertebra that was not found or not judged keeps its row without a probability: it can never be called, so a fracture
that the program did not score counts as missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from VertebralFractureLib.research.evaluation.run_cases import CaseResult


@dataclass(frozen=True)
class JudgedVertebra:
    """One vertebra of known grade.

    Attributes:
        truth_grade: Genant 0 to 3 of the reference.
        truth_shape: "wedge", "biconcave", "crush", or None.
        level: of the reference, or None.
        probability, uncertainty, grade: what was answered; None where nothing was.
        trabecular_hu: as measured by the program.
    """

    truth_grade: int
    truth_shape: str | None
    level: str | None
    probability: float | None
    uncertainty: float | None = None
    grade: int | None = None
    trabecular_hu: float | None = None


@dataclass(frozen=True)
class JudgedScan:
    """One scan with a known truth.

    Attributes:
        probability: of a fracture anywhere; None where the scan was not evaluable.
        slice_mm: the largest spacing of its grid.
        noise_hu: standard deviation in the spinal canal; None where it was not measured.
        vessel_hu: of the vessels in front of the spine, by which contrast medium shows; None where it was not measured.
        extra_probabilities: of vertebrae that were scored where the reference has none.
    """

    identifier: str
    patient: str
    probability: float | None
    vertebrae: tuple[JudgedVertebra, ...]
    slice_mm: float
    noise_hu: float | None = None
    vessel_hu: float | None = None
    extra_probabilities: tuple[float, ...] = ()

    @property
    def is_fractured(self) -> bool:
        return any(vertebra.truth_grade > 0 for vertebra in self.vertebrae)


def judged_scans(results: Sequence[CaseResult]) -> list[JudgedScan]:
    """The results that can be judged: those whose input was not refused, and that hold a vertebra of known grade."""
    return [scan for result in results if (scan := _judged(result)) is not None]


def _judged(result: CaseResult) -> JudgedScan | None:
    report, comparison = result.report, result.comparison
    if report is None or comparison is None:
        return None
    vertebrae = []
    for pair in comparison.pairs:
        if pair.truth.grade is not None:
            found = pair.found
            vertebrae.append(
                JudgedVertebra(
                    pair.truth.grade,
                    pair.truth.shape,
                    pair.truth.level,
                    found.fracture_probability if found else None,
                    found.uncertainty if found else None,
                    found.grade if found else None,
                    found.trabecular_hu if found else None,
                )
            )
    extra = tuple(v.fracture_probability for v in comparison.extra if v.fracture_probability is not None)
    if not vertebrae:
        return None
    return JudgedScan(
        result.case.identifier,
        result.case.patient,
        report.scan.fracture_probability,
        tuple(vertebrae),
        max(report.input.spacing_mm),
        result.noise_hu,
        result.vessel_hu,
        extra,
    )
