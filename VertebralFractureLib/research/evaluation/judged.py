"""What a program said of each vertebra and scan beside the truth: the plain rows that every figure is computed from.

One definition serves every table. A vertebra of unknown grade is in none. A graded vertebra that was not found or not
judged keeps its row without a probability: figures of the evaluable leave it out, those by intention to diagnose count
it as wrong, a fracture as missed and a normal one as not spared (Schuetz et al., BMJ 2012;345:e6717). The same goes
for every vertebra of a scan that was refused or could not be judged. What was found where the truth has nothing is no
normal vertebra; it can only raise a false alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from VertebralFractureLib.research.datasets import ReferenceVertebra, Source
from VertebralFractureLib.research.evaluation.compare import VertebraPair
from VertebralFractureLib.research.evaluation.run_cases import CaseResult
from VertebralFractureLib.vertebrae import Vertebra

NOT_FOUND, SCAN_NOT_EVALUABLE, SCAN_REFUSED = "not found", "scan not evaluable", "scan refused"
Trio = tuple[float | None, float | None, float | None]


class Outcome(str, Enum):
    """What became of a scan."""

    ANSWERED = "answered"
    NOT_EVALUABLE = "not evaluable"
    REFUSED = "refused"


@dataclass(frozen=True)
class JudgedVertebra:
    """One vertebra of known grade.

    Attributes:
        truth_grade: Genant 0 to 3 of the reference.
        truth_shape: "wedge", "biconcave", "crush", or None.
        level: of the reference, or None.
        probability, uncertainty, grade: what was answered; None where nothing was.
        trabecular_hu: as measured by the program.
        severe_probability: of grade 2 or 3; None where it was not answered.
        reason: why there is no probability, in words; empty where there is one.
        found_level: as the program named it; None where it did not, or the reference's name is the program's own.
        true_heights_mm, found_heights_mm: anterior, middle, posterior; None where one was not measured, or the
            reference's are the program's own.
    """

    truth_grade: int
    truth_shape: str | None
    level: str | None
    probability: float | None
    uncertainty: float | None = None
    grade: int | None = None
    trabecular_hu: float | None = None
    severe_probability: float | None = None
    reason: str = ""
    found_level: str | None = None
    true_heights_mm: Trio = (None, None, None)
    found_heights_mm: Trio = (None, None, None)


@dataclass(frozen=True)
class JudgedScan:
    """One scan with a known truth.

    Attributes:
        probability: of a fracture anywhere; None where the scan was not evaluable.
        slice_mm: the largest spacing of its grid; None where the program refused to read it.
        noise_hu: standard deviation in the spinal canal; None where it was not measured.
        vessel_hu: of the vessels in front of the spine, by which contrast medium shows; None where it was not measured.
        extra_probabilities: of vertebrae that were scored where the reference has none.
        outcome, reason: whether the scan was answered, and why not.
        ungraded: complete vertebrae of the reference whose grade is not known.
        truncated: graded vertebrae that the field of view cuts; they are in no figure.
        called_ungraded: how many of unknown grade were called.
        characteristics: of the patient or the scan, by name, from a table or the scan's own header.
        seen_by: weights that were trained on this scan or its patient.
    """

    identifier: str
    patient: str
    probability: float | None
    vertebrae: tuple[JudgedVertebra, ...]
    slice_mm: float | None
    noise_hu: float | None = None
    vessel_hu: float | None = None
    extra_probabilities: tuple[float, ...] = ()
    outcome: Outcome = Outcome.ANSWERED
    reason: str = ""
    ungraded: int = 0
    truncated: int = 0
    called_ungraded: int = 0
    characteristics: Mapping[str, str] = field(default_factory=dict)
    seen_by: tuple[str, ...] = ()

    @property
    def is_fractured(self) -> bool:
        return any(vertebra.truth_grade > 0 for vertebra in self.vertebrae)


def judged_scans(results: Sequence[CaseResult]) -> list[JudgedScan]:
    """The results that hold a vertebra of known grade, whatever became of the scan."""
    return [scan for result in results if (scan := judge(result)).vertebrae]


def judge(result: CaseResult) -> JudgedScan:
    """One result; ``vertebrae`` is empty where no grade of the scan is known."""
    report, comparison = result.report, result.comparison
    truth = result.truth
    rows = [v for v in truth.vertebrae if v.level != "S1"]
    truncated = sum(v.grade is not None and not v.complete for v in rows)
    ungraded = sum(v.grade is None and v.complete for v in rows)
    if report is None or comparison is None:
        vertebrae = [_unanswered(v, SCAN_REFUSED) for v in rows if v.complete and v.grade is not None]
        vertebrae += [
            JudgedVertebra(grade, None, level, None, reason=SCAN_REFUSED)
            for level, grade in truth.unplaced_grades.items()
        ]
        return JudgedScan(
            result.case.identifier,
            result.case.patient,
            None,
            tuple(vertebrae),
            None,
            outcome=Outcome.REFUSED,
            reason=result.message,
            ungraded=ungraded,
            truncated=truncated,
            characteristics={**truth.acquisition, **result.case.characteristics},
            seen_by=result.case.seen_by,
        )
    is_evaluable = report.status == "evaluable"
    missing = NOT_FOUND if is_evaluable else SCAN_NOT_EVALUABLE
    vertebrae = [_judge_pair(pair, missing) for pair in comparison.pairs if pair.truth.grade is not None]
    vertebrae += [
        _answered(JudgedVertebra(grade, None, level, None, reason=missing), found)
        for (level, grade), found in zip(truth.unplaced_grades.items(), comparison.unplaced, strict=True)
    ]
    extra = tuple(v.fracture_probability for v in comparison.extra if v.fracture_probability is not None)
    return JudgedScan(
        result.case.identifier,
        result.case.patient,
        report.scan.fracture_probability if is_evaluable else None,
        tuple(vertebrae),
        max(report.input.spacing_mm),
        result.noise_hu,
        result.vessel_hu,
        extra,
        Outcome.ANSWERED if is_evaluable else Outcome.NOT_EVALUABLE,
        "" if is_evaluable else report.reason or "",
        ungraded,
        truncated,
        len(comparison.called_ungraded),
        {**truth.acquisition, **result.case.characteristics},
        result.case.seen_by,
    )


def _unanswered(truth: ReferenceVertebra, reason: str) -> JudgedVertebra:
    is_measured = truth.heights_by is not Source.PROGRAM
    return JudgedVertebra(
        truth.grade or 0,
        truth.shape,
        truth.level,
        None,
        reason=reason,
        true_heights_mm=truth.heights_mm if is_measured else (None, None, None),
    )


def _judge_pair(pair: VertebraPair, missing: str) -> JudgedVertebra:
    row = _unanswered(pair.truth, missing)
    level_known = pair.truth.level_by is not Source.PROGRAM
    return _answered(row, pair.found, level_known=level_known)


def _answered(row: JudgedVertebra, found: Vertebra | None, *, level_known: bool = False) -> JudgedVertebra:
    """The row with what was found there."""
    if found is None:
        return row
    heights: Trio = (None, None, None)
    if found.heights_mm is not None:
        heights = (found.heights_mm.anterior, found.heights_mm.middle, found.heights_mm.posterior)
    by_grade = found.grade_probability
    is_scored = found.fracture_probability is not None
    return JudgedVertebra(
        row.truth_grade,
        row.truth_shape,
        row.level,
        found.fracture_probability,
        found.uncertainty,
        found.grade,
        found.trabecular_hu,
        None if by_grade is None or not is_scored else by_grade[2] + by_grade[3],
        "" if is_scored else "not scored" if found.reason is None else found.reason.value.replace("_", " "),
        found.level if level_known else None,
        row.true_heights_mm,
        heights,
    )
