"""``Vertebra``: the one record of a vertebra, from localization to JSON, table, CSV and page.

Its states are enums, whose words for a person are in ``result.words``; what a field means, its unit and its range stand
in the field's metadata. The schema (``result.report_schema``) and the columns (``vertebrae.columns``) follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from VertebralFractureLib.doubts import DoubtKind
from VertebralFractureLib.types import Point, Word, about

LANDMARK_COUNT = 6
MOST_OUTLINE_POINTS = 80
FAR_MM = 100_000.0
"""No coordinate is farther from the origin; scanners stay within a few meters."""
LONGEST_CURVE_MM = 3_000.0
"""No arc length is larger: a spine has 0.8 m, a curve drawn through a whole body 2 m."""
LEAST_HU, MOST_HU = -32_768.0, 65_535.0
"""What the voxels of a CT can hold."""
TALLEST_MM = 150.0
"""No height of a vertebra is larger; two merged ones have 70 mm."""
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
    AS_DENSE_AS_CEMENT = "as_dense_as_cement"
    """Denser than bone usually is, but not beyond what sclerosis or a bone island can be."""
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


class DensityFinding(Word):
    """How the bone of a body differs from that of its neighbors; no diagnosis."""

    DENSE_BODY = "dense_body"
    DENSE_FOCUS = "dense_focus"
    DENSE_BAND = "dense_band"
    """Under one endplate, as in degeneration and in fresh fractures."""
    DENSE_BANDS = "dense_bands"
    """Under both endplates."""
    LUCENT_BODY = "lucent_body"
    LUCENT_FOCUS = "lucent_focus"

    @property
    def is_dense(self) -> bool:
        return self not in (DensityFinding.LUCENT_BODY, DensityFinding.LUCENT_FOCUS)


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


def about_point(text: str, *, count: int | None = None, up_to: int | None = None) -> dict[str, Any]:
    """Metadata of a point or of a list of points, RAS mm."""
    return about(text, least=-FAR_MM, most=FAR_MM, count=count, up_to=up_to)


def about_level(text: str) -> dict[str, Any]:
    """Metadata of the name of a level."""
    return about(text, pattern=_LEVEL_PATTERN, form="a level from C1 to S1")


@dataclass(frozen=True)
class Heights:
    """Heights of the body at its anterior, middle and posterior third, mm."""

    anterior: float = field(metadata=about("of the anterior third", least=0, most=TALLEST_MM))
    middle: float = field(metadata=about("of the middle", least=0, most=TALLEST_MM))
    posterior: float = field(metadata=about("of the posterior third", least=0, most=TALLEST_MM))


@dataclass(frozen=True)
class ExpectedHeights:
    """What the heights would be without a fracture, as the rest of the spine and the norms predict, mm."""

    anterior: float = field(metadata=about("of the anterior third", least=0, most=2 * TALLEST_MM))
    middle: float = field(metadata=about("of the middle", least=0, most=2 * TALLEST_MM))
    posterior: float | None = field(
        metadata=about(
            "of the posterior third; null where its neighbors predict no height", least=0, most=2 * TALLEST_MM
        )
    )


@dataclass(frozen=True)
class HeightLosses:
    """Loss of each height as a fraction of what is expected, 0 where it is not lower."""

    anterior: float = field(metadata=about("of the anterior third", least=0, most=1))
    middle: float = field(metadata=about("of the middle", least=0, most=1))
    posterior: float | None = field(
        metadata=about("of the posterior third; null where its neighbors predict no height", least=0, most=1)
    )

    @property
    def largest(self) -> float:
        return max(self.anterior, self.middle, self.posterior or 0.0)


@dataclass(frozen=True)
class OrientedBox:
    """The box around a vertebral body, rotated as the vertebra is: an image geometry of origin, axes and size."""

    corner_ras: Point = field(
        metadata=about_point("its left, posterior, inferior corner, where all coordinates along the axes are least")
    )
    axes_ras: tuple[Point, Point, Point] = field(
        metadata=about("unit vectors to the vertebra's right, anterior, superior, at right angles", least=-1, most=1)
    )
    size_mm: Point = field(metadata=about("width, depth and height along them", least=0, most=2 * TALLEST_MM))


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
    comment: str = field(default="", metadata=about("free text", longest=10_000))
    who: str | None = field(
        default=None, metadata=about("the reader; null unless the reader asked to be named", longest=200)
    )
    when: str | None = field(
        default=None, metadata=about("time, ISO 8601; null unless the reader asked to be named", longest=64)
    )


@dataclass(frozen=True, kw_only=True)
class Vertebra:
    """One vertebra: where it is, what it is called, what was measured, what the model and a reader say of it.

    Points are RAS mm, arc lengths are mm along the centerline from its caudal end, fractions run from 0 to 1.
    """

    label: str = field(
        default="",
        metadata=about("what to show: the level, or V3 (third from the bottom) where it is unknown", longest=40),
    )
    level: str | None = field(
        default=None,
        metadata=about_level("C1 to S1; null where the field of view shows no landmark"),
    )
    level_probability: float = field(default=0.0, metadata=about("probability of that level", least=0, most=1))
    status: Status = field(default=Status.NOT_EVALUABLE, metadata=about("whether it was judged"))
    reason: Reason | None = field(default=None, metadata=about("why it was not judged"))
    doubts: tuple[DoubtKind, ...] = field(
        default=(), metadata=about("what makes its name, measures or score less certain than they look", up_to=60)
    )
    fracture_probability: float | None = field(
        default=None,
        metadata=about(
            "calibrated probability of a fracture, from networks and heights together; null unless scored",
            least=0,
            most=1,
        ),
    )
    uncertainty: float | None = field(
        default=None,
        metadata=about(
            "standard deviation of that probability, over the networks one by one and the error of the heights; null "
            "where one network alone was asked and no height is known",
            least=0,
            most=1,
        ),
    )
    grade_probability: tuple[float, float, float, float] | None = field(
        default=None,
        metadata=about(
            "calibrated probability of each Genant grade, 0 to 3, from networks and heights together; null unless "
            "scored, and where an older version did not know it",
            least=0,
            most=1,
        ),
    )
    grade: int | None = field(
        default=None,
        metadata=about(
            "Genant grade: 0 where no fracture is suspected, else the median of a fracture; null unless scored",
            least=0,
            most=3,
        ),
    )
    grade_range: tuple[int, int] | None = field(
        default=None,
        metadata=about(
            "least and highest grade that are not improbable, of a suspected fracture if it is one; null where "
            "grade_probability is",
            least=0,
            most=3,
        ),
    )
    shape: Shape | None = field(
        default=None, metadata=about("Genant shape; null for grade 0, and where no height says which")
    )
    borderline: bool = field(default=False, metadata=about("more than one grade is not improbable"))
    network_probability: float | None = field(
        default=None,
        metadata=about(
            "calibrated probability of a fracture from the networks alone; null unless scored", least=0, most=1
        ),
    )
    member_probability: Mapping[str, float] | None = field(
        default=None,
        metadata=about(
            "calibrated probability of grade 1 or more by each network of the ensemble, without the heights; null "
            "unless scored, and where an older version did not keep it",
            least=0,
            most=1,
        ),
    )
    member_probability_of_2: Mapping[str, float] | None = field(
        default=None, metadata=about("the same of grade 2 or more", least=0, most=1)
    )
    member_probability_of_3: Mapping[str, float] | None = field(
        default=None, metadata=about("the same of grade 3", least=0, most=1)
    )
    morphometric_grade: int | None = field(
        default=None,
        metadata=about("the grade that the heights alone would give, cut from height_loss", least=0, most=3),
    )
    heights_mm: Heights | None = field(default=None, metadata=about("heights between the endplates, mm"))
    expected_heights_mm: ExpectedHeights | None = field(
        default=None,
        metadata=about(
            "heights without a fracture, predicted from the other vertebrae and the norms, mm; null where no heights "
            "are known, and where an older version did not keep them"
        ),
    )
    height_loss: float | None = field(
        default=None,
        metadata=about("largest loss against the expected height", least=0, most=1),
    )
    height_losses: HeightLosses | None = field(
        default=None, metadata=about("loss of each height; null where an older version did not keep it")
    )
    area_loss: float | None = field(
        default=None,
        metadata=about(
            "loss of the area of the mid-sagittal outline against the one that the expected heights enclose, 0 where "
            "it is not smaller; null where the body was not traced, and where an older version did not measure it",
            least=0,
            most=1,
        ),
    )
    heights_source: Source = field(
        default=Source.MODEL, metadata=about("who placed the points that the heights lie between; a reader is believed")
    )
    height_sd_mm: float | None = field(
        default=None,
        metadata=about(
            "standard deviation of each height, mm, from slice distance and noise", least=0, most=LONGEST_CURVE_MM
        ),
    )
    height_loss_sd: float | None = field(
        default=None,
        metadata=about(
            "standard deviation of the loss, from the expected and the measured height", least=0, most=LONGEST_CURVE_MM
        ),
    )
    trabecular_hu: float | None = field(
        default=None,
        metadata=about(
            "mean HU of the trabecular volume of interest; null where it means nothing",
            least=LEAST_HU,
            most=MOST_HU,
        ),
    )
    trabecular_reason: Reason | None = field(default=None, metadata=about("why there is no trabecular_hu"))
    density_finding: DensityFinding | None = field(
        default=None,
        metadata=about("how its bone differs from that of its neighbors, whatever its height; null: it does not"),
    )
    note: str | None = field(
        default=None, metadata=about("the sentence of an older file that a reason `other` stands for", longest=4_000)
    )
    center_ras: Point = field(metadata=about_point("center of the body, RAS mm"))
    extent_mm: tuple[float, float] = field(
        metadata=about(
            "arc length of the lower and the upper endplate at mid body, mm",
            least=-LONGEST_CURVE_MM,
            most=2 * LONGEST_CURVE_MM,
        )
    )
    complete: bool = field(metadata=about("the whole body lies inside the volume"))
    detection_confidence: float = field(metadata=about("of the localization", least=0, most=1))
    landmarks_ras: tuple[Point, ...] | None = field(
        default=None,
        metadata=about_point(
            "anterior, middle and posterior point of the upper endplate, then of the lower one, RAS mm",
            count=LANDMARK_COUNT,
        ),
    )
    outline_ras: tuple[Point, ...] | None = field(
        default=None,
        metadata=about_point(
            "closed mid-sagittal outline of the body, RAS mm: the upper endplate from anterior to posterior, then the "
            "lower one back; null where it was not traced",
            up_to=MOST_OUTLINE_POINTS,
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
