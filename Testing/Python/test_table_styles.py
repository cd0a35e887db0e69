"""vertebrae.csv opens right in spreadsheets of two countries and in programs, and no cell is computed."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from correction_samples import a_column

from VertebralFractureLib.export.table import COMMA, SEMICOLON, TABLE_STYLES, report_to_csv, write_table


@pytest.fixture
def a_report():
    column = a_column()
    return replace(
        column, vertebrae=tuple(replace(vertebra, center_ras=(-12.25, 27.0, 20.0)) for vertebra in column.vertebrae)
    )


def with_comment(report, comment):
    first = report.vertebrae[0]
    first = replace(first, reader=replace(first.reader, comment=comment))
    return replace(report, vertebrae=(first, *report.vertebrae[1:]), input=replace(report.input, name=comment))


def rows_of(text, style):
    return list(csv.DictReader(io.StringIO(text), delimiter=style.separator))


def test_a_program_reads_the_first_style_without_being_told_anything(a_report):
    rows = rows_of(report_to_csv(a_report), COMMA)

    for row, vertebra in zip(rows, reversed(a_report.vertebrae), strict=True):
        if vertebra.center_ras is not None:
            assert float(row["center_r_mm"]) == pytest.approx(vertebra.center_ras[0], abs=1e-4)


def test_a_german_spreadsheet_reads_the_same_numbers_from_the_second(a_report):
    english, german = (rows_of(report_to_csv(a_report, style), style) for style in (COMMA, SEMICOLON))

    assert any("," in cell for row in german for cell in row.values())
    for ours, theirs in zip(english, german, strict=True):
        for name, cell in ours.items():
            number = cell.replace("-", "", 1).replace(".", "", 1).isdigit()
            assert theirs[name] == (cell.replace(".", ",") if number and name != "software_version" else cell)


@pytest.mark.parametrize("comment", ['=HYPERLINK("http://x")', "+1+cmd", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
@pytest.mark.parametrize("style", TABLE_STYLES.values(), ids=lambda style: style.name)
def test_what_a_reader_wrote_is_text_in_every_spreadsheet(a_report, comment, style):
    text = report_to_csv(with_comment(a_report, comment), style)

    assert len(text.splitlines()) == 1 + len(a_report.vertebrae)
    for separator in ",;\t":
        for cells in csv.reader(io.StringIO(text), delimiter=separator):
            for cell in cells:
                assert not cell.strip().startswith(("=", "@")), cell
                if separator == style.separator:
                    signed = cell.strip().removeprefix("-").replace(style.decimal, "")
                    assert not cell.strip().startswith(("+", "-")) or signed.isdigit(), cell


def test_negative_numbers_stay_numbers(a_report):
    cells = [cell for row in rows_of(report_to_csv(a_report), COMMA) for cell in row.values()]

    assert any(cell.startswith("-") and float(cell) < 0.0 for cell in cells)


def test_a_byte_order_mark_stands_only_where_a_letter_needs_it(a_report, tmp_path):
    for comment, starts in (("plain", b"label,"), ("für später", b"\xef\xbb\xbflabel,")):
        write_table(with_comment(a_report, comment), tmp_path / "table.csv")

        content = (tmp_path / "table.csv").read_bytes()
        assert content.startswith(starts)
        assert comment in content.decode("utf-8-sig")
