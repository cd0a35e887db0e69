"""Everything that a paper reports of one set, as plain data, and as tables for the page and the Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from VertebralFractureLib.research.evaluation.agreement import (
    PARTS,
    failures,
    grade_agreement,
    height_agreement,
    level_agreement,
)
from VertebralFractureLib.research.evaluation.characteristics import groups_by_characteristic
from VertebralFractureLib.research.evaluation.endpoints import REPEATS, Chosen, all_endpoints, endpoint_figures, rows_of
from VertebralFractureLib.research.evaluation.flow import flow_of
from VertebralFractureLib.research.evaluation.judged import JudgedScan
from VertebralFractureLib.research.evaluation.paired import compare_answers

_GROUP_REPEATS = 200


@dataclass(frozen=True)
class Table:
    """A titled table; ``note`` says what its figures are of."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Against:
    """Another answer on the same scans: its name, its scans in the same order, and the threshold at which it calls."""

    name: str
    scans: Sequence[JudgedScan]
    threshold: float


def study_figures(
    every: Sequence[JudgedScan], chosen: Chosen, against: Against | None = None, repeats: int = REPEATS
) -> dict[str, Any]:
    """The figures of a set, nan as None.

    Args:
        every: all scans, those without a known grade included.
        chosen: operating points.
        against: what the program is compared with.
        repeats: draws of patients for each bootstrap.
    """
    scans = [scan for scan in every if scan.vertebrae]
    content: dict[str, Any] = {
        "flow": asdict(flow_of(every)),
        "seen_in_training": [scan.identifier for scan in every if scan.seen_by],
        "endpoints": all_endpoints(scans, chosen, repeats),
        "grades": grade_agreement(scans, repeats),
        "heights_mm": height_agreement(scans, repeats),
        "levels": level_agreement(scans),
        "failures": failures(scans),
        "characteristics": {
            column: {
                name: endpoint_figures(rows_of(group, "vertebrae", 1), Chosen(chosen.threshold, (), ()), _GROUP_REPEATS)
                for name, group in groups.items()
            }
            for column, groups in groups_by_characteristic(scans).items()
        },
    }
    if against is not None:
        others = [scan for scan in against.scans if scan.vertebrae]
        thresholds = (chosen.threshold, against.threshold)
        content["against"] = {"name": against.name, **compare_answers(scans, others, thresholds, repeats)}
    return content


def study_tables(study: Mapping[str, Any]) -> list[Table]:
    """The tables of ``study_figures``."""
    tables = [_flow_table(study["flow"]), _endpoint_table(study), _point_table(study), _calibration_table(study)]
    tables += [table for make in (_grade_table, _height_table, _level_table) if (table := make(study)) is not None]
    tables.append(_failure_table(study["failures"]))
    tables += _characteristic_tables(study)
    if "against" in study:
        tables.append(_against_table(study["against"]))
    return tables


def _flow_table(flow: Mapping[str, Any]) -> Table:
    rows = [
        ("scans given", flow["scans"]),
        ("left out at import", flow["left_out"]),
        ("refused by the program", flow["refused"]),
        ("not evaluable", flow["not_evaluable"]),
        ("answered, without a known grade", flow["without_grades"]),
        ("scans analyzed (patients)", f"{flow['analyzed']} ({flow['patients']})"),
        ("vertebrae of the reference", flow["vertebrae"]),
        ("cut by the field of view", flow["truncated"]),
        ("of unknown grade", flow["ungraded"]),
        ("graded (fractured): intention to diagnose", f"{flow['graded']} ({flow['graded_fractured']})"),
        *((f"without an answer: {reason}", f"{n} ({broken})") for reason, (n, broken) in flow["lost"].items()),
        ("answered (fractured): evaluable", f"{flow['answered']} ({flow['answered_fractured']})"),
    ]
    return Table("Flow", ("what", "count"), tuple((name, str(value)) for name, value in rows))


