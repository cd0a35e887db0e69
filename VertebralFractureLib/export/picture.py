"""``overview.png``: the picture that a person looks at first, the patient's sagittal view and the straightened one.

Every vertebra is outlined and labeled in both views in the color of its grade, and the probability along the spine
stands at the same heights as the straightened view. A scan that was not evaluable shows its middle and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from VertebralFractureLib import RESEARCH_USE_ONLY
from VertebralFractureLib.canal import Centerline
from VertebralFractureLib.cpr import VIRTUAL_SAGITTAL, ReformatFrame, StraightenedVolume, lay_frame
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.export.palette import GROUPS, group_of, probability_color
from VertebralFractureLib.export.picture_canvas import Canvas, Color, fit_text, shorten_text, wrap_text
from VertebralFractureLib.export.picture_panel import Box, SagittalPanel, fit_panel, middle_frame
from VertebralFractureLib.fracture.members import PREFIX
from VertebralFractureLib.result.report import EVALUABLE, SpineReport, is_suspected
from VertebralFractureLib.result.words import (
    describe_density,
    describe_grade,
    describe_index,
    describe_status,
    list_densities,
    list_doubts,
    write_finding,
)
from VertebralFractureLib.types import FloatArray
from VertebralFractureLib.vertebrae.outline import outline_points, widen_polygon
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra
from VertebralFractureLib.volume import CTVolume

WIDTH, HEIGHT = 1600, 1400
_ROOM_LEFT = Box(40, 186, 600, 1110)
_ROOM_STRAIGHT = Box(664, 186, 340, 1110)
_LABEL_LEFT, _LABEL_RIGHT = 1030, 1396
_STRIP_LEFT, _STRIP_WIDTH = 1410, 150
_BACKGROUND: Color = (0.055, 0.063, 0.078)
_PANE: Color = (0.085, 0.095, 0.115)
_TEXT: Color = (0.93, 0.94, 0.95)
_QUIET: Color = (0.60, 0.63, 0.67)
_FAINT: Color = (0.26, 0.28, 0.31)
_NOTICE: Color = (0.98, 0.76, 0.35)
_CANAL: Color = (0.45, 0.85, 0.75)
_STRAIGHT_ANTERIOR_MM = (-38.0, 58.0)
_MARGIN_MM = 10.0
_USUAL_DEPTH_MM = 28.0
_BESIDE_EDGE = 1.5
"""Pixels from the outline to its line, so that the endplate itself stays to be seen."""
_LABEL_GAP = 25.0
_REASON_LINES = 24
_IMPRESSION_WIDTH = 1110
_BELOW_FIRST_LINE, _LINE_STEP = 134, 25
"""Pixels: the row below the first line under the impression, and from one line to the next."""


def draw_overview(report: SpineReport, ct: CTVolume, spine: StraightenedVolume | None) -> bytes:
    """Draw the picture, a PNG of 1600 x 1400 pixels, taller where findings and doubts need more than a line.

    ``spine`` is None when none was made.
    """
    canvas = Canvas(WIDTH, HEIGHT, _BACKGROUND)
    _header(canvas, report)
    if report.status == EVALUABLE and spine is not None:
        _evaluable(canvas, report, ct, spine)
    else:
        _not_evaluable(canvas, report, ct)
    _below_impression(canvas, report)
    return canvas.png()


def _header(canvas: Canvas, report: SpineReport) -> None:
    version = f"VertebralFracture {report.software.version}"
    canvas.text(version, WIDTH - 40, 30, 20, _QUIET, anchor="right")
    notice_width = canvas.text(RESEARCH_USE_ONLY, WIDTH - 40, 58, 17, _NOTICE, anchor="right")
    name = shorten_text(report.input.name, 30, WIDTH - 120 - notice_width, bold=True)
    canvas.text(name, 40, 44, 30, _TEXT, bold=True)
    first, *_ = _impression(report)
    canvas.text(first.text, 40, 92, first.size, first.color, bold=first.bold)
    if report.scan.fracture_probability is not None:
        score = (
            f"scan score {report.scan.fracture_probability:.2f}, spinal deformity index {describe_index(report.scan)}"
        )
        canvas.text(score, WIDTH - 40, 93, 20, _QUIET, anchor="right")
    canvas.line([(40, 138), (WIDTH - 40, 138)], _FAINT, 1.0)


@dataclass(frozen=True)
class _Line:
    text: str
    size: int
    color: Color
    bold: bool = False


def _impression(report: SpineReport) -> list[_Line]:
    """The impression in as many lines as it takes: no level that is suspected may fall out of it."""
    words = write_finding(report) if report.status == EVALUABLE else "Not evaluable"
    suspected = bool(report.suspected)
    color = GROUPS[2].color if suspected else _TEXT
    return [_Line(line, 24, color, suspected) for line in wrap_text(words, 24, _IMPRESSION_WIDTH, suspected)]


def _below_impression(canvas: Canvas, report: SpineReport) -> None:
    """What is left of the impression, whose bone differs, and all that is doubtful; beyond a line the picture grows."""
    densities, doubts = list_densities(report), list_doubts(report)
    said = [
        *([f"{'. '.join(densities)}."] if densities else []),
        *([f"In doubt: {'; '.join(doubts)}"] if doubts else []),
    ]
    lines = _impression(report)[1:]
    lines += [_Line(line, 18, _NOTICE) for words in said for line in wrap_text(words, 18, WIDTH - 80)]
    if len(lines) > 1:
        canvas.insert_rows(_BELOW_FIRST_LINE, _LINE_STEP * (len(lines) - 1), _BACKGROUND)
    for row, line in enumerate(lines):
        canvas.text(line.text, 40, 121 + _LINE_STEP * row, line.size, line.color, bold=line.bold)


def _evaluable(canvas: Canvas, report: SpineReport, ct: CTVolume, spine: StraightenedVolume) -> None:
    line = report.centerline.curve()
    outlines = _outlines_ras(report.vertebrae, spine.frame)
    low, high = spine.frame.range_mm
    straight = fit_panel(spine.frame, _STRAIGHT_ANTERIOR_MM, (low - _MARGIN_MM, high + _MARGIN_MM), _ROOM_STRAIGHT)
    natural = _natural_panel(ct, line, outlines)
    for panel, room, title in ((natural, _ROOM_LEFT, "sagittal"), (straight, _ROOM_STRAIGHT, "straightened")):
        canvas.rectangle(room.left, room.top, room.width, room.height, _PANE)
        _view(canvas, panel, room, ct, title)
        _canal(canvas, panel, line)
        for vertebra, outline in zip(report.vertebrae, outlines, strict=True):
            _outline(canvas, panel, vertebra, outline, report.scan.decision_threshold)
    _names(canvas, natural, report, outlines)
    _labels(canvas, straight, report, outlines)
    _strip(canvas, straight, report)
    _legend(canvas, report)


def _natural_panel(ct: CTVolume, line: Centerline, outlines: list[FloatArray]) -> SagittalPanel:
    """The view that keeps kyphosis and lordosis, just large enough for the canal and all bodies."""
    try:
        frame = lay_frame(line, VIRTUAL_SAGITTAL)
    except NoSpineFound:
        # A canal that does not rise, as when the header gives a wrong orientation: show the patient's plane as it is.
        return fit_panel(*middle_frame(ct, float(line.points_ras[:, 0].mean())), _ROOM_LEFT)
    shown = frame.ras_to_straight(np.concatenate([line.points_ras, *outlines]))
    anterior = (float(shown[:, 1].min()) - 48.0, float(shown[:, 1].max()) + 26.0)
    low, high = frame.range_mm
    return fit_panel(frame, anterior, (low - _MARGIN_MM, high + _MARGIN_MM), _ROOM_LEFT)


def _outlines_ras(vertebrae: tuple[Vertebra, ...], frame: ReformatFrame) -> list[FloatArray]:
    """An outline ``(n, 3)`` in RAS for each vertebra: what was traced, or its extent where it was not measured."""
    depths = [
        float(np.linalg.norm(np.subtract(v.landmarks_ras[0], v.landmarks_ras[2]))) for v in vertebrae if v.landmarks_ras
    ]
    depth = float(np.median(depths)) if depths else _USUAL_DEPTH_MM
    outlines = []
    for vertebra in vertebrae:
        points = outline_points(vertebra)
        if points is None:
            r, a, _ = frame.ras_to_straight(np.array([vertebra.center_ras]))[0]
            lower, upper = vertebra.extent_mm
            front, back = a + 0.5 * depth, a - 0.5 * depth
            corners = [(front, upper), (back, upper), (back, lower), (front, lower)]
            points = frame.straight_to_ras(np.array([(r, anterior, s) for anterior, s in corners]))
        outlines.append(points)
    return outlines


def _view(canvas: Canvas, panel: SagittalPanel, room: Box, ct: CTVolume, title: str) -> None:
    box = panel.box
    canvas.image(panel.gray(ct), box.left, box.top)
    canvas.text(title, room.left, room.top - 22, 19, _TEXT, bold=True)
    aside, middle_y = box.left + box.width / 4, box.top + box.height / 2
    for letter, x, y in (
        ("A", box.left + 14, middle_y),
        ("P", box.left + box.width - 14, middle_y),
        ("S", aside, box.top + 14),
        ("I", aside, box.top + box.height - 14),
    ):
        canvas.text(letter, x, y, 18, _TEXT, anchor="center", halo=True, bold=True)
    bar = 50.0 * panel.pixels_per_mm if box.width > 60.0 * panel.pixels_per_mm else 20.0 * panel.pixels_per_mm
    y = box.top + box.height - 16
    right = box.left + box.width - 16
    canvas.line([(right - bar, y), (right, y)], _TEXT, 2.0)
    canvas.text(f"{bar / panel.pixels_per_mm:.0f} mm", right - bar / 2, y - 14, 15, _TEXT, anchor="center", halo=True)


def _canal(canvas: Canvas, panel: SagittalPanel, line: Centerline) -> None:
    s = np.arange(0.0, line.length_mm, 2.0, dtype=np.float64)
    canvas.line(panel.ras_to_pixel(line.positions_ras(s)), _CANAL, 1.1, opacity=0.55)


def _outline(canvas: Canvas, panel: SagittalPanel, vertebra: Vertebra, outline: FloatArray, threshold: float) -> None:
    color = group_of(vertebra, threshold).color
    pixels = widen_polygon(panel.ras_to_pixel(outline), _BESIDE_EDGE)
    pixels = np.concatenate([pixels, pixels[:1]])
    if is_suspected(vertebra, threshold):
        canvas.polygon(pixels[:-1], color, 0.14)
        canvas.line(pixels, color, 2.2)
    elif vertebra.landmarks_ras is not None:
        canvas.line(pixels, color, 1.2, opacity=0.9)
    else:
        for start, end in pairwise(pixels):
            canvas.dashed((start[0], start[1]), (end[0], end[1]), color)


def _names(canvas: Canvas, panel: SagittalPanel, report: SpineReport, outlines: list[FloatArray]) -> None:
    """The levels in front of the bodies of the natural view."""
    fronts = [panel.ras_to_pixel(outline) for outline in outlines]
    order = sorted(range(len(fronts)), key=lambda index: float(fronts[index][:, 1].mean()))
    heights = place_labels(
        [float(fronts[index][:, 1].mean()) for index in order], 21.0, panel.box.top + 12, _bottom(panel)
    )
    for index, y in zip(order, heights, strict=True):
        x = float(fronts[index][:, 0].min()) - 10.0
        vertebra = report.vertebrae[index]
        color = group_of(vertebra, report.scan.decision_threshold).color
        canvas.text(vertebra.label, x, y, 17, color, anchor="right", halo=True, bold=True)


def _bottom(panel: SagittalPanel) -> float:
    return float(panel.box.top + panel.box.height - 12)


def _labels(canvas: Canvas, panel: SagittalPanel, report: SpineReport, outlines: list[FloatArray]) -> None:
    """The level, the score and the grade of each vertebra next to the straightened view, with a leader line."""
    order = list(reversed(range(len(outlines))))
    pixels = [panel.ras_to_pixel(outlines[index]) for index in order]
    wanted = [float(points[:, 1].mean()) for points in pixels]
    heights = place_labels(sorted(wanted), _LABEL_GAP, panel.box.top + 12, _bottom(panel))
    edge = panel.box.left + panel.box.width
    for index, points, start, y in zip(order, pixels, wanted, heights, strict=True):
        vertebra = report.vertebrae[index]
        color = group_of(vertebra, report.scan.decision_threshold).color
        suspected = is_suspected(vertebra, report.scan.decision_threshold)
        canvas.line([(points[:, 0].max() + 3, start), (edge, start)], color, 1.0, opacity=0.35)
        canvas.line([(edge, start), (_LABEL_LEFT - 8, y)], color, 1.0, opacity=0.7)
        if suspected:
            canvas.disc((_LABEL_LEFT + 5, y), 6.0, color)
        name = canvas.text(vertebra.label, _LABEL_LEFT + 18, y, 19, color, bold=True)
        if vertebra.doubts:
            canvas.text("?", _LABEL_LEFT + 20 + name, y, 19, _NOTICE, bold=True)
        sizes = (18, 17, 16, 15, 14) if vertebra.status == Status.SCORED else (16, 15, 14)
        words, size = fit_text(_words(vertebra), sizes, _LABEL_RIGHT - _LABEL_LEFT - 110, bold=suspected)
        canvas.text(words, _LABEL_LEFT + 70, y, size, _TEXT if suspected else color, bold=suspected)
        if vertebra.level is not None:
            canvas.text(f"{vertebra.level_probability:.2f}", _LABEL_RIGHT, y, 14, _QUIET, anchor="right")
    if any(vertebra.level is not None for vertebra in report.vertebrae):
        canvas.text("of the level", _LABEL_RIGHT, panel.box.top - 22, 14, _QUIET, anchor="right")


def _words(vertebra: Vertebra) -> str:
    if vertebra.status != Status.SCORED or vertebra.fracture_probability is None:
        return describe_status(vertebra)
    words = f"{vertebra.fracture_probability:.2f}  "
    words += f"grade {describe_grade(vertebra)}" + (f" {vertebra.shape}" if vertebra.shape else "")
    return words + (f", {vertebra.density_finding}".replace("_", " ") if describe_density(vertebra) else "")


def _strip(canvas: Canvas, panel: SagittalPanel, report: SpineReport) -> None:
    """Probability along the spine, at the heights of the straightened view."""
    top, height, left = panel.box.top, panel.box.height, _STRIP_LEFT
    threshold = report.scan.decision_threshold
    canvas.rectangle(left, top, _STRIP_WIDTH, height, _PANE)
    canvas.text("probability", left + _STRIP_WIDTH / 2, top - 22, 18, _TEXT, anchor="center", bold=True)
    for value in (0.0, 0.5, 1.0):
        x = left + value * _STRIP_WIDTH
        canvas.line([(x, top), (x, top + height)], _FAINT, 1.0)
        canvas.text(f"{value:g}", x, top + height + 14, 15, _QUIET, anchor="center")
    x = left + threshold * _STRIP_WIDTH
    canvas.dashed((x, top), (x, top + height), _QUIET)
    sequence = report.judged_sequence
    if len(sequence.positions_mm) < 2:
        return
    s = np.array(sequence.positions_mm)
    probability, sd = np.array(sequence.probability), np.array(sequence.uncertainty)
    y = panel.straight_to_pixel(np.stack([0.0 * s, 0.0 * s, s], axis=1))[:, 1]
    low, high = (probability - sd).clip(0.0, 1.0), (probability + sd).clip(0.0, 1.0)
    band = np.concatenate(
        [np.stack([left + low * _STRIP_WIDTH, y], 1), np.stack([left + high * _STRIP_WIDTH, y], 1)[::-1]]
    )
    canvas.polygon(band, _QUIET, 0.25)
    path = np.stack([left + probability * _STRIP_WIDTH, y], axis=1)
    for start, end, value in zip(path[:-1], path[1:], np.maximum(probability[:-1], probability[1:]), strict=True):
        canvas.line([start, end], probability_color(float(value)), 2.2)


def _legend(canvas: Canvas, report: SpineReport) -> None:
    x, y = 40.0, 1328.0
    for group in GROUPS:
        canvas.rectangle(int(x), int(y) - 8, 16, 16, group.color)
        x += 24 + canvas.text(group.name, x + 24, y, 16, _TEXT) + 22
    y = 1352.0
    square = [(41.5, y - 6.5), (54.5, y - 6.5), (54.5, y + 6.5), (41.5, y + 6.5), (41.5, y - 6.5)]
    canvas.polygon(square[:-1], _TEXT, 0.3)
    canvas.line(square, _TEXT, 3.0)
    words = f"Filled and thick: fracture suspected, probability {report.scan.decision_threshold:g} or more"
    width = canvas.text(words, 64, y, 16, _TEXT)
    x = 64.0 + width + 30.0
    canvas.dashed((x, y), (x + 30, y), _TEXT)
    canvas.text("Endplates not measured", x + 40, y, 16, _TEXT)
    note = "Grade (Genant) and probability: networks and heights together; in brackets: grades that are possible."
    if any(vertebra.doubts for vertebra in report.vertebrae):
        note += " ?: in doubt, see the report."
    width = canvas.text(note, 40, 1378, 15, _QUIET)
    if report.software.weights_sha256:
        words = shorten_text(_weights(report.software.weights_sha256), 15, WIDTH - 120 - width)
        canvas.text(words, WIDTH - 40, 1378, 15, _QUIET, anchor="right")


def _weights(sha256: Mapping[str, str]) -> str:
    """One line, with the members of the ensemble counted: the report names each."""
    single = [f"{name} {value[:8]}" for name, value in sha256.items() if not name.startswith(PREFIX)]
    members = sum(name.startswith(PREFIX) for name in sha256)
    return f"weights {', '.join([*single, f'{members} of the fracture ensemble'])}"


def _not_evaluable(canvas: Canvas, report: SpineReport, ct: CTVolume) -> None:
    room = Box(40, 186, 900, 1150)
    canvas.rectangle(room.left, room.top, room.width, room.height, _PANE)
    path = np.array(report.centerline.points_ras).reshape(-1, 3)
    panel = fit_panel(*middle_frame(ct, float(path[:, 0].mean()) if len(path) else None), room)
    title = "through the part of the canal that was found" if len(path) else "through the middle of the volume"
    _view(canvas, panel, room, ct, f"sagittal, {title}")
    if len(path) > 1:
        canvas.line(panel.ras_to_pixel(path), _CANAL, 1.5)
    y = 240
    canvas.text("This scan could not be judged.", 980, y, 28, _NOTICE, bold=True)
    for line in wrap_text(report.reason or "No reason was recorded.", 22, WIDTH - 1020)[:_REASON_LINES]:
        y += 34
        canvas.text(line, 980, y + 20, 22, _TEXT)
    for line in wrap_text("No vertebra was scored. This does not mean that no fracture is present.", 20, WIDTH - 1020):
        y += 30
        canvas.text(line, 980, y + 50, 20, _QUIET)


def place_labels(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return heights as near as possible to ``wanted`` (ascending), at least ``gap`` apart, from ``low`` to ``high``.

    Neighbors that would overlap form a block that is centered on their mean. When there is no room for the gap, they
    are spaced evenly.
    """
    count = len(wanted)
    if count == 0:
        return []
    if count > 1 and (count - 1) * gap > high - low:
        return [float(height) for height in np.linspace(low, high, count)]
    blocks: list[tuple[float, int]] = []
    for height in wanted:
        center, size = float(height), 1
        while blocks and center - 0.5 * (size - 1) * gap < blocks[-1][0] + 0.5 * (blocks[-1][1] + 1) * gap:
            before, others = blocks.pop()
            center = (before * others + center * size) / (others + size)
            size += others
        half = 0.5 * (size - 1) * gap
        blocks.append((min(max(center, low + half), high - half), size))
    placed = [center + (index - 0.5 * (size - 1)) * gap for center, size in blocks for index in range(size)]
    for index in range(1, count):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    for index in range(count - 1, -1, -1):
        ceiling = high if index == count - 1 else placed[index + 1] - gap
        placed[index] = min(placed[index], ceiling)
    return placed
