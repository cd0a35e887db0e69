"""The English of a result, one table: states become words here, for page, table, command line, panel and scene.

No code decides anything by these words, and no file is read by them (``result.migration`` knows those of old files).
"""

from __future__ import annotations

from VertebralFractureLib.doubts import Doubt, DoubtKind
from VertebralFractureLib.result.report import NOT_EVALUABLE, ScanResult, SpineReport, is_suspected
from VertebralFractureLib.thresholds import SCORING
from VertebralFractureLib.vertebrae.bone_change import keeps_height
from VertebralFractureLib.vertebrae.grading import grade_from_loss
from VertebralFractureLib.vertebrae.vertebra import (
    Assessment,
    DensityFinding,
    ExpectedHeights,
    Reason,
    Status,
    Vertebra,
)

HIGHEST_GRADE = 3
STATUS_WORDS: dict[Status, str] = {
    Status.SCORED: "scored",
    Status.NOT_EVALUABLE: "not evaluable",
    Status.EXCLUDED_BY_READER: "excluded by the reader",
}
REASON_WORDS: dict[Reason, str] = {
    Reason.TRUNCATED: "partially imaged",
    Reason.LEVEL_NOT_SCORED: "level not scored",
    Reason.LOW_CONFIDENCE: "low confidence",
    Reason.METAL_OR_CEMENT: "implant or cement",
    Reason.AS_DENSE_AS_CEMENT: "as dense as cement, which strong sclerosis can be too",
    Reason.SLICES_LOST: "slices or parts of them are missing, copied or moved there",
    Reason.NO_SEQUENCE_POSITION: "no position of the sequence lies inside it",
    Reason.MARKED_BY_READER: "marked not evaluable by the reader",
    Reason.FRACTURED: "fractured or suspected of it",
    Reason.DEGENERATED: "sclerotic or degenerated",
    Reason.NOT_TRACED: "its outline could not be traced",
    Reason.CURVE_ENDS: "the centerline ends or bends too sharply there",
    Reason.OFF_CANAL: "the centerline does not run in the canal there",
    Reason.NO_BONE: "holds far less bone than its neighbors, destroyed or no body",
    Reason.NOT_SEPARATED: "two vertebrae may have been taken for one",
    Reason.OTHER: "another reason",
}
DOUBT_WORDS: dict[DoubtKind, str] = {
    DoubtKind.FILES_LEFT_OUT: "DICOM files that are damaged or do not fit were left out, and may belong to the scan",
    DoubtKind.CORRECTION_OF_OTHER_VOXELS: "the correction was made on another file, perhaps of another scan",
    DoubtKind.CURVE_OFF_CANAL: "the given centerline runs where no spinal canal is seen",
    DoubtKind.EDIT_WITHOUT_VERTEBRA: "edits of the correction mean no vertebra of this scan and were left out",
    DoubtKind.LEVELS_CONTRADICT: "the reader's levels cannot stand together in one spine",
    DoubtKind.LEVELS_MOVED_FAR: "the reader's levels are far from those of the model",
    DoubtKind.HU_SCALE: "the Hounsfield units do not look like those of a CT",
    DoubtKind.NO_ORIGINAL_SERIES: "the series is no original scan: virtual values, or by its description a projection "
    "or a map",
    DoubtKind.UNEVEN_SLICES: "the distance between the slices changes, and the volume was interpolated",
    DoubtKind.LOSSY_IMAGES: "the images were compressed with loss",
    DoubtKind.PATIENT_ROTATED: (
        "the patient does not lie as the file says, and was judged in the position that the anatomy shows; right and "
        "left cannot be told from the spine: correct the orientation of the series before a side is named"
    ),
    DoubtKind.POSITION_UNCONFIRMED: "the anatomy hardly shows how the patient lies; the file was believed",
    DoubtKind.LEVEL_BY_COUNTING: "level by counting alone",
    DoubtKind.METAL: "metal or cement in view, or contrast medium or bone as dense",
    DoubtKind.UNUSUAL_HEIGHT: "height does not fit its neighbors",
    DoubtKind.ENDPLATE_UNSURE: "an endplate is hard to see, its heights are less certain",
    DoubtKind.WALL_UNSURE: "the front or the back of the body is hard to see, its heights may stand elsewhere",
    DoubtKind.WITNESSES_DISAGREE: "networks and heights disagree",
    DoubtKind.VERTEBRA_MISSING: "a vertebra may be missing beside it",
    DoubtKind.SLICES_EMPTY: "slices hold no image",
    DoubtKind.SLICES_REPEATED: "slices are copies of the one before",
    DoubtKind.SLICES_JUMP: "slices may be missing, or the patient moved between two slices",
    DoubtKind.SLICES_DISORDER: "slices seem to be out of order",
    DoubtKind.SLICES_DOUBLED: "slices were repeated to make the volume finer; it is measured as coarse as it was",
    DoubtKind.SLICES_INTERPOLATED: "missing slices were filled from their neighbors",
    DoubtKind.LEVEL_ACROSS_JUMP: "level counted on one side of slices that may be missing",
}
"""What follows a row; a scan's sentence is made of these words and of what was measured (``describe_doubt``)."""
_MEASURED_WORDS: dict[DoubtKind, str] = {
    DoubtKind.CURVE_OFF_CANAL: "{mm:g} of {mm_in_all:g} mm",
    DoubtKind.HU_SCALE: "soft tissue at {hu_of_soft_tissue:.0f} HU",
    DoubtKind.PATIENT_ROTATED: "turned by {degrees:.0f} degrees",
    DoubtKind.SLICES_EMPTY: "{slices:g} after slice {slice_before:g}",
    DoubtKind.SLICES_REPEATED: "{slices:g} after slice {slice_before:g}",
    DoubtKind.SLICES_JUMP: "after slice {slice_before:g}, {times_the_usual_difference:g} times the usual difference",
    DoubtKind.SLICES_DISORDER: "{slices:g} after slice {slice_before:g}",
    DoubtKind.SLICES_DOUBLED: "{times:g} times",
    DoubtKind.UNEVEN_SLICES: "{mm_at_least:.1f} to {mm_at_most:.1f} mm",
}
"""What was measured, where its name and unit alone ("12 slices") say too little."""
DENSITY_WORDS: dict[DensityFinding, str] = {
    DensityFinding.DENSE_BODY: "denser than its neighbors",
    DensityFinding.DENSE_FOCUS: "a focus denser than in its neighbors",
    DensityFinding.DENSE_BAND: "a dense band under one endplate",
    DensityFinding.DENSE_BANDS: "dense bands under both endplates",
    DensityFinding.LUCENT_BODY: "less dense than its neighbors",
    DensityFinding.LUCENT_FOCUS: "a hole in its bone",
}
_COMPACTED = (DensityFinding.DENSE_FOCUS, DensityFinding.DENSE_BAND, DensityFinding.DENSE_BANDS)
"""What is a part of a fracture, and no finding of its own, in a body that heights and networks call one."""
ASSESSMENT_WORDS: dict[Assessment, str] = {
    Assessment.CONFIRMED: "confirmed",
    Assessment.REJECTED: "rejected",
    Assessment.REGRADED: "regraded",
    Assessment.NOT_EVALUABLE: "not evaluable",
}


