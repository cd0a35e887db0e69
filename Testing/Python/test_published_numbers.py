"""Every table of figures names what prints it, and what README and results say first is counted from the record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

COMMAND = re.compile(
    r"python -m VertebralFractureLib|vertebral-fracture \w|pytest |python run\.py|Testing/\w+/?\w*\.py"
    r"|`(evaluate|measure|benchmark|draw|calibrate|probe)_\w+`|research\.\w+\.\w+"
)
BY_HAND = re.compile(r"by hand \(\d{4}-\d\d-\d\d, version \d+\.\d+\.\d+\)")


def tables_without_origin(text: str) -> list[str]:
    """Headings of sections with two rows of figures or more where nothing is named, here or above, that prints them."""
    parts = re.split(r"(?m)^(#{1,4} .*)$", text)
    above: dict[int, str] = {}
    found = []
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        depth = len(heading) - len(heading.lstrip("#"))
        above = {level: section for level, section in above.items() if level < depth} | {depth: body}
        rows = [line for line in body.splitlines() if line.startswith("|") and re.search(r"\d", line)]
        if len(rows) > 1 and not any(COMMAND.search(section) or BY_HAND.search(section) for section in above.values()):
            found.append(heading)
    return found


def test_every_table_of_figures_names_the_command_that_prints_it_or_when_it_was_made_by_hand(
    project_folder: Path,
) -> None:
    pages = [project_folder / "README.md", project_folder / "docs" / "results.md"]
    pages += sorted((project_folder / "docs" / "results").glob("*.md"))

    missing = {page.name: tables_without_origin(page.read_text(encoding="utf-8")) for page in pages}

    assert {name: headings for name, headings in missing.items() if headings} == {}


def test_a_table_without_origin_is_noticed() -> None:
    page = (
        "# Page\n\n## Good\n\n`evaluate_levels` prints it.\n\n| a | 1 |\n| b | 2 |\n\n## Bad\n\n| a | 1 |\n| b | 2 |\n"
    )

    assert tables_without_origin(page) == ["## Bad"]


@pytest.fixture(scope="module")
def record(project_folder_once: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((project_folder_once / "docs" / "results.json").read_text("utf-8"))
    return content


def test_what_is_said_first_is_counted_again_from_the_record(
    record: list[dict[str, Any]], project_folder: Path
) -> None:
    """Scans, vertebrae, levels, false alarms, the centerline and phantoms of README and docs/results.md."""
    readme = (project_folder / "README.md").read_text(encoding="utf-8")
    results = re.sub(r"\s+", " ", (project_folder / "docs" / "results.md").read_text(encoding="utf-8"))
    real = [case for case in record if not case["identifier"].startswith("phantom-")]
    drawn = [case for case in record if case["identifier"].startswith("phantom-")]
    compared = [case["comparison"] for case in real]
    pairs = [pair for one in compared for pair in one["pairs"]]
    found = sum(pair["found"] is not None for pair in pairs)
    right, named = (sum(one[key] for one in compared) for key in ("levels_right", "levels_named"))
    line_mm = sum(one["centerline"]["mean_mm"] for one in compared) / len(compared)
    fractured = [pair for case in drawn if case["comparison"] for pair in case["comparison"]["pairs"] if pair["grade"]]
    suspected = [pair for pair in fractured if pair["found"] and (pair["found"]["fracture_probability"] or 0.0) >= 0.5]
    alarms = sum(len(case["comparison"]["false_alarms"]) for case in record if case["comparison"])

    assert f"{len(real)} public CTs of {len({case['patient'] for case in real})} patients" in readme
    assert f"{found} of {len(pairs)} complete vertebrae found; {right} of {named} levels right" in readme
    assert f"{len(suspected)} of {len(fractured)} fractured vertebrae suspected; no false alarm" in readme
    assert f"{sum(case['exit_code'] == 0 for case in drawn)} evaluable" in readme
    assert alarms == 0
    assert f"found, {found} of {len(pairs)}; {right} of {named} levels were right" in results
    assert f"the centerline lies {line_mm:.2f} mm from the reader's" in results
