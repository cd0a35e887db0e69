"""``Vertebra``: the one record of a vertebra, from localization to JSON, table, CSV and page.

Its states are enums, whose words for a person are in ``result.words``; what a field means, its unit and its range stand
in the field's metadata. The schema (``result.report_schema``) and the columns (``vertebrae.columns``) follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.types import Point, Word, about

LANDMARK_COUNT = 6
_LEVEL_PATTERN = "^(C[1-7]|T([1-9]|1[0-3])|L[1-6]|S1)$"


class Status(Word):
    """Whether a vertebra was judged."""

    SCORED = "scored"
    NOT_EVALUABLE = "not_evaluable"
    EXCLUDED_BY_READER = "excluded_by_reader"


class Reason(Word):
    """Why a vertebra was not judged, or why it has no trabecular HU."""

    TRUNCATED = "truncated"
    LEVEL_NOT_SCORED = "level_not_scored"
    LOW_CONFIDENCE = "low_confidence"
    METAL_OR_CEMENT = "metal_or_cement"
    SLICES_LOST = "slices_lost"
    CURVE_ENDS = "curve_ends"
    """The scan shows all of it, but the centerline ends there or bends too sharply."""
    OFF_CANAL = "off_canal"
    """The centerline runs in no canal there, so that nothing around it is where it is looked for."""
    NO_BONE = "no_bone"
    """It holds soft tissue where its neighbors hold bone: destroyed, or no body at all."""
    NO_SEQUENCE_POSITION = "no_sequence_position"
    MARKED_BY_READER = "marked_by_reader"
    FRACTURED = "fractured"
    DEGENERATED = "degenerated"
    NOT_TRACED = "not_traced"
    NOT_SEPARATED = "not_separated"
    """It is as tall as two of its neighbors: two bodies may have been taken for one."""
    OTHER = "other"
    """A sentence of an older file that this version does not know; ``Vertebra.note`` holds it."""


class Shape(Word):
    """The shape of a fractured body after Genant 1993."""

    WEDGE = "wedge"
    BICONCAVE = "biconcave"
    CRUSH = "crush"


class Source(Word):
    """Who found a vertebra."""

    MODEL = "model"
    READER = "reader"
    """Added, split or merged by a reader."""


class Assessment(Word):
    """What a reader can say of a vertebra."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    REGRADED = "regraded"
    NOT_EVALUABLE = "not_evaluable"


@dataclass(frozen=True)
class Heights:
    """Heights of the body at its anterior, middle and posterior third, mm."""

    anterior: float
    middle: float
    posterior: float


@dataclass(frozen=True)
class OrientedBox:
    """The box around a vertebral body, rotated as the vertebra is: an image geometry of origin, axes and size.

    Attributes:
        corner_ras: its left, posterior, inferior corner, where all three coordinates along the axes are least.
        axes_ras: unit vectors to the vertebra's right, anterior and superior, at right angles.
        size_mm: width, depth and height along them.
    """

    corner_ras: Point
    axes_ras: tuple[Point, Point, Point]
    size_mm: Point


@dataclass(frozen=True)
class ReaderAssessment:
    """What the reader says of one vertebra; kept apart from the model's answer."""

    assessment: Assessment | None = field(
        default=None, metadata=about("what the reader says of the model's call; null: nothing was said")
    )
    fracture: bool | None = field(
        default=None,
        metadata=about("whether the reader calls it a fracture; null without an assessment or where it cannot be told"),
    )
    grade: int | None = field(default=None, metadata=about("Genant grade of the reader", least=0, most=3))
    comment: str = field(default="", metadata=about("free text"))
    who: str | None = field(default=None, metadata=about("the reader; null unless the reader asked to be named"))
    when: str | None = field(default=None, metadata=about("time, ISO 8601; null unless the reader asked to be named"))