def describe_reason(vertebra: Vertebra) -> str:
    """Why the vertebra was not judged, in words; empty where it was."""
    return _describe(vertebra.reason, vertebra.note)


def describe_trabecular_reason(vertebra: Vertebra) -> str:
    """Why the vertebra has no trabecular HU, in words; empty where it has."""
    return _describe(vertebra.trabecular_reason, vertebra.note)


def _describe(reason: Reason | None, note: str | None) -> str:
    if reason == Reason.OTHER and note:
        return note
    return "" if reason is None else REASON_WORDS[reason]


def describe_status(vertebra: Vertebra) -> str:
    """The status in words with its reason, for example "not evaluable: partially imaged"."""
    reason = describe_reason(vertebra)
    return STATUS_WORDS[vertebra.status] + (f": {reason}" if reason else "")


def describe_call(vertebra: Vertebra, threshold: float) -> str:
    """What a table's last column says: suspected or the status, how the bone differs, and what is doubtful."""
    call = "suspected" if is_suspected(vertebra, threshold) else describe_status(vertebra)
    density, doubts = describe_density(vertebra), describe_doubts(vertebra)
    return call + (f"; {density}" if density else "") + (f"; in doubt: {doubts}" if doubts else "")


def describe_density(vertebra: Vertebra) -> str:
    """How its bone differs, and what became of its height: "denser than its neighbors, height kept"; or nothing."""
    finding, kept, networks = vertebra.density_finding, keeps_height(vertebra), vertebra.network_probability
    if finding is None or (
        vertebra.morphometric_grade and finding in _COMPACTED and (networks or 0.0) >= SCORING.fractured_from
    ):
        return ""
    height = "height not measured" if kept is None else "height kept"
    if kept is False:
        height = "height lower" if grade_from_loss(vertebra.height_loss or 0.0) else "height perhaps lower"
        height += ", or read at the dense bone" if finding.is_dense else ""
    return f"{DENSITY_WORDS[finding]}, {height}"


def list_densities(report: SpineReport) -> list[str]:
    """A sentence for every vertebra whose bone differs, with what morphometry and the networks say of it."""
    threshold = report.scan.decision_threshold
    return [
        f"{vertebra.label}: {'; '.join([describe_density(vertebra), *_witnesses(vertebra, threshold)])}"
        for vertebra in reversed(report.vertebrae)
        if describe_density(vertebra)
    ]


def _witnesses(vertebra: Vertebra, threshold: float) -> list[str]:
    words = []
    if vertebra.height_loss is not None and not grade_from_loss(vertebra.height_loss):
        words.append("not counted as a fracture by morphometry")
    networks = vertebra.network_probability
    if networks is not None:
        words.append(f"networks {networks:.2f}")
    return words if not is_suspected(vertebra, threshold) else ["fracture suspected", *words]


