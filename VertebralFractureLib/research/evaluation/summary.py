"""One set of case results as figures and as Markdown tables; every figure says what it rests on: scans and patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from VertebralFractureLib.progress import STAGES
from VertebralFractureLib.research.datasets import Source
from VertebralFractureLib.research.evaluation.compare import Comparison
from VertebralFractureLib.research.evaluation.judged import judged_scans
from VertebralFractureLib.research.evaluation.metrics import Estimate, proportion_by_patient
from VertebralFractureLib.research.evaluation.performance import estimate_by_patient, scan_auc, vertebra_auc
from VertebralFractureLib.research.evaluation.run_cases import CaseResult
from VertebralFractureLib.thresholds import SCORING

_CASE_HEADER = (
    "| scan | spacing mm | weights | centerline mean / p95 mm | covered | vertebrae found | extra | levels right | "
    "shift | center mm | height mm | false alarms | outcome |"
)
_LEAST_FRACTURED = 5
_NOT_MEASURED = "not measured; the reference has none, or the program's own."
_TIME_HEADER = "| scan | " + " | ".join(STAGES) + " | whole command | peak MB |"


def set_report(results: Sequence[CaseResult]) -> list[str]:
    """Markdown of one set: its figures, then a table of the cases and one of the time and memory they took."""
    lines = summary_lines(results)
    fractured = sum(any(vertebra.grade for vertebra in result.truth.vertebrae) for result in results)
    if fractured >= _LEAST_FRACTURED:
        lines += accuracy_lines(results)
    else:
        lines.append(f"- Scans with a fracture: {fractured}, too few for an area under a curve.")
    return [*lines, "", *case_table(results), "", *time_table(results)]


def case_record(result: CaseResult) -> dict[str, object]:
    """Plain data of one case, for reading by a program."""
    return {
        "identifier": result.case.identifier,
        "patient": result.case.patient,
        "exit_code": result.exit_code,
        "message": result.message,
        "wall_s": round(result.wall_s, 3),
        "peak_memory_mb": result.peak_memory_mb,
        "weights_sha256": {} if result.report is None else dict(result.report.software.weights_sha256),
        "timings_s": {} if result.report is None else dict(result.report.timings_s),
        "comparison": None if result.comparison is None else _comparison_record(result.comparison),
    }


def _comparison_record(comparison: Comparison) -> dict[str, object]:
    return {
        "centerline": None if comparison.centerline is None else asdict(comparison.centerline),
        "level_shift": comparison.level_shift,
        "levels_named": comparison.levels_named,
        "levels_right": comparison.levels_right,
        "false_alarms": comparison.false_alarms,
        "extra": [vertebra.label for vertebra in comparison.extra],
        "pairs": [
            {
                "level": pair.truth.level,
                "grade": pair.truth.grade,
                "found": None
                if pair.found is None
                else {
                    "label": pair.found.label,
                    "status": pair.found.status,
                    "fracture_probability": pair.found.fracture_probability,
                    "grade": pair.found.grade,
                    "distance_mm": pair.distance_mm,
                },
            }
            for pair in comparison.pairs
        ],
    }


def case_table(results: Sequence[CaseResult]) -> list[str]:
    """Markdown: one row per scan; failures are rows too, with the reason."""
    lines = [_CASE_HEADER, "|" + "---|" * 13]
    return lines + [_case_row(result) for result in results]


def time_table(results: Sequence[CaseResult]) -> list[str]:
    """Markdown: seconds per stage, of the whole command from start to exit, and its peak memory."""
    lines = [_TIME_HEADER, "|" + "---|" * (len(STAGES) + 3)]
    for result in results:
        timings = result.report.timings_s if result.report is not None else {}
        stages = " | ".join(f"{timings.get(stage, 0.0):.1f}" for stage in STAGES)
        peak = "-" if result.peak_memory_mb is None else f"{result.peak_memory_mb:.0f}"
        lines.append(f"| {result.case.identifier} | {stages} | {result.wall_s:.1f} | {peak} |")
    return lines


def _case_row(result: CaseResult) -> str:
    report, comparison, case = result.report, result.comparison, result.case
    weights = "shipped" if case.weights_folder is None else case.weights_folder.name
    if report is None or comparison is None:
        return f"| {case.identifier} | - | {weights} " + "| - " * 9 + f"| refused: {result.message} |"
    error = comparison.centerline
    pairs = comparison.pairs
    found = [pair for pair in pairs if pair.found is not None]
    distances = [pair.distance_mm for pair in found if pair.distance_mm is not None]
    heights = height_errors_mm([result])
    cells = [
        case.identifier,
        " x ".join(f"{value:.2f}" for value in report.input.spacing_mm),
        weights,
        "-" if error is None else f"{error.mean_mm:.2f} / {error.p95_mm:.2f}",
        "-" if error is None else f"{error.coverage:.1%}",
        f"{len(found)} of {len(pairs)}",
        str(len(comparison.extra)),
        f"{comparison.levels_right} of {comparison.levels_named}",
        "-" if comparison.level_shift is None else f"{comparison.level_shift:+d}",
        f"{np.median(distances):.1f}" if distances else "-",
        f"{np.mean(np.abs(heights)):.1f} (n = {len(heights)})" if heights else "-",
        f"{len(comparison.false_alarms)} {' '.join(comparison.false_alarms)}".strip(),
        report.status.replace("_", " ") + (f": {report.reason}" if report.reason else ""),
    ]
    return "| " + " | ".join(cells) + " |"


def height_errors_mm(results: Sequence[CaseResult]) -> list[float]:
    """Found minus true height, mm, over every height that both sides give and the program did not measure for both."""
    errors: list[float] = []
    for result in results:
        for pair in result.comparison.pairs if result.comparison is not None else ():
            if pair.found is None or pair.found.heights_mm is None or pair.truth.heights_by is Source.PROGRAM:
                continue
            found = pair.found.heights_mm
            measured = (found.anterior, found.middle, found.posterior)
            errors += [m - t for m, t in zip(measured, pair.truth.heights_mm, strict=True) if t is not None]
    return errors


def summary_lines(results: Sequence[CaseResult]) -> list[str]:
    """The set's figures as a Markdown list."""
    compared = [result for result in results if result.comparison is not None]
    comparisons = [result.comparison for result in compared if result.comparison is not None]
    given = [
        (pair, result.case.patient)
        for result, comparison in zip(compared, comparisons, strict=True)
        for pair in comparison.pairs
        if pair.truth.center_by is not Source.PROGRAM
    ]
    pairs, owners = [pair for pair, _ in given], [patient for _, patient in given]
    found = proportion_by_patient([pair.found is not None for pair in pairs], owners)
    extra = sum(len(c.extra) for c in comparisons)
    lines_with_error = [c.centerline for c in comparisons if c.centerline is not None]
    named, right = sum(c.levels_named for c in comparisons), sum(c.levels_right for c in comparisons)
    shifted = sum(1 for c in comparisons if c.level_shift not in (None, 0))
    unnamed = sum(1 for c in comparisons if c.level_shift is None)
    alarms = sum(len(c.false_alarms) for c in comparisons)
    heights = np.abs(height_errors_mm(compared))
    ungraded = sum(len(c.called_ungraded) for c in comparisons)
    evaluable = sum(r.report is not None and r.report.status == "evaluable" for r in results)
    patients = len({result.case.patient for result in results})
    lines = [
        f"- {len(results)} scans of {patients} patients; evaluable: {evaluable}.",
        f"- Complete vertebrae found: {found.hits} of {found.count} in {found.patients} patients "
        f"({_percent(found.hits, found.count)}, {found.low:.1%} to {found.high:.1%}); "
        f"scored where none is annotated: {extra}.",
        f"- Levels: {right} of {named} labeled vertebrae right ({_percent(right, named)}); scans shifted: {shifted}, "
        f"scans left unlabeled: {unnamed}.",
        f"- Heights: mean absolute difference {heights.mean():.2f} mm over {len(heights)} heights."
        if len(heights)
        else f"- Heights: {_NOT_MEASURED}",
        f"- False alarms: {alarms} in {len(compared)} scans ({alarms / max(len(compared), 1):.2f} a scan) on vertebrae "
        f"graded normal or where none is annotated; {ungraded} more of unknown grade were called.",
    ]
    if not pairs:
        lines[1] = f"- Complete vertebrae found: {_NOT_MEASURED} Scored where none is annotated: {extra}."
    if not named and any(v.level_by is Source.PROGRAM for r in results for v in r.truth.vertebrae):
        lines[2] = f"- Levels: {_NOT_MEASURED}"
    if comparisons and not lines_with_error:
        lines.insert(1, f"- Centerline: {_NOT_MEASURED}")
    if lines_with_error:
        means = [error.mean_mm for error in lines_with_error]
        worst = [error.p95_mm for error in lines_with_error]
        covered = [error.coverage for error in lines_with_error]
        lines.insert(
            1,
            f"- Centerline: mean over scans {np.mean(means):.2f} mm (worst scan {max(means):.2f}), 95th percentile "
            f"{np.mean(worst):.2f} mm (worst {max(worst):.2f}), covered {np.mean(covered):.1%} "
            f"(worst {min(covered):.1%}).",
        )
    return lines