@dataclass(frozen=True, kw_only=True)
class Vertebra:
    """One vertebra: where it is, what it is called, what was measured, what the model and a reader say of it.

    Points are RAS mm, arc lengths are mm along the centerline from its caudal end, fractions run from 0 to 1.
    """

    label: str = field(
        default="", metadata=about("what to show: the level, or V3 (third from the bottom) where it is unknown")
    )
    level: str | None = field(
        default=None,
        metadata=about("C1 to S1; null where the field of view shows no landmark", pattern=_LEVEL_PATTERN),
    )
    level_probability: float = field(default=0.0, metadata=about("probability of that level", least=0, most=1))
    status: Status = field(default=Status.NOT_EVALUABLE, metadata=about("whether it was judged"))
    reason: Reason | None = field(default=None, metadata=about("why it was not judged"))
    doubts: tuple[DoubtKind, ...] = field(
        default=(), metadata=about("what makes its name, its measures or its score less certain than they look")
    )
    fracture_probability: float | None = field(
        default=None, metadata=about("calibrated probability of a fracture; null unless scored", least=0, most=1)
    )
    uncertainty: float | None = field(
        default=None,
        metadata=about("standard deviation of that probability, or half the distance of network and morphometry"),
    )
    member_probability: Mapping[str, float] | None = field(
        default=None,
        metadata=about(
            "calibrated probability by each network of the ensemble, without the morphometry; null unless scored, and "
            "where an older version did not keep it",
            least=0,
            most=1,
        ),
    )
    grade: int | None = field(default=None, metadata=about("Genant grade from the heights", least=0, most=3))
    shape: Shape | None = field(default=None, metadata=about("Genant shape; null for grade 0"))
    heights_mm: Heights | None = field(default=None, metadata=about("heights between the endplates, mm"))
    height_loss: float | None = field(
        default=None, metadata=about("largest loss against the expected height; the grade is cut from it")
    )
    borderline: bool = field(
        default=False, metadata=about("the loss is nearer to a cut-off than two readers of two scans to each other")
    )
    height_sd_mm: float | None = field(
        default=None, metadata=about("standard deviation of each height, mm, from slice distance and noise")
    )
    height_loss_sd: float | None = field(default=None, metadata=about("standard deviation of the loss"))
    trabecular_hu: float | None = field(
        default=None, metadata=about("mean HU of the trabecular volume of interest; null where it means nothing")
    )
    trabecular_reason: Reason | None = field(default=None, metadata=about("why there is no trabecular_hu"))
    note: str | None = field(
        default=None, metadata=about("the sentence of an older file that a reason `other` stands for")
    )
    center_ras: Point = field(metadata=about("center of the body, RAS mm"))
    extent_mm: tuple[float, float] = field(
        metadata=about("arc length of the lower and the upper endplate at mid body, mm")
    )
    complete: bool = field(metadata=about("the whole body lies inside the volume"))
    detection_confidence: float = field(metadata=about("of the localization", least=0, most=1))
    landmarks_ras: tuple[Point, ...] | None = field(
        default=None,
        metadata=about(
            "anterior, middle and posterior point of the upper endplate, then of the lower one, RAS mm",
            count=LANDMARK_COUNT,
        ),
    )
    box: OrientedBox | None = field(default=None, metadata=about("around the body; null where it was not traced"))
    source: Source = field(default=Source.MODEL, metadata=about("who found it"))
    reader: ReaderAssessment = field(
        default=ReaderAssessment(), metadata=about("what the reader says, kept apart from the model's answer")
    )
    model: Vertebra | None = field(
        default=None,
        metadata=about(
            "the model's own vertebra where a correction changed a value above; null: the values are its own"
        ),
    )

    @property
    def middle_mm(self) -> float:
        """Arc length of mid height, mm."""
        return 0.5 * (self.extent_mm[0] + self.extent_mm[1])

    @property
    def models_answer(self) -> Vertebra | None:
        """What the model said about this vertebra; None where a reader placed it."""
        return self.model if self.model is not None or self.source == Source.READER else self