def _endpoint_table(study: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            unit,
            endpoint,
            f"{found['units']} ({found['with_endpoint']})",
            f"{found['answered']} ({found['answered_with_endpoint']})",
            str(found["patients"]),
            told(found["auc"]),
            told(found.get("auc_bootstrap")),
        )
        for unit, endpoint, found in _each(study)
    )
    head = ("unit", "endpoint", "all (with)", "answered (with)", "patients", "AUC (95 %)", "AUC, bootstrap (95 %)")
    note = (
        "Areas of what was answered. Intervals are by patient: DeLong's variance in clusters (Obuchowski 1997), "
        "and a percentile bootstrap; of fewer than 10 patients, or of a perfect figure, no interval is told. For grade "
        "2 or 3, grade 1 counts as negative."
    )
    return Table("Areas under the ROC curve", head, rows, note)


def _point_table(study: Mapping[str, Any]) -> Table:
    rows = []
    for unit, endpoint, found in _each(study):
        for name, point in found["operating_points"].items():
            cells = [told(point[key]) for key in _POINT_KEYS]
            rows.append((unit, endpoint, name, _plain(point["threshold"]), *cells))
        if all_of := found.get("intention_to_diagnose"):
            cells = [told(all_of["sensitivity"]), told(all_of["specificity"]), "", ""]
            rows.append((unit, endpoint, "same threshold, by intention to diagnose", "", *cells))
    head = ("unit", "endpoint", "operating point", "threshold", "sensitivity", "specificity", "PPV", "NPV")
    note = (
        "Thresholds for a chosen specificity or sensitivity are found on these very scans and somewhat too good. By "
        "intention to diagnose, what was not answered counts as wrong. Wilson's intervals at the size that the "
        "patients are worth."
    )
    return Table("Operating points", head, tuple(rows), note)


_POINT_KEYS = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")


def _calibration_table(study: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            unit,
            endpoint,
            told(c["slope"]),
            told(c["intercept"]),
            told(c["brier"]),
            _plain(c["brier_of_prevalence"]),
            f"{_plain(c['error'])} ({_plain(c['error_by_chance'])})",
            f"{_plain(c['mean_probability'])} / {_plain(c['prevalence'])}",
        )
        for unit, endpoint, found in _each(study)
        if (c := found["calibration"]) is not None
    )
    head = (
        "unit", "endpoint", "slope (1)", "intercept (0)", "Brier", "Brier of the prevalence",
        "calibration error (by chance)", "mean probability / prevalence",
    )  # fmt: skip
    note = "Slope of the logistic regression of the truth on the logit; intercept with the slope held at 1."
    return Table("Calibration", head, rows, note)


def _grade_table(study: Mapping[str, Any]) -> Table | None:
    found = study["grades"]
    if not found["vertebrae"]:
        return None
    rows = tuple((f"G{grade}", *(str(cell) for cell in row)) for grade, row in enumerate(found["table"]))
    note = (
        f"{found['vertebrae']} vertebrae of {found['patients']} patients that both graded. Weighted kappa: quadratic "
        f"{told(found['kappa_quadratic'])}, linear {told(found['kappa_linear'])}; same grade {told(found['same'])}."
    )
    return Table("Grades: true (rows) against measured", ("", "G0", "G1", "G2", "G3"), rows, note)


def _height_table(study: Mapping[str, Any]) -> Table | None:
    found = study["heights_mm"]
    rows = tuple(
        (
            part,
            f"{one['heights']} ({one['patients']})",
            told(one["bias_mm"], 2),
            _plain(one["sd_mm"], 2),
            told(one["lower_limit_mm"], 2),
            told(one["upper_limit_mm"], 2),
            _plain(one["mean_absolute_mm"], 2),
            told(one["within_2_mm"]),
        )
        for part in (*PARTS, "all")
        if (one := found.get(part)) is not None
    )
    if not rows:
        return Table("Heights", ("",), (("not measured: the reference has none, or the program's own",),))
    head = (
        "height", "n (patients)", "bias mm", "SD mm", "lower limit mm", "upper limit mm", "mean absolute mm",
        "within 2 mm",
    )  # fmt: skip
    return Table("Heights (Bland and Altman): found minus true", head, rows)


