"""Make text that comes from a file harmless where it is shown or written: one line, no control characters, bounded.

A name in a DICOM header, a comment in a report or the name of a file may hold line ends and escape sequences, which
could clear a terminal or forge a line of the result, characters that XML 1.0 forbids, with which no scene opens any
more, and bytes that are no text at all.
"""

from __future__ import annotations

import re
import unicodedata

TEXT_LIMIT = 2000
"""Characters of a text that a person may have written, such as a comment."""
NAME_LIMIT = 255
"""Characters of a name: what a file system holds; a description in DICOM has 64."""
_JOINERS = "\u200c\u200d"
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}
_SPACES = {"Zs", "Zl", "Zp"}
_ENDS_LINE = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85"


def one_line(text: object, limit: int = TEXT_LIMIT) -> str:
    """The text in one line of at most ``limit`` characters that a terminal, XML and UTF-8 can hold.

    Line ends and other white space become spaces; control characters, marks that turn the direction of writing, lone
    surrogates (bytes of a file name that are no text) and characters that Unicode does not know become ``?``. What is
    longer ends in ``...``.
    """
    words = str(text)
    cut = words[: limit + 1]
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(_harmless(letter) for letter in cut)
    return cut if len(words) <= limit else cut[: limit - 3] + "..."


def _harmless(letter: str) -> str:
    kind = unicodedata.category(letter)
    if letter in _ENDS_LINE or kind in _SPACES:
        return " "
    return "?" if kind in _HIDDEN and letter not in _JOINERS else letter


_FORMULA = re.compile(r"""(^|[;,|\t])([\s"'“”]*)([=+\-@＝＋－＠])(?=([^;,|]*))""")
_PLAIN_NUMBER = re.compile(r"\s*\d+([.,]\d+)?\s*(%|mm|HU|°)?\s*")


def no_formula(text: str) -> str:
    """The text so that no spreadsheet computes it: an apostrophe before what begins like a formula.

    That is ``=``, ``+``, ``-`` or ``@`` at the start, and after a character at which a spreadsheet of another country
    cuts a line into cells. Signed numbers ("-20 %") stay as they are.
    """

    def protect(found: re.Match[str]) -> str:
        sign, rest = found[3], found[4]
        if sign in "+-" and _PLAIN_NUMBER.fullmatch(rest):
            return found[0]
        return f"{found[1]}{found[2]}'{sign}"

    return _FORMULA.sub(protect, text)
