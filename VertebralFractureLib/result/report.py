"""``SpineReport``: everything that was found, as plain data that JSON, CSV and an MRML scene can hold.

``null`` means unknown and is never left out; a scan or a vertebra is never "normal" by default, it is either scored or
not evaluable with a reason. Field names follow the schema ``vertebral-fracture-report/2`` (docs/reference).
``SCHEMA`` would change where a reader of old files breaks; ``REVISION`` counts what was added to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from VertebralFractureLib.doubts import Doubt
from VertebralFractureLib.types import Point, Word, about
from VertebralFractureLib.vertebrae.vertebra import Status, Vertebra

SCHEMA = "vertebral-fracture-report/2"
REVISION = 6
"""Counts on through the schemas: schema 1 ended at revision 4 (``result.migration``)."""


class ScanStatus(Word):
    """Whether a scan could be judged."""

    EVALUABLE = "evaluable"
    NOT_EVALUABLE = "not_evaluable"


EVALUABLE, NOT_EVALUABLE = ScanStatus.EVALUABLE, ScanStatus.NOT_EVALUABLE


@dataclass(frozen=True)
class Software:
    """Which code and which weights made the report, and on what: "cpu" or "cuda"; None where that is not known."""

    version: str
    weights_sha256: Mapping[str, str] = field(metadata=about("of each file that was used", pattern="^[0-9a-f]{64}$"))
    device: str | None = field(default=None, metadata=about("where the networks ran", pattern="^(cpu|cuda)$"))


@dataclass(frozen=True)
class InputIdentity:
    """Which volume was judged; holds no patient identifier beyond what the file was called."""

    name: str
    shape_kji: tuple[int, int, int]
    spacing_mm: Point
    modality: str = "CT"
    identifiers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BoneDensity:
    """Trabecular HU of one vertebra that stands for the scan.

    Attributes:
        level: whose it is; L1 where it can be.
        hu: as measured.
        hu_at_120_kv: None where the tube voltage is not known, or has no correction.
        tube_voltage_kv: None where it is not known.
        contrast: whether contrast medium was given; None where it is not known.
        note: what is not known or not corrected, in words.
    """

    level: str
    hu: float
    hu_at_120_kv: float | None
    tube_voltage_kv: float | None
    contrast: bool | None
    note: str


@dataclass(frozen=True)
class ScanResult:
    """The answer for the whole scan; ``None`` where the scan is not evaluable.

    ``bone_density`` is None where the inside of no vertebra from T11 to L3 can stand for the scan.
    """

    fracture_probability: float | None = field(
        metadata=about("that the scan shows at least one fracture", least=0, most=1)
    )
    sdi: int | None = field(
        metadata=about("spinal deformity index: sum of the grades of suspected vertebrae, T4 to L4")
    )
    fractured_levels: tuple[str, ...] = field(metadata=about("labels of suspected vertebrae, cranial first"))
    decision_threshold: float = field(
        metadata=about("probability from which a vertebra is called suspected", least=0, most=1)
    )
    bone_density: BoneDensity | None = None


@dataclass(frozen=True)
class ReportedCenterline:
    """The canal's centerline, caudal to cranial, RAS mm."""

    points_ras: tuple[Point, ...]
    confidence: tuple[float, ...] = field(
        metadata=about("per point: probability that the true center lies within 3 mm", least=0, most=1)
    )


@dataclass(frozen=True)
class ReportedSequence:
    """The sequence model's answer along the centerline, at ``n`` positions.

    Attributes:
        positions_mm: arc lengths, ascending.
        probability, uncertainty: of the ensemble, and the standard deviation of its networks.
        inside_fraction: fraction of each patch that lies inside the field of view; None where an older version did not
            keep it.
        member_probability: probability by each network; None where an older version did not keep it.
    """

    positions_mm: tuple[float, ...]
    probability: tuple[float, ...] = field(metadata=about("of the ensemble", least=0, most=1))
    uncertainty: tuple[float, ...] = field(metadata=about("standard deviation of the networks' probabilities"))
    inside_fraction: tuple[float, ...] | None = field(
        default=None, metadata=about("of each patch, in the field of view; null: not kept by an older version")
    )
    member_probability: Mapping[str, tuple[float, ...]] | None = field(
        default=None, metadata=about("by network; null: not kept by an older version", least=0, most=1)
    )


@dataclass(frozen=True)
class SpineReport:
    """The whole report."""

    software: Software
    input: InputIdentity
    status: ScanStatus
    reason: str | None = field(metadata=about("why the scan is not evaluable and what to do, in words"))
    scan: ScanResult
    centerline: ReportedCenterline
    sequence: ReportedSequence
    vertebrae: tuple[Vertebra, ...]
    timings_s: Mapping[str, float]
    doubts: tuple[Doubt, ...] = field(
        default=(), metadata=about("what makes the whole answer less certain than it looks")
    )
    peak_memory_mb: float | None = None

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
