"""``VertebraShape``: one vertebral body as an implicit shape in its own rigid frame, before and after a fracture.

The two endplates are height fields over (r, a) whose three mid-sagittal heights are solved for exactly; a fracture is
a second field that is taken away from them, so the truth is read from the very surfaces that are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from VertebralFractureLib.research.phantom.level_sizes import LevelSize
from VertebralFractureLib.research.phantom.options import FractureOptions
from VertebralFractureLib.types import Float32Array as Field

POSTERIOR_INSET_MM = 3.0
ANTERIOR_INSET_MM = 3.5


@dataclass(frozen=True)
class SchmorlNode:
    """A Schmorl's node: a round hollow of an endplate, mm."""

    upper: bool
    r: float
    a: float
    radius: float
    depth: float


@dataclass(frozen=True)
class VertebraShape:
    """A body in its frame (r right, a anterior, s cranial; the origin is its center), mm.

    ``plane`` and ``dip`` are (h0, h1, c): the endplates are apart by h0 + h1 * a less c times the dip profile.
    ``loss_mm`` is taken away at the anterior, middle and posterior measuring points, ``upper_share`` of it from the
    upper endplate. ``lumps`` are the amplitude and phases of the fractured endplates' unevenness.
    """

    level: str
    half_width: float
    half_depth: float
    plane: tuple[float, float, float]
    waist: float
    canal_half_width: float
    canal_half_depth: float
    osteophyte_mm: float
    osteophyte_phase: float
    schmorl_nodes: tuple[SchmorlNode, ...] = ()
    loss_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    upper_share: float = 0.5
    side_relief: float = 0.0
    lumps: tuple[float, float, float] = (0.0, 0.0, 0.0)
    retropulsion_mm: float = 0.0
    fracture: FractureOptions | None = None

    @property
    def canal_a(self) -> float:
        """Where the canal's center lies on the a axis."""
        return -self.half_depth - self.canal_half_depth + 1.0

    @property
    def measuring_a(self) -> tuple[float, float, float]:
        """Where the anterior, middle and posterior height are measured: inside the walls at mid height."""
        posterior, anterior = self.walls_a
        low, high = posterior + POSTERIOR_INSET_MM, anterior - ANTERIOR_INSET_MM
        return high, 0.5 * (posterior + anterior), low

    @property
    def walls_a(self) -> tuple[float, float]:
        """Posterior and anterior wall on the mid-sagittal line at mid height."""
        return -self.half_depth * (1.0 - 0.3 * self.waist) + 1.2, self.half_depth * (1.0 - self.waist)

    def endplates(self, r: Field, a: Field) -> tuple[Field, Field]:
        """The s of the upper and the lower endplate over (r, a), arrays that broadcast."""
        h0, h1, dip = self.plane
        rho2 = (r / (0.86 * self.half_width)) ** 2 + (a / (0.86 * self.half_depth)) ** 2
        apart = h0 + h1 * a - dip * np.clip(1.0 - rho2 * rho2, 0.0, 1.0)
        upper = 0.5 * apart
        lower = -0.5 * apart
        if any(self.loss_mm):
            lost = self._lost(r, a)
            upper = upper - self.upper_share * lost
            lower = lower + (1.0 - self.upper_share) * lost
        for node in self.schmorl_nodes:
            depth = node.depth * np.exp(-((((r - node.r) ** 2 + (a - node.a) ** 2) / node.radius**2) ** 2))
            if node.upper:
                upper = upper - depth
            else:
                lower = lower + depth
        return upper.astype(np.float32), lower.astype(np.float32)

    def _lost(self, r: Field, a: Field) -> Field:
        anterior, middle, posterior = self.measuring_a
        front = np.clip((a - middle) / (anterior - middle), 0.0, 1.0)
        back = np.clip((middle - a) / (middle - posterior), 0.0, 1.0)
        la, lm, lp = self.loss_mm
        monotone = (la - lm) * (lm - lp) > 0.0
        rise = (front, back) if monotone else (front * front * (3.0 - 2.0 * front), back * back * (3.0 - 2.0 * back))
        lost = lm + (la - lm) * rise[0] + (lp - lm) * rise[1]
        across = (r / self.half_width) ** 2
        amplitude, phase_r, phase_a = self.lumps
        uneven = amplitude * np.minimum(across, 1.0) * np.sin(r * 0.33 + phase_r) * np.cos(a * 0.28 + phase_a)
        return np.asarray(lost * (1.0 - self.side_relief * np.minimum(across, 1.0)) + uneven, dtype=np.float32)

    def heights(self) -> tuple[float, float, float]:
        """Anterior, middle and posterior height as drawn, mm."""
        upper, lower = self.endplates(np.zeros(3, dtype=np.float32), np.array(self.measuring_a, dtype=np.float32))
        anterior, middle, posterior = (upper.astype(np.float64) - lower).tolist()
        return anterior, middle, posterior

    def side_distance(self, r: Field, a: Field, s: Field) -> Field:
        """Signed distance in mm to the side wall (negative inside), near the wall."""
        half = 0.5 * (self.plane[0] - max(self.loss_mm))
        u2 = np.minimum((s / half) ** 2, 1.0)
        inward = 1.0 - self.waist * (1.0 - u2)
        backward = 1.0 - 0.3 * self.waist * (1.0 - u2)
        shift = 1.2 * np.exp(-((r / 7.0) ** 2))
        if self.retropulsion_mm > 0.0:
            shift = shift - self.retropulsion_mm * np.exp(-((r / 8.0) ** 2)) * np.exp(-(((s - 0.5 * half) / 5.0) ** 2))
        behind = np.minimum(a - shift, 0.0) / (self.half_depth * backward)
        ahead = np.maximum(a, 0.0) / (self.half_depth * inward)
        x = np.abs(r) / (self.half_width * inward)
        rho = np.maximum((x**2.6 + np.maximum(ahead, -behind) ** 2.6) ** (1.0 / 2.6), 1e-3)
        distance = np.sqrt(r * r + a * a) * (1.0 - 1.0 / rho)
        if self.osteophyte_mm > 0.0:
            angle = np.arctan2(a, r)
            lobes = np.clip(np.sin(angle + 0.3) + 0.6 * np.sin(3.0 * angle + self.osteophyte_phase), 0.0, 1.6)
            distance = distance - self.osteophyte_mm * lobes * np.exp(-(((np.abs(s) - half) / 3.0) ** 2))
        return np.asarray(distance, dtype=np.float32)

    def body_distance(self, r: Field, a: Field, s: Field) -> tuple[Field, Field]:
        """Signed distance to the body's surface, and to its endplates alone, mm (negative inside)."""
        upper, lower = self.endplates(r, a)
        plates = np.maximum(s - upper, lower - s)
        side = self.side_distance(r, a, s)
        rounding = np.maximum(1.6 - np.abs(plates - side), 0.0)
        return np.maximum(plates, side) + rounding * rounding * 0.156, plates


