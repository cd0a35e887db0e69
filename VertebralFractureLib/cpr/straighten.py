"""Curved planar reformation of a CT along the spine, for both kinds of frames; ``plane_sampling`` does the work."""

from __future__ import annotations

import numpy as np

from VertebralFractureLib.canal.centerline import Centerline
from VertebralFractureLib.cpr.frame import STRAIGHTENED, ReformatFrame
from VertebralFractureLib.cpr.grid import ReformatBox, ReformatGrid, lay_box
from VertebralFractureLib.cpr.plane_intersection import find_intersections
from VertebralFractureLib.cpr.plane_sampling import sample_planes
from VertebralFractureLib.cpr.sampler import ReformatSampler, locate_planes
from VertebralFractureLib.cpr.straightened_volume import OUTSIDE_HU, StraightenedVolume
from VertebralFractureLib.errors import NoSpineFound
from VertebralFractureLib.progress import StageProgress
from VertebralFractureLib.types import BoolArray, Float32Array
from VertebralFractureLib.volume import CTVolume


def straighten(
    ct: CTVolume,
    centerline: Centerline,
    kind: str = STRAIGHTENED,
    grid: ReformatGrid | None = None,
    progress: StageProgress | None = None,
    *,
    threads: int | None = None,
) -> StraightenedVolume:
    """Reformat the CT along the spine; see ``ReformatFrame`` for the two kinds and ``ReformatGrid`` for the options.

    Args:
        threads: None takes what the machine has, at most four.

    Raises:
        NoSpineFound: when the grid does not meet the CT, or no frame can be laid along the centerline.
        CenterlineTooSharp: when reformat planes meet within the canal.
        Cancelled: from ``progress``.
    """
    grid = grid or ReformatGrid()
    frame = grid.frame(centerline, kind)
    return straighten_along(ct, frame, lay_box(centerline, frame, grid), grid, progress, threads=threads)


def straighten_along(
    ct: CTVolume,
    frame: ReformatFrame,
    box: ReformatBox,
    grid: ReformatGrid,
    progress: StageProgress | None = None,
    *,
    threads: int | None = None,
) -> StraightenedVolume:
    """As ``straighten``, with a frame and a box that were laid before."""
    limits = find_intersections(frame, box)
    sampler = ReformatSampler(ct, grid, threads)
    hu, inside = sampler.sample(sampler.planes(frame, box), box, progress)
    limits.mask_outside(box, np.arange(len(hu)), hu, inside)
    refuse_empty(inside)
    return StraightenedVolume(hu, inside, box.origin_mm, box.spacing_mm, frame)


def sample_straight(
    ct: CTVolume,
    frame: ReformatFrame,
    origin_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    shape_kji: tuple[int, int, int],
) -> tuple[Float32Array, BoolArray]:
    """Sample a straightened grid at its points: HU ``[k, j, i]`` float32, and what lies in the CT's field of view."""
    box = ReformatBox(origin_mm, spacing_mm, shape_kji)
    hu = np.full(shape_kji, OUTSIDE_HU, dtype=np.float32)
    inside = np.zeros(shape_kji, dtype=np.bool_)
    planes = locate_planes(ct, frame, box.axis_mm("s"))
    sample_planes(ct.hu, planes, box.axis_mm("r"), box.axis_mm("a"), hu, inside)
    return hu, inside


def refuse_empty(inside: BoolArray) -> None:
    """Raise ``NoSpineFound`` when nothing of a spine volume lies in the CT's field of view."""
    if not inside.any():
        raise NoSpineFound("The centerline lies outside the volume; check that both belong to the same scan.")
