"""``SpineReport``: everything that was found, as plain data that JSON, CSV and an MRML scene can hold.

``null`` means unknown and is never left out; a scan or a vertebra is never "normal" by default, it is either scored or
not evaluable with a reason. Field names follow the schema ``vertebral-fracture-report/2`` (docs/reference).
``SCHEMA`` would change where a reader of old files breaks; ``REVISION`` counts what was added to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from VertebralFractureLib.vertebrae import Heights, OrientedBox

SCHEMA = "vertebral-fracture-report/2"
REVISION = 5
"""Counts on through the schemas: schema 1 ended at revision 4 (``result.migration``)."""
EVALUABLE = "evaluable"
NOT_EVALUABLE = "not_evaluable"

FROM_MODEL, FROM_READER = "model", "reader"
CONFIRMED, REJECTED, REGRADED, UNJUDGED = "confirmed", "rejected", "regraded", "not_evaluable"
VERDICTS = (CONFIRMED, REJECTED, REGRADED, UNJUDGED)

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Software:
    """Which code and which weights made the report, and on what: "cpu" or "cuda"; None where that is not known."""

    version: str
    weights_sha256: Mapping[str, str]
    device: str | None = None


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

    fracture_probability: float | None
    sdi: int | None
    fractured_levels: tuple[str, ...]
    decision_threshold: float
    bone_density: BoneDensity | None = None


@dataclass(frozen=True)
class ReportedCenterline:
    """The canal's centerline, caudal to cranial, RAS mm."""

    points_ras: tuple[Point, ...]
    confidence: tuple[float, ...]


@dataclass(frozen=True)
class ReportedSequence:
    """The sequence model's answer along the centerline."""

    positions_mm: tuple[float, ...]
    probability: tuple[float, ...]
    uncertainty: tuple[float, ...]


@dataclass(frozen=True)
class ReaderVerdict:
    """What the reader says; kept apart from the model's answer.

    Attributes:
        grade: Genant 0 to 3; None where the reader named none.
        verdict: one of ``VERDICTS``; None where the reader said nothing.
        fracture: whether the reader calls it a fracture; None without a verdict or where it cannot be judged.
        who, when: the reader and the time (ISO 8601); None unless the reader asked for them to be kept.
    """

    grade: int | None = None
    comment: str = ""
    verdict: str | None = None
    fracture: bool | None = None
    who: str | None = None
    when: str | None = None


@dataclass(frozen=True)
class ModelAnswer:
    """What the model said about a vertebra whose shown values a reader's correction changed."""

    level: str | None
    level_probability: float
    label: str
    status: str
    reason: str | None
    fracture_probability: float | None
    uncertainty: float | None
    grade: int | None
    shape: str | None
    severity: float | None
    heights_mm: Heights | None
    height_loss: float | None
    borderline: bool
    landmarks_ras: tuple[Point, ...] | None


@dataclass(frozen=True)
class ReportedVertebra:
    """One vertebra, caudal to cranial; the fields are those of ``Vertebra``, in RAS mm."""

    level: str | None
    level_probability: float
    label: str
    center_ras: Point
    status: str
    reason: str | None
    fracture_probability: float | None
    uncertainty: float | None
    grade: int | None
    shape: str | None
    severity: float | None
    heights_mm: Heights | None
    height_loss: float | None
    borderline: bool
    trabecular_hu: float | None
    complete: bool
    detection_confidence: float
    extent_mm: tuple[float, float]
    """Arc length of the lower and the upper endplate at mid body."""
    landmarks_ras: tuple[Point, ...] | None
    """Anterior, middle, posterior of the upper endplate, then of the lower one."""
    reader: ReaderVerdict = ReaderVerdict()
    origin: str = FROM_MODEL
    """``FROM_MODEL``, or ``FROM_READER`` for a vertebra that a reader added, split or merged."""
    model: ModelAnswer | None = None
    """The model's answer where a correction changed what is shown; None where the values above are the model's own."""
    height_sd_mm: float | None = None
    height_loss_sd: float | None = None
    """Standard deviation of each height and of the loss, from slice distance and noise."""
    trabecular_reason: str | None = None
    """Why there is no ``trabecular_hu``."""
    box: OrientedBox | None = None


@dataclass(frozen=True)
class SpineReport:
    """The whole report."""

    software: Software
    input: InputIdentity
    status: str
    reason: str | None
    scan: ScanResult
    centerline: ReportedCenterline
    sequence: ReportedSequence
    vertebrae: tuple[ReportedVertebra, ...]
    timings_s: Mapping[str, float]
    peak_memory_mb: float | None = None

    @property
    def suspected(self) -> tuple[ReportedVertebra, ...]:
        """Scored vertebrae at or above the decision threshold, caudal to cranial."""
        return tuple(v for v in self.vertebrae if is_suspected(v, self.scan.decision_threshold))

    @property
    def judged_mm(self) -> tuple[float, float] | None:
        """Arc length from the lowest endplate of the scored vertebrae to the highest; None where none is scored.

        Beyond it lie the sacrum, the neck and what the field of view cuts: the model answers there too, but was never
        taught to, so that nothing is drawn of it.
        """
        ends = [end for vertebra in self.vertebrae if vertebra.status == "scored" for end in vertebra.extent_mm]
        return (min(ends), max(ends)) if ends else None

    @property
    def judged_sequence(self) -> ReportedSequence:
        """The sequence within ``judged_mm``: what may be drawn."""
        judged = self.judged_mm
        rows = zip(self.sequence.positions_mm, self.sequence.probability, self.sequence.uncertainty, strict=True)
        kept = [row for row in rows if judged is not None and judged[0] <= row[0] <= judged[1]]
        positions, probability, uncertainty = zip(*kept, strict=True) if kept else ((), (), ())
        return ReportedSequence(positions, probability, uncertainty)

    @property
    def headline(self) -> str:
        """One line for a person, for example "2 fractures suspected, T8 and L1; 14 scored, 1 not evaluable"."""
        if self.status == NOT_EVALUABLE:
            return f"Not evaluable: {self.reason}"
        scored = sum(v.status == "scored" for v in self.vertebrae)
        not_evaluable = sum(v.status == "not_evaluable" for v in self.vertebrae)
        names = [v.label for v in reversed(self.suspected)]
        found = "No fracture suspected"
        if names:
            listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
            found = f"{len(names)} fracture{'s' if len(names) > 1 else ''} suspected, {listed}"
        return f"{found}; {scored} vertebrae scored, {not_evaluable} not evaluable"


def is_suspected(vertebra: ReportedVertebra, threshold: float) -> bool:
    """A scored vertebra whose fracture probability reaches the threshold."""
    probability = vertebra.fracture_probability
    return vertebra.status == "scored" and probability is not None and probability >= threshold
