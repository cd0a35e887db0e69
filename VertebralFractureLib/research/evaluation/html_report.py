"""``report.html``: what ``performance`` measured, to be read by a person; one file, plots inside, no script."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from VertebralFractureLib import RESEARCH_USE_ONLY, __version__
from VertebralFractureLib.research.evaluation.metrics import format_estimate, format_number
from VertebralFractureLib.research.evaluation.study import Table

_STYLE = (
    "body{font:15px/1.45 sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.6em 0}td,th{border:1px solid #ccc;padding:.25em .6em;text-align:left}"
    "th{background:#f2f2f2}.warn{background:#fff4d6;padding:.6em 1em}.plots svg{max-width:100%;height:auto}"
    "figure{display:inline-block;margin:.5em;width:340px;vertical-align:top}figure img{width:100%}"
)
_CALLED_HEAD = (
    "group",
    "fractured (patients), answered",
    "sensitivity of the answered (95 %, by patient)",
    "by intention to diagnose",
    "normal (patients), answered",
    "specificity of the answered (95 %, by patient)",
    "by intention to diagnose",
)
_MOST_ALARMS = 2.0
"""Where the FROC plot ends: more false alarms a scan than that are of no use."""


def html_report(
    sets: Mapping[str, Mapping[str, Any]],
    pictures: Mapping[str, str],
    studies: Mapping[str, Sequence[Table]] | None = None,
    said: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        sets: title of each set to its ``performance``.
        pictures: scan to the address, relative to the page, of its overview picture; scans without one get none.
        studies: title of each set to the tables of its study, which stand before the rest.
        said: lines of what must be known of all sets, such as the weights.
    """
    tables = studies or {}
    body = "".join(f"<p>{escape(line)}</p>" for line in said)
    body += "".join(_section(title, figures, pictures, tables.get(title, ())) for title, figures in sets.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style>'
        f"<h1>Evaluation of VertebralFracture {escape(__version__)}</h1>"
        f'<p class="warn">{escape(RESEARCH_USE_ONLY)} A figure is worth what the truth of its set is worth: read who '
        f"graded it, and whether its fractures are real, simulated or drawn.</p>{body}</html>\n"
    )


def _section(title: str, figures: Mapping[str, Any], pictures: Mapping[str, str], study: Sequence[Table]) -> str:
    at, calibration = figures["at_threshold"], figures["calibration_error"]
    facts = [
        ["scans (patients)", f"{figures['scans']} ({figures['patients']})"],
        ["scans with a fracture", figures["fractured_scans"]],
        ["scans not evaluable (refused)", f"{figures['not_evaluable_scans']} ({figures['refused_scans']})"],
        ["vertebrae, fractured", f"{figures['vertebrae']}, {figures['fractured_vertebrae']}"],
        ["vertebrae without an answer (fractured)", _unanswered(figures)],
        ["complete vertebrae of unknown grade, in no figure", figures["ungraded_vertebrae"]],
        ["found where the truth has nothing", figures["extra_vertebrae"]],
        ["scan AUC", format_estimate(figures["scan_auc"])],
        ["vertebra AUC", format_estimate(figures["vertebra_auc"])],
        ["false alarms a scan", format_number(at["false_alarms_per_scan"])],
        ["false alarms a scan without fracture", format_number(at["false_alarms_per_unfractured_scan"])],
        *(
            [
                f"calibration error, {who} (of a perfectly calibrated model)",
                f"{format_number(calibration[who])} ({format_number(calibration[f'{who}_by_chance'])})",
            ]
            for who in ("vertebrae", "scans")
        ),
    ]
    groups = {**figures["by_grade"], **figures["by_shape"], **figures["subgroups"]}
    called = {"scans": at["scans"], "vertebrae": at["vertebrae"], **groups}
    points = [[name, format_estimate(value)] for name, value in figures["sensitivity_at_false_alarms"].items()]
    points += [[f"specificity {name}", format_estimate(v)] for name, v in figures["sensitivity_at_specificity"].items()]
    return (
        f"<h2>{escape(title)}</h2>{_table(['what', 'figure'], facts)}"
        f'<div class="plots">{_plots(figures)}</div>{"".join(_study_table(table) for table in study)}'
        f"<h3>At the decision threshold of {figures['threshold']:g}</h3>"
        f"{_table(_CALLED_HEAD, _called_rows(called))}"
        "<h3>Sensitivity at a number of false alarms a scan, and at a specificity</h3>"
        f"{_table(['operating point', 'sensitivity (95 %, by patient)'], points)}"
        "<h3>Grades: true (rows) against measured</h3>"
        f"{_table(['', 'G0', 'G1', 'G2', 'G3', 'not measured'], _confusion_rows(figures['confusion']))}"
        f"{_uncertainty(figures['uncertainty'])}"
        f"<h3>The most confident errors</h3>{_worst(figures['worst'], pictures)}"
    )


