"""Draw images, smooth lines, polygons and text on a picture with Pillow, and encode it as PNG.

Pixel coordinates are (x to the right, y down), pixel centers at whole numbers. Pillow draws lines and polygons without
smoothing their edges, so each is drawn ``_FINER`` times larger into a mask of its own and averaged.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from VertebralFractureLib.types import FloatArray

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Color = tuple[float, float, float]
Pixel = tuple[float, float]

_FINER = 4
_HALO = 2
# Of Aileron, in sizes of the font: the height of capitals, and by how much a stem grows on each side to look bold.
_CAPITAL_HEIGHT = 0.7
_BOLD_STROKE = 0.025
_ANCHORS = {"left": 0.0, "center": 0.5, "right": 1.0}
_SIGNS = str.maketrans({"–": "-", "—": "-", "×": "x", "≥": ">", "µ": "u", "ß": "ss", "Æ": "AE", "æ": "ae", "ø": "o"})


@lru_cache(maxsize=32)
def _font(size: int) -> FreeTypeFont:
    """Aileron Regular (public domain), which Pillow carries."""
    from PIL import ImageFont

    return ImageFont.load_default(size)  # type: ignore[return-value]


def _drawable(text: str) -> str:
    """The text in letters that the font has: without accents, and ``?`` for other scripts."""
    plain = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    kept = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" or letter in "±·°" else "?" for letter in kept)


def _bold_stroke(size: int, bold: bool) -> float:
    return size * _BOLD_STROKE if bold else 0.0


def measure_text_width(text: str, size: int, bold: bool = False) -> int:
    """Width in pixels of a line of text."""
    return int(np.ceil(_font(size).getlength(_drawable(text)) + 2.0 * _bold_stroke(size, bold)))


def shorten_text(text: str, size: int, width: int, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it would be wider than ``width`` pixels."""
    text = text[: max(width, 0) + 1]  # no letter is narrower than a pixel
    if measure_text_width(text, size, bold) <= width:
        return text
    while text and measure_text_width(text.rstrip() + "...", size, bold) > width:
        text = text[:-1]
    return text.rstrip() + "..."


