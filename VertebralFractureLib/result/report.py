"""``SpineReport``: everything that was found, as plain data that JSON, CSV and an MRML scene can hold.

``null`` means unknown and is never left out; a scan or a vertebra is never "normal" by default, it is either scored or
not evaluable with a reason. Field names follow the schema ``vertebral-fracture-report/2`` (docs/reference).
``SCHEMA`` would change where a reader of old files breaks; ``REVISION`` counts what was added to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from VertebralFractureLib.doubts import Doubt
from VertebralFractureLib.types import Point, Word, about
from VertebralFractureLib.vertebrae.vertebra import (
    LEAST_HU,
    LONGEST_CURVE_MM,
    MOST_HU,
    Status,
    Vertebra,
    about_level,
    about_point,
)

if TYPE_CHECKING:
    from VertebralFractureLib.canal import Centerline

SCHEMA = "vertebral-fracture-report/2"
REVISION = 8
"""Counts on through the schemas: schema 1 ended at revision 4 (``result.migration``)."""
MOST_POINTS = 5_000
"""Of a curve, and positions of the sequence: the detected canal has a point about every 5 mm."""
MOST_VERTEBRAE = 60
"""Rows of a report, and edits of one kind; a spine has 26."""
_MOST_SECONDS, _MOST_MEMORY_MB = 1e7, 1e8


class ScanStatus(Word):
    """Whether a scan could be judged."""

    EVALUABLE = "evaluable"
    NOT_EVALUABLE = "not_evaluable"


AXES_OF_FILE: tuple[Point, Point, Point] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
EVALUABLE, NOT_EVALUABLE = ScanStatus.EVALUABLE, ScanStatus.NOT_EVALUABLE


@dataclass(frozen=True)
class Software:
    """Which code and which weights made the report, and on what: "cpu" or "cuda"; None where that is not known."""

    version: str = field(metadata=about("of the code", longest=100))
    weights_sha256: Mapping[str, str] = field(metadata=about("of each file that was used", pattern="^[0-9a-f]{64}$"))
    device: str | None = field(default=None, metadata=about("where the networks ran", pattern="^(cpu|cuda)$"))


@dataclass(frozen=True)
class InputIdentity:
    """Which volume was judged; holds no patient identifier beyond what the file was called."""

    name: str = field(metadata=about("what the input was called", longest=4_096))
    shape_kji: tuple[int, int, int] = field(metadata=about("voxels along k, j, i", least=1, most=1_000_000))
    spacing_mm: Point = field(metadata=about("between voxels along i, j, k, mm", least=1e-6, most=1_000))
    modality: str = field(default="CT", metadata=about("of the input", longest=64))
    identifiers: Mapping[str, str] = field(default_factory=dict, metadata=about("such as the series UID"))


@dataclass(frozen=True)
class BoneDensity:
    """Trabecular HU of one vertebra that stands for the scan."""

    level: str = field(metadata=about_level("whose it is; L1 where it can be"))
    hu: float = field(metadata=about("as measured", least=LEAST_HU, most=MOST_HU))
    hu_at_120_kv: float | None = field(
        metadata=about(
            "null where the tube voltage is not known, or has no correction", least=2 * LEAST_HU, most=2 * MOST_HU
        )
    )
    tube_voltage_kv: float | None = field(metadata=about("null where it is not known", least=0, most=1_000))
    contrast: bool | None = field(metadata=about("whether contrast medium was given; null where it is not known"))
    note: str = field(metadata=about("what is not known or not corrected, in words", longest=4_000))


@dataclass(frozen=True)
class ScanResult:
    """The answer for the whole scan; ``None`` where the scan is not evaluable.

    ``bone_density`` is None where the inside of no vertebra from T11 to L3 can stand for the scan.
    """

    fracture_probability: float | None = field(
        metadata=about("that the scan shows at least one fracture: of its most suspicious vertebra", least=0, most=1)
    )
    sdi: int | None = field(
        metadata=about(
            "spinal deformity index: sum of the grades of suspected vertebrae, T4 to L4; null where none of these has "
            "a grade",
            least=0,
            most=3 * MOST_VERTEBRAE,
        )
    )
    fractured_levels: tuple[str, ...] = field(
        metadata=about("labels of suspected vertebrae, cranial first", longest=40, up_to=MOST_VERTEBRAE)
    )
    decision_threshold: float = field(
        metadata=about("probability from which a vertebra is called suspected", least=0, most=1)
    )
    bone_density: BoneDensity | None = None
    sdi_range: tuple[int, int] | None = field(
        default=None,
        metadata=about(
            "least and highest index that are not improbable; null where the probabilities of the grades are not known",
            least=0,
            most=3 * MOST_VERTEBRAE,
        ),
    )
    network_probability: float | None = field(
        default=None,
        metadata=about(
            "that the scan shows at least one fracture, from the networks alone over the whole of it; null where an "
            "older version did not keep it apart",
            least=0,
            most=1,
        ),
    )


@dataclass(frozen=True)
class ReportedCenterline:
    """The canal's centerline, caudal to cranial, RAS mm of the file."""

    points_ras: tuple[Point, ...] = field(metadata=about_point("caudal to cranial, RAS mm", up_to=MOST_POINTS))
    confidence: tuple[float, ...] = field(
        metadata=about(
            "per point: probability that the true center lies within 3 mm", least=0, most=1, up_to=MOST_POINTS
        )
    )
    patient_axes_ras: tuple[Point, Point, Point] = field(
        default=AXES_OF_FILE,
        metadata=about(
            "the patient's right, front and head as directions of the file; other than its axes where the anatomy "
            "shows that the patient does not lie as the file says",
            least=-1,
            most=1,
        ),
    )

    def curve(self) -> Centerline:
        """The curve that was reported.

        Raises:
            ValueError: when the points are fewer than two.
        """
        import numpy as np

        from VertebralFractureLib.canal import Centerline

        points, confidence, axes = (np.array(one) for one in (self.points_ras, self.confidence, self.patient_axes_ras))
        return Centerline(points, confidence, patient_axes=axes)