def describe_doubts(vertebra: Vertebra) -> str:
    """What is doubtful about the vertebra, in words; empty where nothing is."""
    return ", ".join(_describe_own_doubt(kind, vertebra) for kind in vertebra.doubts)


def _describe_own_doubt(kind: DoubtKind, vertebra: Vertebra) -> str:
    """A doubt about a vertebra, with what was measured where that is on its record."""
    words, network, loss = DOUBT_WORDS[kind], vertebra.network_probability, vertebra.height_loss
    if kind != DoubtKind.WITNESSES_DISAGREE or network is None or loss is None:
        return words
    return f"{words} (networks {network:.2f}, heights alone grade {vertebra.morphometric_grade}, loss {loss:.0%})"


def describe_expected(expected: ExpectedHeights) -> str:
    """Expected anterior, middle and posterior height in mm, a dash for one that nothing predicts."""
    each = (expected.anterior, expected.middle, expected.posterior)
    return " / ".join("–" if height is None else f"{height:.1f}" for height in each)


def describe_grade(vertebra: Vertebra) -> str:
    """The grade with its range, for example "2 (1 to 3)", "at least 2", or "not determined"."""
    if vertebra.grade is None:
        return "not determined"
    if vertebra.grade_range is None:
        return f"{vertebra.grade}{' (borderline)' if vertebra.borderline else ''}"
    if vertebra.grade_range[0] == vertebra.grade_range[1]:
        return str(vertebra.grade)
    low, high = vertebra.grade_range
    if low == vertebra.grade and high == HIGHEST_GRADE:
        return f"at least {low}"
    return f"{vertebra.grade} ({low} to {high})"


def describe_index(scan: ScanResult) -> str:
    """The spinal deformity index with its range, for example "3 (2 to 4)", or "not determined"."""
    if scan.sdi is None:
        return "not determined"
    if scan.sdi_range is None or scan.sdi_range[0] == scan.sdi_range[1]:
        return str(scan.sdi)
    return f"{scan.sdi} ({scan.sdi_range[0]} to {scan.sdi_range[1]})"


def describe_doubt(doubt: Doubt) -> str:
    """A doubt about the scan as a sentence's part, with what was measured: "... (12 slices)"."""
    try:
        measured = _MEASURED_WORDS[doubt.kind].format(**doubt.values)
    except KeyError:
        measured = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in doubt.values.items())
    return DOUBT_WORDS[doubt.kind] + (f" ({measured})" if measured else "")


def list_doubts(report: SpineReport) -> list[str]:
    """Every doubt of the report, one line each: those of the scan, then those of vertebrae with their labels."""
    lines = [describe_doubt(doubt) for doubt in report.doubts]
    for kind, words in DOUBT_WORDS.items():
        doubted = [vertebra for vertebra in reversed(report.vertebrae) if kind in vertebra.doubts]
        labels = [vertebra.label for vertebra in doubted]
        if kind == DoubtKind.WITNESSES_DISAGREE:
            lines += [f"{vertebra.label}: {_describe_own_doubt(kind, vertebra)}" for vertebra in doubted]
        elif labels:
            whom = "every vertebra" if len(labels) == len(report.vertebrae) > 1 else ", ".join(labels)
            lines.append(f"{whom}: {words}")
    return lines


def write_impression(report: SpineReport) -> str:
    """One line for a person: what was found, whose bone differs, and everything that is doubtful about it."""
    densities, doubts = list_densities(report), list_doubts(report)
    return ". ".join([write_finding(report), *densities]) + (f". In doubt: {'; '.join(doubts)}" if doubts else "")


def write_finding(report: SpineReport) -> str:
    """What was found, as "1 fracture suspected, T8 (at least grade 2); 14 vertebrae scored, 1 not evaluable"."""
    if report.status == NOT_EVALUABLE:
        return f"Not evaluable: {report.reason}"
    scored = sum(vertebra.status == Status.SCORED for vertebra in report.vertebrae)
    not_evaluable = sum(vertebra.status == Status.NOT_EVALUABLE for vertebra in report.vertebrae)
    labels = [_label_with_grade(vertebra) for vertebra in reversed(report.suspected)]
    found = "No fracture suspected"
    if labels:
        listed = labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"
        found = f"{len(labels)} fracture{'s' if len(labels) > 1 else ''} suspected, {listed}"
    return f"{found}; {scored} vertebrae scored, {not_evaluable} not evaluable"


def _label_with_grade(vertebra: Vertebra) -> str:
    """The label of a suspected vertebra, with the grade where its probabilities are known."""
    if vertebra.grade_probability is None or vertebra.grade is None or vertebra.grade_range is None:
        return vertebra.label
    low, high = vertebra.grade_range
    if low == high:
        words = f"grade {vertebra.grade}"
    elif low == vertebra.grade and high == HIGHEST_GRADE:
        words = f"at least grade {low}"
    else:
        words = f"grade {low} to {high}"
    return f"{vertebra.label} ({words})"
