"""The figures of a study as PDF, SVG and PNG fit for print, each with version and weights below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from VertebralFractureLib.atomic_write import atomic_write
from VertebralFractureLib.research.evaluation.endpoints import rows_of
from VertebralFractureLib.research.evaluation.flow import Flow
from VertebralFractureLib.research.evaluation.judged import JudgedScan
from VertebralFractureLib.research.evaluation.metrics import roc
from VertebralFractureLib.research.evaluation.study import told

FORMATS = ("pdf", "svg", "png")
_DPI = 300
_COLUMN_IN = 3.5
"""Width of a journal's column (89 mm)."""
_STYLE = {
    "font.size": 8,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "VertebralFracture",
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LINES = ("-", "--")
_FOOTER_LETTERS = (95, 190)
"""Of a line below a figure of one column, and of two."""
_MOST_ALARMS = 2.0


def write_plots(
    scans: Sequence[JudgedScan],
    study: Mapping[str, Any],
    performance: Mapping[str, Any],
    folder: Path,
    footer: str,
) -> list[str]:
    """Write every figure that the set has data for, each in ``FORMATS``; the names of the figures.

    Args:
        scans: of the set, with a known grade.
        study: their ``study_figures``.
        performance: their ``performance``, which holds the FROC curve.
        folder: to write into.
        footer: a line below each: program, weights, and what must be known of the set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawers: dict[str, Callable[[Axes], bool]] = {
        "roc": lambda axes: _draw_roc(axes, scans, study),
        "froc": lambda axes: _draw_froc(axes, performance),
        "calibration": lambda axes: _draw_calibration(axes, study),
        "confusion": lambda axes: _draw_confusion(axes, study["grades"]),
        "bland-altman": lambda axes: _draw_bland_altman(axes, study["heights_mm"]),
        "flow": lambda axes: _draw_flow(axes, Flow(**study["flow"])),
    }
    written = []
    with rc_context(_STYLE):
        for name, draw in drawers.items():
            size = (2 * _COLUMN_IN, 4.4) if name == "flow" else (_COLUMN_IN, _COLUMN_IN)
            figure = Figure(figsize=size, layout="constrained")
            axes = figure.add_subplot()
            if not draw(axes):
                continue
            figure.supxlabel(fill(footer, _FOOTER_LETTERS[name == "flow"]), fontsize=4.5, color="0.4")
            for ending in FORMATS:
                with atomic_write(folder / f"{name}.{ending}") as partial:
                    figure.savefig(partial, dpi=_DPI, metadata=_METADATA[ending])
            written.append(name)
    return written


_METADATA: Mapping[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "svg": {"Date": None},
    "png": {},
}
"""Without the time, so that the same figures give the same bytes."""


def _draw_roc(axes: Axes, scans: Sequence[JudgedScan], study: Mapping[str, Any]) -> bool:
    is_drawn = False
    for color, unit in (("C0", "vertebrae"), ("C3", "patients")):
        for style, (endpoint, least) in zip(_LINES, (("any grade", 1), ("grade 2 or 3", 2)), strict=True):
            rows = rows_of(scans, unit, least).answered()
            if not rows.truth.any() or rows.truth.all():
                continue
            area = told(study["endpoints"][unit][endpoint]["auc"], 2)
            axes.plot(*roc(rows.score, rows.truth), style, color=color, label=f"{unit}, {endpoint}: {area}")
            is_drawn = True
    axes.plot([0.0, 1.0], [0.0, 1.0], color="0.7", linewidth=0.6)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0.0, 1.0), ylim=(0.0, 1.01))
    if is_drawn:
        axes.legend(loc="lower right", fontsize=5.5, frameon=False, title="AUC (95 %)", title_fontsize=5.5)
    return is_drawn


def _draw_froc(axes: Axes, performance: Mapping[str, Any]) -> bool:
    if not performance["fractured_vertebrae"]:
        return False
    points = np.array(performance["froc"])
    axes.step(points[:, 0], points[:, 1], where="post", color="C0")
    axes.set(
        xlabel="false alarms per scan",
        ylabel="sensitivity (all graded fractures)",
        xlim=(0.0, _MOST_ALARMS),
        ylim=(0.0, 1.01),
    )
    return True


def _draw_calibration(axes: Axes, study: Mapping[str, Any]) -> bool:
    is_drawn = False
    for color, unit in (("C0", "vertebrae"), ("C3", "patients")):
        found = study["endpoints"][unit]["any grade"]["calibration"]
        if found is None:
            continue
        bins = found["reliability"]
        counts = np.array([one["count"] for one in bins], dtype=np.float64)
        axes.plot(
            [one["mean_probability"] for one in bins],
            [one["fraction_true"] for one in bins],
            color=color,
            label=f"{unit}: slope {told(found['slope'], 2)}",
        )
        axes.scatter(
            [one["mean_probability"] for one in bins],
            [one["fraction_true"] for one in bins],
            s=6.0 + 40.0 * counts / counts.max(),
            color=color,
            alpha=0.6,
            linewidths=0.0,
        )
        is_drawn = True
    axes.plot([0.0, 1.0], [0.0, 1.0], color="0.7", linewidth=0.6)
    axes.set(xlabel="predicted probability", ylabel="fraction fractured", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    if is_drawn:
        axes.legend(loc="upper left", fontsize=5.5, frameon=False)
    return is_drawn


def _draw_confusion(axes: Axes, grades: Mapping[str, Any]) -> bool:
    if not grades["vertebrae"]:
        return False
    table = np.array(grades["table"], dtype=np.float64)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), count in np.ndenumerate(table):
        axes.text(column, row, f"{count:.0f}", ha="center", va="center", color="w" if share[row, column] > 0.6 else "k")
    names = [f"G{grade}" for grade in range(len(table))]
    axes.set(xlabel="measured grade", ylabel="true grade", xticks=range(4), yticks=range(4))
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)
    axes.set_title(f"weighted kappa {told(grades['kappa_quadratic'], 2)}", fontsize=7)
    return True


def _draw_bland_altman(axes: Axes, heights: Mapping[str, Any]) -> bool:
    if "all" not in heights:
        return False
    points, whole = np.array(heights["points"]), heights["all"]
    axes.scatter(
        points[:, 0], points[:, 1], s=4.0, alpha=0.5, linewidths=0.0, color="C0", rasterized=len(points) > 2000
    )
    for name, style in (("bias_mm", "-"), ("lower_limit_mm", "--"), ("upper_limit_mm", "--")):
        axes.axhline(whole[name]["value"], linestyle=style, color="C3", linewidth=0.8)
        if whole[name]["low"] is not None:
            axes.axhspan(whole[name]["low"], whole[name]["high"], color="C3", alpha=0.12, linewidth=0.0)
    axes.set(xlabel="mean of both, mm", ylabel="found minus true, mm")
    axes.set_title(f"bias {told(whole['bias_mm'], 2)} mm", fontsize=7)
    return True


def _draw_flow(axes: Axes, flow: Flow) -> bool:
    """Boxes from top to bottom: scans on the left, vertebrae on the right; what leaves stands beside the arrow."""
    axes.set_axis_off()
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    for left, boxes in ((0.02, flow.scan_boxes()), (0.52, flow.vertebra_boxes())):
        main, side = boxes[::2], boxes[1::2]
        step = 0.88 / max(len(main) - 1, 1)
        for index, text in enumerate(main):
            height = 0.94 - index * step
            axes.text(left + 0.1, height, text, ha="center", va="center", fontsize=6, bbox=_BOX)
            if index + 1 < len(main):
                axes.annotate(
                    "",
                    (left + 0.1, height - step + 0.07),
                    (left + 0.1, height - 0.06),
                    arrowprops={"arrowstyle": "->", "lw": 0.6},
                )
                middle = height - 0.5 * step
                axes.plot([left + 0.1, left + 0.18], [middle, middle], color="k", linewidth=0.6)
                axes.text(left + 0.18, middle, side[index], ha="left", va="center", fontsize=5.5, bbox=_BOX)
    return True


_BOX = {"boxstyle": "square,pad=0.5", "facecolor": "white", "edgecolor": "0.3", "linewidth": 0.6}
