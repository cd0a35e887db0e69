"""The flow of scans and vertebrae through a study, as STARD 2015 draws it, and the counts that every table rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from VertebralFractureLib.research.datasets.import_dataset import ImportedScan
from VertebralFractureLib.research.datasets.reference_set import patient_of_scan
from VertebralFractureLib.research.evaluation.judged import JudgedScan, JudgedVertebra, Outcome

LEFT_OUT = "left out at import"


@dataclass(frozen=True)
class Flow:
    """Counts of scans (and of those with a known fracture) and of vertebrae (and of fractured ones), stage by stage.

    ``lost`` names where graded vertebrae went without an answer, by reason.
    """

    scans: int
    left_out: int
    refused: int
    not_evaluable: int
    without_grades: int
    analyzed: int
    analyzed_fractured: int
    patients: int
    vertebrae: int
    truncated: int
    ungraded: int
    graded: int
    graded_fractured: int
    answered: int
    answered_fractured: int
    lost: dict[str, tuple[int, int]]

    def scan_boxes(self) -> list[str]:
        """The boxes of the scans' side, from top to bottom."""
        return [
            f"Scans given: {self.scans}",
            f"Left out at import: {self.left_out}\nRefused by the program: {self.refused}\n"
            f"Not evaluable: {self.not_evaluable}\nWithout a known grade: {self.without_grades}",
            f"Scans analyzed: {self.analyzed} of {self.patients} patients\nwith a fracture: {self.analyzed_fractured}",
        ]

    def vertebra_boxes(self) -> list[str]:
        """The boxes of the vertebrae's side, from top to bottom."""
        lost = "\n".join(
            f"{reason}: {count} ({fractured} fractured)" for reason, (count, fractured) in self.lost.items()
        )
        return [
            f"Vertebrae of the reference: {self.vertebrae}",
            f"Cut by the field of view: {self.truncated}\nOf unknown grade: {self.ungraded}",
            f"Graded vertebrae: {self.graded} ({self.graded_fractured} fractured)\n= intention to diagnose",
            lost or "none without an answer",
            f"Answered vertebrae: {self.answered} ({self.answered_fractured} fractured)\n= evaluable",
        ]


def left_out_as_judged(left_out: Sequence[ImportedScan], patients: dict[str, str]) -> list[JudgedScan]:
    """Scans that the import left out, as refused ones: their graded rows count by intention to diagnose."""
    result = []
    for scan in left_out:
        rows = tuple(
            JudgedVertebra(grade, None, level, None, reason=LEFT_OUT)
            for level, grade in scan.unplaced.items()
            if level != "*"
        )
        patient = patients.get(scan.identifier) or patient_of_scan(scan.identifier)
        reason = f"{LEFT_OUT}: {scan.reason}"
        result.append(JudgedScan(scan.identifier, patient, None, rows, None, outcome=Outcome.REFUSED, reason=reason))
    return result


def flow_of(every: Sequence[JudgedScan]) -> Flow:
    """The flow of all scans, those without a known grade included."""
    graded = [(v, scan) for scan in every for v in scan.vertebrae]
    answered = [v for v, _ in graded if v.probability is not None]
    lost: dict[str, tuple[int, int]] = {}
    for vertebra, _ in graded:
        if vertebra.probability is None:
            count, fractured = lost.get(vertebra.reason, (0, 0))
            lost[vertebra.reason] = (count + 1, fractured + (vertebra.truth_grade > 0))
    left_out = [scan for scan in every if scan.reason.startswith(LEFT_OUT)]
    analyzed = [scan for scan in every if scan.vertebrae and scan.outcome is Outcome.ANSWERED]
    return Flow(
        scans=len(every),
        left_out=len(left_out),
        refused=sum(scan.outcome is Outcome.REFUSED for scan in every) - len(left_out),
        not_evaluable=sum(scan.outcome is Outcome.NOT_EVALUABLE for scan in every),
        without_grades=sum(not scan.vertebrae and scan.outcome is Outcome.ANSWERED for scan in every),
        analyzed=len(analyzed),
        analyzed_fractured=sum(scan.is_fractured for scan in analyzed),
        patients=len({scan.patient for scan in analyzed}),
        vertebrae=len(graded) + sum(scan.truncated + scan.ungraded for scan in every),
        truncated=sum(scan.truncated for scan in every),
        ungraded=sum(scan.ungraded for scan in every),
        graded=len(graded),
        graded_fractured=sum(v.truth_grade > 0 for v, _ in graded),
        answered=len(answered),
        answered_fractured=sum(v.truth_grade > 0 for v in answered),
        lost=dict(sorted(lost.items(), key=lambda item: -item[1][0])),
    )
