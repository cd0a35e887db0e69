"""The documentation keeps up with the program: links lead somewhere, and every option, field and code is named."""

import argparse
import ast
import re
from dataclasses import fields

import pytest

from VertebralFractureLib.cli import detect, evaluate, exit_codes, phantom
from VertebralFractureLib.result.report import ScanResult, SpineReport
from VertebralFractureLib.vertebrae.vertebra import Vertebra


@pytest.fixture
def pages(project_folder):
    return [*project_folder.glob("*.md"), *(project_folder / "docs").rglob("*.md")]


def relative_links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            yield target.partition("#")[0]


def test_every_link_leads_to_a_file(pages):
    broken = [
        f"{page.name}: {link}" for page in pages for link in relative_links(page) if not (page.parent / link).exists()
    ]

    assert broken == []


def test_every_import_of_an_example_succeeds(pages):
    missing = []
    for page in pages:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("VertebralFractureLib"):
                    missing += [f"{page.name}: {name}" for name in names_that_are_not_there(node)]

    assert missing == []


def names_that_are_not_there(statement):
    for alias in statement.names:
        try:
            exec(f"from {statement.module} import {alias.name}", {})
        except ImportError as error:
            yield str(error)


def test_every_page_is_reached_from_the_index(project_folder):
    index = project_folder / "docs" / "README.md"

    linked = {(index.parent / link).resolve() for link in relative_links(index)}

    assert set((project_folder / "docs").rglob("*.md")) - {index} <= linked


@pytest.mark.parametrize("command", [detect, phantom, evaluate])
def test_every_option_is_in_the_reference(project_folder, command):
    text = (project_folder / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser(add_help=False)
    command.add_arguments(parser)

    options = [option for action in parser._actions for option in action.option_strings]

    assert [option for option in options if f"`{option}" not in text] == []


def test_every_exit_code_is_in_the_reference(project_folder):
    text = (project_folder / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")

    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}

    assert documented == {value for name, value in vars(exit_codes).items() if name.isupper()}


@pytest.mark.parametrize("part", [SpineReport, ScanResult, Vertebra])
def test_every_field_of_the_report_is_in_the_reference(project_folder, part):
    text = (project_folder / "docs" / "reference" / "report-schema.md").read_text(encoding="utf-8")

    missing = [field.name for field in fields(part) if not re.search(rf"`(\w+\.)?{field.name}(\.\w+)?`", text)]

    assert missing == []
