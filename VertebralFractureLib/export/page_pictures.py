"""The pictures of the HTML report that are not in the overview: a close-up per vertebra, and the plot along the spine.

The close-up is sampled from the CT in straight space and shows the three height lines with their millimeters; the plot
is drawn as SVG, so that it prints sharply.
"""

from __future__ import annotations

from html import escape

import numpy as np

from VertebralFractureLib.cpr import ReformatFrame
from VertebralFractureLib.export.palette import group_of, probability_color
from VertebralFractureLib.export.picture_canvas import Canvas, Color
from VertebralFractureLib.export.picture_panel import Box, SagittalPanel, fit_panel
from VertebralFractureLib.result.report import SpineReport, is_suspected
from VertebralFractureLib.vertebrae.outline import outline_points, widen_polygon
from VertebralFractureLib.vertebrae.vertebra import Vertebra
from VertebralFractureLib.volume import CTVolume

_SIZE = 560
_ANTERIOR_MM = (-16.0, 58.0)
_LEAST_HALF_MM = 30.0
_BESIDE_EDGE = 2.5
"""Pixels from the outline to its line, so that the endplate itself stays to be seen."""
_LINE: Color = (1.0, 0.86, 0.35)
_TEXT: Color = (1.0, 1.0, 1.0)
_PLOT_WIDTH, _PLOT_HEIGHT = 720, 200
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 12, 12, 40


def draw_vertebra(vertebra: Vertebra, ct: CTVolume, frame: ReformatFrame, threshold: float) -> bytes:
    """PNG of the vertebra and its neighbors in straight space, anterior on the left, with outline and height lines.

    Args:
        threshold: probability from which a fracture is suspected.
    """
    lower, upper = vertebra.extent_mm
    middle, half = 0.5 * (lower + upper), max(1.5 * (upper - lower), _LEAST_HALF_MM)
    panel = fit_panel(frame, _ANTERIOR_MM, (middle - half, middle + half), Box(0, 0, _SIZE, _SIZE))
    canvas = Canvas(panel.box.width, panel.box.height, (0.0, 0.0, 0.0))
    panel = SagittalPanel(
        frame, panel.anterior_mm, panel.s_mm, Box(0, 0, panel.box.width, panel.box.height), panel.pixels_per_mm
    )
    canvas.image(panel.gray(ct), 0, 0)
    canvas.text(vertebra.label, 14, 24, 28, _TEXT, bold=True, halo=True)
    canvas.text("A", 14, panel.box.height / 2, 18, _TEXT, anchor="center", halo=True)
    canvas.text("P", panel.box.width - 14, panel.box.height / 2, 18, _TEXT, anchor="center", halo=True)
    outline = outline_points(vertebra)
    if outline is not None:
        pixels = widen_polygon(panel.ras_to_pixel(outline), _BESIDE_EDGE)
        canvas.line(np.concatenate([pixels, pixels[:1]]), group_of(vertebra, threshold).color, 1.8)
    if vertebra.landmarks_ras is not None:
        _height_lines(canvas, vertebra, panel.ras_to_pixel(np.array(vertebra.landmarks_ras)))
    return canvas.png()


def _height_lines(
    canvas: Canvas, vertebra: Vertebra, points: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> None:
    heights = vertebra.heights_mm
    for third in range(3):
        upper, lower = points[third], points[third + 3]
        canvas.line([(upper[0], upper[1]), (lower[0], lower[1])], _LINE, 2.5)
        for end in (upper, lower):
            canvas.disc((float(end[0]), float(end[1])), 3.5, _LINE)
        if heights is not None:
            value = (heights.anterior, heights.middle, heights.posterior)[third]
            x, y = 0.5 * (upper + lower)
            canvas.text(f"{value:.1f}", float(x), float(y), 19, _TEXT, anchor="center", halo=True, bold=True)


def draw_probability_plot(report: SpineReport) -> str:
    """SVG of the probability along the spine, cranial on the left as one reads, with the vertebrae's labels below.

    The curve is drawn between the first and the last scored vertebra.
    """
    sequence, threshold = report.judged_sequence, report.scan.decision_threshold
    if len(sequence.positions_mm) < 2:
        return ""
    first, last = report.sequence.positions_mm[0], report.sequence.positions_mm[-1]

    def x(position: float) -> float:
        return _LEFT + (last - position) / (last - first) * (_PLOT_WIDTH - _LEFT - _RIGHT)

    def y(probability: float) -> float:
        return _TOP + (1.0 - min(max(probability, 0.0), 1.0)) * (_PLOT_HEIGHT - _TOP - _BOTTOM)

    across = f'x1="{_LEFT}" x2="{_PLOT_WIDTH - _RIGHT}"'
    words = "Probability of a fracture along the spine"
    parts = [f'<svg viewBox="0 0 {_PLOT_WIDTH} {_PLOT_HEIGHT}" role="img" aria-label="{words}">']
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" {across} y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.append(f'<line class="threshold" {across} y1="{y(threshold):.1f}" y2="{y(threshold):.1f}"/>')
    rows = list(zip(sequence.positions_mm, sequence.probability, sequence.uncertainty, strict=True))
    band = [f"{x(s):.1f},{y(p + u):.1f}" for s, p, u in rows] + [f"{x(s):.1f},{y(p - u):.1f}" for s, p, u in rows[::-1]]
    parts.append(f'<polygon class="band" points="{" ".join(band)}"/>')
    parts.append(f'<polyline class="curve" points="{" ".join(f"{x(s):.1f},{y(p):.1f}" for s, p, _ in rows)}"/>')
    for vertebra in report.vertebrae:
        at = x(0.5 * sum(vertebra.extent_mm))
        if vertebra.fracture_probability is not None:
            color = _hexadecimal(probability_color(vertebra.fracture_probability, threshold))
            weight = 5 if is_suspected(vertebra, threshold) else 3
            parts.append(
                f'<circle cx="{at:.1f}" cy="{y(vertebra.fracture_probability):.1f}" r="{weight}" fill="{color}"/>'
            )
        parts.append(f'<text x="{at:.1f}" y="{_PLOT_HEIGHT - 20}" text-anchor="middle">{escape(vertebra.label)}</text>')
    parts.append(
        f'<text x="{_PLOT_WIDTH / 2}" y="{_PLOT_HEIGHT - 4}" text-anchor="middle">cranial to caudal</text></svg>'
    )
    return "".join(parts)


def _hexadecimal(color: Color) -> str:
    return "#" + "".join(f"{round(255 * value):02x}" for value in color)
