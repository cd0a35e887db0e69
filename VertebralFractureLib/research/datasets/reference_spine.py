"""``ReferenceSpine``: what is known to be true about a spine, whether a reader annotated it or a phantom drew it.

``s`` is arc length in mm along the reference centerline (0 at its caudal end), ``a`` is mm anterior of the canal's
center and ``r`` is mm to the patient's right, all in the sagittal-locked frame of that centerline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from VertebralFractureLib.canal.centerline import Centerline


class Source(str, Enum):
    """Where an item of a reference comes from: what the program found itself is no truth to measure it by."""

    GIVEN = "given"
    """A reader annotated it, or a phantom drew it."""
    MASK = "mask"
    """Measured on a label map that somebody else made."""
    PROGRAM = "program"
    """Found by this program when the scan was imported."""


@dataclass(frozen=True)
class BodyBox:
    """Extent of a vertebral body along the frame, mm."""

    s_inf: float
    s_sup: float
    a_post: float
    a_ant: float
    r_left: float
    r_right: float


@dataclass(frozen=True)
class ReferenceVertebra:
    """One vertebra; ``None`` where it is not known.

    ``heights_mm`` is (anterior, middle, posterior); ``landmarks_ras`` is six points in the order anterior, middle,
    posterior of the upper endplate, then the same of the lower endplate. ``center_by``, ``heights_by`` and ``level_by``
    say where each comes from; ``grade_by_table``: the grade is that of a table that was laid onto the annotation.
    """

    level: str | None
    complete: bool
    center_ras: tuple[float, float, float]
    box: BodyBox | None
    heights_mm: tuple[float | None, float | None, float | None]
    grade: int | None
    shape: str | None
    flags: tuple[str, ...] = ()
    level_certain: bool = True
    landmarks_ras: tuple[tuple[float, float, float], ...] | None = None
    center_by: Source = Source.GIVEN
    heights_by: Source = Source.GIVEN
    level_by: Source = Source.GIVEN
    grade_by_table: bool = False


@dataclass(frozen=True)
class ReferenceSpine:
    """A centerline and its vertebrae, caudal to cranial.

    ``unplaced_grades``: grades, by level, that a reader gave and that no vertebra here carries, because it was not
    found or is called otherwise. A fracture among them was missed, whoever missed it. ``acquisition``: what the scan's
    own header said, such as ``kvp`` and ``kernel``; subgroups are made of it.
    """

    identifier: str
    centerline: Centerline
    vertebrae: tuple[ReferenceVertebra, ...]
    uncertain_mm: tuple[tuple[float, float], ...] = ()
    centerline_by: Source = Source.GIVEN
    unplaced_grades: Mapping[str, int] = field(default_factory=dict)
    acquisition: Mapping[str, str] = field(default_factory=dict)


def fracture_summary(reference: ReferenceSpine) -> str:
    """The known fractures in words, cranial first, for example "Known fractures: T12 grade 3 crush."."""
    fractured = [vertebra for vertebra in reversed(reference.vertebrae) if vertebra.grade]
    words = ", ".join(f"{vertebra.level} grade {vertebra.grade} {vertebra.shape}" for vertebra in fractured)
    return f"Known fractures: {words or 'none'}."
