"""The published JSON Schema accepts what the program writes, and notices what it would not write."""

import itertools
import json
import re
import typing
from dataclasses import fields, is_dataclass

import pytest
from correction_samples import a_column

from VertebralFractureLib.result import CorrectedReport, Correction, corrected_to_json, edits, report_to_json
from VertebralFractureLib.result.made_for import MadeFor
from VertebralFractureLib.result.report import SpineReport
from VertebralFractureLib.result.report_schema import build_schema
from VertebralFractureLib.vertebrae.columns import VERTEBRA_COLUMNS
from VertebralFractureLib.vertebrae.vertebra import Assessment, ReaderAssessment, Reason, Status, Vertebra

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def complaints(value, rule, root, at="report"):
    """What of ``value`` a JSON Schema forbids; knows the keywords that the published schema uses and no others."""
    known = {"type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "enum", "const"}
    known |= {"anyOf", "pattern", "maxLength", "minimum", "maximum", "$ref", "$defs", "$schema", "title", "description"}
    assert set(rule) <= known, f"the schema uses a keyword that this test does not know: {set(rule) - known}"
    if "$ref" in rule:
        return complaints(value, root["$defs"][rule["$ref"].rsplit("/", 1)[1]], root, at)
    if "anyOf" in rule:
        tries = [complaints(value, option, root, at) for option in rule["anyOf"]]
        return [] if [] in tries else tries[0]
    if "const" in rule or "enum" in rule:
        return [] if value in rule.get("enum", [rule.get("const")]) else [f"{at}: {value!r} is not allowed"]
    kind = rule["type"]
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{at}: {value!r} is not {kind}"]
    found = []
    if kind == "object":
        properties, extra = rule.get("properties", {}), rule.get("additionalProperties", True)
        found += [f"{at}: no {name}" for name in rule.get("required", []) if name not in value]
        found += [f"{at}: unknown {name}" for name in value if name not in properties and extra is False]
        for name, item in value.items():
            inner = properties.get(name, extra)
            found += complaints(item, inner, root, f"{at}.{name}") if isinstance(inner, dict) else []
    elif kind == "array":
        if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
            found.append(f"{at}: {len(value)} items")
        for index, item in enumerate(value):
            found += complaints(item, rule["items"], root, f"{at}[{index}]")
    elif kind == "string" and not re.search(rule.get("pattern", ""), value):
        found.append(f"{at}: {value!r} does not match")
    elif kind == "string" and len(value) > rule.get("maxLength", len(value)):
        found.append(f"{at}: {len(value)} characters")
    elif kind in ("number", "integer") and not rule.get("minimum", value) <= value <= rule.get("maximum", value):
        found.append(f"{at}: {value} is out of range")
    return found


@pytest.fixture
def schema(project_folder):
    return json.loads((project_folder / "docs" / "reference" / "report.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def a_corrected_report():
    report = a_column()
    correction = edits.set_level(Correction(), report, 3, "T12")
    correction = edits.split_vertebra(correction, report, 2)
    correction = edits.drag_landmark(correction, report, 5, 0, (0.0, 40.0, 170.0))
    correction = edits.assess(correction, report, 4, "regraded", grade=1, comment="old")
    line = [(1.0, 0.0, float(s)) for s in range(0, 290, 5)]
    correction = edits.set_centerline(correction, line, [line[3]])
    return CorrectedReport(report, correction, rescored=report)


def test_a_report_and_a_corrected_report_follow_the_published_schema(schema, a_corrected_report):
    for text in (report_to_json(a_column()), corrected_to_json(a_corrected_report)):
        assert complaints(json.loads(text), schema, schema) == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("status",), "fine"),
        (("vertebrae", 0, "grade"), 4),
        (("vertebrae", 0, "level"), "T14"),
        (("vertebrae", 0, "center_ras"), [0.0, 1.0]),
        (("scan", "fracture_probability"), 1.2),
        (("software", "weights_sha256", "cord"), "abc"),
        (("revision",), 1),
    ],
)
def test_the_published_schema_notices_what_is_wrong(schema, path, wrong):
    content = json.loads(report_to_json(a_column()))
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = wrong

    assert complaints(content, schema, schema)


def test_the_published_schema_misses_no_key(schema):
    content = json.loads(report_to_json(a_column()))
    for holder in (content, content["vertebrae"][0], content["scan"]):
        for name in list(holder):
            kept = holder.pop(name)
            assert complaints(content, schema, schema), name
            holder[name] = kept


def test_the_published_schema_is_that_of_the_records(project_folder):
    """Renew it with ``python -m VertebralFractureLib.result.report_schema docs/reference/report.schema.json``."""
    published = (project_folder / "docs" / "reference" / "report.schema.json").read_text(encoding="utf-8")

    assert json.loads(published) == build_schema()


def test_the_reference_explains_every_field_of_a_vertebra(project_folder):
    text = (project_folder / "docs" / "reference" / "report-schema.md").read_text(encoding="utf-8")

    named = set(re.findall(r"`([\w.]+)`", text))
    assert {one.name for one in (*fields(Vertebra), *fields(ReaderAssessment))} <= named
    assert set(map(str, (*Status, *Reason, *Assessment))) <= named


def test_every_field_of_a_vertebra_is_in_the_table_or_has_no_column():
    names = [column.name for column in VERTEBRA_COLUMNS]

    assert len(set(names)) == len(names)
    assert {one.name for one in fields(Vertebra)} - set(names) == {
        *("heights_mm", "expected_heights_mm", "center_ras", "extent_mm", "box", "reader", "model"),
        *("grade_probability", "grade_range", "height_losses", "landmarks_ras", "outline_ras"),
        *("member_probability", "member_probability_of_2", "member_probability_of_3"),
    }
    assert {"height_anterior_mm", "center_s_mm", "upper_endplate_mm", "box_size_s", "reader_grade"} <= set(names)


def limits_missing(record, at=""):
    """Fields whose numbers have no range, or whose lists and texts have no length."""
    for one in fields(record):
        hint, name = typing.get_type_hints(record)[one.name], f"{at}{record.__name__}.{one.name}"
        leaves, is_open = list(leaves_of(hint)), "..." in str(hint) or "Ellipsis" in str(hint)
        if {int, float} & set(leaves) and not {"least", "most"} <= set(one.metadata):
            yield f"{name}: no range"
        if is_open and not {"count", "up_to"} & set(one.metadata) and "Mapping" not in str(hint):
            yield f"{name}: no number of items"
        yield from (
            words for leaf in leaves if is_dataclass(leaf) and leaf is not record for words in limits_missing(leaf)
        )


def leaves_of(hint):
    """The types that a type is made of."""
    parts = [part for part in typing.get_args(hint) if part not in (Ellipsis, type(None))]
    return itertools.chain.from_iterable(leaves_of(part) for part in parts) if parts else [hint]


@pytest.mark.parametrize("record", [SpineReport, Correction, MadeFor])
def test_every_number_that_comes_in_has_a_range_and_every_list_a_length(record):
    assert sorted(set(limits_missing(record))) == []
