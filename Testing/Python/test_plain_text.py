"""Text from files is harmless where it is shown or written, and a spreadsheet computes none of it."""

from __future__ import annotations

import csv
import io
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from VertebralFractureLib.export.picture_canvas import Canvas, measure_text_width, shorten_text, wrap_text
from VertebralFractureLib.plain_text import no_formula, one_line

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


@given(ANY_TEXT)
def test_whatever_a_file_says_becomes_one_line_that_a_terminal_xml_and_utf8_can_hold(text: str) -> None:
    shown = one_line(text)

    assert len(shown.splitlines()) <= 1
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)
    assert ElementTree.fromstring(f"<node name={quoteattr(shown)}/>").get("name") == shown
    assert shown.encode("utf-8").decode("utf-8") == shown


def test_a_forged_line_stays_within_its_own_and_escape_sequences_are_disarmed() -> None:
    assert one_line("CT\r\nNo fracture suspected\x1b[2J\u202egnp.exe") == "CT  No fracture suspected?[2J?gnp.exe"


def test_plain_words_of_any_language_stay_as_they_are() -> None:
    for words in ("Thorax 1.0 B70f", "Wirbelsäule nativ – 3 mm", "頭部 CT", "می‌خواهم"):
        assert one_line(words) == words


def test_a_long_text_is_cut_and_says_so() -> None:
    assert one_line("A" * 10_000, 20) == "A" * 17 + "..."


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "'=", '"=', "＝", "＋"])
def test_a_cell_that_begins_like_a_formula_is_made_text(start: str) -> None:
    cell = no_formula(one_line(f"{start}HYPERLINK(A1)"))

    assert cell.lstrip(" \"'").startswith(("'", "HYPERLINK")) or "'" in cell[: cell.index("HYPERLINK")]
    assert cell[0] not in "=+-@"


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_no_cell_begins_like_a_formula_where_a_spreadsheet_cuts_differently(separator: str) -> None:
    line = no_formula(f"seen{separator}=cmd|'/C calc'!A0{separator} -2+3{separator}+1-1")

    for cells in csv.reader(io.StringIO(line), delimiter=separator):
        assert not any(cell.strip().startswith(("=", "+", "-", "@")) for cell in cells)


@pytest.mark.parametrize("number", ["-5", "-0.25", "+3", "-20 %", "-12,5", "a loss of -20 %; +1 mm"])
def test_signed_numbers_stay_numbers(number: str) -> None:
    assert no_formula(number) == number


def test_a_text_of_any_length_is_drawn_in_no_more_memory_than_the_picture_needs() -> None:
    """A name of 10,000 letters took minutes to shorten, and a reason of as many a mask of gigabytes."""
    canvas = Canvas(200, 60, (0.0, 0.0, 0.0))

    assert canvas.text("A" * 1_000_000, 5, 30, 20, (1.0, 1.0, 1.0), bold=True) < 200 * 20
    assert measure_text_width(shorten_text("A" * 1_000_000, 20, 150), 20) <= 150
    assert all(measure_text_width(line, 20) <= 150 for line in wrap_text("A" * 100_000 + " b", 20, 150))