def intact_shape(
    level: str, size: LevelSize, scale: float, degeneration: float, rng: np.random.Generator
) -> VertebraShape:
    """A vertebra without fracture: the level's sizes with this vertebra's own small differences.

    The spread of Ha/Hp and Hm/Hp is about that of public height readings (0.05 and 0.04). Both are drawn a little
    higher than their medians, towards the reference scans (thoracic means 0.95 and 0.95) with their flatter endplates.
    """
    posterior = size.posterior_height_mm * scale * rng.normal(1.0, 0.025)
    anterior = posterior * (size.anterior_ratio + rng.normal(0.015, 0.045))
    middle = min(posterior * (size.middle_ratio + rng.normal(0.05, 0.04)), 0.5 * (anterior + posterior) - 0.3)
    chance = rng.random()
    shape = VertebraShape(
        level=level,
        half_width=0.5 * size.width_mm * scale * rng.normal(1.0, 0.02),
        half_depth=0.5 * size.depth_mm * scale * rng.normal(1.0, 0.02),
        plane=(1.0, 0.0, 0.0),
        waist=float(rng.uniform(0.06, 0.13)),
        canal_half_width=0.5 * size.canal_width_mm * scale,
        canal_half_depth=0.5 * size.canal_depth_mm * scale,
        osteophyte_mm=float(max(0.0, degeneration * rng.uniform(-1.5, 7.0))) if chance < 0.8 else 0.0,
        osteophyte_phase=float(rng.uniform(0.0, 6.28)),
    )
    at = np.array(shape.measuring_a)
    profile = np.clip(1.0 - (at / (0.86 * shape.half_depth)) ** 4, 0.0, 1.0)
    system = np.stack([np.ones(3), at, -profile], axis=1)
    h0, h1, dip = np.linalg.solve(system, np.array([anterior, middle, posterior])).tolist()
    return replace(shape, plane=(h0, h1, dip))


def fractured_shape(shape: VertebraShape, fracture: FractureOptions, rng: np.random.Generator) -> VertebraShape:
    """The same vertebra after a fracture; the worst of its three heights has lost exactly ``height_loss``."""
    loss = fracture.height_loss
    shares = {
        "wedge": (1.0, rng.uniform(0.45, 0.75), rng.uniform(0.0, 0.25)),
        "biconcave": (rng.uniform(0.05, 0.4), 1.0, rng.uniform(0.0, 0.3)),
        "crush": (1.0, rng.uniform(0.92, 1.0), rng.uniform(0.85, 0.99)),
    }[fracture.shape]
    intact = shape.heights()
    upper_share = (
        rng.uniform(0.4, 0.6) if fracture.shape != "wedge" else rng.choice([0.85, 0.6, 0.2], p=[0.7, 0.2, 0.1])
    )
    severe = max(0.0, loss - 0.3)
    return replace(
        shape,
        loss_mm=(loss * shares[0] * intact[0], loss * shares[1] * intact[1], loss * shares[2] * intact[2]),
        upper_share=float(upper_share),
        side_relief=float(rng.uniform(0.15, 0.5) if fracture.shape == "biconcave" else rng.uniform(0.0, 0.2)),
        lumps=(float(rng.uniform(0.2, 1.3)), float(rng.uniform(0.0, 6.28)), float(rng.uniform(0.0, 6.28))),
        retropulsion_mm=float(severe * rng.uniform(0.0, 14.0)),
        schmorl_nodes=(),
        fracture=fracture,
    )
