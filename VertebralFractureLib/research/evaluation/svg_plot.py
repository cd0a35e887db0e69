"""Small plots as SVG text, so that an HTML page needs neither a plotting library nor other files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _LEFT, _TOP, _SIDE = 380, 340, 56, 30, 260
COLORS = ("#1f5fa8", "#c0392b", "#2e8b57", "#8e6bbf")


@dataclass(frozen=True)
class Line:
    """One line of a plot: its name, its points in data units, and whether each point gets a dot."""

    name: str
    points: Points
    dots: bool = False


def plot(title: str, x_name: str, y_name: str, lines: Sequence[Line], *, x_most: float = 1.0, diagonal: bool) -> str:
    """A square plot with y from 0 to 1 and x from 0 to ``x_most``; lines are cut at its right edge."""

    def at(x: float, y: float) -> str:
        return f"{_LEFT + _SIDE * min(x / x_most, 1.0):.1f},{_TOP + _SIDE * (1.0 - y):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><text x="{_LEFT}" y="18" font-size="13">{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#888"/>',
    ]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = _LEFT + _SIDE * tick, _TOP + _SIDE * (1.0 - tick)
        parts.append(f'<path d="M{x:.1f},{_TOP} v{_SIDE} M{_LEFT},{y:.1f} h{_SIDE}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{_TOP + _SIDE + 15}" text-anchor="middle">{tick * x_most:g}</text>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    if diagonal:
        parts.append(f'<path d="M{at(0.0, 0.0)} L{at(x_most, 1.0)}" stroke="#aaa" stroke-dasharray="4 4"/>')
    for index, line in enumerate(lines):
        color = COLORS[index % len(COLORS)]
        if line.points:
            path = " ".join(at(x, y) for x, y in line.points if x <= x_most)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        for x, y in line.points if line.dots else ():
            center_x, center_y = at(x, y).split(",")
            parts.append(f'<circle cx="{center_x}" cy="{center_y}" r="3.2" fill="{color}"/>')
        y_name_at = _TOP + _SIDE - 12 - 15 * (len(lines) - 1 - index)
        parts.append(
            f'<text x="{_LEFT + _SIDE - 8}" y="{y_name_at}" text-anchor="end" fill="{color}">{escape(line.name)}</text>'
        )
    middle = _LEFT + 0.5 * _SIDE
    parts.append(f'<text x="{middle:.0f}" y="{_TOP + _SIDE + 34}" text-anchor="middle">{escape(x_name)}</text>')
    across = _TOP + 0.5 * _SIDE
    parts.append(
        f'<text x="16" y="{across:.0f}" text-anchor="middle" transform="rotate(-90 16 {across:.0f})">'
        f"{escape(y_name)}</text></svg>"
    )
    return "".join(parts)
