"""A small canvas: images, anti-aliased lines, polygons and text on an RGB array, written as PNG.

Lines are drawn by their distance to each pixel and text by VTK's FreeType, so that no window, graphics driver or
plotting package is needed. Pixel coordinates are (x to the right, y down), pixel centers at whole numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from VertebralFractureLib.errors import OutputRefused
from VertebralFractureLib.types import FloatArray

Color = tuple[float, float, float]
Pixel = tuple[float, float]


@lru_cache(maxsize=512)
def _text_coverage(text: str, size: int, bold: bool) -> NDArray[np.float32]:
    """``(height, width)`` share of each pixel that the text covers; one height for all texts of a size."""
    import vtk
    import vtkmodules.vtkRenderingFreeType  # noqa: F401  (registers the renderer)
    from vtk.util.numpy_support import vtk_to_numpy

    font = vtk.vtkTextProperty()
    font.SetFontFamilyToArial()
    font.SetFontSize(size)
    font.SetBold(bold)
    font.SetColor(1.0, 1.0, 1.0)
    font.SetUseTightBoundingBox(False)
    image = vtk.vtkImageData()
    extent = [0, 0]
    if not text.strip() or not vtk.vtkTextRenderer.GetInstance().RenderString(font, text, image, extent, 72):
        return np.zeros((size, max(1, len(text) * size // 3)), dtype=np.float32)
    columns, rows, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
    return np.asarray(pixels[::-1, :, 3], dtype=np.float32)[max(0, rows - extent[1]) :, : extent[0]] / 255.0


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width in pixels of a line of text."""
    return int(_text_coverage(text, size, bold).shape[1])