def accuracy_lines(results: Sequence[CaseResult]) -> list[str]:
    """AUC of scans and of vertebrae that were answered, and of the fractures of each grade how many were called.

    Fractures without an answer count as missed, those of refused scans as well. Every interval is by patient.
    """
    scans = judged_scans(results)
    answered = [scan for scan in scans if scan.probability is not None]
    rows = [v for scan in scans for v in scan.vertebrae if v.probability is not None]
    fractured, fractured_scans = sum(v.truth_grade > 0 for v in rows), sum(scan.is_fractured for scan in answered)
    lines = [
        f"- Scan AUC: {_in_words(estimate_by_patient(answered, scan_auc))}; {fractured_scans} of them with a fracture.",
        f"- Vertebra AUC: {_in_words(estimate_by_patient(answered, vertebra_auc))}; {fractured} of {len(rows)} "
        "vertebrae fractured.",
    ]
    for grade in (1, 2, 3):
        of_grade = [(v.probability, scan.patient) for scan in scans for v in scan.vertebrae if v.truth_grade == grade]
        called = [answer is not None and answer >= SCORING.decision_threshold for answer, _ in of_grade]
        caught = proportion_by_patient(called, [patient for _, patient in of_grade])
        lines.append(
            f"- Suspected of grade {grade}: {caught.hits} of {caught.count} in {caught.patients} patients "
            f"({caught.low:.0%} to {caught.high:.0%})."
        )
    return lines


def _in_words(estimate: Estimate) -> str:
    return (
        f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f}, n = {estimate.patients} patients, "
        f"{estimate.samples} scans)"
    )


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