def wrap_text(text: str, size: int, width: int, bold: bool = False) -> list[str]:
    """The text in lines of at most ``width`` pixels, broken at spaces; a word that is longer is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and measure_text_width(f"{lines[-1]} {word}", size, bold) <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(shorten_text(word, size, width, bold))
    return lines


def fit_text(text: str, sizes: Sequence[int], width: int, bold: bool = False) -> tuple[str, int]:
    """The text and the largest of the descending ``sizes`` in which it is at most ``width`` pixels wide; cut in the
    last one where it is wider in all.
    """
    fitting = [size for size in sizes if measure_text_width(text, size, bold) <= width]
    return (text, fitting[0]) if fitting else (shorten_text(text, sizes[-1], width, bold), sizes[-1])


class Canvas:
    """The picture while it is drawn; colors and opacities are from 0 to 1."""

    def __init__(self, width: int, height: int, background: Color) -> None:
        from PIL import Image

        self.picture = Image.new("RGB", (width, height), _bytes(background))

    def image(self, pixels: NDArray[np.floating], left: int, top: int) -> None:
        """Place a gray ``(rows, columns)`` or RGB ``(rows, columns, 3)`` image from 0 to 1, row 0 on top."""
        from PIL import Image

        levels = np.round(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
        self.picture.paste(Image.fromarray(levels), (left, top))

    def rectangle(self, left: int, top: int, width: int, height: int, color: Color) -> None:
        self.picture.paste(_bytes(color), (left, top, left + width, top + height))

    def line(
        self, points: Sequence[Pixel] | FloatArray, color: Color, width: float = 1.5, opacity: float = 1.0
    ) -> None:
        """Draw a polyline with round ends; overlapping segments do not add up."""

        finer = max(1, round(width * _FINER))

        def draw(mask: ImageDraw, path: list[Pixel]) -> None:
            mask.line(path, 255, finer, joint="curve")
            for end in (path[0], path[-1]):
                mask.circle(end, 0.5 * finer, 255)

        self._shape(points, width, draw, color, opacity)

    def dashed(self, start: Pixel, end: Pixel, color: Color, width: float = 1.2, dash: float = 6.0) -> None:
        a, b = np.array(start), np.array(end)
        length = float(np.linalg.norm(b - a))
        for begin in np.arange(0.0, length, 2.0 * dash):
            stop = min(begin + dash, length)
            self.line(np.stack([a + (b - a) * begin / length, a + (b - a) * stop / length]), color, width)

    def polygon(self, points: Sequence[Pixel] | FloatArray, color: Color, opacity: float) -> None:
        """Fill a polygon."""
        self._shape(points, 0.0, lambda mask, path: mask.polygon(path, 255), color, opacity)

    def disc(self, center: Pixel, radius: float, color: Color) -> None:
        self._shape([center], 2.0 * radius, lambda mask, path: mask.circle(path[0], radius * _FINER, 255), color, 1.0)

    def text(
        self,
        text: str,
        x: float,
        y: float,
        size: int,
        color: Color,
        *,
        bold: bool = False,
        anchor: str = "left",
        halo: bool = False,
    ) -> int:
        """Write a line of text whose capitals are centered on the height ``y``; return its width.

        Args:
            anchor: which part of the text stands at ``x``: "left", "center" or "right".
            bold: the font has one weight only, so that its letters get an outline of their own color.
            halo: darken the pixels around the letters, for text on top of an image.
        """
        text = text[: self.picture.width]  # as above: what is longer would only be drawn outside, in memory of its own
        length = measure_text_width(text, size, bold)
        start = (round(x - _ANCHORS[anchor] * length), round(y + 0.5 * _CAPITAL_HEIGHT * size))
        if halo:
            self._letters(text, start, size, (0.0, 0.0, 0.0), _bold_stroke(size, bold) + _HALO)
        self._letters(text, start, size, color, _bold_stroke(size, bold))
        return length

    def insert_rows(self, y: int, count: int, color: Color) -> None:
        """Make the picture taller by ``count`` rows of one color above row ``y``; what lies below moves down."""
        from PIL import Image

        width, height = self.picture.size
        taller = Image.new("RGB", (width, height + count), _bytes(color))
        taller.paste(self.picture.crop((0, 0, width, y)), (0, 0))
        taller.paste(self.picture.crop((0, y, width, height)), (0, y + count))
        self.picture = taller

    def png(self) -> bytes:
        """Encode the picture."""
        written = io.BytesIO()
        self.picture.save(written, "PNG")
        return written.getvalue()

    def _letters(self, text: str, start: tuple[int, int], size: int, color: Color, stroke: float) -> None:
        """Paint letters from ``start``, the left end of their baseline, ``stroke`` pixels thicker on every side."""
        from PIL import Image, ImageDraw

        margin = _HALO + 2
        finer = _FINER if stroke else 1
        area = ((measure_text_width(text, size) + 2 * margin) * finer, 3 * size * finer)
        mask = Image.new("L", area)
        begin = (margin * finer, 2 * size * finer)
        words, font = _drawable(text), _font(size * finer)
        ImageDraw.Draw(mask).text(begin, words, 255, font, "ls", stroke_width=round(stroke * finer))
        self.picture.paste(_bytes(color), (start[0] - margin, start[1] - 2 * size), mask.reduce(finer))

    def _shape(
        self,
        points: Sequence[Pixel] | FloatArray,
        width: float,
        draw: Callable[[ImageDraw, list[Pixel]], None],
        color: Color,
        opacity: float,
    ) -> None:
        """Let ``draw`` fill a finer mask that holds the points and ``width`` around them, and paint through it."""
        from PIL import Image, ImageDraw

        path = np.asarray(points, dtype=np.float64)
        margin = int(width) + 2
        low, high = np.floor(path.min(axis=0)).astype(int) - margin, np.ceil(path.max(axis=0)).astype(int) + margin
        low, high = np.maximum(low, 0), np.minimum(high, np.array(self.picture.size))
        if (low >= high).any():
            return
        columns, rows = (high - low).tolist()
        mask = Image.new("L", (columns * _FINER, rows * _FINER))
        finer = (path - low + 0.5) * _FINER - 0.5
        draw(ImageDraw.Draw(mask), [(x, y) for x, y in finer.tolist()])
        self.picture.paste(_bytes(color), tuple(low.tolist()), mask.reduce(_FINER).point(lambda value: value * opacity))


def _bytes(color: Color) -> tuple[int, int, int]:
    red, green, blue = (round(255.0 * value) for value in color)
    return red, green, blue
