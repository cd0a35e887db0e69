"""A report of any older revision is read in full, is then a valid report of this version, and reads back the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from test_report_schema import complaints

from VertebralFractureLib.result import corrected_from_json, report_from_json, report_to_json

FIRST_REVISION = json.loads((Path(__file__).parent / "first_version" / "report.json").read_text(encoding="utf-8"))
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "reference" / "report.schema.json").read_text(encoding="utf-8")
)
MODEL_ANSWER = (
    *("level", "level_probability", "label", "status", "reason", "fracture_probability", "uncertainty", "grade"),
    *("shape", "severity", "heights_mm", "height_loss", "borderline", "landmarks_ras"),
)
PROBABILITIES = st.sampled_from([0.0, 0.03, 0.5, 0.97, 1.0])
INDEX_LEVELS = [f"T{n}" for n in range(4, 13)] + [f"L{n}" for n in range(1, 5)]
"""T4 to L4, over which the spinal deformity index sums up."""
LEAST_SCORED = 3
LOSSES = (0.05, 0.22, 0.3, 0.45)
HU = st.none() | st.sampled_from([-20.5, 80.0, 310.25])
SENTENCES = st.sampled_from(
    [
        *("cut by the field of view", "level not scored", "low confidence", "not wholly inside the scan"),
        *("no position of the sequence lies inside it", "a sentence that no version wrote"),
    ]
)


@st.composite
def vertebrae(draw: st.DrawFn, revision: int, measured: dict[str, Any], states: list[str]) -> dict[str, Any]:
    """One vertebra as ``revision`` wrote it: what was measured, and any state that it could be in."""
    status = draw(st.sampled_from(states))
    grade = draw(st.sampled_from([None, 0, 1, 2, 3])) if status == "scored" else None
    item = {
        **measured,
        "status": status,
        "reason": None if status == "scored" else draw(st.none() | SENTENCES),
        "fracture_probability": draw(PROBABILITIES) if status == "scored" else None,
        "grade": grade,
        "shape": draw(st.sampled_from(["wedge", "biconcave", "crush"])) if grade else None,
        "severity": None if grade is None else LOSSES[grade],
        "height_loss": None if grade is None else LOSSES[grade],
        "borderline": draw(st.booleans()),
        "trabecular_hu": draw(HU),
        "complete": draw(st.booleans()),
        "reader": {"grade": draw(st.sampled_from([None, 0, 2])), "comment": draw(st.sampled_from(["", "old, known"]))},
    }
    if draw(st.booleans()):
        item |= {"heights_mm": None, "landmarks_ras": None}
    if revision >= 2:
        item["origin"] = draw(st.sampled_from(["model", "reader"]))
        # Nobody regrades without a grade, or rejects a fracture by a grade of one.
        possible: dict[int | None, list[str | None]] = {
            None: [None, "rejected"],
            0: [None, "regraded", "rejected"],
            2: [None, "regraded"],
        }
        item["reader"] |= {"verdict": draw(st.sampled_from(possible[item["reader"]["grade"]])), "fracture": None}
        item["reader"] |= {"who": None, "when": None}
        of_the_model = st.none() | st.just({key: item[key] for key in MODEL_ANSWER})
        item["model"] = draw(of_the_model) if item["origin"] == "model" else None
    if revision >= 4:
        box = {"center_ras": item["centre_ras"], "axes_ras": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "size_mm": [40, 30, 25]}
        item |= {"height_sd_mm": draw(st.none() | st.just(0.4)), "height_loss_sd": draw(st.none() | st.just(0.02))}
        item |= {"trabecular_reason": draw(st.none() | SENTENCES), "box": draw(st.none() | st.just(box))}
    return item


@st.composite
def old_reports(draw: st.DrawFn) -> dict[str, Any]:
    """A report as one of the four revisions of schema 1 wrote it."""
    revision = draw(st.integers(1, 4))
    content = json.loads(json.dumps(FIRST_REVISION))
    any_state = ["scored", "not_evaluable", "excluded_by_user"]
    content["vertebrae"] = [
        draw(vertebrae(revision, measured, any_state[:1] if index < LEAST_SCORED else any_state))
        for index, measured in enumerate(content["vertebrae"])
    ]
    content["scan"] |= scan_of(content["vertebrae"], content["scan"]["decision_threshold"])
    content["timings_s"] = {"read": 0.1, "cord": 1.0, "spine": 0.2, "fracture": 0.3, "vertebrae": 0.4, "scene": 0.1}
    content["timings_s"]["total"] = 2.1
    if revision >= 2:
        content |= {"revision": revision, "correction": None}
    if revision >= 3:
        content["software"]["device"] = draw(st.sampled_from([None, "cpu", "cuda"]))
    if revision >= 4:
        density = {"hu_at_120_kv": None, "tube_voltage_kv": None, "contrast": None, "note": "HU depend on the scanner."}
        measured = [(v["level"], v["trabecular_hu"]) for v in content["vertebrae"] if v["trabecular_hu"] is not None]
        known = [{**density, "level": level, "hu": hu} for level, hu in measured]
        content["scan"]["bone_density"] = draw(st.sampled_from([None, *known]))
    return content


def scan_of(rows: list[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """What every version said of a scan from its vertebrae, caudal to cranial."""
    scored = [row for row in rows if row["status"] == "scored"]
    suspected = [row for row in scored if row["fracture_probability"] >= threshold]
    return {
        "fracture_probability": max(row["fracture_probability"] for row in scored),
        "sdi": sum(row["grade"] or 0 for row in suspected if row["level"] in INDEX_LEVELS),
        "fractured_levels": [row["label"] for row in reversed(suspected)],
    }


@given(old=old_reports())
def test_a_report_of_any_older_revision_is_a_valid_report_of_this_version(old: dict[str, Any]) -> None:
    report = report_from_json(json.dumps(old))

    text = report_to_json(report)
    assert complaints(json.loads(text), SCHEMA, SCHEMA) == []
    assert report_from_json(text) == report
    assert corrected_from_json(json.dumps(old)).shown == report


@given(old=old_reports())
def test_what_an_older_report_says_of_its_vertebrae_stays_as_it_was_said(old: dict[str, Any]) -> None:
    now = json.loads(report_to_json(report_from_json(json.dumps(old))))

    kept = (
        "level",
        "label",
        "level_probability",
        "fracture_probability",
        "grade",
        "shape",
        "height_loss",
        "borderline",
    )
    kept += ("heights_mm", "landmarks_ras", "trabecular_hu", "complete", "extent_mm")
    assert len(now["vertebrae"]) == len(old["vertebrae"])
    for one, before in zip(now["vertebrae"], old["vertebrae"], strict=True):
        assert {key: one[key] for key in kept} == {key: before[key] for key in kept}
        assert one["center_ras"] == before["centre_ras"]
        assert (one["status"] == "scored") == (before["status"] == "scored")
        assert (one["reason"] is None) == (before["reason"] is None)
        assert one["reader"]["grade"] == before["reader"]["grade"]
        # A sentence that this version has no word for is not lost.
        if before["reason"] == "a sentence that no version wrote":
            assert before["reason"] in json.dumps(one)
    assert now["scan"]["fractured_levels"] == old["scan"]["fractured_levels"]
    assert now["centerline"] == {**old["centerline"], "patient_axes_ras": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
