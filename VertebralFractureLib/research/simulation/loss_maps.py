"""Where, over the footprint of a vertebral body, its two endplates gave way: families of fractures as height fields.

A map is in fractions of the body's height in each column, over x (0 at the posterior, 1 at the anterior wall) and y (-1
at the left, 1 at the right wall), both endplates counted positive towards mid height. The families are drawn from
formulas alone; maps measured on label maps of real fractures come from ``measured_losses`` and are for evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from VertebralFractureLib.research.simulation.fracture_shapes import BICONCAVE, CRUSH, WEDGE
from VertebralFractureLib.types import FloatArray

SIDE = 41
"""Points of a map along x and along y."""


@dataclass(frozen=True)
class LossMap:
    """How far both endplates give way ``(SIDE, SIDE)`` along (x, y), as fractions of the height there.

    Attributes:
        family: what it is called in a table of results.
        upper, lower: of the upper endplate downward, of the lower one upward.
    """

    family: str
    upper: FloatArray
    lower: FloatArray

    def at(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Upper and lower loss at points; beyond the footprint that of its edge."""
        where = np.stack([np.clip(x, 0.0, 1.0) * (SIDE - 1), (np.clip(y, -1.0, 1.0) + 1.0) * 0.5 * (SIDE - 1)])
        upper, lower = (map_coordinates(field, where, order=1, mode="nearest") for field in (self.upper, self.lower))
        return np.asarray(upper), np.asarray(lower)

    def times(self, factor: float) -> LossMap:
        return LossMap(self.family, self.upper * factor, self.lower * factor)

    def flattened(self, share: float) -> LossMap:
        """A map that is even by ``share``: 0 as it is, 1 flat."""
        upper, lower = ((1.0 - share) * field + share * field.mean() for field in (self.upper, self.lower))
        return LossMap(self.family, upper, lower)


Field = Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]


def draw_loss_map(shape: str, rng: np.random.Generator) -> LossMap:
    """A map of largest loss 1 from one of the families that lead to a Genant shape.

    Raises:
        ValueError: for a shape that has no family.
    """
    if shape not in _FAMILIES:
        raise ValueError(f"There is no family of '{shape}' fractures.")
    names = list(_FAMILIES[shape])
    name = names[int(rng.integers(len(names)))]
    draw = _FAMILIES[shape][name]
    x, y = np.meshgrid(np.linspace(0.0, 1.0, SIDE), np.linspace(-1.0, 1.0, SIDE), indexing="ij")
    share = float(rng.choice([1.0, 1.0, 0.8, 0.6]))
    rough = gaussian_filter(rng.normal(size=(2, SIDE, SIDE)), (0.0, 2.5, 2.5))
    rough *= float(rng.uniform(0.0, 0.05)) / rough.std()
    fields = [draw(x, y, rng) * part for part in (share, 1.0 - share)]
    upper, lower = fields[0] + share * rough[0], fields[1] + (1.0 - share) * rough[1]
    most = float((fields[0] + fields[1]).max())
    return LossMap(name, upper / most, lower / most)


def _ramp(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A wedge: nothing at the back, all at the front, more on one side."""
    start, power, tilt = rng.uniform([0.05, 0.8, -0.25], [0.35, 1.5, 0.25])
    return np.asarray(np.clip((x - start) / (1.0 - start), 0.0, 1.0) ** power * (1.0 + tilt * y))


def _step(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A wedge whose front has broken off and lies deeper: a step within about 2 mm, along an oblique line."""
    at, lean, share = rng.uniform([0.5, -0.12, 0.45], [0.72, 0.12, 0.75])
    step = 0.5 * (1.0 + np.tanh((x - at - lean * y) / 0.04))
    return np.asarray(share * step + (1.0 - share) * np.clip((x - 0.2) / 0.8, 0.0, 1.0))


def _cap(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A spherical cap pressed into the endplate, its rim whole."""
    at_x, at_y, wide_x, wide_y = rng.uniform([0.42, -0.2, 0.4, 0.75], [0.6, 0.2, 0.5, 1.0])
    away = ((x - at_x) / wide_x) ** 2 + ((y - at_y) / wide_y) ** 2
    radius = float(rng.uniform(1.05, 2.0))
    floor = np.sqrt(radius**2 - 1.0)
    return np.asarray(np.maximum(np.sqrt(np.maximum(radius**2 - away, 0.0)) - floor, 0.0) / (radius - floor))


def _valley(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A V: two planes that meet in a sharp line from wall to wall, oblique."""
    at, wide, lean = rng.uniform([0.42, 0.42, -0.1], [0.6, 0.52, 0.1])
    across = np.maximum(1.0 - np.abs(x - at - lean * y) / wide, 0.0)
    return np.asarray(across * (1.0 - 0.6 * np.abs(y) ** 4))


def _flat(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A crush: the whole endplate, a little tilted."""
    forward, sideward = rng.uniform([-0.1, -0.15], [0.35, 0.15])
    return np.asarray(1.0 + forward * (x - 0.5) + sideward * y)


def _burst(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A crush whose middle is deepest, the back wall lost with it."""
    base = float(rng.uniform(0.5, 0.75))
    return np.asarray(base + (1.0 - base) * _cap(x, y, rng))


def _wedge_with_back(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A wedge that takes the back wall along."""
    base = float(rng.uniform(0.45, 0.75))
    return np.asarray(base + (1.0 - base) * _ramp(x, y, rng))


_FAMILIES: Mapping[str, Mapping[str, Field]] = {
    WEDGE: {"ramp": _ramp, "step": _step},
    BICONCAVE: {"cap": _cap, "valley": _valley},
    CRUSH: {"flat": _flat, "burst": _burst, "wedge with back wall": _wedge_with_back},
}