@dataclass(frozen=True)
class ReportedSequence:
    """The sequence model's answer along the centerline, at ``n`` positions."""

    positions_mm: tuple[float, ...] = field(
        metadata=about(
            "arc lengths, ascending, mm", least=-LONGEST_CURVE_MM, most=2 * LONGEST_CURVE_MM, up_to=MOST_POINTS
        )
    )
    probability: tuple[float, ...] = field(metadata=about("of the ensemble", least=0, most=1, up_to=MOST_POINTS))
    uncertainty: tuple[float, ...] = field(
        metadata=about("standard deviation of the networks' probabilities", least=0, most=1, up_to=MOST_POINTS)
    )
    inside_fraction: tuple[float, ...] | None = field(
        default=None,
        metadata=about(
            "of each patch, in the field of view; null: not kept by an older version",
            least=0,
            most=1,
            up_to=MOST_POINTS,
        ),
    )
    member_probability: Mapping[str, tuple[float, ...]] | None = field(
        default=None,
        metadata=about(
            "of grade 1 or more, by network; null: not kept by an older version", least=0, most=1, up_to=MOST_POINTS
        ),
    )
    member_probability_of_2: Mapping[str, tuple[float, ...]] | None = field(
        default=None, metadata=about("the same of grade 2 or more", least=0, most=1, up_to=MOST_POINTS)
    )
    member_probability_of_3: Mapping[str, tuple[float, ...]] | None = field(
        default=None, metadata=about("the same of grade 3", least=0, most=1, up_to=MOST_POINTS)
    )


@dataclass(frozen=True)
class SpineReport:
    """The whole report."""

    software: Software
    input: InputIdentity
    status: ScanStatus
    reason: str | None = field(metadata=about("why the scan is not evaluable and what to do, in words", longest=4_000))
    scan: ScanResult
    centerline: ReportedCenterline
    sequence: ReportedSequence
    vertebrae: tuple[Vertebra, ...] = field(metadata=about("caudal to cranial", up_to=MOST_VERTEBRAE))
    timings_s: Mapping[str, float] = field(metadata=about("per step and in all", least=0, most=_MOST_SECONDS))
    doubts: tuple[Doubt, ...] = field(
        default=(), metadata=about("what makes the whole answer less certain than it looks", up_to=MOST_VERTEBRAE)
    )
    peak_memory_mb: float | None = field(default=None, metadata=about("of the process", least=0, most=_MOST_MEMORY_MB))

    @property
    def suspected(self) -> tuple[Vertebra, ...]:
        """Scored vertebrae at or above the decision threshold, caudal to cranial."""
        return tuple(v for v in self.vertebrae if is_suspected(v, self.scan.decision_threshold))

    @property
    def judged_mm(self) -> tuple[float, float] | None:
        """Arc length from the lowest endplate of the scored vertebrae to the highest; None where none is scored.

        Beyond it lie the sacrum, the neck and what the field of view cuts: the model answers there too, but was never
        taught to, so that nothing is drawn of it.
        """
        ends = [end for vertebra in self.vertebrae if vertebra.status == Status.SCORED for end in vertebra.extent_mm]
        return (min(ends), max(ends)) if ends else None

    @property
    def judged_sequence(self) -> ReportedSequence:
        """The sequence within ``judged_mm``: what may be drawn."""
        judged = self.judged_mm
        if judged is None:
            return ReportedSequence((), (), ())
        rows = zip(self.sequence.positions_mm, self.sequence.probability, self.sequence.uncertainty, strict=True)
        kept = [row for row in rows if judged[0] <= row[0] <= judged[1]]
        positions, probability, uncertainty = zip(*kept, strict=True) if kept else ((), (), ())
        return ReportedSequence(positions, probability, uncertainty)


def is_suspected(vertebra: Vertebra, threshold: float) -> bool:
    """A scored vertebra whose fracture probability reaches the threshold."""
    probability = vertebra.fracture_probability
    return vertebra.status == Status.SCORED and probability is not None and probability >= threshold