def shortened(text: str, size: int, width: int, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it would be wider than ``width`` pixels."""
    if text_width(text, size, bold) <= width:
        return text
    while text and text_width(text.rstrip() + "...", size, bold) > width:
        text = text[:-1]
    return text.rstrip() + "..."


def wrapped(text: str, size: int, width: int) -> list[str]:
    """The text in lines of at most ``width`` pixels, broken at spaces."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines


class Canvas:
    """The picture while it is drawn; ``rgb`` is float32 ``(height, width, 3)`` from 0 to 1."""

    def __init__(self, width: int, height: int, background: Color) -> None:
        self.rgb: NDArray[np.float32] = np.empty((height, width, 3), dtype=np.float32)
        self.rgb[:] = background

    def image(self, gray: NDArray[np.floating], left: int, top: int) -> None:
        """Place a gray image ``(rows, columns)`` from 0 to 1, row 0 on top."""
        rows, columns = gray.shape
        self.rgb[top : top + rows, left : left + columns] = gray[:, :, None]

    def rectangle(self, left: int, top: int, width: int, height: int, color: Color, opacity: float = 1.0) -> None:
        self._blend(left, top, np.full((height, width), opacity, dtype=np.float32), color)

    def line(
        self, points: Sequence[Pixel] | FloatArray, color: Color, width: float = 1.5, opacity: float = 1.0
    ) -> None:
        """A polyline; overlapping segments do not add up."""
        path = np.asarray(points, dtype=np.float64)
        margin = int(width) + 2
        low = np.floor(path.min(axis=0)).astype(int) - margin
        high = np.ceil(path.max(axis=0)).astype(int) + margin + 1
        coverage = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.float32)
        for start, end in pairwise(path):
            first = np.maximum(np.floor(np.minimum(start, end)).astype(int) - margin, low)
            last = np.ceil(np.maximum(start, end)).astype(int) + margin + 1
            y, x = np.mgrid[first[1] : last[1], first[0] : last[0]]
            distance = _distance_to_segment(x, y, start, end)
            window = coverage[first[1] - low[1] : last[1] - low[1], first[0] - low[0] : last[0] - low[0]]
            np.maximum(window, np.clip(0.5 * width + 0.5 - distance, 0.0, 1.0), out=window)
        self._blend(int(low[0]), int(low[1]), coverage * opacity, color)

    def dashed(self, start: Pixel, end: Pixel, color: Color, width: float = 1.2, dash: float = 6.0) -> None:
        a, b = np.array(start), np.array(end)
        length = float(np.linalg.norm(b - a))
        for begin in np.arange(0.0, length, 2.0 * dash):
            stop = min(begin + dash, length)
            self.line([a + (b - a) * begin / length, a + (b - a) * stop / length], color, width)

    def polygon(self, points: Sequence[Pixel] | FloatArray, color: Color, opacity: float) -> None:
        """Fill a polygon by the even-odd rule."""
        path = np.asarray(points, dtype=np.float64)
        low, high = np.floor(path.min(axis=0)).astype(int), np.ceil(path.max(axis=0)).astype(int) + 1
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
        inside = np.zeros(x.shape, dtype=bool)
        for (x0, y0), (x1, y1) in zip(path, np.roll(path, -1, axis=0), strict=True):
            if y0 != y1:
                crosses = (y0 <= y) != (y1 <= y)
                inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        self._blend(int(low[0]), int(low[1]), inside.astype(np.float32) * opacity, color)

    def disc(self, center: Pixel, radius: float, color: Color) -> None:
        self.line([center, center], color, 2.0 * radius)

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
        """Write a line of text centered on the height ``y``; gives back its width.

        Args:
            anchor: which part of the text stands at ``x``: "left", "center" or "right".
            halo: darken the pixels around the letters, for text on top of an image.
        """
        coverage = _text_coverage(text, size, bold)
        rows, columns = coverage.shape
        left = round(x - {"left": 0.0, "center": 0.5, "right": 1.0}[anchor] * columns)
        top = round(y - 0.5 * rows)
        if halo:
            spread = np.pad(coverage, 2)
            grown = np.max([np.roll(spread, (dy, dx), (0, 1)) for dy in (-2, 0, 2) for dx in (-2, 0, 2)], axis=0)
            self._blend(left - 2, top - 2, 0.8 * grown, (0.0, 0.0, 0.0))
        self._blend(left, top, coverage, color)
        return int(columns)

    def save(self, path: Path) -> None:
        """Write a PNG; an older file stays until the new one is complete.

        Raises:
            OutputRefused: when the file cannot be written.
        """
        pixels = np.round(self.rgb.clip(0.0, 1.0) * 255.0).astype(np.uint8)
        path = Path(path)
        with tempfile.TemporaryDirectory(prefix=".vertebral_fracture_", dir=path.absolute().parent) as folder:
            whole = Path(folder) / "overview.png"
            try:
                sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(whole), useCompression=True)
            except RuntimeError as error:
                raise OutputRefused(
                    f"The picture '{path.name}' could not be written; check free space and permissions."
                ) from error
            whole.replace(path)

    def _blend(self, left: int, top: int, coverage: NDArray[np.floating], color: Color) -> None:
        height, width = self.rgb.shape[:2]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + coverage.shape[1], width), min(top + coverage.shape[0], height)
        if x0 >= x1 or y0 >= y1:
            return
        share = coverage[y0 - top : y1 - top, x0 - left : x1 - left, None]
        window = self.rgb[y0:y1, x0:x1]
        window += share * (np.array(color, dtype=np.float32) - window)


def _distance_to_segment(x: NDArray[np.intp], y: NDArray[np.intp], start: FloatArray, end: FloatArray) -> FloatArray:
    along = end - start
    length = float(along @ along)
    dx, dy = x - start[0], y - start[1]
    share = np.clip((dx * along[0] + dy * along[1]) / length, 0.0, 1.0) if length > 0.0 else np.zeros(x.shape)
    return np.asarray(np.hypot(dx - share * along[0], dy - share * along[1]))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights as near as possible to ``wanted`` (ascending), at least ``gap`` apart, from ``low`` to ``high``.

    Neighbors that would overlap form a block that is centered on their mean. When there is no room for the gap, they
    are spaced evenly.
    """
    count = len(wanted)
    if count == 0:
        return []
    if count > 1 and (count - 1) * gap > high - low:
        return [float(place) for place in np.linspace(low, high, count)]
    blocks: list[tuple[float, int]] = []
    for place in wanted:
        center, size = float(place), 1
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