def _study_table(table: Table) -> str:
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    content = _table(table.head, table.rows) if table.rows else "<p>none</p>"
    return f"<h3>{escape(table.title)}</h3>{note}{content}"


def _unanswered(figures: Mapping[str, Any]) -> str:
    return f"{figures['unscored_vertebrae']} ({figures['unscored_fractured_vertebrae']})"


def _plots(figures: Mapping[str, Any]) -> str:
    """ROC, FROC and reliability beside each other, as one SVG that matplotlib drew."""
    figure = Figure(figsize=(13.0, 4.4), layout="constrained")
    roc, alarms, reliability = figure.subplots(1, 3)
    for name, key in (("scans", "scan_roc"), ("vertebrae", "vertebra_roc")):
        roc.plot(*_columns(figures[key]), label=name)
    alarms.plot(*_columns(figures["froc"]), label="vertebrae", color="C1")
    for name in ("scans", "vertebrae"):
        bins = figures["reliability"][name]
        means, fractions = _columns([(b["mean_probability"], b["fraction_true"]) for b in bins])
        reliability.plot(means, fractions, marker="o", label=name)
    for axes in (roc, reliability):
        axes.plot([0.0, 1.0], [0.0, 1.0], linestyle="--", color="0.6")
        axes.set_xlim(0.0, 1.0)
    alarms.set_xlim(0.0, _MOST_ALARMS)
    roc.set(title="ROC", xlabel="1 - specificity", ylabel="sensitivity")
    alarms.set(title="FROC", xlabel="false alarms a scan", ylabel="sensitivity")
    reliability.set(title="Reliability", xlabel="probability", ylabel="fraction fractured")
    for axes in (roc, alarms, reliability):
        axes.set_ylim(0.0, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    return _svg(figure)


def _columns(points: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element, the same bytes for the same figure, with its text as text."""
    written = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "VertebralFracture"}):
        figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]


def _called_rows(groups: Mapping[str, Mapping[str, Any]]) -> list[list[object]]:
    return [
        [
            name,
            f"{group['fractured']} ({group['fractured_patients']}), {group['answered_fractured']}",
            _share(group["sensitivity"], group["sensitivity_interval"]),
            _share(all_of["sensitivity"], all_of["sensitivity_interval"]),
            f"{group['normal']} ({group['normal_patients']}), {group['answered_normal']}",
            _share(group["specificity"], group["specificity_interval"]),
            _share(all_of["specificity"], all_of["specificity_interval"]),
        ]
        for name, group in groups.items()
        for all_of in (group["intention_to_diagnose"],)
    ]


def _confusion_rows(table: Sequence[Sequence[int]]) -> list[list[object]]:
    return [[f"G{grade}", *row] for grade, row in enumerate(table)]


def _uncertainty(figures: Mapping[str, Any]) -> str:
    if not figures:
        return ""
    flagged = f"{figures['errors_flagged']} of {figures['flagged']}"
    rest = f"{figures['errors_not_flagged']} of {figures['not_flagged']}"
    return (
        f"<p>Of the tenth of the vertebrae with the highest uncertainty (from {figures['flag_from']:.2f}), {flagged} "
        f"are called wrongly; of the rest {rest}.</p>"
    )


def _worst(rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]) -> str:
    content = [
        [
            row["scan"],
            row["level"] or "?",
            f"G{row['truth_grade']} {row['truth_shape'] or ''}",
            format_number(row["probability"]),
            "-" if row["measured_grade"] is None else f"G{row['measured_grade']}",
            format_number(row["uncertainty"]),
        ]
        for row in rows
    ]
    shown = dict.fromkeys(row["scan"] for row in rows if row["scan"] in pictures)
    figures = "".join(
        f'<figure><img src="{escape(pictures[name])}" alt="overview of {escape(name)}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name in shown
    )
    return _table(["scan", "level", "truth", "probability", "measured", "uncertainty"], content) + figures


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{lines}</table>"


def _share(value: float | None, interval: Sequence[float]) -> str:
    return "-" if value is None else f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
