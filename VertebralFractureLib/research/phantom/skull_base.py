"""Draw what lies above C2: its dens, the ring of the atlas around it, and the base of the skull.

Nothing is measured here. It only has to look, from the side of the canal, as the upper end of a cervical spine does,
because that is what the levels of a neck are counted from.
"""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.research.phantom.options import PhantomOptions
from VertebralFractureLib.research.phantom.raster import Raster, capsule
from VertebralFractureLib.research.phantom.skeleton import Skeleton
from VertebralFractureLib.types import Float32Array as Field

_DENS_MM = 16.0
_ATLAS_MM, _SKULL_MM, _TOP_MM = 9.0, 21.0, 110.0
"""Above the upper endplate of C2: the middle of the atlas, the rim of the great foramen, and the end of the drawing."""


def draw_atlas_and_skull(raster: Raster, skeleton: Skeleton, options: PhantomOptions) -> None:
    """Draw the dens, the atlas and the skull on top of a spine that ends with C2."""
    axis = skeleton.find("C2")
    scale = options.size_factor / 1.12
    shape = axis.shape
    top = 0.5 * shape.plane[0]
    side, deep = 75.0 * scale, 90.0 * scale
    found = raster.local(axis, (-side, -deep, -4.0), (side, deep, top + _TOP_MM))
    if found is None:
        return
    window, r, a, s = found
    bone, marrow = options.cortical_hu * 1.2, options.trabecular_hu * 1.4 + 60.0

    def draw(distance: Field, wall_mm: float) -> None:
        raster.paint(window, raster.cover(np.asarray(distance, dtype=np.float32)), bone)
        raster.paint(window, raster.cover(np.asarray(distance + wall_mm, dtype=np.float32)), marrow)

    canal = shape.canal_a
    rim = top + _SKULL_MM * scale
    dome = np.sqrt((r / (68.0 * scale)) ** 2 + ((a - canal + 8.0) / (88.0 * scale)) ** 2 + ((s - rim) / 105.0) ** 2)
    above = np.maximum((dome - 1.0) * 60.0, rim + 0.22 * np.abs(a - canal) * (a < canal) - s)
    brain = above + 6.0
    foramen = np.sqrt((r / 15.0) ** 2 + ((a - canal) / 17.0) ** 2) - 1.0
    shell = np.maximum(np.maximum(above, -brain), -12.0 * foramen)
    raster.paint(window, raster.cover(np.asarray(brain, dtype=np.float32)), 34.0)
    draw(shell.astype(np.float32), 1.8)
    dens_a = -0.25 * shape.half_depth
    dens = capsule(
        r, a, s, np.array([0.0, dens_a + 1.0, top - 4.0]), np.array([0.0, dens_a, top + _DENS_MM * scale - 5.0]), 5.3
    )
    middle = top + _ATLAS_MM * scale
    ring_a = 0.5 * (dens_a + 9.0 + canal - 13.0)
    half_a = 0.5 * (dens_a + 9.0 - (canal - 13.0))
    around = np.sqrt((r / 21.0) ** 2 + ((a - ring_a) / half_a) ** 2) - 1.0
    ring = np.sqrt((around * 17.0) ** 2 + (s - middle) ** 2) - 3.4
    mass = np.sqrt(((np.abs(r) - 19.0) / 1.1) ** 2 + ((a - dens_a + 2.0) / 1.2) ** 2 + ((s - middle) / 1.3) ** 2) - 7.0
    wing = capsule(
        np.abs(r), a, s, np.array([24.0, dens_a - 4.0, middle]), np.array([38.0, dens_a - 6.0, middle - 1.0]), 4.0
    )
    condyle = np.sqrt(((np.abs(r) - 17.0) / 1.0) ** 2 + ((a - dens_a + 3.0) / 1.6) ** 2 + (s - rim) ** 2) - 6.0
    for part, wall in ((ring, 1.4), (mass, 1.2), (wing, 1.2), (condyle, 1.2), (dens, 1.2)):
        draw(part.astype(np.float32), wall)
