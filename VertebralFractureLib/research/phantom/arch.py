"""Draw the posterior elements of a vertebra: pedicles, laminae, articular, transverse and spinous processes.

Each piece is computed in its own small box; all outsides are painted before all insides, so that the pieces grow into
one bone without walls between them, and the canal is cut out of every piece.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from VertebralFractureLib.research.phantom.level_sizes import LEVEL_SIZES
from VertebralFractureLib.research.phantom.raster import Raster, Window, capsule, oval
from VertebralFractureLib.research.phantom.skeleton import PlacedVertebra
from VertebralFractureLib.types import Float32Array as Field
from VertebralFractureLib.types import Point

_WALL_MM = 1.5


class _Pen:
    """Collects the pieces of one arch, then paints them."""

    def __init__(self, raster: Raster, vertebra: PlacedVertebra) -> None:
        self._raster, self._vertebra = raster, vertebra
        self._pieces: list[tuple[Window, Field]] = []

    def add(self, low: Point, high: Point, distance_of: Callable[[Field, Field, Field], Field]) -> None:
        found = self._raster.local(self._vertebra, low, high)
        if found is None:
            return
        window, r, a, s = found
        shape = self._vertebra.shape
        smaller = min(shape.canal_half_width, shape.canal_half_depth)
        canal = (oval(r / shape.canal_half_width, (a - shape.canal_a) / shape.canal_half_depth) - 1.0) * smaller
        self._pieces.append((window, np.maximum(distance_of(r, a, s), -canal).astype(np.float32)))

    def rod(self, start: Point, end: Point, radius: float) -> None:
        """The same rod on both sides."""
        first, last = np.array(start), np.array(end)
        low, high = np.minimum(first, last) - radius - 2.0, np.maximum(first, last) + radius + 2.0
        for side in (-1.0, 1.0):
            ends = sorted((side * low[0], side * high[0]))
            self.add(
                (ends[0], low[1], low[2]),
                (ends[1], high[1], high[2]),
                lambda r, a, s, side=side: capsule(r * np.float32(side), a, s, first, last, radius),  # type: ignore[misc]
            )

    def paint(self, cortical: float, marrow: float) -> None:
        for window, distance in self._pieces:
            self._raster.paint(window, self._raster.cover(distance), cortical)
        for window, distance in self._pieces:
            self._raster.paint(window, self._raster.cover(distance + _WALL_MM), marrow)


def draw_arch(raster: Raster, vertebra: PlacedVertebra, scale: float, cortical: float, marrow: float) -> None:
    """Draw the arch of one vertebra; ``scale`` is the patient's size factor, densities in HU."""
    shape, size = vertebra.shape, LEVEL_SIZES[vertebra.level]
    pen = _Pen(raster, vertebra)
    half = 0.5 * vertebra.intact.plane[0]
    thoracic = vertebra.level[0] == "T"
    high = half * (0.45 if thoracic else 0.3)
    wide, tall = 0.5 * size.pedicle_width_mm * scale, half * (0.52 if thoracic else 0.6)
    pedicle_x = shape.canal_half_width + 0.8 * wide
    rear = shape.canal_a - shape.canal_half_depth - 2.8

    def pedicles(r: Field, a: Field, s: Field) -> Field:
        rod = (np.sqrt(((np.abs(r) - pedicle_x) / wide) ** 2 + ((s - high) / tall) ** 2) - 1.0) * min(wide, tall)
        return np.asarray(np.maximum(rod, shape.canal_a - 4.0 - a), dtype=np.float32)

    side = pedicle_x + wide + 2.0
    pen.add(
        (-side, shape.canal_a - 6.0, high - tall - 2.0), (side, -0.3 * shape.half_depth, high + tall + 2.0), pedicles
    )

    corner = (pedicle_x + 1.0, shape.canal_a - 3.5)
    along = (-corner[0], rear - corner[1])
    length2 = along[0] ** 2 + along[1] ** 2
    thick = (3.1 if thoracic else 3.6) * scale**0.5
    low_s, high_s = -half * (1.0 if thoracic else 0.85), half * 0.55

    def laminae(r: Field, a: Field, s: Field) -> Field:
        x = np.abs(r)
        t = np.clip(((x - corner[0]) * along[0] + (a - corner[1]) * along[1]) / length2, 0.0, 1.0)
        across, behind = x - corner[0] - t * along[0], a - corner[1] - t * along[1]
        plate = np.sqrt(across * across + behind * behind) - thick
        return np.asarray(np.maximum(plate, np.maximum(low_s - s, s - high_s)), dtype=np.float32)

    side = corner[0] + thick + 2.0
    pen.add((-side, rear - thick - 2.0, low_s - 2.0), (side, shape.canal_a + 2.0, high_s + 2.0), laminae)

    length, drop = size.spinous_mm * scale, 0.75 * float(np.tan(np.radians(size.spinous_drop_deg)))
    tall_blade = half * (0.42 if thoracic else 0.62)

    def spinous(r: Field, a: Field, s: Field) -> Field:
        behind = rear - a
        grow = np.clip(behind / length, 0.0, 1.0)
        blade = np.maximum(
            np.abs(r) - (1.9 + 1.7 * grow * grow),
            (np.abs(s + behind * drop + 0.15 * half) - tall_blade * (1.0 - 0.2 * grow)),
        )
        return np.asarray(np.maximum(blade, np.maximum(behind - length, -behind - 1.0)), dtype=np.float32)

    pen.add(
        (-6.0, rear - length - 2.0, -0.15 * half - length * drop - tall_blade - 2.0),
        (6.0, rear + 2.0, tall_blade + 2.0),
        spinous,
    )
    if vertebra.level[0] != "S":
        backward = (13.0 if thoracic else 3.0) * scale
        pen.rod(
            (pedicle_x, shape.canal_a - 3.0, high - 1.0),
            (size.transverse_mm * scale, shape.canal_a - backward, high + (3.0 if thoracic else 0.0)),
            4.7 if thoracic else 3.3,
        )
    facet_x = shape.canal_half_width + (1.5 if thoracic else 4.0) * scale
    radius = (3.9 if thoracic else 5.2) * scale**0.5
    pen.rod(
        (facet_x + 1.0, shape.canal_a - 6.0, 0.0),
        (facet_x + 2.0, shape.canal_a - 4.5, half + vertebra.disc_above_mm * 0.6 + 3.0),
        radius,
    )
    if vertebra.level not in ("S1", "S2", "S3"):
        pen.rod(
            (facet_x, shape.canal_a - 9.0, 0.0),
            (facet_x - 1.5, shape.canal_a - 10.0, -half - vertebra.disc_below_mm * 0.6 - 4.0),
            radius,
        )
    pen.paint(cortical, marrow)