def _level_table(study: Mapping[str, Any]) -> Table | None:
    found = study["levels"]
    if not found:
        return Table("Levels", ("",), (("not measured: the reference has none, or the program's own",),))
    rows = tuple((unit, f"{one['hits']} of {one['count']}", told(one)) for unit, one in found.items())
    return Table("Levels: named as in the reference", ("unit", "right", "fraction (95 %)"), rows)


def _failure_table(found: Mapping[str, Mapping[str, int]]) -> Table:
    rows = [
        (unit, reason, str(count), str(found[f"fractured_{unit}"].get(reason, 0)))
        for unit in ("scans", "vertebrae")
        for reason, count in found[unit].items()
    ]
    return Table("Without an answer, by reason", ("unit", "reason", "count", "fractured"), tuple(rows))


def _characteristic_tables(study: Mapping[str, Any]) -> list[Table]:
    tables = []
    for column, groups in study["characteristics"].items():
        rows = []
        for name, found in groups.items():
            point = found["operating_points"].get(next(iter(found["operating_points"]), ""), {})
            rows.append(
                (
                    name,
                    str(found["patients"]),
                    f"{found['units']} ({found['with_endpoint']})",
                    told(found["auc"]),
                    told(point.get("sensitivity")),
                    told(point.get("specificity")),
                )
            )
        head = (column, "patients", "vertebrae (fractured)", "AUC (95 %)", "sensitivity", "specificity")
        tables.append(Table(f"By {column}", head, tuple(rows), "Vertebrae, fractures of any grade, what was answered."))
    return tables


def _against_table(against: Mapping[str, Any]) -> Table:
    rows = []
    for unit, endpoints in against.items():
        for endpoint, found in endpoints.items() if unit != "name" else ():
            for figure in ("auc", "sensitivity", "specificity"):
                if (one := found.get(figure)) is not None:
                    p = one.get("p_delong")
                    rows.append(
                        (
                            unit,
                            endpoint,
                            figure,
                            str(found["both_answered"]),
                            _plain(one["first"]),
                            _plain(one["second"]),
                            told(one.get("difference")),
                            told(one["difference_bootstrap"]),
                            "" if figure != "auc" else _plain(p, 4),
                        )
                    )
    head = (
        "unit", "endpoint", "figure", "both answered", "program", against["name"], "difference (DeLong)",
        "difference (paired bootstrap)", "p (DeLong)",
    )  # fmt: skip
    return Table(f"Against {against['name']}", head, tuple(rows), "Difference: the other minus the program.")


def _each(study: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (unit, endpoint, found)
        for unit, endpoints in study["endpoints"].items()
        for endpoint, found in endpoints.items()
    ]


def told(estimate: Mapping[str, float | None] | None, digits: int = 3) -> str:
    """A value with its interval in brackets; a dash for what cannot be said."""
    if estimate is None or estimate.get("value") is None:
        return "-"
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    if low is None or high is None:
        return f"{_plain(value, digits)} (interval not determined)"
    return f"{_plain(value, digits)} ({_plain(low, digits)} to {_plain(high, digits)})"


def _plain(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def as_markdown(tables: Sequence[Table]) -> list[str]:
    """The tables as lines of Markdown."""
    lines: list[str] = []
    for table in tables:
        lines += [f"### {table.title}", "", *([table.note, ""] if table.note else [])]
        if table.rows:
            lines += [_row(table.head), "|" + "---|" * len(table.head), *(_row(row) for row in table.rows), ""]
        else:
            lines += ["none", ""]
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
