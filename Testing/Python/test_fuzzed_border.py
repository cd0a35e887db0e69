"""Whatever JSON, curve, table or request comes in: it is refused in a sentence, or what is read keeps every range.

Each case changes a small whole file by chance, always the same for the same number of the case.
``VERTEBRAL_FRACTURE_FUZZ=10000`` tries so many cases of every reader instead of the few of the suite.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from correction_samples import a_column, landmarks
from json_mutations import mutate_bytes, mutate_json

from VertebralFractureLib.cli.corrections import read_curve
from VertebralFractureLib.errors import RefusedContent, UnreadableVolume, UnusableCorrection
from VertebralFractureLib.research.datasets.annotation_file import read_annotation, reference_to_json
from VertebralFractureLib.research.datasets.grade_table import read_grades
from VertebralFractureLib.research.datasets.height_measurements import read_heights
from VertebralFractureLib.result import (
    CorrectedReport,
    Correction,
    corrected_from_json,
    corrected_to_json,
    correction_to_json,
    edits,
    report_from_json,
    report_to_json,
)
from VertebralFractureLib.result.made_for import MadeFor
from VertebralFractureLib.result.report_json import correction_with_scan_from_json
from VertebralFractureLib.result.words import write_impression
from VertebralFractureLib.session_requests import check_export, check_request, read_request
from VertebralFractureLib.vertebrae.levels import LEVEL_NUMBERS

CASES = int(os.environ.get("VERTEBRAL_FRACTURE_FUZZ", "40"))
LIMIT_S = 10.0
SAMPLES = Path(__file__).parent
REFUSED = (RefusedContent, UnusableCorrection, UnreadableVolume)


def an_edited_column() -> CorrectedReport:
    """The column with an edit of every kind."""
    report = a_column()
    correction = edits.set_level(Correction(), report, 3, "T12")
    correction = edits.split_vertebra(correction, report, 2)
    correction = edits.set_landmarks(correction, report, 5, landmarks(170.0, 20.0, 22.0, 24.0))
    correction = edits.assess(correction, report, 4, "regraded", grade=1, comment="old, known")
    correction = edits.remove_vertebra(correction, report, 0)
    line = [(1.0, 0.0, float(s)) for s in range(0, 290, 5)]
    return CorrectedReport(report, edits.set_centerline(correction, line, [line[3]]), rescored=report)


def read_and_write_report(text: str) -> None:
    """A report that was read can be written, reads back as itself, and has words for a person."""
    report = report_from_json(text)
    assert len(report_from_json(report_to_json(report)).vertebrae) == len(report.vertebrae)
    assert write_impression(report)
    for vertebra in report.vertebrae:
        assert vertebra.fracture_probability is None or 0.0 <= vertebra.fracture_probability <= 1.0
        assert vertebra.grade in (None, 0, 1, 2, 3)
        assert (vertebra.fracture_probability is None) or vertebra.status != "not_evaluable"


def read_and_write_corrected(text: str) -> None:
    corrected = corrected_from_json(text)
    assert write_impression(corrected.shown)
    # What is shown after a reader's edits is itself a report that can be read.
    assert len(corrected_from_json(corrected_to_json(corrected)).shown.vertebrae) == len(corrected.shown.vertebrae)


def read_and_write_correction(text: str) -> None:
    correction, made_for = correction_with_scan_from_json(text)
    assert correction_with_scan_from_json(correction_to_json(correction, made_for=made_for))[0]


def answer_request(text: str) -> None:
    for line in text.split("\n"):
        check_request(read_request(line.encode("utf-8", "surrogatepass")))


def in_a_file(read: Callable[[Path], object], name: str, folder: Path) -> Callable[[bytes], None]:
    path = folder / name

    def read_it(content: bytes) -> None:
        path.write_bytes(content)
        read(path)

    return read_it


def refusal_of(read: Callable[[bytes], None], content: bytes) -> str | None:
    """The sentence by which it is refused; None where it is read."""
    try:
        read(content)
    except REFUSED as error:
        return str(error)
    return None


def as_text(read: Callable[[str], None]) -> Callable[[bytes], None]:
    return lambda content: read(content.decode("utf-8", "replace"))


REQUESTS: tuple[dict[str, Any], ...] = (
    {"id": 1, "command": "open", "input": "ct.nrrd", "series": None, "acquisition": {"kvp": 120, "kernel": "B30f"}},
    {"id": 2, "command": "detect", "output": "out", "options": {"threads": 1, "members": ["single"]}},
    {"id": "3", "command": "rescore", "centerline_ras": [[0, 0, 0], [1, 2, 50], [0, 0, 100]], "output": "out"},
    {"id": 4, "command": "repair", "points_ras": [[0, 0, 0], [0, 0, 9]], "dragged_ras": [1, 2, 5], "anchors_ras": None},
    {"id": 5, "command": "measure", "centerline_ras": [[0, 0, 0], [0, 0, 99]], "extents_mm": [[10, 33], [38, 60]]},
)
CURVE = {
    "markups": [
        {
            "type": "Curve",
            "coordinateSystem": "LPS",
            "coordinateUnits": "mm",
            "controlPoints": [
                {"id": str(n), "position": [1.0, -2.0, 30.0 * n], "positionStatus": "defined"} for n in range(6)
            ],
        }
    ]
}
GRADES = b"scan,level,grade,shape\nverse004,T9,2,wedge\nverse004,*,0,\n" + b"sub-verse009,L1,1,b\n" * 3
HEIGHTS = b"scan,expert,level,ant_len_vox,mid_len_vox,post_len_vox\n" + b"s1,e1,T9,20.5,19,21\ns1,e2,T10,20,19,21\n"


@pytest.fixture(scope="module")
def readers(a_phantom: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[bytes], Any, bool]]:
    """By name: whole contents, the reader of one, and whether they are JSON."""
    folder = tmp_path_factory.mktemp("read")
    edited = an_edited_column()
    reports = [(SAMPLES / name / "report.json").read_bytes() for name in ("first_version", "schema_1_revision_4")]
    reports.append(report_to_json(a_column()).encode())
    corrected = [(SAMPLES / "schema_1_revision_4" / "corrected_report.json").read_bytes()]
    corrected.append(corrected_to_json(edited).encode())
    corrections = [(SAMPLES / "schema_1_revision_4" / "correction.json").read_bytes()]
    made_for = MadeFor.of_report(edited.detected)
    corrections.append(correction_to_json(edited.correction, made_for=made_for).encode())
    annotation = json.dumps(reference_to_json(a_phantom.reference)).encode()
    export = {"export": "page", "target": "t", "input": "i", "report": "r", "notes": ["one"]}
    return {
        "report": (reports, as_text(read_and_write_report), True),
        "corrected report": (corrected, as_text(read_and_write_corrected), True),
        "correction": (corrections, as_text(read_and_write_correction), True),
        "curve": ([json.dumps(CURVE).encode(), reports[2]], in_a_file(read_curve, "c.mrk.json", folder), True),
        "annotation": ([annotation], in_a_file(read_annotation, "a.json", folder), True),
        "request": ([json.dumps(one).encode() for one in REQUESTS], as_text(answer_request), True),
        "export": ([json.dumps(export).encode()], as_text(lambda text: check_export(json_or_none(text))), True),
        "grades": ([GRADES], in_a_file(check_grades, "g.csv", folder), False),
        "heights": ([HEIGHTS], in_a_file(read_heights, "h.csv", folder), False),
    }


def json_or_none(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def check_grades(path: Path) -> None:
    for grades in read_grades(path).scans.values():
        assert set(grades.grades.values()) <= {0, 1, 2, 3}
        assert set(grades.grades) <= {*LEVEL_NUMBERS, "*"}


NAMES = ("report", "corrected report", "correction", "curve", "annotation", "request", "export", "grades", "heights")


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_in_is_refused_in_a_sentence_or_keeps_every_range(name: str, readers: Any) -> None:
    contents, read, is_json = readers[name]
    for content in contents:
        read(content)
    counts: Counter[str] = Counter()

    for case in range(CASES):
        chance = random.Random(f"{name} {case}")
        content = chance.choice(contents)
        changed = mutate_json(content, chance) if is_json and chance.random() < 0.8 else mutate_bytes(content, chance)
        started = time.perf_counter()
        words = refusal_of(read, changed)
        counts["read" if words is None else "refused"] += 1
        assert words is None or (0 < len(words) < 2_000 and "\n" not in words), case
        assert time.perf_counter() - started < LIMIT_S, case

    print(f"{name}: {counts['refused']} refused, {counts['read']} read of {CASES}")
    assert counts["refused"]
